"""When a failing service is asked again, and when it is left alone."""

from __future__ import annotations

import asyncio

import pytest

from agent.errors import (
    CircuitOpen,
    ModelMisconfigured,
    ModelRateLimited,
    ModelReplyInvalid,
    ModelUnavailable,
    UnknownPrice,
)
from agent.fakes import ManualClock
from agent.resilience import Breaker, Breakers, retry_delay


class FailedError(Exception):
    pass


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(FailedError), breaker.guard(counts=(FailedError,)):
            raise FailedError


def succeed(breaker: Breaker) -> None:
    with breaker.guard(counts=(FailedError,)):
        pass


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(clock, name="the model", failures=3, open_s=30.0)


def test_it_opens_after_so_many_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen, match=r"the model failed too often lately; .* 30 s more"):
        succeed(breaker)


def test_a_success_in_between_starts_the_count_again(breaker: Breaker) -> None:
    fail(breaker, 2)
    succeed(breaker)
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_an_answer_that_is_an_error_of_ours_is_no_failure_of_the_service(breaker: Breaker) -> None:
    fail(breaker, 2)
    with pytest.raises(ValueError, match="ours"), breaker.guard(counts=(FailedError,)):
        raise ValueError("ours")
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_it_stays_open_to_the_last_moment(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(29.999)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen):
        succeed(breaker)
    clock.advance(0.001)
    assert breaker.state == "half_open"


def test_half_open_it_lets_exactly_one_probe_through(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(30.0)
    with breaker.guard(counts=(FailedError,)):
        for _ in range(5):
            with pytest.raises(CircuitOpen, match="trying it now"):
                succeed(breaker)
    assert breaker.state == "closed"


async def test_of_many_tasks_at_once_one_is_the_probe(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(30.0)
    release, begun = asyncio.Event(), 0

    async def call() -> str:
        nonlocal begun
        try:
            with breaker.guard(counts=(FailedError,)):
                begun += 1
                await release.wait()
        except CircuitOpen:
            release.set()
            return "refused"
        return "called"

    outcomes = await asyncio.gather(*(call() for _ in range(20)))
    assert (begun, outcomes.count("called"), outcomes.count("refused")) == (1, 1, 19)


def test_a_failed_probe_opens_it_for_the_whole_time_again(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(30.0)
    fail(breaker)
    assert breaker.state == "open"
    clock.advance(29.0)
    with pytest.raises(CircuitOpen):
        succeed(breaker)


def test_after_a_good_probe_it_takes_as_many_failures_as_at_first(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(30.0)
    succeed(breaker)
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_a_cancelled_probe_makes_room_for_the_next(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(30.0)
    with pytest.raises(asyncio.CancelledError), breaker.guard(counts=(FailedError,)):
        raise asyncio.CancelledError
    assert breaker.state == "half_open"
    succeed(breaker)
    assert breaker.state == "closed"


def test_a_call_from_before_it_opened_has_no_say_in_the_probe(breaker: Breaker, clock: ManualClock) -> None:
    for late in (FailedError, None):
        slow = breaker.guard(counts=(FailedError,))
        slow.__enter__()
        fail(breaker, 3)
        clock.advance(30.0)
        with breaker.guard(counts=(FailedError,)):
            slow.__exit__(late, late() if late else None, None)
            with pytest.raises(CircuitOpen):  # the probe is still the only one
                succeed(breaker)
        assert breaker.state == "closed"


def test_each_name_has_a_breaker_of_its_own(clock: ManualClock) -> None:
    breakers = Breakers(clock, failures=1)
    fail(breakers.of("a"))
    succeed(breakers.of("b"))
    assert breakers.of("a") is breakers.of("a")
    assert breakers.states() == {"a": "open", "b": "closed"}


def test_the_wait_doubles_with_each_attempt_until_there_is_none() -> None:
    assert [retry_delay(attempt, ModelUnavailable()) for attempt in range(4)] == [1.0, 2.0, None, None]


@pytest.mark.parametrize(
    "error", [ModelMisconfigured(), ModelReplyInvalid(), UnknownPrice(), CircuitOpen(), ValueError()]
)
def test_what_is_not_retryable_is_not_waited_for(error: Exception) -> None:
    assert retry_delay(0, error) is None


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (None, 1.0),
        (0.0, 1.0),
        (7.0, 7.0),
        (30.0, 30.0),
        (31.0, None),
        (float("inf"), None),
        (float("nan"), None),
        (-5.0, 1.0),
    ],
)
def test_a_rate_limit_is_waited_for_as_long_as_it_asks_within_reason(asked: float | None, wait: float | None) -> None:
    assert retry_delay(0, ModelRateLimited(retry_after_s=asked)) == wait

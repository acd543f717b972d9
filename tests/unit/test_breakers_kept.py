"""Circuit breakers over restarts, and those of the services behind tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.errors import CircuitOpen
from agent.fakes import ManualClock
from agent.resilience import Breaker, Breakers, Kept
from agent.tools.calculate import Calculate, CalculateArguments
from agent.tools.http import HttpArguments, HttpRequest
from agent.tools.shell import RunShell, ShellArguments
from storage.breakers import KeptBreakers
from storage.fakes import Store


class BrokenError(Exception):
    pass


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(BrokenError), breaker.guard(counts=(BrokenError,)):
            raise BrokenError


def succeed(breaker: Breaker, *, insists: bool = False) -> None:
    with breaker.guard(counts=(BrokenError,), insists=insists):
        pass


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def restarted(store: Store, clock: ManualClock) -> tuple[Breakers, KeptBreakers]:
    kept = KeptBreakers(store.db)
    return Breakers(clock, kept=kept.load(), changed=kept.keep), kept


async def test_an_open_breaker_is_open_after_a_restart_for_the_rest_of_its_time(store: Store) -> None:
    breakers, kept = await restarted(store, store.clock)
    fail(breakers.of("m"), 5)
    await kept.aclose()
    later = ManualClock(at=store.clock.at + 20)  # another process, whose monotonic clock stands elsewhere
    again, _ = await restarted(store, later)
    with pytest.raises(CircuitOpen, match="10 s more"):
        succeed(again.of("m"))
    later.advance(10)
    assert again.of("m").state == "half_open"
    fail(again.of("m"))  # one probe, and it failed
    assert again.of("m").state == "open"


async def test_failures_in_a_row_are_counted_on_after_a_restart(store: Store) -> None:
    breakers, kept = await restarted(store, store.clock)
    fail(breakers.of("m"), 4)
    await kept.aclose()
    again, _ = await restarted(store, store.clock)
    fail(again.of("m"))
    assert again.states() == {"m": "open"}


async def test_a_breaker_that_closed_leaves_no_row_behind(store: Store) -> None:
    breakers, kept = await restarted(store, store.clock)
    fail(breakers.of("m"), 5)
    await kept.aclose()
    assert kept.load()["m"].failures == 5
    store.clock.advance(30)
    succeed(breakers.of("m"))
    await kept.aclose()
    assert kept.load() == {}


async def test_what_cannot_be_written_holds_nobody_up(store: Store) -> None:
    breakers, kept = await restarted(store, store.clock)
    store.db._writer.execute("PRAGMA query_only=1")
    fail(breakers.of("m"), 5)
    await kept.aclose()
    store.db._writer.execute("PRAGMA query_only=0")
    assert breakers.of("m").state == "open"
    assert kept.load() == {}


def test_a_clock_that_was_put_back_leaves_no_service_alone_for_ever() -> None:
    clock = ManualClock(at=1_000.0)
    breaker = Breaker(clock, kept=Kept(5, opened_at=9_000.0))
    assert breaker.state == "open"
    clock.advance(30)
    succeed(breaker)


def test_a_call_that_a_person_said_yes_to_goes_through_and_its_success_closes_the_breaker() -> None:
    breaker = Breaker(ManualClock())
    fail(breaker, 5)
    with pytest.raises(CircuitOpen):
        succeed(breaker)
    succeed(breaker, insists=True)
    assert breaker.state == "closed"


def test_a_failure_that_a_person_insisted_on_keeps_the_service_alone_for_longer() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    fail(breaker, 5)
    clock.advance(29)
    with pytest.raises(BrokenError), breaker.guard(counts=(BrokenError,), insists=True):
        raise BrokenError
    clock.advance(2)
    assert breaker.state == "open"


def test_each_place_of_http_requests_stands_for_itself_and_a_sandboxed_command_for_nothing() -> None:
    http = HttpRequest()
    first = http.service(HttpArguments(method="GET", url="https://api.example.com/a?b=c"))
    other = http.service(HttpArguments(method="GET", url="https://other.example.com/a"))
    assert (first, other) == ("http_request https://api.example.com", "http_request https://other.example.com")
    assert RunShell().service(ShellArguments(command="sleep 99")) == ""
    assert Calculate().service(CalculateArguments(expression="1")) == "calculate"

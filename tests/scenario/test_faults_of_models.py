"""Models that fail: each attempt is a row, the chain goes on, breakers are kept, runbooks are the last resort."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydantic_ai import models

from agent.errors import ModelError, ModelMisconfigured, ModelRateLimited, ModelReplyInvalid, ModelUnavailable
from agent.model import WireModel
from agent.moves import Limits
from agent.ports import ChatModel, Clock, ModelReply
from agent.resilience import Breakers
from tests.contract import wire_servers as wires
from tests.contract.wire_servers import Call, Canned, WireServer
from tests.scenario.faulty import ONE, TWO, Desk, ModelOf, Scripted
from tests.scenario.script import end, plan, say, use

PLAIN = "ok plan:model step1 work?1 ok done continue/rule answer?1 ok COMPLETED"
Open = Callable[..., Awaitable[Desk]]
Says = Sequence[ModelReply | ModelError]


@pytest.fixture
async def open_desk(tmp_path: Path) -> AsyncIterator[Open]:
    desks: list[Desk] = []

    async def build(model_of: ModelOf, **more: object) -> Desk:
        desks.append(await Desk.open(tmp_path, model_of, **more))  # type: ignore[arg-type]  # as Desk.open
        if isinstance(desks[0].model, WireModel):
            await desks[0].model.prepare()
        return desks[0]

    yield build
    for desk in desks:
        await desk.close()


def scripted(one: Says, two: Says | None = None, **more: object) -> ModelOf:
    says = {ONE: one} if two is None else {ONE: one, TWO: two}
    return lambda breakers, _: Scripted(says, breakers, **more)  # type: ignore[arg-type]  # as Scripted


def down(times: int = 1) -> list[ModelError]:
    return [ModelUnavailable("It is down.", may_be_charged=False) for _ in range(times)]


# -- over both wires: the first provider fails as services do


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[WireServer, WireServer]]:
    monkeypatch.setattr(models, "ALLOW_MODEL_REQUESTS", True)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with wires.wire_server() as one, wires.wire_server() as two:
        yield one, two


def over(servers: tuple[WireServer, WireServer]) -> ModelOf:
    one, two = servers

    def made(breakers: Breakers, clock: Clock) -> ChatModel:
        return WireModel(
            (f"anthropic:{wires.MODELS['anthropic']}", f"openai-chat:{wires.MODELS['openai-chat']}"),
            environment={
                "ANTHROPIC_API_KEY": "k",
                "ANTHROPIC_BASE_URL": one.url,
                "OPENAI_API_KEY": "k",
                "OPENAI_BASE_URL": f"{two.url}/v1",
            },
            prices={},
            clock=clock,
            breakers=breakers,
        )

    return made


def spoken(wire: wires.Format) -> list[Canned]:
    """A plan, the end of its step, and an answer, as this provider sends them."""
    steps = {"steps": [{"worker": "code", "instruction": "Do it."}]}
    result = {"status": "done", "summary": "It is done.", "sources": []}
    return [
        wires.reply(wire, "", [Call("c1", "submit_plan", json.dumps(steps))]),
        wires.reply(wire, "", [Call("c2", "submit_result", json.dumps(result))]),
        wires.reply(wire, "That is all."),
    ]


GOOD = spoken("anthropic")


def failure(status: int, kind: str = "api_error", **headers: str) -> Canned:
    return wires.failure("anthropic", status, kind, "oh", **headers)


@dataclass(frozen=True)
class Fault:
    """What the first provider sends before it is well again, and what must come of it."""

    name: str
    sends: Sequence[Canned]
    journal: str
    naps: Sequence[float] = field(default_factory=list[float])
    by_other: int = 0
    """How many of the second provider's replies are needed."""
    call_s: float = 20.0
    """How long a call may take."""

    def __str__(self) -> str:
        return self.name


FAULTS = [
    Fault("a 500 is tried again after a second", [failure(500)], f"model_unavailable plan?1 {PLAIN}", [1.0]),
    Fault(
        "two 500s in a row go to the other provider",
        [failure(500), failure(500)],
        "model_unavailable plan?1 model_unavailable plan?2 "
        "ok plan:model step1 work?1 ok done continue/rule answer?1 ok COMPLETED",
        [1.0, 2.0],
        1,
    ),
    Fault("an overload is tried again", [failure(529, "overloaded_error")], f"model_unavailable plan?1 {PLAIN}", [1.0]),
    Fault(
        "a 429 is waited for as long as it says",
        [failure(429, "rate_limit_error", retry_after="7")],
        f"model_rate_limited plan?1 {PLAIN}",
        [7.0],
    ),
    Fault(
        "a 429 without a time is waited for a second",
        [failure(429, "rate_limit_error")],
        f"model_rate_limited plan?1 {PLAIN}",
        [1.0],
    ),
    Fault(
        "a 429 for an hour goes to the other provider at once",
        [failure(429, "rate_limit_error", retry_after="3600")],
        "model_rate_limited plan?2 ok plan:model step1 work?1 ok done continue/rule answer?1 ok COMPLETED",
        [],
        1,
    ),
    Fault(
        "a wrong key goes to the other provider at once",
        [failure(401, "authentication_error")],
        "model_misconfigured plan?2 ok plan:model step1 work?1 ok done continue/rule answer?1 ok COMPLETED",
        [],
        1,
    ),
    Fault(
        "no answer at all is tried again", [Canned(hangs=True)], f"model_unavailable plan?1 {PLAIN}", [1.0], call_s=0.4
    ),
    Fault(
        "an answer that drips is given up and tried again",
        [replace(GOOD[0], drips=0.02)],
        f"model_unavailable plan?1 {PLAIN}",
        [1.0],
        call_s=0.4,
    ),
    Fault(
        "garbage is tried once more",
        [Canned(body="<html>Bad gateway</html>")],
        f"model_reply_invalid plan?1 {PLAIN}",
    ),
    Fault(
        "a truncated body is tried once more",
        [Canned(body=GOOD[0].body[:-40])],
        f"model_reply_invalid plan?1 {PLAIN}",
    ),
    Fault(
        "a connection that breaks off is tried again",
        [replace(GOOD[0], cut=50)],
        f"model_unavailable plan?1 {PLAIN}",
        [1.0],
    ),
    Fault(
        "a plan that was cut off at the limit of tokens is mended",
        [wires.cut_off("anthropic", Call("c1", "submit_plan", '{"steps": []}'))],
        f"model_reply_invalid plan?1 {PLAIN}",
    ),
    Fault(
        "a refusal in place of a plan is asked once more",
        [wires.empty("anthropic")],
        f"model_reply_invalid plan?1 {PLAIN}",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_one_provider_fails_and_the_run_is_completed(
    open_desk: Open, servers: tuple[WireServer, WireServer], fault: Fault
) -> None:
    desk = await open_desk(over(servers), limits=Limits(call_s=fault.call_s))
    servers[0].replies.extend([*fault.sends, *GOOD[1 if fault.by_other else 0 :]])
    servers[1].replies.extend(spoken("openai-chat")[: fault.by_other])
    run = await desk.done()
    assert desk.story(run) == f"task begin plan?1 {fault.journal}"
    assert desk.naps == fault.naps
    assert not servers[0].replies
    assert len(servers[1].seen) == fault.by_other
    spent, reserved = desk.cost(run)
    assert (reserved, desk.day().spent) == (0, spent)
    assert 0 < spent < 500_000
    shown = desk.thread(run)
    assert "That is all." in shown
    assert "Done" in shown


async def test_an_outage_costs_nothing_and_the_runbooks_do_what_they_can(
    open_desk: Open, servers: tuple[WireServer, WireServer]
) -> None:
    desk = await open_desk(over(servers))
    for server in servers:
        server.replies.extend([failure(500)] * 8)
    run = await desk.done("add 2 and 3")
    assert desk.story(run) == (
        "task begin plan?1 model_unavailable plan?1 model_unavailable "
        "plan?2 model_unavailable plan?2 model_unavailable "
        "plan:runbook:sum step1 calculate low start succeeded done COMPLETED"
    )
    assert desk.naps == [1.0, 1.0]
    assert desk.cost(run) == (0, 0)
    assert "It is 5." in desk.thread(run)
    assert "without a model" in desk.thread(run)


async def test_an_outage_without_a_runbook_says_what_each_provider_answered(
    open_desk: Open, servers: tuple[WireServer, WireServer]
) -> None:
    desk = await open_desk(over(servers))
    servers[0].replies.extend([failure(500)] * 2)
    servers[1].replies.extend([wires.failure("openai-chat", 401, "invalid_api_key", "no")])
    run = await desk.done()
    assert desk.story(run).endswith("plan?2 model_misconfigured plan_failed FAILED")
    shown = desk.thread(run)
    assert "reports a failure of its own (HTTP 500)" in shown
    assert "does not accept the key (HTTP 401)" in shown
    assert "add 2 and 3" in shown  # what it can do without a model
    assert desk.cost(run) == (0, 0)


# -- with scripts: breakers, restarts, prices


async def test_five_failures_open_the_breaker_and_the_other_model_works_without_a_delay(open_desk: Open) -> None:
    good = [plan(), end(), say()]
    desk = await open_desk(scripted(down(5), [*good, *good]))
    first = await desk.done()
    assert desk.story(first) == (
        "task begin plan?1 model_unavailable plan?1 model_unavailable plan?2 ok plan:model step1 "
        "work?1 model_unavailable work?1 model_unavailable work?2 ok done continue/rule "
        "answer?1 model_unavailable answer?1 circuit_open answer?2 ok COMPLETED"
    )
    desk.naps.clear()
    second = await desk.done()
    assert desk.story(second) == (
        "task begin plan?1 circuit_open plan?2 ok plan:model step1 work?1 circuit_open work?2 ok done continue/rule "
        "answer?1 circuit_open answer?2 ok COMPLETED"
    )
    assert desk.naps == []
    assert (desk.cost(first), desk.cost(second)) == ((3_000, 0), (3_000, 0))  # what is down costs nothing
    assert all("That is all." in desk.thread(run) for run in (first, second))


async def test_half_a_minute_later_one_probe_finds_the_model_well_again(open_desk: Open) -> None:
    desk = await open_desk(scripted([*down(5), plan(), end(), say()], [plan(), end(), say()]))
    await desk.done()
    await desk.later(30)
    run = await desk.done()
    assert desk.story(run) == f"task begin plan?1 {PLAIN}"
    assert desk.breakers.states() == {ONE: "closed", TWO: "closed"}
    assert desk.cost(run) == (3_000, 0)
    assert "That is all." in desk.thread(run)


async def test_a_restart_with_an_open_breaker_leaves_the_model_alone_for_the_rest_of_the_time(open_desk: Open) -> None:
    good = [plan(), end(), say()]
    desk = await open_desk(scripted(down(9), [*good, *good]))
    await desk.done()
    await desk.restart()
    run = await desk.done()
    assert desk.story(run).startswith("task begin plan?1 circuit_open plan?2 ok")
    assert "COMPLETED" in desk.story(run)
    assert isinstance(desk.model, Scripted)
    assert [request.model for request in desk.model.requests] == [TWO] * 3
    assert desk.cost(run) == (3_000, 0)
    assert "Done" in desk.thread(run)


async def test_all_models_left_alone_leave_the_task_to_the_runbooks(open_desk: Open) -> None:
    desk = await open_desk(scripted(down(9)))
    for _ in range(4):
        run = await desk.done("add 2 and 3")
    assert desk.story(run) == (
        "task begin plan?1 circuit_open plan:runbook:sum step1 calculate low start succeeded done COMPLETED"
    )
    late = await desk.done()
    assert "failed too often lately; it is left alone for" in desk.thread(late)


async def test_a_model_without_a_price_is_never_called(open_desk: Open) -> None:
    desk = await open_desk(scripted([plan()], [plan(), end(), say()], unpriced=frozenset({ONE})))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 unknown_price plan?2 ok plan:model step1 work?1 unknown_price work?2 ok done continue/rule "
        "answer?1 unknown_price answer?2 ok COMPLETED"
    )
    assert isinstance(desk.model, Scripted)
    assert {request.model for request in desk.model.requests} == {TWO}
    assert desk.cost(run) == (3_000, 0)


async def test_without_any_price_the_thread_says_what_to_set(open_desk: Open) -> None:
    desk = await open_desk(scripted([plan()], unpriced=frozenset({ONE})))
    run = await desk.done()
    assert desk.story(run) == "task begin plan?1 unknown_price plan_failed FAILED"
    assert "Nobody knows what scripted:one costs; set a price for it" in desk.thread(run)
    assert desk.cost(run) == (0, 0)


async def test_when_no_model_can_write_the_answer_the_record_is_the_answer(open_desk: Open) -> None:
    sums = use(("calculate", {"expression": "6 * 7"}))
    desk = await open_desk(scripted([plan(), sums, end(), ModelMisconfigured("The key was withdrawn.")]))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 ok plan:model step1 work?1 ok calculate low start succeeded work?1 ok done continue/rule "
        "answer?1 model_misconfigured COMPLETED"
    )
    assert "42" in desk.thread(run)
    assert desk.cost(run) == (3_000, 0)


async def test_models_that_go_down_midway_leave_a_partial_answer_that_lists_what_is_missing(open_desk: Open) -> None:
    sums = use(("calculate", {"expression": "6 * 7"}))
    desk = await open_desk(scripted([plan("First.", "Then that."), sums, end()]))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 ok plan:model step1 work?1 ok calculate low start succeeded work?1 ok done continue/rule "
        "step2 work?1 model_unavailable work?1 model_unavailable failed replan/rule stop/rule "
        "answer?1 model_unavailable answer?1 model_unavailable PARTIAL"
    )
    shown = desk.thread(run)
    assert "Only a part is done." in shown
    assert "42" in shown
    assert "scripted:one is down." in shown
    assert "Then that." in shown
    assert desk.cost(run) == (3_000, 0)


async def test_a_call_that_a_crash_cut_off_is_settled_at_its_reservation_and_made_again(open_desk: Open) -> None:
    gate = asyncio.Event()
    desk = await open_desk(scripted([plan(), end(), say()], gate=gate, price=7_000))
    run = await desk.ask()
    desk.runtime.wake(run)
    assert isinstance(desk.model, Scripted)
    await desk.model.asked.wait()
    assert desk.cost(run) == (0, 7_000)
    assert desk.day().reserved == 7_000
    before = desk.runtime
    desk.model_of = scripted([plan(), end(), say()])
    for done in desk._ends:
        done()
    desk.start()  # the first process hangs: only its successor writes from here on
    await desk.runtime.recover([run])
    await desk.settled(run)
    assert desk.story(run) == f"task begin plan?1 interrupted plan?1 {PLAIN}"
    assert desk.cost(run) == (10_000, 0)
    assert (desk.day().spent, desk.day().reserved) == (10_000, 0)
    await before.close(0)
    assert desk.cost(run) == (10_000, 0)


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (ModelUnavailable("It timed out."), 9_000),
        (ModelUnavailable("HTTP 500", may_be_charged=False), 0),
        (ModelRateLimited(), 0),
        (ModelReplyInvalid(), 9_000),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ModelError) else str(value),
)
async def test_what_may_have_been_charged_is_paid_and_nothing_else(
    open_desk: Open, error: ModelError, charged: int
) -> None:
    desk = await open_desk(scripted([error, plan(), end(), say()], price=9_000))
    run = await desk.done()
    assert desk.cost(run) == (charged + 3_000, 0)
    assert desk.day().spent == charged + 3_000

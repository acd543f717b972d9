"""Budgets, limits, the queue and services behind tools: what is refused or waits, what it costs, what people read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Principal
from agent.errors import ModelError, QuotaExceeded, ToolUnavailable
from agent.moves import Limits
from agent.ports import ModelReply
from agent.tools.base import Preview, ToolContext, ToolResult
from bot.words import sentence
from storage.ledger import DAY_S, Budgets
from storage.quotas import Quotas
from storage.turns import Room
from tests.scenario.faulty import ONE, A, B, Desk, ModelOf, Scripted
from tests.scenario.script import end, plan, say, use
from tests.scenario.touch import Touch, TouchArguments

C = Principal(team="T1", user="UC")
PLAIN = "task begin plan?1 ok plan:model step1 work?1 ok done continue/rule answer?1 ok COMPLETED"
RUNBOOK = "plan:runbook:sum step1 calculate low start succeeded done COMPLETED"
SUM = use(("calculate", {"expression": "6 * 7"}))
Open = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def open_desk(tmp_path: Path) -> AsyncIterator[Open]:
    desks: list[Desk] = []

    async def build(model_of: ModelOf, **more: Any) -> Desk:  # as Desk.open
        desks.append(await Desk.open(tmp_path, model_of, **more))
        return desks[0]

    yield build
    for desk in desks:
        await desk.close()


def scripted(*says: ModelReply | ModelError, **more: Any) -> ModelOf:  # as Scripted
    return lambda breakers, _: Scripted({ONE: says}, breakers, **more)


def script_of(desk: Desk) -> Scripted:
    assert isinstance(desk.model, Scripted)
    return desk.model


# -- money and tokens


async def test_a_budget_that_is_used_up_midway_leaves_a_partial_answer_with_the_figures(open_desk: Open) -> None:
    dear = use(("calculate", {"expression": "6 * 7"}), cost=90_000)
    desk = await open_desk(scripted(plan("First.", "Then that."), dear, price=90_000), limits=Limits(micro_usd=100_000))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 ok plan:model step1 work?1 ok calculate low start succeeded work?1 budget_exceeded failed "
        "replan/rule stop/rule answer?1 budget_exceeded PARTIAL"
    )
    assert desk.cost(run) == (91_000, 0)
    shown = desk.thread(run)
    assert "The run's budget does not allow another call. $0.091 of $0.1 are spent or reserved" in shown
    assert "42" in shown
    assert "Then that." in shown


async def test_the_last_micro_usd_of_a_budget_may_be_used(open_desk: Open) -> None:
    desk = await open_desk(scripted(plan(), end(), say()), limits=Limits(micro_usd=3_000))
    run = await desk.done()
    assert desk.story(run) == PLAIN
    assert desk.cost(run) == (3_000, 0)


async def test_near_the_budget_the_services_own_count_finds_room_for_the_call(open_desk: Open) -> None:
    desk = await open_desk(scripted(plan(), end(), say(), price=3_000, counted=1_200), limits=Limits(micro_usd=3_500))
    run = await desk.done()
    assert desk.story(run) == PLAIN
    assert [event.reserved_micro_usd for event in desk.events(run) if event.type == "model_call_started"] == [
        3_000,
        1_200,
        1_200,
    ]
    assert desk.cost(run) == (3_000, 0)


async def test_a_run_that_used_its_tokens_ends_also_where_they_cost_nothing(open_desk: Open) -> None:
    long = [replace(use(("calculate", {"expression": f"{n} + 1"}), cost=0), input_tokens=100_000) for n in range(9)]
    desk = await open_desk(scripted(replace(plan(), cost_micro_usd=0), *long, price=0), limits=Limits(tokens=180_000))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 ok plan:model step1 work?1 ok calculate low start succeeded "
        "work?1 ok calculate low start succeeded work?1 budget_exceeded failed replan/rule stop/rule "
        "answer?1 budget_exceeded PARTIAL"
    )
    assert desk.cost(run) == (0, 0)
    assert "The run may use 180,000 tokens; 200,040 are used or reserved" in desk.thread(run)


async def test_a_persons_day_that_is_used_up_leaves_the_runbooks_and_says_when_it_begins_anew(
    open_desk: Open,
) -> None:
    good = [plan(), end(), say()]
    desk = await open_desk(scripted(*good, *good, *good), budgets=Budgets(person_day=3_500))
    assert desk.story(await desk.done()) == PLAIN
    second = await desk.done()
    assert desk.story(second) == "task begin plan?1 budget_exceeded plan_failed FAILED" or "budget" in desk.story(
        second
    )
    shown = desk.thread(second)
    assert "Your budget for a day ($0.0035) is used up; it begins anew at 2027-01-16 00:00 UTC" in shown
    third = await desk.done("add 2 and 3")
    assert desk.story(third) == f"task begin plan?1 budget_exceeded {RUNBOOK}"
    assert desk.cost(third) == (0, 0)
    assert "It is 5." in desk.thread(third)
    assert desk.story(await desk.done(who=B)) == PLAIN  # nobody else is touched
    assert (desk.day(A).taken, desk.day(B).taken) == (3_000, 3_000)


async def test_everybodys_day_that_is_used_up_is_over_for_all_until_midnight(open_desk: Open) -> None:
    good = [plan(), end(), say()]
    desk = await open_desk(scripted(*good, *good), budgets=Budgets(everybody_day=3_500))
    assert desk.story(await desk.done()) == PLAIN
    late = await desk.done("add 2 and 3", who=B)
    assert desk.story(late) == f"task begin plan?1 budget_exceeded {RUNBOOK}"
    assert "Everybody's budget for a day" in desk.thread(await desk.done(who=B))
    await desk.later(DAY_S)
    assert desk.story(await desk.done(who=B)) == PLAIN


async def test_a_day_that_ends_midway_ends_the_run_with_what_it_has(open_desk: Open) -> None:
    desk = await open_desk(scripted(plan(), SUM, end()), budgets=Budgets(person_day=2_500))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 ok plan:model step1 work?1 ok calculate low start succeeded work?1 budget_exceeded failed "
        "replan/rule stop/rule answer?1 budget_exceeded PARTIAL"
    )
    assert desk.cost(run) == (2_000, 0)
    shown = desk.thread(run)
    assert "begins anew at" in shown
    assert "42" in shown


async def test_runs_at_the_same_time_share_a_day_and_none_passes_it(open_desk: Open) -> None:
    gate = asyncio.Event()
    desk = await open_desk(scripted(plan(), gate=gate), budgets=Budgets(person_day=2_500))
    runs = [await desk.ask("add 2 and 3") for _ in range(4)]
    for run in runs:
        desk.runtime.wake(run)
    await asyncio.gather(*(desk.settled(run) for run in runs[2:]))
    assert desk.day().reserved == 2_000
    assert [desk.story(run) for run in runs[2:]] == [f"task begin plan?1 budget_exceeded {RUNBOOK}"] * 2
    gate.set()
    for run in runs[:2]:
        await desk.settled(run)
    assert desk.day().taken <= 2_500


# -- how many, and who goes first


async def test_two_people_at_their_limits_are_told_when_each_of_them_may_try_again(open_desk: Open) -> None:
    desk, quota = await open_desk(scripted()), Quotas(per_person=2, everybody=0, at_once=0)
    first = desk.store.clock.now()
    for who in (A, A, B, B):
        await desk.ask("add 2 and 3", who, quota)
    told: list[float] = []
    for who in (A, B):
        with pytest.raises(QuotaExceeded) as caught:
            await desk.ask("add 2 and 3", who, quota)
        assert "Please try again at" in sentence(caught.value)
        told.append(caught.value.retry_at - first)
    assert [round(at, 2) for at in told] == [3_600.01, 3_600.03]  # each counts from their own first run
    assert len(desk.store.queries.runs()) == 4  # a refused one leaves nothing
    await desk.later(3_600)
    again = await desk.ask("add 2 and 3", A, quota)
    await desk.settled(again)
    assert desk.story(again) == f"task begin plan?1 circuit_open {RUNBOOK}"  # the other four had no model either
    assert desk.cost(again) == (0, 0)
    assert "It is 5." in desk.thread(again)


async def test_the_window_slides_so_that_one_run_leaves_it_at_a_time(open_desk: Open) -> None:
    desk, quota = await open_desk(scripted()), Quotas(per_person=2, everybody=0, at_once=0)
    await desk.ask("add 2 and 3", A, quota)
    await desk.later(1_800)
    await desk.ask("add 2 and 3", A, quota)
    await desk.later(1_801)
    await desk.ask("add 2 and 3", A, quota)
    with pytest.raises(QuotaExceeded) as caught:
        await desk.ask("add 2 and 3", A, quota)
    assert 1_700 < caught.value.retry_at - desk.store.clock.now() < 1_800


async def held(desk: Desk, touch: Touch, who: Principal = A) -> str:
    """A run that is at work until its tool is let go."""
    touch.hold()
    run = await desk.ask(who=who)
    desk.runtime.wake(run)
    await touch.running.wait()
    return run


def touching() -> tuple[Touch, Sequence[ModelReply]]:
    return Touch("touch_low", "low"), (plan(), use(("touch_low", {"name": "x"})), end(), say())


async def test_a_run_beyond_the_limit_shows_its_place_and_begins_when_there_is_room(open_desk: Open) -> None:
    touch, replies = touching()
    desk = await open_desk(scripted(*replies), room=Room(person=1), tools=(touch,))
    first = await held(desk, touch)
    second, third = await desk.ask("add 2 and 3"), await desk.ask("add 4 and 5")
    for run in (second, third):
        assert not (await desk.settled(run)).status.is_final
    assert desk.story(second) == "task"  # nothing is written, and nothing spent, before its turn
    assert "number 1 in the queue. It is the next one." in desk.thread(second)
    assert "number 2 in the queue. 1 other of those who wait go first." in desk.thread(third)
    touch.release()
    for run in (first, second, third):
        await desk.over(run)
    assert desk.began == [first, second, third]
    assert [desk.cost(run) for run in (first, second, third)] == [(4_000, 0), (0, 0), (0, 0)]
    assert "It is 9." in desk.thread(third)


async def test_people_take_turns_when_one_of_them_has_asked_for_many(open_desk: Open) -> None:
    touch, replies = touching()
    desk = await open_desk(scripted(*replies), room=Room(everybody=1), tools=(touch,))
    first = await held(desk, touch)
    mine = [await desk.ask("add 1 and 1") for _ in range(3)]
    others = [await desk.ask("add 2 and 2", who) for who in (B, C)]
    touch.release()
    for run in (first, *mine, *others):
        await desk.over(run)
    assert desk.began == [first, *others, *mine]


async def test_a_run_that_waits_for_people_lets_the_next_one_begin(open_desk: Open) -> None:
    medium = Touch("touch_medium", "medium")
    replies = (plan(), use(("touch_medium", {"name": "x"})))
    desk = await open_desk(scripted(*replies), room=Room(person=1), tools=(medium,))
    first = await desk.ask()
    await desk.settled(first)
    assert desk.story(first).endswith("approval_requested")
    assert (await desk.settled(await desk.ask("add 2 and 3"))).status.is_final


async def test_a_restart_keeps_the_queue_and_goes_on_with_it(open_desk: Open) -> None:
    gate = asyncio.Event()
    desk = await open_desk(scripted(plan(), gate=gate), room=Room(everybody=1))
    first = await desk.ask()
    desk.runtime.wake(first)
    await script_of(desk).asked.wait()
    mine, other = await desk.ask("add 2 and 3"), await desk.ask("add 4 and 5", B)
    await desk.settled(mine)
    before = [desk.turns.place(run) for run in (other, mine)]
    again = asyncio.Event()
    desk.model_of = scripted(plan(), end(), say(), gate=again)
    await desk.restart()
    await script_of(desk).asked.wait()  # the run that was at work goes on first
    assert [desk.turns.place(run) for run in (other, mine)] == before == [1, 2]
    assert (desk.story(mine), desk.story(other)) == ("task", "task")
    again.set()
    for run in (first, other, mine):
        await desk.over(run)
    assert desk.began == [first, other, mine]
    assert desk.story(first) == f"task begin plan?1 cancelled {PLAIN.removeprefix('task begin ')}"
    assert "It is 5." in desk.thread(mine)


async def test_a_stopped_run_leaves_the_queue(open_desk: Open) -> None:
    touch, replies = touching()
    desk = await open_desk(scripted(*replies), room=Room(person=1), tools=(touch,))
    first = await held(desk, touch)
    second, third = await desk.ask("add 2 and 3"), await desk.ask("add 4 and 5")
    await desk.settled(second)
    await desk.store.control.stop(second, by=A.key)
    await desk.store.control.take()
    assert (await desk.settled(second)).status.is_final
    assert desk.story(second) == "task stop_requested CANCELLED"
    assert "number 1 in the queue" in desk.thread(third)
    touch.release()
    await desk.over(first)
    await desk.over(third)


# -- services behind tools


class Service(Touch):
    """A tool whose service is down while `broken`."""

    broken = True

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        if self.broken:
            self.done["failed"] += 1
            raise ToolUnavailable("The service did not answer properly.")
        return await super().run(arguments, context, preview)


def calling(tool: str, times: int) -> ModelReply:
    return use(*((tool, {"name": f"n{number}"}) for number in range(times)))


FAILS = "start failed:tool_unavailable"


async def test_a_service_behind_a_tool_that_fails_five_times_is_left_alone_and_the_run_goes_on(
    open_desk: Open,
) -> None:
    service, other = Service("touch_low", "low"), Touch("other_low", "low")
    replies = (plan(), calling("touch_low", 7), calling("other_low", 1), end("Partly."), say("Partly."))
    desk = await open_desk(scripted(*replies), tools=(service, other))
    run = await desk.done()
    assert desk.story(run) == (
        f"task begin plan?1 ok plan:model step1 work?1 ok {'touch_low ' * 7}{'low ' * 7}{f'{FAILS} ' * 5}"
        "refused:circuit_open refused:circuit_open work?1 ok other_low low start succeeded "
        "work?1 ok done continue/rule answer?1 ok COMPLETED"
    )
    assert service.done["failed"] == 5
    assert "it is left alone for" in "\n".join(
        message.text for request in script_of(desk).requests for message in request.messages
    )
    assert desk.cost(run) == (5_000, 0)


async def test_a_service_behind_a_tool_is_tried_once_after_half_a_minute_and_also_after_a_restart(
    open_desk: Open,
) -> None:
    service = Service("touch_low", "low", exclusive=False)
    replies = [reply for times in (5, 1, 3, 2) for reply in (plan(), calling("touch_low", times), end(), say())]
    desk = await open_desk(scripted(*replies), tools=(service,))
    await desk.done()
    rest = replies[4:]
    desk.model_of = scripted(*rest)
    await desk.restart()
    assert "refused:circuit_open" in desk.story(await desk.done())
    assert service.done["failed"] == 5
    await desk.later(30)
    story = desk.story(await desk.done())
    assert (story.count("failed:tool_unavailable"), story.count("refused:circuit_open")) == (1, 2)
    await desk.later(30)
    service.broken = False
    assert desk.story(await desk.done()).count("succeeded") >= 1
    assert desk.breakers.of("touch_low").state == "closed"


async def test_a_call_that_a_person_approved_is_tried_although_its_service_is_left_alone(open_desk: Open) -> None:
    service = Service("touch_medium", "medium")
    desk = await open_desk(scripted(plan(), calling("touch_medium", 1), end(), say()), tools=(service,))
    for _ in range(5):
        with pytest.raises(ToolUnavailable), desk.breakers.of("touch_medium").guard(counts=(ToolUnavailable,)):
            raise ToolUnavailable
    service.broken = False
    run = await desk.ask()
    await desk.settled(run)
    (asked,) = desk.store.queries.pending_approvals()
    await desk.store.decisions.vote(asked.id, Principal(team="T1", user="U2"), "approve", via="test")
    assert (await desk.settled(run)).status.is_final
    assert service.done["n0"] == 1
    assert desk.breakers.of("touch_medium").state == "closed"

"""A chain of models and the budget: what is too dear with one may be had from another; backoff is spread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.errors import ModelError, ModelRateLimited, ModelUnavailable
from agent.moves import Limits
from agent.ports import ModelReply, ModelRequest
from agent.sandbox.none import NoSandbox
from bot.composition import driving
from storage.ledger import Budgets
from tests.scenario.faulty import ONE, TWO, A, Desk, ModelOf, Scripted
from tests.scenario.script import end, plan, planned, say, step, use, verdict
from tests.scenario.terminal import Terminal
from tests.scenario.world import make_project, make_shop

GOOD: Sequence[ModelReply] = [plan(), end(), say("That is all.")]


@pytest.fixture
async def desks() -> AsyncIterator[list[Desk]]:
    opened: list[Desk] = []
    yield opened
    for desk in opened:
        await desk.close()


def scripted(one: Sequence[ModelReply | ModelError], two: Sequence[ModelReply], dear: Mapping[str, int]) -> ModelOf:
    return lambda breakers, _: Scripted({ONE: one, TWO: two}, breakers, dear=dear)


async def test_a_model_further_on_that_fits_the_budget_does_the_run(desks: list[Desk], tmp_path: Path) -> None:
    model_of = scripted([plan()], GOOD, {ONE: 400_000})
    desks.append(desk := await Desk.open(tmp_path, model_of, limits=Limits(micro_usd=300_000)))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 budget_exceeded plan?2 ok plan:model step1 work?1 budget_exceeded work?2 ok done "
        "continue/rule answer?1 budget_exceeded answer?2 ok COMPLETED"
    )
    assert isinstance(desk.model, Scripted)
    assert {request.model for request in desk.model.requests} == {TWO}
    assert desk.cost(run) == (3_000, 0)
    assert "That is all." in desk.thread(run)


async def test_a_day_budget_that_has_room_for_the_cheaper_model_only_is_used_by_it(
    desks: list[Desk], tmp_path: Path
) -> None:
    model_of = scripted([plan()], GOOD, {ONE: 400_000})
    desks.append(desk := await Desk.open(tmp_path, model_of, budgets=Budgets(person_day=50_000)))
    run = await desk.done()
    assert desk.story(run).startswith("task begin plan?1 budget_exceeded plan?2 ok")
    assert desk.cost(run) == (3_000, 0)
    assert desk.day(A).spent == 3_000
    assert "That is all." in desk.thread(run)


async def test_when_all_are_too_dear_the_thread_names_the_budget(desks: list[Desk], tmp_path: Path) -> None:
    model_of = scripted([plan()], GOOD, {ONE: 400_000, TWO: 350_000})
    desks.append(desk := await Desk.open(tmp_path, model_of, limits=Limits(micro_usd=300_000)))
    run = await desk.done()
    assert desk.story(run) == "task begin plan?1 budget_exceeded plan?2 budget_exceeded plan_failed FAILED"
    assert "The run's budget does not allow another call." in desk.thread(run)
    assert "$0.35" in desk.thread(run)
    assert desk.cost(run) == (0, 0)


async def test_one_too_dear_and_one_away_are_both_named(desks: list[Desk], tmp_path: Path) -> None:
    model_of = scripted([plan()], [], {ONE: 400_000})
    desks.append(desk := await Desk.open(tmp_path, model_of, limits=Limits(micro_usd=300_000)))
    run = await desk.done()
    assert desk.story(run).endswith("plan?2 model_unavailable plan?2 model_unavailable plan_failed FAILED")
    shown = desk.thread(run)
    assert "The run's budget does not allow another call." in shown
    assert "scripted:two is down" in shown, shown


@pytest.mark.parametrize(
    ("error", "roll", "waits"),
    [
        (ModelUnavailable(may_be_charged=False), 0.0, 1.0),
        (ModelUnavailable(may_be_charged=False), 0.5, 1.25),
        (ModelRateLimited(retry_after_s=7), 0.0, 7.0),
        (ModelRateLimited(retry_after_s=7), 0.999, 10.4965),
    ],
)
async def test_backoff_is_spread_but_never_shorter_than_it_must_be(
    desks: list[Desk], tmp_path: Path, error: ModelError, roll: float, waits: float
) -> None:
    desks.append(desk := await Desk.open(tmp_path, scripted([error, *GOOD], [], {})))
    desk.roll = roll
    run = await desk.done()
    assert desk.naps == [pytest.approx(waits)]
    assert desk.story(run).endswith("COMPLETED")


async def test_waits_for_a_model_use_up_the_active_time(desks: list[Desk], tmp_path: Path) -> None:
    slow = [reply for good in GOOD for reply in (ModelRateLimited(retry_after_s=25), good)]
    desks.append(desk := await Desk.open(tmp_path, scripted(slow, [], {}), limits=Limits(active_s=40)))
    run = await desk.done()
    assert desk.story(run) == (
        "task begin plan?1 model_rate_limited plan?1 ok plan:model step1 work?1 model_rate_limited work?1 ok done "
        "time_ran_out continue/rule COMPLETED"
    )
    assert desk.naps == [25.0, 25.0]
    assert desk.cost(run) == (2_000, 0)
    assert "Everything was done." in desk.thread(run)


@pytest.mark.needs("git")
@pytest.mark.parametrize(("judge", "asked"), [("always", True), ("doubt", False)])
def test_an_operator_says_when_a_step_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: str, *, asked: bool
) -> None:
    async def none() -> NoSandbox:
        return NoSandbox()

    monkeypatch.setattr(driving, "choose", none)
    make_project(tmp_path / "project")
    make_shop(tmp_path / "shop.db")
    terminal = Terminal(tmp_path, settings={"judge": judge, "history_tokens": 4_000})
    sums = use(("calculate", {"expression": "2 + 3"}))
    replies = [planned(step("Add.", expected="a sum")), sums, end("5."), *([verdict("met")] if asked else []), say()]
    assert terminal.run(replies, as_json=True) == 0
    judged = [line for line in terminal.lines if line["type"] == "step_evaluated"]
    assert [line.get("by", "rule") for line in judged] == ["model" if asked else "rule"]


@dataclass
class Held(Scripted):
    """The first two workers' calls stay on the wire until a third one was tried."""

    works: int = 0
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    def highest_cost(self, request: ModelRequest) -> int:
        self.works += request.goes_on
        if self.works == 3:
            self.tried.set()
        return super().highest_cost(request)

    async def complete(self, request: ModelRequest) -> ModelReply:
        if request.goes_on:
            await asyncio.wait_for(self.tried.wait(), 5)
        return await super().complete(request)


def three(price: int) -> ModelOf:
    """Three steps at the same time, of which each is one call."""
    steps = planned(*[step(f"Look {n}.", "research", needs=[]) for n in range(3)])
    replies = [steps, *[end(f"Seen {n}.") for n in range(3)], say("All three.")]
    return lambda breakers, _: Held({ONE: replies}, breakers, price=price)


async def test_what_calls_on_the_wire_hold_is_waited_for_before_a_step_is_given_up(
    desks: list[Desk], tmp_path: Path
) -> None:
    # Each may cost 40,000 and comes to 1,000: there is room for two of them on the wire at once.
    desks.append(desk := await Desk.open(tmp_path, three(40_000), limits=Limits(micro_usd=95_000)))
    run = await desk.done()
    told = desk.story(run).split()
    assert told[-1] == "COMPLETED"
    assert (told.count("budget_exceeded"), told.count("done")) == (1, 3)
    assert desk.cost(run) == (5_000, 0)
    assert "All three." in desk.thread(run)


async def test_steps_at_the_same_time_keep_within_one_budget_and_who_waited_in_vain_is_told(
    desks: list[Desk], tmp_path: Path
) -> None:
    desks.append(desk := await Desk.open(tmp_path, three(1_000), limits=Limits(micro_usd=3_000)))
    run = await desk.done()
    told = desk.story(run).split()
    assert told[-1] == "PARTIAL"
    assert (told.count("step1"), told.count("step2"), told.count("step3")) == (1, 1, 1)
    # The third one beside the others, then alone; and the answer.
    assert (told.count("budget_exceeded"), told.count("done"), told.count("failed")) == (3, 2, 1)
    assert desk.cost(run) == (3_000, 0)
    assert "The run's budget does not allow another call." in desk.thread(run)

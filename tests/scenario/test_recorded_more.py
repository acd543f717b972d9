"""Runs with a crash, an end of the money, a passing fault, a permission or questions beside them, had again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import events as ev
from agent.domain import Action, Outcome, Principal, Revision, RunStatus, Task
from agent.errors import ConfigurationError, ModelError, ModelRateLimited, ModelUnavailable
from agent.fakes import CountingIds
from agent.moves import Limits
from agent.ports import ModelReply, Stored
from agent.recorded import scenario_of
from storage.blobs import read_blob
from storage.database import Database
from storage.fakes import DECIDERS
from storage.journal import read_events
from storage.lease import LEASE_S, Lease
from storage.questions import Questions
from tests.scenario.conftest import Opened
from tests.scenario.faulty import ONE, TWO, Desk, ModelOf, Scripted
from tests.scenario.rerun import rerun
from tests.scenario.script import end, plan, say, use
from tests.scenario.test_faults_of_tools import Shaky
from tests.scenario.test_grants import again_and_again, allow
from tests.scenario.touch import Touch
from tests.scenario.world import OMAR

Says = Sequence[ModelReply | ModelError]
SUM = use(("calculate", {"expression": "6 * 7"}))


@pytest.fixture
async def desks() -> AsyncIterator[list[Desk]]:
    opened: list[Desk] = []
    yield opened
    for desk in opened:
        await desk.close()


def scripted(one: Says, two: Says | None = None, **more: Any) -> ModelOf:
    says = {ONE: one} if two is None else {ONE: one, TWO: two}
    return lambda breakers, _: Scripted(says, breakers, **more)


def record(db: Database, run: str, **limits: Any) -> dict[str, Any]:
    """The scenario as it stands in a file."""
    stored = db.read(lambda conn: read_events(conn, run))
    return json.loads(
        json.dumps(scenario_of(run, stored, lambda digest: db.read(lambda conn: read_blob(conn, digest)), limits))
    )


async def had_again(db: Database, run: str, folder: Path, **limits: Any) -> dict[str, Any]:
    """Record the run and have it again; it must come to the same, and not to anything else."""
    body = record(db, run, **limits)
    assert await rerun(body, folder) == body["expected"]
    body["expected"]["cost_micro_usd"] += 1
    assert await rerun(body, folder) != body["expected"]
    return body


async def crash(desk: Desk, model_of: ModelOf, run: str) -> None:
    """The process hangs for ever; another one takes the lease, and the run, over."""
    for done in desk._ends:
        done()
    desk.store.clock.advance(LEASE_S + 1)
    lease = Lease(desk.store.db, CountingIds(count=900), holder="another")
    assert await lease.acquire()
    desk.store.lease, desk.model_of = lease, model_of
    desk.start()
    await desk.runtime.recover([run])


async def test_a_run_whose_money_ended_in_the_middle(desks: list[Desk], tmp_path: Path) -> None:
    desks.append(desk := await Desk.open(tmp_path, scripted([plan(), SUM, end()]), limits=Limits(micro_usd=2_500)))
    run = await desk.done()
    assert "budget_exceeded" in desk.story(run)
    body = await had_again(desk.store.db, run, tmp_path)
    assert body["expected"]["status"] == "partial"
    assert body["expected"]["cost_micro_usd"] == 2_001


async def test_a_run_that_went_on_with_a_cheaper_model(desks: list[Desk], tmp_path: Path) -> None:
    model_of = scripted([plan()], [plan(), SUM, end(), say()], dear={ONE: 400_000})
    desks.append(desk := await Desk.open(tmp_path, model_of, limits=Limits(micro_usd=300_000)))
    await had_again(desk.store.db, await desk.done(), tmp_path)


async def test_a_run_whose_time_was_used_up_by_waiting(desks: list[Desk], tmp_path: Path) -> None:
    says = [ModelRateLimited(retry_after_s=25), plan(), ModelRateLimited(retry_after_s=25), end(), say()]
    desks.append(desk := await Desk.open(tmp_path, scripted(says), limits=Limits(active_s=40)))
    body = await had_again(desk.store.db, await desk.done(), tmp_path, active_s=40)
    assert body["expected"]["events"]["time_ran_out"] == 1


async def test_a_call_that_was_charged_and_brought_nothing(desks: list[Desk], tmp_path: Path) -> None:
    says = [ModelUnavailable(), plan(), SUM, end(), say()]
    desks.append(desk := await Desk.open(tmp_path, scripted(says, price=7_000)))
    body = await had_again(desk.store.db, await desk.done(), tmp_path)
    assert body["expected"]["cost_micro_usd"] == 11_001


async def test_a_crash_while_a_model_was_asked(desks: list[Desk], tmp_path: Path) -> None:
    desks.append(desk := await Desk.open(tmp_path, scripted([plan()], gate=asyncio.Event(), price=7_000)))
    run = await desk.ask()
    desk.runtime.wake(run)
    assert isinstance(desk.model, Scripted)
    await desk.model.asked.wait()
    before = desk.runtime
    await crash(desk, scripted([plan(), SUM, end(), say()]), run)
    await desk.settled(run)
    body = await had_again(desk.store.db, run, tmp_path)
    assert body["ends"] == [{"after_events": 3, "graceful": False}]
    assert body["expected"]["cost_micro_usd"] == 11_001
    await before.close(0)


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_crash_while_a_tool_ran(desks: list[Desk], tmp_path: Path, *, idempotent: bool) -> None:
    tool = Touch("touch_low", "low")
    tool.idempotent = idempotent
    tool.hold()
    first = scripted([plan(), use(("touch_low", {"name": "a"}))])
    desks.append(desk := await Desk.open(tmp_path, first, tools=[tool]))
    run = await desk.ask()
    desk.runtime.wake(run)
    await asyncio.wait_for(tool.running.wait(), 5)
    before = desk.runtime
    desk.tools = [Touch("touch_low", "low")]
    await crash(desk, scripted([end(), say()]), run)
    state = await desk.settled(run)
    if not idempotent:
        assert state.open_takeover is not None
        claim = await desk.store.decisions.claim(state.open_takeover.id, DECIDERS[0])
        await desk.store.decisions.close_takeover(
            claim.id, DECIDERS[0], "done", token=claim.claim_token, what="It had happened.", reference="", evidence=""
        )
        await desk.settled(run)
    assert desk.story(run).endswith("COMPLETED")
    body = await had_again(desk.store.db, run, tmp_path)
    assert len(body["ends"]) == 1
    assert body["actions"][0]["faults"] == ([{"code": "", "summary": ""}] if idempotent else [])
    tool.release()
    await before.close(0)


async def test_a_process_that_was_ended_in_peace(desks: list[Desk], tmp_path: Path) -> None:
    desks.append(desk := await Desk.open(tmp_path, scripted([plan()], gate=asyncio.Event())))
    run = await desk.ask()
    desk.runtime.wake(run)
    assert isinstance(desk.model, Scripted)
    await desk.model.asked.wait()
    desk.model_of = scripted([plan(), end(), say()])
    await desk.restart()
    await desk.settled(run)
    assert "cancelled" in desk.story(run)
    body = await had_again(desk.store.db, run, tmp_path)
    assert body["ends"] == [{"after_events": 3, "graceful": True}]


async def test_a_tool_that_was_tried_again(desks: list[Desk], tmp_path: Path) -> None:
    tool = Shaky([ConnectionResetError(), ConnectionResetError()]).tool()
    says = [plan(), use(("touch_low", {"name": "a"})), end(), say()]
    desks.append(desk := await Desk.open(tmp_path, scripted(says), tools=[tool]))
    body = await had_again(desk.store.db, await desk.done(), tmp_path)
    assert body["expected"]["events"]["action_resumed"] == 2
    assert body["ends"] == []


async def test_a_run_with_a_permission_for_further_calls(open_house: Opened, tmp_path: Path) -> None:
    house = await open_house(model=again_and_again("x", 3), tools=[Touch("touch_medium")])
    ts = await house.ask("touch it three times")
    await allow(house, OMAR, await house.card("Touch x"), uses=3)
    await house.answer(ts)
    run = await house.run_at(ts)
    body = await had_again(house.app.db, run.id, tmp_path)
    assert [[rating["grant"] for rating in one["ratings"]] for one in body["actions"]] == [[False], [True], [True]]


async def test_questions_beside_a_run_are_no_part_of_its_scenario(desks: list[Desk], tmp_path: Path) -> None:
    says = [plan(), use(("touch_high", {"name": "a"})), say("It waits."), end(), say()]
    desks.append(desk := await Desk.open(tmp_path, scripted(says), tools=[Touch("touch_high", "high")]))
    run = await desk.ask()
    state = await desk.settled(run)
    questions = Questions(desk.store.db)
    assert state.open_takeover is not None
    asked = await questions.ask("Q1", state.open_takeover.id, DECIDERS[0], "Why?")
    assert asked is not None
    assert await questions.answer(asked, await desk.runtime.explain(run, "Why?"))
    claim = await desk.store.decisions.claim(state.open_takeover.id, DECIDERS[0])
    await desk.store.decisions.close_takeover(
        claim.id, DECIDERS[0], "done", token=claim.claim_token, what="Done.", reference="", evidence=""
    )
    await desk.settled(run)
    assert desk.cost(run) == (5_000, 0)
    body = await had_again(desk.store.db, run, tmp_path)
    assert "Why?" not in json.dumps(body)
    assert body["expected"]["cost_micro_usd"] == 4_001  # without the answer's


async def test_a_run_whose_words_were_dropped_is_none_and_the_reason_is_a_sentence(
    desks: list[Desk], tmp_path: Path
) -> None:
    desks.append(desk := await Desk.open(tmp_path, scripted([plan(), end(), say()])))
    run = await desk.done()
    stored = desk.store.db.read(lambda conn: read_events(conn, run))

    def gone(digest: str) -> str:
        raise KeyError(digest)

    with pytest.raises(ConfigurationError, match="was dropped after its time"):
        scenario_of(run, stored, gone)


def test_a_call_that_a_person_changed_is_said_to_be_why_a_run_is_none() -> None:
    who = Principal(team="T1", user="U1")
    change = Revision(of="a0", cause="edit", by=who.key)
    action = Action(
        id="a1",
        step=0,
        turn=0,
        tool="x",
        arguments={},
        digest="d",
        schema_hash="s",
        rationale="",
        call_id="0/c1",
        revision=change,
    )
    events = [
        ev.RunCreated(task=Task(id="t", text="x", principal=who)),
        ev.RunStarted(policy_version="p"),
        ev.StepStarted(step=0, planned=0),
        ev.ActionProposed(action=action),
        ev.ActionFinished(action="a1", outcome=Outcome.CANCELLED),
        ev.RunFinished(status=RunStatus.CANCELLED, answer_blob=""),
    ]
    stored = [Stored(seq, 1.0, event) for seq, event in enumerate(events, 1)]
    with pytest.raises(ConfigurationError, match="a person changed a call of it by hand"):
        scenario_of("r1", stored, lambda _: "")

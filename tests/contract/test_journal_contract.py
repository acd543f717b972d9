"""The same tests for every journal: the one in memory and the one in SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import (
    Action,
    ApprovalState,
    Outcome,
    Plan,
    PlannedStep,
    Principal,
    RunStatus,
    Task,
    Tier,
    Worker,
    content_hash,
)
from agent.errors import AlreadyStarted, ApprovalNotValid, EpochMoved, LeaseLost, RunPaused, RunStopped
from agent.fakes import ManualClock, MemoryJournal
from agent.ports import Fact, Intention, Journal
from agent.state import fold
from storage.fakes import Store
from storage.journal import append

RUN = "r1"
PERSON = Principal(team="T1", user="U1")


@dataclass
class Subject:
    journal: Journal
    clock: ManualClock
    lose_lease: Callable[[], object]
    keep_lease: Callable[[], object]
    halt: Callable[[str], object]
    decide: Callable[[ev.Event], object]
    """Append a decision as people's door does; the agent's own door writes none."""


@pytest.fixture(params=["memory", "sqlite"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "memory":
        memory = MemoryJournal()

        def halt(how: str) -> None:
            if how == "stop":
                memory.stopped.add(RUN)
            else:
                memory.paused = True

        def lose() -> None:
            memory.holder = "another"

        yield Subject(memory, memory.clock, lose, lambda: None, halt, lambda event: memory.append(RUN, event))
        return
    store = await Store.open(tmp_path / "store.db")

    async def write_flag(how: str) -> None:
        run = RUN if how == "stop" else ""
        await store.control.write("stop" if how == "stop" else "pause", run=run, by=PERSON.key)

    async def take_lease() -> None:
        await store.db.write(lambda tx: tx.conn.execute("UPDATE lease SET token = 'another'"))

    async def keep_lease() -> None:
        await store.db.write(lambda tx: tx.conn.execute("UPDATE lease SET expires_at = ?", (tx.transport + 1,)))

    async def decide(event: ev.Event) -> None:
        await store.db.write(lambda tx: append(tx, RUN, (event,)))

    yield Subject(store.journal, store.clock, take_lease, keep_lease, write_flag, decide)
    await store.close()


async def now(result: object) -> None:
    if hasattr(result, "__await__"):
        await result


def action(name: str = "a1") -> Action:
    return Action(id=name, step=0, turn=0, tool="query_sql", arguments={}, digest=content_hash(name), schema_hash="s")


async def begin(subject: Subject, tier: Tier = Tier.LOW) -> Action:
    item = action()
    created = ev.RunCreated(task=Task(id="t1", text="do it", principal=PERSON))
    plan = Plan(planner="p", steps=(PlannedStep(worker=Worker.CODE, instruction="i"),))
    await subject.journal.commit(
        RUN,
        (
            created,
            ev.RunStarted(policy_version="p1"),
            ev.PlanMade(plan=plan),
            ev.StepStarted(step=0, planned=0),
            ev.ActionProposed(action=item),
            ev.ActionRated(action=item.id, tier=tier),
        ),
        Fact(),
    )
    return item


async def ask(subject: Subject, item: Action, state: ApprovalState | None = ApprovalState.APPROVED) -> None:
    at = subject.clock.now()
    asked = ev.ApprovalRequested(
        approval="k1", action=item.id, digest=item.digest, epoch=0, created_at=at, expires_at=at + 60, timeout_s=60,
        deciders=("slack:T1:U2",),
    )  # fmt: skip
    await subject.journal.commit(RUN, (asked,), Fact())
    if state:
        start_before = at + 60 if state is ApprovalState.APPROVED else 0.0
        await now(subject.decide(ev.ApprovalDecided(approval="k1", state=state, at=at, start_before=start_before)))


async def start(
    subject: Subject, item: Action, *, consumes: str = "", digest: str | None = None, epoch: int = 0
) -> None:
    digest = item.digest if digest is None else digest
    started = ev.ActionStarted(
        action=item.id, digest=digest, lease_token=subject.journal.lease_token, approval=consumes
    )
    condition = Intention(epoch=epoch, starts=item.id, digest=digest, consumes=consumes, effect_s=30.0)
    await subject.journal.commit(RUN, (started,), condition)


async def test_events_are_numbered_from_one_without_gaps_and_read_back_as_they_were(subject: Subject) -> None:
    item = await begin(subject)
    committed = await subject.journal.commit(
        RUN, (ev.TimeRanOut(active_s=1.0), ev.StopRequested(by="x")), Intention(epoch=0)
    )
    assert committed.first_seq == 7
    assert [stored.seq for stored in committed.events] == [7, 8]
    stored = await subject.journal.read(RUN)
    assert [row.seq for row in stored] == list(range(1, 9))
    assert {row.at for row in stored} == {subject.clock.now()}
    assert stored[4].event == ev.ActionProposed(action=item)
    assert await subject.journal.read(RUN, after=6) == committed.events
    assert fold(RUN, stored).seq == 8


async def test_a_run_that_is_not_there_has_no_events(subject: Subject) -> None:
    assert await subject.journal.read("nobody") == ()


async def test_bodies_are_kept_by_their_hash_and_unknown_ones_are_a_key_error(subject: Subject) -> None:
    await begin(subject)
    body = "über \ud800 and \x00"
    await subject.journal.commit(
        RUN, (ev.TimeRanOut(active_s=1.0),), Fact(), blobs={content_hash(body): body}
    )  # fmt: skip
    assert await subject.journal.blob(content_hash(body)) == body
    with pytest.raises(KeyError):
        await subject.journal.blob(content_hash("another"))
    with pytest.raises(KeyError):
        await subject.journal.blob("no hash at all")


async def test_a_low_action_starts_once(subject: Subject) -> None:
    item = await begin(subject)
    await start(subject, item)
    with pytest.raises(AlreadyStarted):
        await start(subject, item)
    finished = ev.ActionFinished(action=item.id, outcome=Outcome.SUCCEEDED)
    await subject.journal.commit(RUN, (finished,), Fact())
    with pytest.raises(AlreadyStarted):
        await start(subject, item)


async def test_an_approved_action_starts_by_using_its_approval_up(subject: Subject) -> None:
    item = await begin(subject, Tier.MEDIUM)
    await ask(subject, item)
    await start(subject, item, consumes="k1")
    state = fold(RUN, await subject.journal.read(RUN))
    assert state.actions[item.id].phase == "started"


@pytest.mark.parametrize("state", [None, ApprovalState.DENIED, ApprovalState.EXPIRED, ApprovalState.WITHDRAWN])
async def test_nothing_but_an_approved_decision_lets_an_action_start(
    subject: Subject, state: ApprovalState | None
) -> None:
    item = await begin(subject, Tier.MEDIUM)
    await ask(subject, item, state)
    with pytest.raises((ApprovalNotValid, AlreadyStarted)):
        await start(subject, item, consumes="k1")
    assert fold(RUN, await subject.journal.read(RUN)).actions[item.id].phase != "started"


async def test_a_medium_action_never_starts_without_naming_its_approval(subject: Subject) -> None:
    item = await begin(subject, Tier.MEDIUM)
    await ask(subject, item)
    with pytest.raises(ApprovalNotValid):
        await start(subject, item)
    with pytest.raises(ApprovalNotValid):
        await start(subject, item, consumes="another")


async def test_the_agents_own_door_writes_neither_a_yes_nor_a_vote(subject: Subject) -> None:
    item = await begin(subject, Tier.MEDIUM)
    await ask(subject, item, None)
    at = subject.clock.now()
    yes = ev.ApprovalDecided(approval="k1", state=ApprovalState.APPROVED, at=at, by=PERSON.key, start_before=at + 60)
    for event in (yes, ev.VoteCast(approval="k1", principal=PERSON, vote="approve", at=at)):
        with pytest.raises(ApprovalNotValid):
            await subject.journal.commit(RUN, (event,), Fact())


async def test_a_yes_lapses_when_the_action_does_not_start_in_time(subject: Subject) -> None:
    item = await begin(subject, Tier.MEDIUM)
    await ask(subject, item)
    subject.clock.advance(60)
    await now(subject.keep_lease())
    with pytest.raises(ApprovalNotValid):
        await start(subject, item, consumes="k1")


async def test_another_digest_is_not_what_people_said_yes_to(subject: Subject) -> None:
    item = await begin(subject, Tier.MEDIUM)
    await ask(subject, item)
    with pytest.raises(ApprovalNotValid):
        await start(subject, item, consumes="k1", digest=content_hash("another"))


async def test_a_high_action_never_starts(subject: Subject) -> None:
    item = await begin(subject, Tier.HIGH)
    with pytest.raises(ApprovalNotValid):
        await start(subject, item)


async def test_an_old_epoch_is_refused_and_facts_are_not(subject: Subject) -> None:
    await begin(subject)
    with pytest.raises(EpochMoved):
        await subject.journal.commit(RUN, (ev.TimeRanOut(active_s=1.0),), Intention(epoch=1))
    await subject.journal.commit(RUN, (ev.TimeRanOut(active_s=1.0),), Fact())


async def test_who_lost_the_lease_starts_nothing_but_still_records_facts(subject: Subject) -> None:
    item = await begin(subject)
    await start(subject, item)
    await now(subject.lose_lease())
    with pytest.raises(LeaseLost):
        await subject.journal.commit(RUN, (ev.TimeRanOut(active_s=1.0),), Intention(epoch=0))
    finished = ev.ActionFinished(action=item.id, outcome=Outcome.SUCCEEDED)
    await subject.journal.commit(RUN, (finished,), Fact())
    assert fold(RUN, await subject.journal.read(RUN)).actions[item.id].outcome is Outcome.SUCCEEDED


async def test_a_stopped_run_starts_nothing(subject: Subject) -> None:
    item = await begin(subject)
    await now(subject.halt("stop"))
    with pytest.raises(RunStopped):
        await start(subject, item)


async def test_a_pause_keeps_everything_from_starting(subject: Subject) -> None:
    item = await begin(subject)
    await now(subject.halt("pause"))
    with pytest.raises(RunPaused):
        await start(subject, item)
    await subject.journal.commit(RUN, (ev.TimeRanOut(active_s=1.0),), Intention(epoch=0))


async def test_a_refused_commit_writes_nothing(subject: Subject) -> None:
    await begin(subject)
    with pytest.raises(EpochMoved):
        await subject.journal.commit(
            RUN, (ev.TimeRanOut(active_s=1.0),), Intention(epoch=3), blobs={content_hash("b"): "b"}
        )
    assert len(await subject.journal.read(RUN)) == 6
    with pytest.raises(KeyError):
        await subject.journal.blob(content_hash("b"))


async def test_a_finished_run_takes_late_results(subject: Subject) -> None:
    item = await begin(subject)
    await start(subject, item)
    await subject.journal.commit(RUN, (ev.RunFinished(status=RunStatus.CANCELLED),), Fact())
    finished = ev.ActionFinished(action=item.id, outcome=Outcome.SUCCEEDED)
    await subject.journal.commit(RUN, (finished,), Fact())
    state = fold(RUN, await subject.journal.read(RUN))
    assert (state.status, state.actions[item.id].outcome) == (RunStatus.CANCELLED, Outcome.SUCCEEDED)

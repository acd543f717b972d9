from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agent import events as ev
from agent import state as agent_state
from agent.domain import (
    Action,
    ApprovalState,
    Outcome,
    Plan,
    PlannedStep,
    Principal,
    RunStatus,
    TakeoverState,
    Task,
    Tier,
    Worker,
)
from agent.errors import DecisionError, JournalError
from agent.ports import Stored
from agent.state import IllegalTransition, RunState, apply, fold
from storage.audit import verify_connection
from storage.database import Tx, connect
from storage.journal import append, read_events
from storage.projections import _TABLE, AFTER_THE_END
from storage.schema import migrate

ALICE, BOB = (Principal(team="T1", user=user) for user in ("U1", "U2"))
NAMES = range(2)


def candidates(run: str, at: float) -> list[ev.Event]:
    """Every event that the small world of these tests knows, fitting or not; ids are the run's own."""
    events: list[ev.Event] = [
        ev.RunStarted(policy_version="p"),
        ev.CoRequesterAdded(principal=BOB, cause="edit"),
        ev.FollowUpReceived(principal=ALICE, text_blob="b"),
        ev.PlanMade(plan=Plan(planner="p", steps=(PlannedStep(worker=Worker.CODE, instruction="i"),))),
        ev.PlanFailed(reason="no"),
        ev.TimeRanOut(active_s=900.0),
        ev.StopRequested(by="x"),
        *(ev.RunFinished(status=status, answer_blob="b", summary="s") for status in RunStatus if status.is_final),
    ]
    for n in NAMES:
        call, action, approval, takeover = (f"{run}-{kind}{n}" for kind in "cakt")
        events += [
            ev.ModelCallStarted(call=call, purpose="plan", model="m", reserved_micro_usd=100 + n),
            ev.ModelCallFinished(call=call, reply_blob="b", cost_micro_usd=40 + n),
            ev.ModelCallFailed(call=call, code="MODEL", cost_micro_usd=7),
            ev.StepStarted(step=n, planned=0),
            ev.StepFinished(step=n, status="done", summary="s"),
            ev.ActionProposed(
                action=Action(
                    id=action, step=n, turn=0, tool="t", arguments={"n": n}, digest=f"d{n}", schema_hash="s"
                )
            ),
            *(ev.ActionRated(action=action, tier=tier) for tier in Tier),
            ev.ActionStarted(action=action, digest=f"d{n}", lease_token="l", attempt=n),
            ev.ActionResumed(action=action),
            *(
                ev.ActionFinished(action=action, outcome=outcome)
                for outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN)
            ),
            ev.ApprovalRequested(
                approval=approval, action=action, digest=f"d{n}", epoch=0, created_at=at, expires_at=at + 60,
                timeout_s=60, deciders=(BOB.key,),
            ),
            ev.ApprovalDelivered(approval=approval, delivered_at=at, expires_at=at + 90),
            ev.VoteCast(approval=approval, principal=BOB, vote="approve", at=at),
            *(
                ev.ApprovalDecided(
                    approval=approval, state=state, at=at, by=BOB.key, reason_until=at + 60 if waits else 0.0,
                    start_before=at + 60 if state is ApprovalState.APPROVED else 0.0,
                )
                for state in ApprovalState
                if state is not ApprovalState.PENDING
                for waits in ((False, True) if state is ApprovalState.DENIED else (False,))
            ),
            *(ev.DenialExplained(approval=approval, reason=reason) for reason in ("", "because")),
            ev.TakeoverOpened(
                takeover=takeover, action=action, epoch=0, cause="high" if n else "unknown", opened_at=at,
                give_up_at=at + 600,
                deciders=(BOB.key,),
            ),
            ev.TakeoverClaimed(takeover=takeover, by=BOB, claim_token=f"token{n}", at=at, until=at + 60),
            ev.TakeoverReleased(takeover=takeover, at=at, why="released"),
            ev.TakeoverReminded(takeover=takeover, at=at, escalated=bool(n)),
            *(
                ev.TakeoverClosed(takeover=takeover, state=state, at=at, by=BOB.key, what="w", epoch=1 + n)
                for state in ("done", "handed_back", "aborted")
            ),
        ]  # fmt: skip
    return events


def folds(state: RunState, event: ev.Event, at: float) -> RunState | None:
    try:
        return apply(state, Stored(state.seq + 1, at, event))
    except (IllegalTransition, LookupError):
        return None


@pytest.fixture(scope="module")
def conn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("projections") / "store.db"
    migrate(path)
    opened = connect(path)
    opened.execute("PRAGMA synchronous=OFF")  # what is tested here is rows, not power cuts
    yield opened
    opened.close()


def rows_as_state(conn: sqlite3.Connection, run: str) -> dict[str, object]:
    line = conn.execute(
        "SELECT status, epoch, seq, steps, spent_micro_usd, reserved_micro_usd, waiting_on, in_flight, answer_blob "
        "FROM runs WHERE id = ?",
        (run,),
    ).fetchone()
    actions = "SELECT id, phase, tier, outcome, approval, takeover, attempt, lease_token FROM actions WHERE run = ?"
    approvals = (
        "SELECT id, state, decided_by, reason, reason_until IS NOT NULL, coalesce(start_before, 0.0), expires_at "
        "FROM approvals WHERE run = ?"
    )
    takeovers = (
        "SELECT id, state, CASE WHEN closed_at IS NULL THEN claimed_by ELSE closed_by END, claim_token "
        "FROM takeovers WHERE run = ?"
    )
    people = "SELECT requester FROM runs WHERE id = ? UNION SELECT principal FROM co_requesters WHERE run = ?"
    return {
        "run": line,
        "actions": set(conn.execute(actions, (run,))),
        "approvals": set(conn.execute(approvals, (run,))),
        "takeovers": set(conn.execute(takeovers, (run,))),
        "people": {key for (key,) in conn.execute(people, (run, run))},
    }


def state_as_rows(state: RunState) -> dict[str, object]:
    waiting_on = (
        sum(item.state is ApprovalState.PENDING or item.reason_open for item in state.approvals.values())
        + sum(not item.state.is_final for item in state.takeovers.values())
    )  # fmt: skip
    in_flight = sum(item.phase == "started" for item in (*state.actions.values(), *state.calls.values()))
    return {
        "run": (
            state.status, state.epoch, state.seq, len(state.steps), state.spent, state.reserved, waiting_on, in_flight,
            state.answer_blob,
        ),
        "actions": {
            (item.action.id, item.phase, item.tier, item.outcome, item.approval, item.takeover, item.attempt,
             item.lease_token)
            for item in state.actions.values()
        },
        "approvals": {
            (item.id, item.state, item.by, item.reason, int(item.reason_open), item.start_before, item.expires_at)
            for item in state.approvals.values()
        },
        "takeovers": {(item.id, item.state, item.by, item.claim_token) for item in state.takeovers.values()},
        "people": set(state.co_requesters),
    }  # fmt: skip


RUNS = iter(range(10**9))


# Shrinking replays thousands of journals; the seed that hypothesis prints is enough to see a failure again.
@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_rows_equal_the_fold_after_any_events_and_what_would_not_fold_is_refused(
    conn: sqlite3.Connection, data: st.DataObject
) -> None:
    run, at = f"r{next(RUNS)}", 1_800_000_000.25
    tx = Tx(conn, at, at)
    state = RunState(run=run)
    created: ev.Event = ev.RunCreated(task=Task(id=f"{run}-task", text="do it", principal=ALICE))
    append(tx, run, (created,))
    state = apply(state, Stored(1, at, created))
    world = candidates(run, at)
    # Far enough on that most of what follows is about actions.
    opening = (ev.RunStarted, ev.StepStarted, ev.ActionProposed)
    for event in [event for kind in opening for event in world if isinstance(event, kind)]:
        append(tx, run, (event,))
        state = apply(state, Stored(state.seq + 1, at, event))
    for _ in range(data.draw(st.integers(5, 40), label="events")):
        # Ids of model calls are never used twice: the store forgets a call when it has ended.
        world = [event for event in world if not (isinstance(event, ev.ModelCallStarted) and event.call in state.calls)]
        fitting = [event for event in world if folds(state, event, at)]
        odd = data.draw(st.integers(0, 5)) == 0
        pool = world if odd or not fitting else fitting
        kind = data.draw(st.sampled_from(sorted({event.type for event in pool})))
        event = data.draw(st.sampled_from([event for event in pool if event.type == kind]))
        if isinstance(event, ev.RunFinished) and data.draw(st.integers(0, 9)):
            continue  # else most runs end before they have begun
        after = folds(state, event, at)
        conn.execute("SAVEPOINT try")
        try:
            append(tx, run, (event,))
        except (JournalError, DecisionError):
            conn.execute("ROLLBACK TO try")  # the store may refuse more than the fold, never less
        else:
            assert after is not None, f"{event} was written and cannot be read"
            state = after
        conn.execute("RELEASE try")
        assert rows_as_state(conn, run) == state_as_rows(state)
    assert fold(run, read_events(conn, run)) == state


def test_every_event_has_its_projection() -> None:
    assert set(_TABLE) == set(ev.Event.__args__)


def test_the_events_that_may_follow_the_end_are_the_agents_own_list() -> None:
    assert set(AFTER_THE_END) == set(agent_state._AFTER_THE_END)


def test_a_run_of_a_terminal_has_no_messages(conn: sqlite3.Connection) -> None:
    tx = Tx(conn, 1.0, 1.0)
    me = Principal(kind="local", user="1000")
    append(tx, "local", (ev.RunCreated(task=Task(id="local-task", text="t", principal=me)),))
    append(tx, "local", (ev.RunFinished(status=RunStatus.COMPLETED),))
    assert conn.execute("SELECT count(*) FROM outbox WHERE run = 'local'").fetchone() == (0,)
    assert ("outbox", "") not in tx.signals


def test_everything_that_these_tests_wrote_verifies(conn: sqlite3.Connection) -> None:
    assert verify_connection(conn).ok
    assert {state.value for state in TakeoverState} >= {
        state for (state,) in conn.execute("SELECT DISTINCT state FROM takeovers")
    }

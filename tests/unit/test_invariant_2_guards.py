"""Invariant 2, guard by guard: each of them alone keeps an approved action from starting a second time.

The other tests of the invariant still hold when one guard is gone, since the others remain; these do not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent import events as ev
from agent.domain import Tier
from agent.errors import AlreadyStarted, ApprovalNotValid
from agent.ports import Stored
from agent.state import IllegalTransition, RunState, apply, fold
from agent.supervisor import Limits, StartAction, next_moves
from storage import projections
from storage.fakes import DECIDERS, Store
from storage.journal import _check_start, append
from storage.rows import ApprovalRow
from storage.working import Working


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def begun(store: Store) -> ApprovalRow:
    """An approval that was used: its action has started."""
    run = await store.run()
    asked = await store.ask(run)
    row = await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.start(run, row)
    return store.approval(row.id)


async def pretend(store: Store, statement: str, *values: object) -> None:
    """Change a row as a bug in another guard would have left it."""
    await store.db.write(lambda tx: tx.conn.execute(statement, values))


def start_of(store: Store, row: ApprovalRow) -> ev.ActionStarted:
    return ev.ActionStarted(
        action=row.action, digest=row.digest, lease_token=store.journal.lease_token, approval=row.id
    )  # fmt: skip


async def test_the_used_up_yes_alone_stops_a_second_start(store: Store) -> None:
    row = await begun(store)
    await pretend(store, "UPDATE actions SET phase = 'approved', started_at = NULL WHERE id = ?", row.action)
    with pytest.raises(ApprovalNotValid):
        await store.start(row.run, row)


async def test_the_look_at_the_phase_before_the_start_alone_stops_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await begun(store)
    await pretend(store, "UPDATE approvals SET consumed_at = NULL WHERE id = ?", row.id)

    def nothing(work: Working, event: ev.ActionStarted, seq: int) -> None:
        del work, event, seq

    table: dict[type[Any], Any] = projections._TABLE
    monkeypatch.setitem(table, ev.ActionStarted, nothing)
    with pytest.raises(AlreadyStarted):
        await store.start(row.run, row)


async def test_the_projection_alone_stops_a_start_that_nobody_checked(store: Store) -> None:
    row = await begun(store)
    with pytest.raises(AlreadyStarted):
        await store.db.write(lambda tx: append(tx, row.run, [start_of(store, row)]))


@pytest.mark.parametrize(
    ("column", "value"), [("digest", "0" * 64), ("epoch", 7), ("state", "denied"), ("start_before", 0.0),
     ("action", "a9")]
)  # fmt: skip
async def test_each_condition_on_the_yes_alone_stops_the_start(store: Store, column: str, value: object) -> None:
    run = await store.run()
    asked = await store.ask(run)
    row = await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await pretend(store, f"UPDATE approvals SET {column} = ? WHERE id = ?", value, row.id)  # noqa: S608  a constant
    with pytest.raises(ApprovalNotValid):
        await store.start(run, row)


async def test_a_medium_action_does_not_start_without_naming_its_yes(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    row = await store.decisions.vote(asked.id, DECIDERS[0], "approve")

    def check(tx: Any) -> None:  # the transaction
        from agent.ports import Intention  # noqa: PLC0415  only here

        _check_start(Working.load(tx, run), Intention(epoch=0, starts=row.action, digest=row.digest), ())

    with pytest.raises(ApprovalNotValid):
        await store.db.write(check)


async def test_the_fold_alone_refuses_a_second_start(store: Store) -> None:
    row = await begun(store)
    state = fold(row.run, await store.journal.read(row.run))
    with pytest.raises(IllegalTransition):
        apply(state, Stored(state.seq + 1, 0.0, start_of(store, row)))


async def test_the_supervisor_alone_never_asks_for_a_second_start(store: Store) -> None:
    row = await begun(store)
    state: RunState = fold(row.run, await store.journal.read(row.run))
    assert state.actions[row.action].phase == "started"
    assert not [move for move in next_moves(state, Limits()) if isinstance(move, StartAction)]


async def test_a_low_action_starts_once_too(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run, Tier.LOW)
    begun_event = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.journal.lease_token)
    await store.db.write(lambda tx: append(tx, run, [begun_event]))
    with pytest.raises(AlreadyStarted):
        await store.db.write(lambda tx: append(tx, run, [begun_event]))

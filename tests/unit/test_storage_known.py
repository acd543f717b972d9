"""What a transaction has read is not read again in it, and what another write of the batch changes counts at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.errors import LeaseLost, RunStopped
from agent.ports import Intention
from storage.batch import Known
from storage.database import Tx
from storage.fakes import Store
from storage.flags import refuse_if_halted, write_flag
from storage.lease import LEASE_S, refuse_without_lease
from storage.working import Working


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "store.db")
    yield store
    await store.close()


async def test_a_kill_counts_for_a_start_behind_it_in_the_same_transaction(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)

    def write(tx: Tx) -> None:
        work = Working.load(tx, run)
        refuse_if_halted(work, None, action.id)
        write_flag(tx, "kill", by="maya")
        refuse_if_halted(work, None, action.id)

    with pytest.raises(RunStopped):
        await store.db.write(write)


async def test_a_flag_that_was_taken_back_with_its_write_counts_no_more(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    known: list[Known] = []

    def fails(tx: Tx) -> None:
        write_flag(tx, "kill", by="maya")
        assert tx.known.may_be_halted(tx.conn)
        known.append(tx.known)
        raise LookupError("on purpose")

    with pytest.raises(LookupError):
        await store.db.write(fails)
    await store.db.write(lambda tx: known.append(tx.known) or _may_not(tx, known[0]))
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    await store.journal.commit(run, (started,), Intention(epoch=0, starts=action.id, digest=action.digest))


def _may_not(tx: Tx, known: Known) -> None:
    assert not known.may_be_halted(tx.conn)


async def test_a_lease_that_runs_out_between_two_writes_of_a_transaction_is_lost_for_the_second(store: Store) -> None:
    def write(tx: Tx) -> None:
        refuse_without_lease(tx, store.lease.token, 0.0)
        tx.transport += LEASE_S
        refuse_without_lease(tx, store.lease.token, 0.0)

    with pytest.raises(LeaseLost):
        await store.db.write(write)


async def test_a_longer_effect_behind_a_shorter_one_is_waited_for_by_a_successor(store: Store) -> None:
    def write(tx: Tx) -> int:
        seen: list[str] = []
        refuse_without_lease(tx, store.lease.token, 10.0)
        tx.conn.set_trace_callback(seen.append)
        refuse_without_lease(tx, store.lease.token, 10.0)
        refuse_without_lease(tx, store.lease.token, 30.0)
        refuse_without_lease(tx, store.lease.token, 20.0)
        tx.conn.set_trace_callback(None)
        return len(seen)

    assert await store.db.write(write) == 1
    holder = store.lease.current()
    assert holder is not None
    assert holder.effects_until == store.clock.transport() + 30


async def test_part_of_a_second_of_an_effect_is_waited_for_as_well(store: Store) -> None:
    await store.db.write(lambda tx: refuse_without_lease(tx, store.lease.token, 10.25))
    holder = store.lease.current()
    assert holder is not None
    assert holder.effects_until == store.clock.transport() + 11


async def test_a_lease_that_another_write_of_the_transaction_gave_up_is_lost(store: Store) -> None:
    def write(tx: Tx) -> None:
        refuse_without_lease(tx, store.lease.token, 0.0)
        tx.known.forget()
        tx.conn.execute("UPDATE lease SET expires_at = 0")
        refuse_without_lease(tx, store.lease.token, 0.0)

    with pytest.raises(LeaseLost):
        await store.db.write(write)
    await store.lease.release()
    with pytest.raises(LeaseLost):
        await store.db.write(lambda tx: refuse_without_lease(tx, store.lease.token, 0.0))

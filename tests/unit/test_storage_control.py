from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Action, RunStatus
from agent.errors import LeaseLost, RunPaused, RunStopped
from agent.fakes import CountingIds, ManualClock
from agent.ports import Fact, Intention
from agent.state import fold
from storage.database import Database
from storage.fakes import REQUESTER, Store
from storage.lease import LEASE_S, Lease


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def start(store: Store, run: str, action: Action) -> None:
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    await store.journal.commit(run, (started,), Intention(epoch=0, starts=action.id, digest=action.digest))


async def test_a_stop_counts_from_its_commit_before_anybody_has_taken_it(store: Store) -> None:
    run, other = await store.run(), await store.run()
    action, free = await store.propose(run), await store.propose(other)
    await store.control.write("stop", run=run, by=REQUESTER.key)
    with pytest.raises(RunStopped):
        await start(store, run, action)
    await start(store, other, free)


async def test_a_stop_of_all_is_for_the_runs_that_are_there(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    store.clock.advance(1)
    await store.control.write("stop", by=REQUESTER.key)
    with pytest.raises(RunStopped):
        await start(store, run, action)
    store.clock.advance(1)
    later = await store.run()
    await start(store, later, await store.propose(later))


async def test_pause_and_kill_stand_until_they_are_lifted(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    await store.control.write("pause", by="ops")
    with pytest.raises(RunPaused):
        await start(store, run, action)
    await store.control.write("kill", by="ops")
    with pytest.raises(RunStopped):
        await start(store, run, action)
    assert [flag.kind for flag in store.control.standing()] == ["pause", "kill"]
    await store.control.write("resume", by="ops")
    assert store.control.standing() == ()
    await start(store, run, action)


async def test_the_kill_file_stops_every_start(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    kill_file = store.db.path.with_suffix(".kill")
    kill_file.touch()
    assert store.control.killed_by_file
    with pytest.raises(RunStopped, match=r"store\.kill"):
        await start(store, run, action)
    kill_file.unlink()
    await start(store, run, action)


async def test_flags_of_another_process_are_taken_once_and_journalled(store: Store) -> None:
    run, other = await store.run(), await store.run()
    beside = await Database.open(store.db.path, clock=store.clock)
    await store.db.write(lambda tx: tx.signal("control"))
    await type(store.control)(beside).write("stop", run=run, by="cli", reason="enough")
    await beside.close()
    (flag,) = await store.control.take()
    assert (flag.kind, flag.run, flag.by, flag.reason) == ("stop", run, "cli", "enough")
    assert await store.control.take() == ()
    state = fold(run, await store.journal.read(run))
    assert (state.stop_by, state.stop_reason) == ("cli", "enough")
    assert fold(other, await store.journal.read(other)).stop_by == ""


async def test_stopping_all_at_once_names_the_runs_that_were_not_over(store: Store) -> None:
    runs = [await store.run() for _ in range(3)]
    await store.journal.commit(runs[0], (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())
    assert set(await store.control.stop("", by="ops")) == set(runs[1:])
    assert await store.control.take() == ()
    for run in runs[1:]:
        assert fold(run, await store.journal.read(run)).stop_by == "ops"


async def test_a_stop_is_over_with_its_run(store: Store) -> None:
    run = await store.run()
    await store.control.stop(run, by="ops")
    assert len(store.control.standing()) == 1
    await store.journal.commit(run, (ev.RunFinished(status=RunStatus.CANCELLED),), Fact())
    assert store.control.standing() == ()
    assert await store.control.stop(run, by="ops") == ()
    assert store.control.standing() == ()


async def test_a_flag_can_be_lifted_by_itself(store: Store) -> None:
    flag = await store.control.write("pause", by="ops")
    await store.control.lift(flag)
    assert store.control.standing() == ()


async def another_lease(store: Store, ids: CountingIds) -> tuple[Database, Lease]:
    db = await Database.open(store.db.path, clock=store.clock)
    return db, Lease(db, ids, holder="another")


async def test_one_process_has_the_lease_until_it_runs_out(store: Store) -> None:
    db, successor = await another_lease(store, CountingIds(count=100))
    assert not await successor.acquire()
    holder = store.lease.current()
    assert holder is not None
    assert holder.holder == "test"
    store.clock.advance(LEASE_S)
    assert await successor.acquire()
    with pytest.raises(LeaseLost):
        await store.lease.renew()
    run = "r-new"
    with pytest.raises(LeaseLost):
        await store.journal.commit(run, (ev.TimeRanOut(active_s=1.0),), Intention(epoch=0))
    await db.close()


async def test_renewing_keeps_the_lease_and_an_expired_one_cannot_be_renewed(store: Store) -> None:
    store.clock.advance(LEASE_S - 1)
    await store.lease.renew()
    store.clock.advance(LEASE_S - 1)
    await store.lease.renew()
    store.clock.advance(LEASE_S)
    with pytest.raises(LeaseLost):
        await store.lease.renew()
    assert store.lease.current() is None


async def test_a_released_lease_is_free_at_once_and_tells_until_when_effects_may_last(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    condition = Intention(epoch=0, starts=action.id, digest=action.digest, effect_s=30.0)
    await store.journal.commit(run, (started,), condition)
    await store.lease.release()
    db, successor = await another_lease(store, CountingIds(count=100))
    assert await successor.acquire()
    assert successor.foreign_effects_until == store.clock.transport() + 30
    await store.lease.release()
    await successor.renew()
    await db.close()


async def test_of_two_processes_at_once_one_gets_the_lease(tmp_path: Path) -> None:
    clock = ManualClock()
    dbs = [await Database.open(tmp_path / "store.db", clock=clock) for _ in range(2)]
    leases = [Lease(db, CountingIds(count=n), holder=f"h{n}") for n, db in enumerate(dbs)]
    taken = await asyncio.gather(*(lease.acquire() for lease in leases))
    assert sorted(taken) == [False, True]
    for db in dbs:
        await db.close()

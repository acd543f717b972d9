"""Days of the ledger are dropped with the runs of their time; what a budget still counts stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.ports import Fact, Intention
from storage.fakes import Store
from storage.ledger import DAY_S
from storage.retention import Retained, Retention


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def hold(store: Store, run: str) -> str:
    call = store.ids.new("call")
    begun = ev.ModelCallStarted(call=call, purpose="work", model="m", reserved_micro_usd=500)
    await store.journal.commit(run, [begun], Intention(epoch=0, budget_micro_usd=500_000))
    return call


async def settle(store: Store, run: str, call: str) -> None:
    await store.journal.commit(run, [ev.ModelCallFinished(call=call, reply_blob="", cost_micro_usd=300)], Fact())


def rows(store: Store) -> list[tuple[int, int, int]]:
    query = "SELECT day, spent_micro_usd, reserved_micro_usd FROM ledger WHERE scope = 'everybody' ORDER BY day"
    return store.db.read(lambda conn: conn.execute(query).fetchall())


async def later(store: Store, seconds: float) -> None:
    store.clock.advance(seconds)
    assert await store.lease.regain()


async def test_retention_drops_the_days_that_are_as_old_as_the_runs_it_drops(store: Store) -> None:
    run = await store.run()
    await settle(store, run, await hold(store, run))
    await later(store, 3 * DAY_S)
    await settle(store, run, await hold(store, run))
    retention = Retention(store.db, days=2)
    assert await retention.drop() == Retained(booked=3)  # everybody, the person and the model
    assert [spent for _, spent, _ in rows(store)] == [300]
    assert await retention.drop() == Retained()


@pytest.mark.parametrize("days", [0.0001, 0.5, 1.0])
async def test_the_day_that_budgets_count_stays_however_short_retention_is(store: Store, days: float) -> None:
    run = await store.run()
    await hold(store, run)
    await Retention(store.db, days=days).drop()
    assert len(rows(store)) == 1


async def test_a_call_that_outlives_its_day_in_the_ledger_is_settled_all_the_same(store: Store) -> None:
    run = await store.run()
    call = await hold(store, run)
    await later(store, 2 * DAY_S)
    await Retention(store.db, days=1).drop()
    await settle(store, run, call)
    assert rows(store) == []
    line = store.queries.run(run)
    assert line is not None
    assert (line.spent_micro_usd, line.reserved_micro_usd) == (300, 0)

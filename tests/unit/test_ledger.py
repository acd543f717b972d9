"""Money of a day: booked with each call, settled with what it cost, and refused when it is used up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.errors import BudgetExceeded
from agent.ports import Fact, Intention
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.journal import SqliteJournal
from storage.ledger import DAY_S, Budgets, forget
from storage.spending import DayMoney, Spending

MODEL = "openai:luna"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


class Till:
    """A journal with budgets of the day, and calls that are reserved and settled there."""

    def __init__(self, store: Store, person_day: int = 0, everybody_day: int = 0) -> None:
        self.store, self.budgets = store, Budgets(person_day, everybody_day)
        self.journal = SqliteJournal(store.db, store.lease, budgets=self.budgets)

    async def hold(self, run: str, micro_usd: int, budget: int = 500_000, model: str = MODEL) -> str:
        call = self.store.ids.new("call")
        begun = ev.ModelCallStarted(call=call, purpose="work", model=model, reserved_micro_usd=micro_usd)
        await self.journal.commit(run, [begun], Intention(epoch=0, budget_micro_usd=budget))
        return call

    async def settle(self, run: str, call: str, cost: int) -> None:
        await self.journal.commit(run, [ev.ModelCallFinished(call=call, reply_blob="", cost_micro_usd=cost)], Fact())

    def day(self) -> DayMoney:
        return Spending(self.store.db).days(REQUESTER.key, self.store.clock.now(), self.budgets)


async def test_a_call_is_booked_for_everybody_its_person_and_its_model_and_settled_there(store: Store) -> None:
    till, run = Till(store), await store.run()
    call = await till.hold(run, 900)
    other = await till.hold(await store.run(requester=DECIDERS[0]), 50, model="openai:sol")
    assert (till.day().person.reserved, till.day().everybody.reserved) == (900, 950)
    await till.settle(run, call, 300)
    day = till.day()
    assert (day.person.spent, day.person.reserved, day.person.calls) == (300, 0, 1)
    assert (day.everybody.spent, day.everybody.reserved) == (300, 50)
    assert [(item.name, item.spent, item.reserved) for item in day.models] == [(MODEL, 300, 0), ("openai:sol", 0, 50)]
    assert other


async def test_a_persons_day_is_over_for_all_of_their_runs_and_for_nobody_else(store: Store) -> None:
    till = Till(store, person_day=1_000)
    first, second, another = await store.run(), await store.run(), await store.run(requester=DECIDERS[0])
    await till.hold(first, 600)
    with pytest.raises(BudgetExceeded, match=r"Your budget for a day .* begins anew at 2027-01-16 00:00 UTC") as told:
        await till.hold(second, 401)
    assert (told.value.scope, told.value.retry_at % DAY_S) == ("person_day", 0)
    assert told.value.retry_at - store.clock.now() <= DAY_S
    await till.hold(second, 400)
    await till.hold(another, 1_000)


async def test_everybodys_day_is_over_for_all_and_a_settled_call_makes_room(store: Store) -> None:
    till = Till(store, everybody_day=1_000)
    first, another = await store.run(), await store.run(requester=DECIDERS[0])
    call = await till.hold(first, 900)
    with pytest.raises(BudgetExceeded, match="Everybody's budget") as told:
        await till.hold(another, 200)
    assert told.value.scope == "everybody_day"
    await till.settle(first, call, 100)
    await till.hold(another, 900)


async def test_the_next_day_begins_with_a_whole_budget_and_a_late_result_stays_on_its_own(store: Store) -> None:
    till, run = Till(store, person_day=1_000), await store.run()
    call = await till.hold(run, 1_000)
    store.clock.advance(DAY_S)
    assert await store.lease.regain()
    await till.hold(run, 1_000)
    await till.settle(run, call, 700)
    assert (till.day().person.spent, till.day().person.reserved) == (0, 1_000)
    store.clock.advance(-DAY_S)
    assert (till.day().person.spent, till.day().person.reserved) == (700, 0)


async def test_a_refused_call_leaves_nothing_behind(store: Store) -> None:
    till, run = Till(store, person_day=1_000), await store.run()
    before = store.queries.run(run)
    with pytest.raises(BudgetExceeded):
        await till.hold(run, 1_001)
    assert store.queries.run(run) == before
    assert till.day().person.calls == 0


async def test_the_runs_own_budget_is_looked_at_where_it_is_written(store: Store) -> None:
    till, run = Till(store), await store.run()
    first = await till.hold(run, 300_000)
    with pytest.raises(BudgetExceeded) as told:  # a writer whose view of the run is old
        await till.hold(run, 200_001)
    assert told.value.scope == "run"
    # One commit may settle a call and reserve the next one: what is free then counts.
    done = ev.ModelCallFinished(call=first, reply_blob="", cost_micro_usd=100_000)
    begun = ev.ModelCallStarted(call="next", purpose="work", model=MODEL, reserved_micro_usd=400_000)
    await till.journal.commit(run, [done, begun], Intention(epoch=0, budget_micro_usd=500_000))


async def test_days_that_are_long_over_can_be_forgotten(store: Store) -> None:
    till, run = Till(store), await store.run()
    await till.hold(run, 10)
    store.clock.advance(DAY_S)
    assert await store.lease.regain()
    await till.hold(run, 10)
    assert await store.db.write(lambda tx: forget(tx.conn, tx.now)) == 3
    assert till.day().person.calls == 1

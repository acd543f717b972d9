"""Whose writing goes first, how long a commit may take on more, and that its callers do not all go on at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.errors import StorageUnavailable
from agent.fakes import ManualClock
from storage.database import BATCH_S, FAVOURED, FIRST_S, TOLD_A_TURN, Database, Tx

CALLERS = 5 * TOLD_A_TURN


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def db(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "store.db", clock=clock)
    yield opened
    await opened.close()


class Held:
    """A write that keeps the writer until it is let go, so that what is asked for meanwhile has to wait."""

    def __init__(self, db: Database) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self._task = asyncio.create_task(db.write(self._work))

    def _work(self, tx: Tx) -> None:
        del tx
        self._begun.set()
        self._go.wait(5)

    async def begun(self) -> None:
        await asyncio.to_thread(self._begun.wait, 5)

    async def let_go(self) -> None:
        self._go.set()
        await self._task


def noting(order: list[str], name: str) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        del tx
        order.append(name)

    return work


async def test_what_a_person_waits_for_is_written_before_all_that_was_asked_for_earlier(db: Database) -> None:
    order: list[str] = []
    held = Held(db)
    await held.begun()
    tasks = [asyncio.create_task(db.write(noting(order, f"run {number}"))) for number in range(20)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(db.write(noting(order, "click"), first=True)))
    await asyncio.sleep(0)
    await held.let_go()
    await asyncio.gather(*tasks)
    assert order == ["click", *(f"run {number}" for number in range(20))]


async def test_however_many_people_click_what_nobody_waits_for_is_written_too(db: Database) -> None:
    order: list[str] = []
    held = Held(db)
    await held.begun()
    tasks = [asyncio.create_task(db.write(noting(order, f"run {number}"))) for number in range(2)]
    tasks += [asyncio.create_task(db.write(noting(order, "click"), first=True)) for _ in range(3 * FAVOURED)]
    await asyncio.sleep(0)
    await held.let_go()
    await asyncio.gather(*tasks)
    assert [order.index(f"run {number}") for number in range(2)] == [FAVOURED, 2 * FAVOURED + 1]


def taking(seconds: float, clock: ManualClock, order: list[str]) -> Callable[[Tx], None]:
    """A write that lasts so long."""

    def slow(tx: Tx) -> None:
        del tx
        order.append("slow")
        clock.advance(seconds)

    return slow


def counted(db: Database, order: list[str]) -> list[int]:
    """How many writes were done at each commit from now on."""
    commits: list[int] = []

    def observe(seconds: float, /, *, busy: bool) -> None:
        del seconds, busy
        commits.append(len(order))

    db.observe = observe
    return commits


async def test_a_group_commit_takes_nothing_more_on_when_its_time_is_over(db: Database, clock: ManualClock) -> None:
    order: list[str] = []
    held = Held(db)
    await held.begun()
    commits = counted(db, order)
    slow = taking(BATCH_S, clock, order)
    tasks = [asyncio.create_task(db.write(slow)) for _ in range(3)]
    tasks += [asyncio.create_task(db.write(noting(order, "quick"))) for _ in range(3)]
    await asyncio.sleep(0)
    await held.let_go()
    await asyncio.gather(*tasks)
    # The held one took along the first slow one; then one a commit; and all the quick ones together.
    assert commits == [1, 2, 3, 6]


async def test_a_group_commit_ends_sooner_once_it_holds_what_a_person_waits_for(
    db: Database, clock: ManualClock
) -> None:
    order: list[str] = []
    held = Held(db)
    await held.begun()
    commits = counted(db, order)
    slow = taking(FIRST_S, clock, order)
    tasks = [asyncio.create_task(db.write(slow)) for _ in range(4)]
    tasks.append(asyncio.create_task(db.write(noting(order, "click"), first=True)))
    await asyncio.sleep(0)
    await held.let_go()
    await asyncio.gather(*tasks)
    assert order[0] == "click"
    assert commits == [2, 5]  # the click and one slow one, then all the others


async def test_the_callers_of_one_group_commit_go_on_a_few_at_a_turn_of_the_loop(db: Database) -> None:
    turn, went_on = 0, list[int]()

    async def count() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def caller(*, first: bool) -> None:
        await db.write(lambda _: None, first=first)
        if not first:
            went_on.append(turn)

    held = Held(db)
    await held.begun()
    tasks = [asyncio.create_task(caller(first=number % 5 == 0)) for number in range(CALLERS)]
    await asyncio.sleep(0)
    counting = asyncio.create_task(count())
    await held.let_go()
    await asyncio.gather(*tasks)
    counting.cancel()
    most = max(went_on.count(one) for one in went_on)
    assert 1 <= most <= TOLD_A_TURN
    assert went_on == sorted(went_on)


async def test_subscribers_hear_of_a_commit_before_any_of_its_callers_goes_on(db: Database) -> None:
    heard: list[str] = []
    db.subscribe("run", heard.append)

    async def caller(name: str) -> list[str]:
        await db.write(lambda tx: tx.signal("run", name))
        return list(heard)

    held = Held(db)
    await held.begun()
    tasks = [asyncio.create_task(caller(f"r{number}")) for number in range(CALLERS)]
    await asyncio.sleep(0)
    await held.let_go()
    found = await asyncio.gather(*tasks)
    assert {len(one) for one in found} == {CALLERS}


async def test_a_commit_that_breaks_is_told_to_everybody_who_waited_for_it(db: Database) -> None:
    def break_it(tx: Tx) -> None:
        tx.conn.execute("ROLLBACK")  # as SQLite does by itself when the disk reports an error
        raise sqlite3.OperationalError

    held = Held(db)
    await held.begun()
    tasks = [asyncio.create_task(db.write(break_it))]
    tasks += [asyncio.create_task(db.write(lambda _: None, first=number % 2 == 0)) for number in range(CALLERS)]
    await asyncio.sleep(0)
    with pytest.raises(StorageUnavailable):
        await held.let_go()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in results} == {StorageUnavailable}
    assert await db.write(lambda _: 1) == 1


async def test_closing_writes_what_waits_and_tells_all_of_its_callers(db: Database) -> None:
    held = Held(db)
    await held.begun()
    tasks = [asyncio.create_task(db.write(lambda _: 1, first=number % 2 == 0)) for number in range(CALLERS)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    await held.let_go()
    await closing
    assert await asyncio.gather(*tasks) == [1] * CALLERS

"""People's clicks go before the runs that they wake, and many changes of deadlines cost one look."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.domain import ApprovalState
from agent.errors import Redelivered
from agent.runtime import BEGUN_A_TURN, Runtime
from agent.rush import LINGERS_S, Rush
from agent.supervisor import Limits
from bot.deadlines import Deadlines
from bot.memory import RUSH_TURN_S, TURN_S, take_turns
from storage.fakes import DECIDERS, Store


class Journal:
    """Notes whose journal is read first; a driver that has read goes no further."""

    lease_token = "l1"

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._news = asyncio.Event()

    async def read(self, run: str, after: int = 0) -> Any:
        del after
        self.begun.append(run)
        self._news.set()
        await asyncio.Event().wait()

    async def until(self, number: int) -> None:
        while len(self.begun) < number:
            self._news.clear()
            await self._news.wait()


def runtime(journal: Journal, rush: Rush) -> Runtime:
    parts: Any = SimpleNamespace(journal=journal, clock=SystemClock())
    return Runtime(parts, SimpleNamespace(chain=()), Limits(), rush=rush)  # type: ignore[arg-type]  # nothing else is used


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_while_a_person_waits_runs_are_begun_one_by_one_and_all_of_them_in_the_end() -> None:
    journal, rush = Journal(), Rush()
    held = runtime(journal, rush)
    with rush:
        for number in range(5):
            held.wake(f"r{number}")
        await turns(3)
        assert journal.begun == ["r0"]
        assert not held.is_idle
        await journal.until(2)
        assert journal.begun == ["r0", "r1"]
    await journal.until(5)
    assert journal.begun == [f"r{number}" for number in range(5)]
    await held.close(grace_s=0)


async def test_without_anybody_waiting_they_are_begun_at_once() -> None:
    journal = Journal()
    free = runtime(journal, Rush())
    for number in range(5):
        free.wake(f"r{number}")
    await turns(3)
    assert journal.begun == [f"r{number}" for number in range(5)]
    await free.close(grace_s=0)


async def test_many_of_them_begin_a_few_at_a_turn_of_the_loop() -> None:
    journal = Journal()
    free = runtime(journal, Rush())
    for number in range(5 * BEGUN_A_TURN):
        free.wake(f"r{number}")
    most = 0
    while len(journal.begun) < 5 * BEGUN_A_TURN:
        before = len(journal.begun)
        await asyncio.sleep(0)
        most = max(most, len(journal.begun) - before)
    assert 1 <= most <= BEGUN_A_TURN
    await free.close(grace_s=0)


async def test_the_rush_lasts_a_moment_longer_than_the_last_click() -> None:
    loop, rush = asyncio.get_running_loop(), Rush()
    assert not rush.is_on
    with rush:
        assert rush.is_on
    assert rush.is_on
    over = asyncio.Event()
    loop.call_later(LINGERS_S + 0.01, over.set)
    await over.wait()
    assert not rush.is_on


async def test_it_is_told_once_when_a_rush_begins_and_once_when_it_is_over() -> None:
    told: list[bool] = []
    over = asyncio.Event()

    def changed(*, is_rush: bool) -> None:
        told.append(is_rush)
        if not is_rush:
            over.set()

    rush = Rush(changed)
    with rush, rush:
        assert told == [True]
    with rush:
        assert told == [True]
    await over.wait()
    assert told == [True, False]
    assert not rush.is_on


async def test_threads_take_turns_more_often_only_while_somebody_waits() -> None:
    before = sys.getswitchinterval()
    try:
        with Rush(take_turns):
            assert sys.getswitchinterval() == pytest.approx(RUSH_TURN_S)
        take_turns(is_rush=False)
        assert sys.getswitchinterval() == pytest.approx(TURN_S)
    finally:
        sys.setswitchinterval(before)


async def test_a_hundred_changes_of_deadlines_cost_one_look() -> None:
    looks, clock = 0, SystemClock()
    due = clock.now() + 3600

    def earliest() -> float:
        nonlocal looks
        looks += 1
        return due

    async def sweep(limit: int) -> int:
        del limit
        return 0

    deadlines = Deadlines(sweep, earliest, clock)
    deadlines.start()
    await turns()
    looks = 0
    for _ in range(100):
        deadlines.arm()
    await turns()
    assert looks == 1
    deadlines.stop()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def test_a_click_delivered_twice_votes_once_and_its_key_stands_with_the_vote(store: Store) -> None:
    asked = await store.ask(await store.run(), quorum=2)
    row = await store.decisions.vote(asked.id, DECIDERS[0], "approve", key="click:1:approve")
    assert row.state == ApprovalState.PENDING
    with pytest.raises(Redelivered):
        await store.decisions.vote(asked.id, DECIDERS[1], "approve", key="click:1:approve")
    assert await store.inbox.seen("click:1:approve")
    now = store.queries.approval(asked.id)
    assert now is not None
    assert now.state == "pending"

"""Turns: how many runs are at work at once, and who goes next when others wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Place, Principal, RunStatus, Task
from agent.errors import QuotaExceeded, RunQueued
from agent.ports import Fact, Intention
from storage.attachments import Offered
from storage.fakes import Store
from storage.inbox import Accepted
from storage.journal import SqliteJournal
from storage.quotas import Quotas
from storage.turns import Room, place_of, queue, whose_turn

A, B, C = (Principal(team="T1", user=f"U{name}") for name in "ABC")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


class Desk:
    """Takes tasks in, and begins and ends runs under these limits."""

    def __init__(self, store: Store, person: int = 0, everybody: int = 0) -> None:
        self.store, self.room = store, Room(person, everybody)
        self.journal = SqliteJournal(store.db, store.lease, room=self.room)

    async def ask(self, who: Principal, quota: Quotas | None = None, files: tuple[Offered, ...] = ()) -> str:
        self.store.clock.advance(0.01)
        ts = self.store.ids.new("message")
        task = Task(
            id=self.store.ids.new("task"), text="x", principal=who, place=Place(team="T1", channel="C1", message_ts=ts)
        )
        accepted = await self.store.inbox.accept(f"event:{ts}", task, quota=quota, files=files)
        assert isinstance(accepted, Accepted)
        return accepted.run

    async def begin(self, run: str) -> bool:
        self.store.clock.advance(0.01)
        try:
            await self.journal.commit(run, [ev.RunStarted(policy_version="p")], Intention(epoch=0))
        except RunQueued:
            return False
        return True

    async def end(self, run: str) -> None:
        await self.journal.commit(run, [ev.RunFinished(status=RunStatus.COMPLETED)], Fact())

    def next(self) -> tuple[str, ...]:
        return self.store.db.read(lambda conn: whose_turn(conn, self.room))

    def waiting(self) -> list[str]:
        return [run for run, _ in self.store.db.read(queue)]


async def test_a_run_beyond_the_limit_of_a_person_waits_until_one_of_theirs_is_over(store: Store) -> None:
    desk = Desk(store, person=2)
    runs = [await desk.ask(A) for _ in range(3)]
    assert [await desk.begin(run) for run in runs] == [True, True, False]
    assert await desk.begin(await desk.ask(B))
    assert desk.next() == ()
    await desk.end(runs[0])
    assert desk.next() == (runs[2],)
    assert await desk.begin(runs[2])


async def test_a_run_that_waits_for_people_leaves_its_place_to_another(store: Store) -> None:
    desk = Desk(store, person=1)
    first = await store.run(requester=A)
    second = await desk.ask(A)
    assert not await desk.begin(second)
    await store.ask(first)
    assert desk.next() == (second,)
    assert await desk.begin(second)


async def test_people_take_turns_however_many_runs_one_of_them_has_asked_for(store: Store) -> None:
    desk = Desk(store, everybody=1)
    many = [await desk.ask(A) for _ in range(4)]
    few = [await desk.ask(B), await desk.ask(C)]
    order: list[str] = []
    for _ in range(6):
        (run,) = desk.next()
        assert await desk.begin(run)
        order.append(run)
        assert desk.next() == ()
        await desk.end(run)
    assert order == [many[0], few[0], few[1], many[1], many[2], many[3]]


async def test_who_has_fewer_runs_at_work_goes_first(store: Store) -> None:
    desk = Desk(store, everybody=3)
    busy = [await desk.ask(A) for _ in range(2)]
    assert [await desk.begin(run) for run in busy] == [True, True]
    later, other = await desk.ask(A), await desk.ask(B)
    assert desk.waiting() == [other, later]
    assert not await desk.begin(later)
    assert await desk.begin(other)
    assert store.db.read(lambda conn: place_of(conn, later)) == 1
    assert store.db.read(lambda conn: place_of(conn, other)) == 0


async def test_a_run_whose_files_are_on_their_way_stands_in_nobodys_way(store: Store) -> None:
    desk = Desk(store, everybody=1)
    owed = await desk.ask(A, files=(Offered("F1", "a.txt"),))
    ready = await desk.ask(B)
    assert desk.next() == (ready,)
    assert await desk.begin(ready)
    assert owed not in desk.waiting()


async def test_a_restart_keeps_the_queue_and_its_order(store: Store, tmp_path: Path) -> None:
    desk = Desk(store, everybody=1)
    runs = [await desk.ask(who) for who in (A, A, B)]
    assert await desk.begin(runs[0])
    await store.lease.release()
    await store.close()
    again = await Store.open(tmp_path / "store.db", clock=store.clock, ids=store.ids)
    after = Desk(again, everybody=1)
    assert after.waiting() == [runs[2], runs[1]]
    assert not await after.begin(runs[2])  # the one that was at work still is
    await after.end(runs[0])
    assert after.next() == (runs[2],)
    await again.close()


async def test_without_limits_everybody_begins_and_a_refused_start_leaves_nothing(store: Store) -> None:
    free = Desk(store)
    assert all([await free.begin(await free.ask(A)) for _ in range(5)])
    desk = Desk(store, everybody=1)
    late = await desk.ask(B)
    before = store.queries.run(late)
    assert not await desk.begin(late)
    assert store.queries.run(late) == before


async def test_the_queue_of_a_person_is_bounded_and_the_refusal_says_how(store: Store) -> None:
    quota = Quotas(per_person=0, everybody=0, at_once=1, waiting=2)
    desk = Desk(store, person=1)
    for _ in range(3):
        await desk.ask(A, quota)
    with pytest.raises(QuotaExceeded, match="2 more wait for their turn") as told:
        await desk.ask(A, quota)
    assert told.value.scope == "at_once"
    await desk.ask(B, quota)

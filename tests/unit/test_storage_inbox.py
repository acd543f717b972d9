from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Place, Principal, RunStatus, Task
from agent.errors import QuotaExceeded, UnknownRun
from agent.ports import Fact
from storage.audit import verify
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.inbox import Accepted, Duplicate
from storage.quotas import Quotas


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


def task(store: Store, ts: str, person: Principal = REQUESTER, team: str = "T1") -> Task:
    place = Place(team=team, channel="C1", message_ts=ts)
    return Task(id=store.ids.new("task"), text="x" * 1000, principal=person, place=place)


async def finish(store: Store, run: str) -> None:
    await store.journal.commit(run, (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())


async def test_an_accepted_task_is_a_queued_run_with_a_progress_message_to_send(store: Store) -> None:
    accepted = await store.inbox.accept("Ev1", task(store, "1.1"), trace_id="t" * 32)
    assert isinstance(accepted, Accepted)
    line = store.queries.run(accepted.run)
    assert line is not None
    assert (line.status, line.title, line.trace_id) == (RunStatus.QUEUED, "x" * 200, "t" * 32)
    (message,) = store.outbox.due(store.clock.transport())
    assert (message.key, message.channel, message.thread_ts) == (f"progress:{accepted.run}", "C1", "1.1")
    assert store.queries.to_drive() == (accepted.run,)


async def test_a_delivery_that_comes_ten_times_at_once_makes_one_run(store: Store) -> None:
    item = task(store, "1.1")
    results = await asyncio.gather(*(store.inbox.accept("Ev1", item) for _ in range(10)))
    assert sum(isinstance(result, Accepted) for result in results) == 1
    assert len(store.queries.runs()) == 1


async def test_one_message_under_two_event_ids_makes_one_run_which_the_second_is_told(store: Store) -> None:
    first = await store.inbox.accept("Ev1", task(store, "1.1"))
    assert await store.inbox.accept("Ev2", task(store, "1.1")) == Duplicate(first.run)
    assert isinstance(await store.inbox.accept("Ev3", task(store, "1.2")), Accepted)
    assert isinstance(await store.inbox.accept("Ev4", task(store, "1.1", team="T2")), Accepted)


async def test_tasks_of_a_terminal_are_never_duplicates(store: Store) -> None:
    me = Principal(kind="local", user="1000")
    for name in ("t-a", "t-b"):
        assert isinstance(await store.inbox.accept("", Task(id=name, text="t", principal=me)), Accepted)


async def test_a_key_is_new_once(store: Store) -> None:
    assert [await store.inbox.seen("trigger") for _ in range(3)] == [False, True, True]
    store.clock.advance(100)
    assert await store.inbox.forget(store.clock.now() - 50) == 1
    assert not await store.inbox.seen("trigger")


async def test_ten_runs_an_hour_a_person_and_then_it_is_told_when_again(store: Store) -> None:
    first = store.clock.now()
    for n in range(10):
        await finish(store, (await store.inbox.accept(f"Ev{n}", task(store, f"1.{n}"), quota=Quotas())).run)
        store.clock.advance(10)
    with pytest.raises(QuotaExceeded) as told:
        await store.inbox.accept("Ev10", task(store, "1.10"), quota=Quotas())
    assert (told.value.scope, told.value.retry_at) == ("person", first + 3600)
    assert isinstance(await store.inbox.accept("Ev11", task(store, "1.11", DECIDERS[0]), quota=Quotas()), Accepted)
    store.clock.at = told.value.retry_at
    assert isinstance(await store.inbox.accept("Ev12", task(store, "1.12"), quota=Quotas()), Accepted)


async def test_everybody_together_has_a_limit(store: Store) -> None:
    quotas = Quotas(everybody=2)
    for n, person in enumerate(DECIDERS):
        await store.inbox.accept(f"Ev{n}", task(store, f"1.{n}", person), quota=quotas)
    with pytest.raises(QuotaExceeded) as told:
        await store.inbox.accept("Ev9", task(store, "1.9"), quota=quotas)
    assert told.value.scope == "everybody"


async def test_three_runs_at_once_and_those_that_wait_for_people_do_not_count(store: Store) -> None:
    runs = [await store.run() for _ in range(3)]
    with pytest.raises(QuotaExceeded) as told:
        await store.inbox.accept("Ev1", task(store, "1.1"), quota=Quotas())
    assert told.value.scope == "at_once"
    await store.ask(runs[0])
    assert isinstance(await store.inbox.accept("Ev2", task(store, "1.2"), quota=Quotas()), Accepted)


async def test_a_refused_delivery_leaves_no_run_and_is_not_told_twice(store: Store) -> None:
    item = task(store, "1.1")
    quotas = Quotas(everybody=1)
    await store.inbox.accept("Ev0", task(store, "1.0"), quota=quotas)
    with pytest.raises(QuotaExceeded):
        await store.inbox.accept("Ev1", item, quota=quotas)
    assert await store.inbox.accept("Ev1", item, quota=quotas) == Duplicate("")
    assert len(store.queries.runs()) == 1


async def test_a_follow_up_joins_a_running_task_once_and_never_one_that_is_over(store: Store) -> None:
    run = await store.run()
    assert await store.inbox.follow_up(run, DECIDERS[0], "and order 8", key="Ev1")
    assert not await store.inbox.follow_up(run, DECIDERS[0], "and order 8", key="Ev1")
    event = (await store.journal.read(run))[-1].event
    assert isinstance(event, ev.FollowUpReceived)
    assert await store.journal.blob(event.text_blob) == "and order 8"
    assert store.queries.co_requesters(run) == (REQUESTER.key, DECIDERS[0].key)
    await finish(store, run)
    assert not await store.inbox.follow_up(run, DECIDERS[0], "one more", key="Ev2")
    with pytest.raises(UnknownRun):
        await store.inbox.follow_up("nobody", DECIDERS[0], "hello")
    assert verify(store.db).ok

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import RunStatus
from agent.ports import Fact
from storage.fakes import DECIDERS, Store
from storage.outbox import OutboxRow


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


def due(store: Store) -> list[str]:
    return [row.key for row in store.outbox.due(store.clock.transport())]


def row(store: Store, key: str) -> OutboxRow:
    found = store.outbox.get(key)
    assert found is not None
    return found


async def test_the_most_urgent_lane_goes_first(store: Store) -> None:
    run = await store.run()
    taken = await store.take_over(run)
    fresh, decided = await store.ask(run), await store.ask(run)
    await store.decisions.vote(decided.id, DECIDERS[0], "approve")
    assert due(store) == [f"card:{decided.id}", f"card:{fresh.id}", f"takeover:{taken.id}", f"progress:{run}"]
    assert store.outbox.backlog() == (1, 1, 1, 1)
    assert [(item.kind, item.subject) for item in store.outbox.due(store.clock.transport(), limit=2)] == [
        ("approval", decided.id),
        ("approval", fresh.id),
    ]


async def test_a_message_is_sent_in_its_latest_revision_and_wanted_again_when_things_change(store: Store) -> None:
    asked = await store.ask(await store.run())
    key = f"card:{asked.id}"
    await store.outbox.sent(key, row(store, key).wanted, "C9", "100.1")
    assert key not in due(store)
    await store.decisions.vote(asked.id, DECIDERS[0], "deny")
    changed = row(store, key)
    assert (changed.channel, changed.ts, changed.lane, changed.wanted, changed.sent) == ("C9", "100.1", 0, 2, 1)
    assert key in due(store)
    assert store.outbox.find("C9", "100.1") == changed
    assert store.outbox.find("C9", "") is None


async def test_a_revision_sent_while_a_newer_one_is_wanted_leaves_it_due(store: Store) -> None:
    asked = await store.ask(await store.run())
    key = f"card:{asked.id}"
    rendered = row(store, key).wanted
    await store.decisions.vote(asked.id, DECIDERS[0], "deny")
    await store.outbox.sent(key, rendered, "C9", "100.1")
    assert key in due(store)
    await store.outbox.sent(key, row(store, key).wanted, "C9", "100.1")
    await store.outbox.sent(key, rendered, "C9", "100.1")
    assert key not in due(store)


async def test_what_failed_waits_for_its_time_and_says_why(store: Store) -> None:
    run = await store.run()
    key, now = f"progress:{run}", store.clock.transport()
    await store.outbox.failed(key, "ratelimited", now + 30)
    assert due(store) == []
    assert store.outbox.next_at(now) == now + 30
    store.clock.advance(30)
    assert due(store) == [key]
    assert (row(store, key).attempts, row(store, key).error) == (1, "ratelimited")
    await store.outbox.sent(key, row(store, key).wanted, "C1", "5.5")
    assert (row(store, key).attempts, row(store, key).error) == (0, "")


async def test_progress_is_one_message_however_much_happens(store: Store) -> None:
    run = await store.run()
    for _ in range(3):
        await store.propose(run)
    assert due(store) == [f"progress:{run}"]
    assert row(store, f"progress:{run}").wanted > 3


async def test_the_answer_of_a_run_goes_to_its_thread_before_progress(store: Store) -> None:
    run = await store.run()
    await store.journal.commit(run, (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())
    line = store.queries.run(run)
    assert line is not None
    assert due(store) == [f"answer:{run}", f"progress:{run}"]
    assert row(store, f"answer:{run}").thread_ts == line.thread_ts


async def test_waiting_messages_keep_their_place_in_the_lane(store: Store) -> None:
    first, second = await store.run(), await store.run()
    store.clock.advance(1)
    await store.propose(second)
    store.clock.advance(1)
    await store.propose(first)
    assert due(store) == [f"progress:{first}", f"progress:{second}"]


async def test_a_deadline_that_moves_visibly_updates_the_card(store: Store) -> None:
    asked, other = await store.ask(await store.run()), await store.ask(await store.run())
    await store.decisions.delivered(asked.id, asked.created_at + 2)
    await store.decisions.delivered(other.id, other.created_at + 300)
    assert row(store, f"card:{asked.id}").wanted == 1
    assert row(store, f"card:{other.id}").wanted == 2

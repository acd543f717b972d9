from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import RunStatus, content_hash
from agent.errors import JournalError
from agent.ports import Fact
from storage.audit import verify, verify_file
from storage.fakes import DECIDERS, Store
from storage.retention import DAY_S, Retained, Retention
from storage.signer import Signer

DAYS = 396


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def finished(store: Store, answer: str = "paid") -> str:
    """A run with an approved action and an answer."""
    run = await store.run()
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, DECIDERS[0], "deny")
    await store.decisions.explain_denial(asked.id, DECIDERS[0], "not on a Sunday")
    over = ev.RunFinished(status=RunStatus.COMPLETED, answer_blob=content_hash(answer), summary=answer)
    await store.journal.commit(run, (over,), Fact(), blobs={content_hash(answer): answer})
    return run


def bodies(store: Store) -> set[str]:
    return {body.decode() for (body,) in store.db.read(lambda conn: conn.execute("SELECT body FROM blobs").fetchall())}


def payloads(store: Store, run: str) -> int:
    query = "SELECT count(payload) FROM events WHERE run = ?"
    return store.db.read(lambda conn: conn.execute(query, (run,)).fetchone()[0])


async def test_what_ended_long_ago_loses_its_payloads_and_still_verifies(store: Store, tmp_path: Path) -> None:
    signer = Signer(store.db, folder=tmp_path, heads_file=tmp_path / "audit-heads.jsonl")
    store.db.subscribe("head", signer.moved)
    old = await finished(store, "paid in March")
    await signer.sign()
    store.clock.advance(DAYS * DAY_S + 1)
    new, waiting = await finished(store, "paid in April"), await store.run()
    retention = Retention(store.db, days=DAYS)
    dropped = await retention.drop()
    assert dropped == Retained(runs=1, events=12, bodies=1)
    assert await retention.drop() == Retained()
    assert payloads(store, old) == 0
    assert payloads(store, new) > 0
    assert payloads(store, waiting) > 0
    assert bodies(store) == {"1 row", "paid in April"}  # a preview that the newer run names too stays
    await signer.sign()
    verdict = verify_file(store.db.path, tmp_path / "audit-heads.jsonl", tmp_path / "audit.pub")
    assert (verdict.ok, verdict.dropped) == (True, 1), verdict


async def test_a_run_that_ended_a_moment_too_late_or_not_at_all_is_left_alone(store: Store) -> None:
    run, unfinished = await finished(store), await store.run()
    store.clock.advance(DAYS * DAY_S)
    retention = Retention(store.db, days=DAYS)
    assert await retention.drop() == Retained()
    store.clock.advance(1)
    assert [one for one, _ in await retention.old_runs()] == [run]
    assert payloads(store, unfinished) > 0


async def test_what_is_left_of_a_run_can_be_shown_and_says_that_its_words_are_gone(store: Store) -> None:
    run = await finished(store)
    before = store.queries.run_view(run)
    store.clock.advance(DAYS * DAY_S + 1)
    await Retention(store.db, days=DAYS).drop()
    view = store.queries.run_view(run)
    assert before is not None
    assert view is not None
    assert (view.run.title, view.task.text, view.run.summary, view.answer) == (
        "payload dropped",
        "payload dropped",
        "",
        "",
    )
    assert view.task.principal == before.task.principal
    assert [(item.action.tool, item.outcome, item.action.digest) for item in view.actions] == [
        (item.action.tool, item.outcome, item.action.digest) for item in before.actions
    ]
    assert view.actions[0].action.arguments == {}
    card = store.queries.approval_view(view.approvals[0].id)
    assert card is not None
    assert (card.approval.state, card.approval.reason, card.preview) == ("denied", "", "")
    assert [vote for _, vote, _ in card.votes] == ["deny"]
    assert [line.id for line in store.queries.runs()] == [run]


async def test_a_journal_without_payloads_says_why_it_cannot_be_read(store: Store) -> None:
    run = await finished(store)
    store.clock.advance(DAYS * DAY_S + 1)
    await Retention(store.db, days=DAYS).drop()
    with pytest.raises(JournalError, match="dropped after the time of retention"):
        await store.journal.read(run)
    with pytest.raises(KeyError):
        await store.journal.blob(content_hash("paid"))


def holding(word: str, folder: Path) -> list[str]:
    """Names of files in which the word stands."""
    return [path.name for path in folder.iterdir() if word.encode() in path.read_bytes()]


async def test_words_that_were_dropped_are_not_left_in_the_file(store: Store, tmp_path: Path) -> None:
    word = "Zwetschgendatschi"
    await finished(store, f"{word} " * 200)
    store.clock.advance(DAYS * DAY_S + 1)
    assert holding(word, tmp_path) == ["store.db-wal"]
    await Retention(store.db, days=DAYS).drop()
    await store.close()  # the last one to close puts the log into the file, and drops it
    assert holding(word, tmp_path) == []


async def test_many_runs_are_dropped_in_small_batches_between_which_others_write(store: Store) -> None:
    runs = [await finished(store) for _ in range(6)]
    store.clock.advance(DAYS * DAY_S + 1)
    batches: list[int] = []

    def count() -> int:
        return sum(payloads(store, run) == 0 for run in runs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.retention._EVENTS", 18)
        patch.setattr("storage.retention._PAUSE_S", 0.01)
        dropping = asyncio.ensure_future(Retention(store.db, days=DAYS).drop())
        while not dropping.done():
            await store.inbox.seen(f"key {len(batches)}")
            batches.append(count())
        assert (await dropping).runs == 6
    assert set(batches) >= {2, 4}
    assert verify(store.db).ok

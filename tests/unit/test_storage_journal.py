from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from agent import events as ev
from agent.domain import Outcome, RunStatus, Tier, content_hash
from agent.errors import AlreadyStarted, ApprovalNotValid, JournalError, RunStopped, UnknownRun
from agent.ports import Fact, Intention
from agent.state import fold
from storage.audit import verify, verify_file
from storage.database import Tx
from storage.fakes import DECIDERS, Store
from storage.heads import note_dropped
from storage.journal import header


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


@given(st.integers(1, 10**6), st.floats(1e9, 1e10), st.integers(0, 50))
def test_the_header_of_a_row_is_canonical_json(seq: int, at: float, epoch: int) -> None:
    row = header("r1", seq, "run_created", 1, at, epoch, b"\x01" * 32, b"\x02" * 32)
    assert row == rfc8785.dumps(["r1", seq, "run_created", 1, at, epoch, "01" * 32, "02" * 32])


async def test_a_rows_hash_covers_the_payload_only_through_its_hash(store: Store) -> None:
    run = await store.run()

    (payload,) = store.db.fetch("SELECT payload FROM events WHERE run = ? AND seq = 2", (run,))[0]

    def drop(tx: Tx, kept: bytes) -> None:
        tx.conn.execute("UPDATE events SET payload = NULL, payload_hash = ? WHERE seq = 2", (kept,))
        note_dropped(tx, (run,))

    await store.db.write(lambda tx: drop(tx, hashlib.sha256(payload.encode()).digest()))
    assert verify(store.db).ok
    await store.db.write(lambda tx: drop(tx, hashlib.sha256(b"another payload").digest()))
    assert not verify(store.db).ok


TAMPERINGS = {
    "an edited payload": ("UPDATE events SET payload = replace(payload, 'order 7', 'order 8') WHERE seq = 1", 1),
    "an edited payload with its hash": (
        "UPDATE events SET payload = '{}', payload_hash = unhex_of('{}') WHERE seq = 2",
        2,
    ),
    "an edited time": ("UPDATE events SET at = at + 1 WHERE seq = 3", 3),
    "an edited epoch": ("UPDATE events SET epoch = 5 WHERE seq = 2", 2),
    "a row removed from the middle": ("DELETE FROM events WHERE seq = 2", 2),
    "the first row removed": ("DELETE FROM events WHERE seq = 1", 1),
    "the last row removed": ("DELETE FROM events WHERE seq = 4", 4),
    "the last rows removed": ("DELETE FROM events WHERE seq > 2", 3),
    "a tail removed with the run's count": ("DELETE FROM events WHERE seq = 4; UPDATE runs SET seq = 3", 3),
    "two rows swapped": (
        (
            "UPDATE events SET seq = -2 WHERE seq = 2; UPDATE events SET seq = 2 WHERE seq = 3;"
            "UPDATE events SET seq = 3 WHERE seq = -2"
        ),
        2,
    ),
    "a row added": (
        (
            "INSERT INTO events SELECT run, 5, type, version, at, epoch, payload, payload_hash, hash, hash FROM events "
            "WHERE seq = 4"
        ),
        5,
    ),
    "the run's own row removed": ("DELETE FROM runs", 1),
    "all rows removed": ("DELETE FROM events", 1),
}


@pytest.mark.parametrize("how", TAMPERINGS)
async def test_an_offline_command_finds(store: Store, how: str) -> None:
    run = await store.run()
    assert verify(store.db).ok
    statements, seq = TAMPERINGS[how]

    def tamper(tx: object) -> None:
        conn = tx.conn
        conn.create_function("unhex_of", 1, lambda text: hashlib.sha256(text.encode()).digest())
        for statement in statements.split(";"):
            conn.execute(statement)

    await store.db.write(tamper)
    await store.close()
    verdict = verify_file(store.db.path)
    assert (verdict.ok, verdict.run, verdict.seq) == (False, run, seq)
    assert verdict.problem


async def test_only_the_first_run_that_is_bad_is_named_and_good_ones_pass(store: Store) -> None:
    first, second = await store.run(), await store.run()
    await store.db.write(lambda tx: tx.conn.execute("DELETE FROM events WHERE run = ? AND seq = 3", (second,)))
    verdict = verify(store.db)
    assert (verdict.run, verdict.seq) == (second, 3)
    assert first != second


async def test_a_run_begins_with_its_creation_and_only_once(store: Store) -> None:
    with pytest.raises(UnknownRun):
        await store.journal.commit("nobody", (ev.RunStarted(policy_version="p"),), Fact())
    run = await store.run()
    created = (await store.journal.read(run))[0].event
    with pytest.raises(JournalError):
        await store.journal.commit(run, (created,), Fact())
    assert verify(store.db).ok


async def test_a_start_needs_an_intention_that_names_it(store: Store) -> None:
    run = await store.run()
    action, other = await store.propose(run), await store.propose(run)
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    for condition in (
        Fact(),
        Intention(epoch=0),
        Intention(epoch=0, starts=other.id, digest=other.digest),
    ):
        with pytest.raises(ApprovalNotValid):
            await store.journal.commit(run, (started,), condition)


async def test_an_idempotent_low_action_of_a_dead_process_starts_again_once(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run, idempotent=True)
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    condition = Intention(epoch=0, starts=action.id, digest=action.digest)
    await store.journal.commit(run, (started,), condition)
    await store.journal.commit(run, (ev.ActionResumed(action=action.id),), Fact())
    await store.journal.commit(run, (started,), condition)
    with pytest.raises(AlreadyStarted):
        await store.journal.commit(run, (started,), condition)


async def test_an_approved_action_never_starts_again_on_its_used_yes(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.start(run, asked)
    await store.journal.commit(run, (ev.ActionResumed(action=asked.action),), Fact())
    with pytest.raises(ApprovalNotValid):
        await store.start(run, asked)


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.UNKNOWN, Outcome.TIMED_OUT, Outcome.REFUSED])
async def test_what_may_have_happened_is_never_opened_again_by_a_new_rating(store: Store, outcome: Outcome) -> None:
    run = await store.run()
    action = await store.propose(run)
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    await store.journal.commit(run, (started,), Intention(epoch=0, starts=action.id, digest=action.digest))
    await store.journal.commit(run, (ev.ActionFinished(action=action.id, outcome=outcome),), Fact())
    rated = ev.ActionRated(action=action.id, tier=Tier.LOW)
    if outcome is Outcome.REFUSED:  # the tool changed nothing, so that it may be asked again
        await store.journal.commit(run, (rated,), Fact())
        return
    with pytest.raises(AlreadyStarted):
        await store.journal.commit(run, (rated,), Fact())


async def test_what_never_started_cannot_be_resumed(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run, Tier.MEDIUM)
    with pytest.raises(JournalError):
        await store.journal.commit(run, (ev.ActionResumed(action=action.id),), Fact())


async def test_the_end_of_a_run_is_the_end_of_its_plans(store: Store) -> None:
    run = await store.run()
    await store.journal.commit(run, (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())
    with pytest.raises(RunStopped, match="over"):
        await store.journal.commit(run, (ev.StepStarted(step=1, planned=0),), Fact())
    assert fold(run, await store.journal.read(run)).status is RunStatus.COMPLETED


async def test_an_action_ends_once_unless_it_was_unknown(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    unknown = ev.ActionFinished(action=action.id, outcome=Outcome.UNKNOWN)
    done = ev.ActionFinished(action=action.id, outcome=Outcome.SUCCEEDED)
    await store.journal.commit(run, (unknown,), Fact())
    await store.journal.commit(run, (done,), Fact())
    with pytest.raises(JournalError):
        await store.journal.commit(run, (done,), Fact())


async def test_a_body_that_is_not_what_its_hash_says_is_refused(store: Store) -> None:
    run = await store.run()
    with pytest.raises(JournalError, match="hash"):
        await store.journal.commit(run, (ev.TimeRanOut(active_s=1.0),), Fact(), blobs={content_hash("one"): "another"})
    assert len(await store.journal.read(run)) == 4


async def test_a_body_is_stored_once(store: Store) -> None:
    first, second = await store.run(), await store.run()
    for run in (first, second):
        await store.propose(run)
    assert store.db.read(lambda conn: conn.execute("SELECT count(*) FROM blobs").fetchone()) == (1,)


async def test_a_start_tells_a_successor_how_long_its_effect_may_take(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.start(run, asked)
    holder = store.lease.current()
    assert holder is not None
    assert holder.effects_until == store.clock.transport() + 30

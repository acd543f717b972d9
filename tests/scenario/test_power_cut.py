"""Power cuts: the log is cut, zeroed or garbled wherever unsynced sectors can be lost; what reopens is legal.

SQLite's WAL is the only file that commits append to. After each commit that was told as durable, the files are copied
together with what the world saw until then; a cut may lose any part of the log after the last sync, and nothing
before it.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Outcome, Tier
from agent.fakes import CountingIds, ManualClock
from agent.ports import Fact, Intention
from agent.state import fold
from bench._crash_check import chains
from storage.audit import verify_file
from storage.fakes import DECIDERS, Store
from storage.journal import read_events

SECTOR = 512
MOST = 8
"""Lengths tried between two moments; the places are drawn with a fixed seed."""
FIRST, SECOND = DECIDERS


@dataclass
class Cut:
    """The files as they are when the power may go, and what the world knows then."""

    database: bytes
    log: bytes
    seqs: dict[str, int]
    """Run → seq of the last event that somebody was told is durable."""
    effects: frozenset[str]
    """Actions whose effect has happened."""


@dataclass
class Recorder:
    """Plays runs, and copies the files after each step."""

    store: Store
    path: Path
    effects: set[str] = field(default_factory=set[str])
    cuts: list[Cut] = field(default_factory=list[Cut])

    def note(self) -> None:
        """The power may go now."""
        seqs = self.store.db.read(lambda conn: dict(conn.execute("SELECT id, seq FROM runs").fetchall()))
        log = self.path.with_name(self.path.name + "-wal")
        self.cuts.append(Cut(self.path.read_bytes(), log.read_bytes(), seqs, frozenset(self.effects)))

    async def play(self) -> None:
        """Low, medium (approved, denied, expired) and high: each effect happens after its start was durable."""
        store = self.store
        run = await store.run()
        self.note()
        low = await store.propose(run, Tier.LOW)
        self.note()
        started = ev.ActionStarted(action=low.id, digest=low.digest, lease_token=store.journal.lease_token)
        await store.journal.commit(run, (started,), Intention(epoch=0, starts=low.id, digest=low.digest, effect_s=1.0))
        self.note()
        await self.effect(run, low.id)
        asked = await store.ask(run)
        self.note()
        await store.decisions.vote(asked.id, FIRST, "approve")
        self.note()
        await store.start(run, asked)
        self.note()
        await self.effect(run, asked.action)
        denied = await store.ask(run)
        await store.decisions.vote(denied.id, SECOND, "deny")
        self.note()
        late = await store.ask(run, timeout_s=5.0)
        store.clock.advance(6.0)
        await store.lease.regain()
        await store.decisions.sweep(store.clock.now())
        self.note()
        assert store.approval(late.id).state == "expired"
        high = await store.take_over(run)
        claimed = await store.decisions.claim(high.id, FIRST)
        self.note()
        await store.decisions.close_takeover(high.id, FIRST, "done", token=claimed.claim_token, what="It is done.")
        self.note()

    async def effect(self, run: str, action: str) -> None:
        """It happens; then its result is written."""
        self.effects.add(action)
        self.note()
        done = ev.ActionFinished(action=action, outcome=Outcome.SUCCEEDED)
        await self.store.journal.commit(run, (done,), Fact())
        self.note()


@pytest.fixture
async def cuts(tmp_path: Path) -> list[Cut]:
    path = tmp_path / "store.db"
    store = await Store.open(path, clock=ManualClock(), ids=CountingIds())
    recorder = Recorder(store, path)
    recorder.note()
    await recorder.play()
    await store.close()
    return recorder.cuts


def _put(folder: Path, database: bytes, log: bytes) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "store.db"
    path.write_bytes(database)
    path.with_name("store.db-wal").write_bytes(log)
    return path


def _legal(path: Path) -> tuple[dict[str, int], frozenset[str]]:
    """Reopen as a restart does; whatever stands must be whole. Returns each run's last seq, and what had started."""
    seqs: dict[str, int] = {}
    started: set[str] = set()
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for run, seq, status, epoch in conn.execute("SELECT id, seq, status, epoch FROM runs").fetchall():
            stored = read_events(conn, run)
            state = fold(run, stored)
            assert (state.seq, state.status, state.epoch) == (seq, status, epoch)
            for approval, row in conn.execute("SELECT id, state FROM approvals WHERE run = ?", (run,)).fetchall():
                assert state.approvals[approval].state == row
            seqs[run] = seq
            started |= {item.event.action for item in stored if isinstance(item.event, ev.ActionStarted)}
            lane = conn.execute("SELECT count(*) FROM outbox WHERE message_key = ?", (f"progress:{run}",))
            assert lane.fetchone() == (1,)
    assert verify_file(path).ok
    assert chains(path) == []
    return seqs, frozenset(started)


def _tails(before: bytes, after: bytes, chance: random.Random) -> Iterator[bytes]:
    """What a cut can leave of the log between two syncs: any prefix of the new part, with holes, or old sectors."""
    same = len(before) if after.startswith(before) else 0
    ends = range(same, len(after), SECTOR)
    for end in ends if len(ends) <= MOST else sorted(chance.sample(ends, MOST)):
        yield after[:end]
    for end in chance.sample(ends, min(len(ends), 2)):
        yield after[:end] + bytes(len(after) - end)
        hole = chance.choice(ends)
        yield after[:hole] + bytes(min(SECTOR, len(after) - hole)) + after[hole + SECTOR :]
        yield after[:hole] + chance.randbytes(min(SECTOR, len(after) - hole)) + after[hole + SECTOR :]


def test_every_moment_that_was_told_as_durable_reopens_with_everything_in_it(cuts: list[Cut], tmp_path: Path) -> None:
    for cut in cuts:
        seqs, started = _legal(_put(tmp_path / "cut", cut.database, cut.log))
        assert seqs == cut.seqs
        assert cut.effects <= started


def test_a_log_cut_or_garbled_after_the_last_sync_reopens_to_what_was_durable_then(
    cuts: list[Cut], tmp_path: Path
) -> None:
    chance, tried = random.Random(7), 0  # noqa: S311  # no secret
    for earlier, later in pairwise(cuts):
        for log in _tails(earlier.log, later.log, chance):
            seqs, started = _legal(_put(tmp_path / "cut", later.database, log))
            assert all(seqs.get(run, 0) >= seq for run, seq in earlier.seqs.items())
            assert all(later.seqs[run] >= seq for run, seq in seqs.items())
            # The effect came after its start was durable: no cut brings back a state that would do it again.
            assert earlier.effects <= started
            tried += 1
    assert tried > 100


def test_a_cut_in_the_middle_of_a_checkpoint_reopens_with_everything_in_it(cuts: list[Cut], tmp_path: Path) -> None:
    last, chance = cuts[-1], random.Random(11)  # noqa: S311  # no secret
    path = _put(tmp_path / "whole", last.database, last.log)
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0
        after = path.read_bytes()
    assert after != last.database
    before = last.database.ljust(len(after), b"\0")
    for _ in range(20):
        torn = bytearray(before)
        for at in range(0, len(after), SECTOR):
            if chance.random() < 0.5:  # each sector came to the disk, or did not
                torn[at : at + SECTOR] = after[at : at + SECTOR]
        seqs, started = _legal(_put(tmp_path / "cut", bytes(torn), last.log))
        assert seqs == last.seqs
        assert last.effects <= started


def test_a_sync_that_was_left_out_would_be_found(cuts: list[Cut], tmp_path: Path) -> None:
    """The check can fail: with `started` unsynced when the effect happens, a cut loses it."""
    at = next(index for index, cut in enumerate(cuts) if cut.effects)
    seqs, started = _legal(_put(tmp_path / "cut", cuts[at].database, cuts[at - 2].log))
    assert not cuts[at].effects <= started
    assert seqs != cuts[at].seqs


async def test_each_commit_is_synced_before_its_caller_is_told(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store.db")
    level = await store.db.write(lambda tx: tx.conn.execute("PRAGMA synchronous").fetchone())
    mode = await store.db.write(lambda tx: tx.conn.execute("PRAGMA journal_mode").fetchone())
    await store.close()
    assert (level, mode) == ((2,), ("wal",))

"""Retention: what runs were about is dropped after a while; that they were, and the proof of it, stays.

Of a finished run that is old enough go the payloads of its events, the bodies that only it names, and the words of
people and models that other tables repeat. The hashes stay, so that every chain still verifies. Days of the ledger
that are as old go too; no budget asks for them any more.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256

from agent.errors import StorageUnavailable
from storage import ledger
from storage.database import Database, Tx, read_only
from storage.heads import note_dropped
from storage.schema import BODY_IN_PAYLOAD

DAY_S = 86_400.0
RETAIN_EVERY_S = 3600.0
_EVENTS = 2000
"""Events of one write, about 20 ms of the writer; a longer run is one write of its own."""
_PAUSE_S = 0.05
_OLD = """SELECT r.id, r.seq FROM runs r WHERE r.created_at < :before AND r.ended_at < :before
  AND NOT EXISTS (SELECT 1 FROM heads h WHERE h.run = r.id AND h.dropped = 1) ORDER BY r.created_at"""
_PAYLOADS = "SELECT seq, payload FROM events WHERE run = ? AND payload IS NOT NULL"
# As long as the payload is there its hash can be worked out; without it the chain needs it.
_DROP = "UPDATE events SET payload = NULL, payload_hash = ? WHERE run = ? AND seq = ?"
_FORGET = (
    "UPDATE runs SET title = 'payload dropped', summary = '' WHERE id = ?",
    "UPDATE approvals SET reason = '', because = '' WHERE run = ?",
    "UPDATE takeovers SET what = '', reference = '', evidence = '' WHERE run = ?",
    "UPDATE control SET reason = '' WHERE run = ?",
    "UPDATE feedback SET word = '' WHERE run = ?",
    "UPDATE attachments SET name = '', url = '', path = '', why = '' WHERE run = ?",
)


@dataclass(frozen=True, slots=True)
class Retained:
    """What one pass dropped."""

    runs: int = 0
    events: int = 0
    bodies: int = 0
    booked: int = 0
    """Rows of the ledger: a day's money of somebody, or of a model."""

    def __add__(self, other: Retained) -> Retained:
        booked = self.booked + other.booked
        return Retained(self.runs + other.runs, self.events + other.events, self.bodies + other.bodies, booked)


class Retention:
    """Drops payloads after `days` of business time. Needs no lease: it appends to no journal."""

    def __init__(self, db: Database, *, days: float) -> None:
        self._db = db
        self._days = days

    async def old_runs(self) -> tuple[tuple[str, int], ...]:
        """Runs that are due, with the length of their journals, the oldest first; raises StorageUnavailable."""
        before = self._db.clock.now() - self._days * DAY_S

        def look() -> tuple[tuple[str, int], ...]:
            try:
                with closing(read_only(self._db.path)) as conn:
                    return tuple(conn.execute(_OLD, {"before": before}))
            except sqlite3.Error as error:
                raise StorageUnavailable from error

        return await asyncio.to_thread(look)

    async def drop(self) -> Retained:
        """Drop what is due, a small batch at a time; raises StorageUnavailable, and what was dropped stays so."""
        total = Retained()
        for batch in _batches(await self.old_runs()):
            total += await self._db.write(lambda tx, batch=batch: _drop(tx, batch))
            await asyncio.sleep(_PAUSE_S)  # others write meanwhile
        before = self._db.clock.now() - self._days * DAY_S
        return total + await self._db.write(lambda tx: Retained(booked=ledger.forget(tx.conn, before)))


def _batches(runs: Sequence[tuple[str, int]]) -> Iterator[tuple[str, ...]]:
    batch: list[str] = []
    events = 0
    for run, length in runs:
        if batch and events + length > _EVENTS:
            yield tuple(batch)
            batch, events = [], 0
        batch.append(run)
        events += length
    if batch:
        yield tuple(batch)


def _drop(tx: Tx, runs: Sequence[str]) -> Retained:
    conn = tx.conn
    events = bodies = 0
    conn.execute("PRAGMA secure_delete=ON")  # what is freed in the file is overwritten
    try:
        for run in runs:
            payloads = conn.execute(_PAYLOADS, (run,)).fetchall()
            named = {digest for _, payload in payloads for digest in BODY_IN_PAYLOAD.findall(payload)}
            conn.executemany(_DROP, [(_hash(payload), run, seq) for seq, payload in payloads])
            events += len(payloads)
            bodies += sum(_forget_body(conn, run, bytes.fromhex(digest)) for digest in named)
            for statement in _FORGET:
                conn.execute(statement, (run,))
    finally:
        conn.execute("PRAGMA secure_delete=OFF")
    note_dropped(tx, runs)
    return Retained(len(runs), events, bodies)


def _hash(payload: str) -> bytes:
    return sha256(payload.encode("utf-8", "surrogateescape")).digest()


def _forget_body(conn: sqlite3.Connection, run: str, digest: bytes) -> int:
    """End the run's claim to a body, and drop it when nobody else has one; 1 when it was dropped."""
    conn.execute("DELETE FROM body_runs WHERE hash = ? AND run = ?", (digest, run))
    gone = conn.execute(
        "DELETE FROM blobs WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM body_runs WHERE hash = ?)", (digest, digest)
    )
    return gone.rowcount

"""How far each run's journal was handed to whoever keeps the traces, so that a crash loses no span."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from storage.database import Database, Tx

BACKLOG_S = 3600.0
"""Runs that ended longer ago than this are not handed over any more, business seconds."""

_BACKLOG = """SELECT r.id FROM runs r LEFT JOIN traced t ON t.run = r.id WHERE r.seq > coalesce(t.seq, 0)
  AND (r.status IN ('queued', 'running', 'waiting') OR r.ended_at > ?) ORDER BY r.created_at"""
_NOTE = "INSERT INTO traced VALUES (?, ?) ON CONFLICT(run) DO UPDATE SET seq = max(seq, excluded.seq)"
_OLD = "DELETE FROM traced WHERE run IN (SELECT id FROM runs WHERE ended_at < ?)"


def backlog(conn: sqlite3.Connection, now: float) -> tuple[str, ...]:
    """Runs of which something was not handed over; looks at every run, so not for the loop's thread."""
    return tuple(run for (run,) in conn.execute(_BACKLOG, (now - BACKLOG_S,)))


def traced_up_to(conn: sqlite3.Connection, run: str) -> int:
    """The seq up to which a run was handed over; 0 for nothing."""
    row = conn.execute("SELECT seq FROM traced WHERE run = ?", (run,)).fetchone()
    return row[0] if row else 0


async def note_traced(db: Database, cursors: Mapping[str, int]) -> None:
    """Keep how far runs were handed over, run → seq; raises StorageUnavailable."""
    rows = list(cursors.items())
    await db.write(lambda tx: tx.conn.executemany(_NOTE, rows))


async def forget_old(db: Database) -> int:
    """Drop what is kept for runs that are no backlog any more; returns how many."""

    def write(tx: Tx) -> int:
        return tx.conn.execute(_OLD, (tx.now - 2 * BACKLOG_S,)).rowcount

    return await db.write(write)

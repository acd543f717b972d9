"""The chain over the run heads: a row a run and minute, so that a deleted run or a deleted tail is found.

Rows are added beside the hot path: an append only names its run to whoever signs (`storage/signer.py`).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable

from agent.domain import canonical
from storage.database import Tx
from storage.working import GENESIS

_LAST = "SELECT n, hash FROM heads ORDER BY n DESC LIMIT 1"
_ADD = "INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?)"
_RUN = "SELECT seq, head_hash FROM runs WHERE id = ?"
_HEADED = "SELECT max(seq) FROM heads WHERE run = ?"
# The newest head of a run is found by the index heads_run, without reading its rows.
_CHANGED = """SELECT id FROM runs r WHERE r.seq > coalesce((SELECT max(seq) FROM heads h WHERE h.run = r.id), 0)"""


def head_row(  # noqa: PLR0917  # the hashed columns, in their order
    n: int, run: str, seq: int, head: bytes, dropped: int, prev: bytes
) -> bytes:
    """The hash of a row: over the RFC 8785 array of its columns and of the hash before it."""
    return hashlib.sha256(canonical([n, run, seq, head.hex(), dropped, prev.hex()])).digest()


def changed_runs(conn: sqlite3.Connection) -> tuple[str, ...]:
    """Runs whose journal is longer than their newest row here; looks at every run, so not for the loop's thread."""
    return tuple(run for (run,) in conn.execute(_CHANGED))


def add_heads(tx: Tx, runs: Iterable[str]) -> int:
    """Chain the heads of these runs as they stand, but those that stand there already; returns how many were added."""
    added = 0
    n, prev = _last(tx.conn)
    for run in runs:
        row = tx.conn.execute(_RUN, (run,)).fetchone()
        if row is None or row[0] <= (tx.conn.execute(_HEADED, (run,)).fetchone()[0] or 0):
            continue
        n, prev = _add(tx.conn, n, prev, (run, row[0], row[1], 0))
        added += 1
    return added


def note_dropped(tx: Tx, runs: Iterable[str]) -> None:
    """Chain that the payloads of these runs, up to their heads as they stand, were dropped by retention."""
    n, prev = _last(tx.conn)
    for run in runs:
        row = tx.conn.execute(_RUN, (run,)).fetchone()
        n, prev = _add(tx.conn, n, prev, (run, row[0], row[1], 1))


def _last(conn: sqlite3.Connection) -> tuple[int, bytes]:
    row = conn.execute(_LAST).fetchone()
    return (row[0], row[1]) if row else (0, GENESIS)


def _add(conn: sqlite3.Connection, n: int, prev: bytes, row: tuple[str, int, bytes, int]) -> tuple[int, bytes]:
    digest = head_row(n + 1, *row, prev)
    conn.execute(_ADD, (n + 1, *row, digest))
    return n + 1, digest

"""The minute's work for the audit: chain the heads of runs that moved, sign the chain's end, keep it outside."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.errors import StorageUnavailable
from storage.database import Database, read_only
from storage.heads import add_heads, changed_runs
from storage.working import GENESIS

if TYPE_CHECKING:  # costs 40 ms to import, and is needed first in a thread beside the start
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGN_EVERY_S = 60.0
_CHUNK = 500
"""Heads in one write: about 10 ms of the writer."""
_LINE = 5000
"""Heads that one line names."""
_STILL_HERE_S = 3600.0
"""When nothing moved, a line so often says that the chain is still the same."""

_log = structlog.get_logger(__name__)


class Signer:
    """Signs for one process, the one that drives runs. `moved` hears of every append; `sign` does what is due."""

    def __init__(self, db: Database, *, folder: Path, heads_file: Path) -> None:
        self._db, self._folder, self._file = db, folder, heads_file
        self._moved: set[str] = set()
        self._knows_all = False
        self._thread = threading.Lock()
        self._key: Ed25519PrivateKey | None = None
        self._signed = -1
        self._signed_at = 0.0

    def moved(self, run: str) -> None:
        """A run's journal grew; to be subscribed to the "head" signal."""
        self._moved.add(run)

    async def sign(self) -> None:
        """Chain what moved and sign the end; raises StorageUnavailable, ConfigurationError or OSError.

        What could not be done is done the next time.
        """
        if not self._knows_all:  # what moved before this process, or in the last minute of the one before
            runs: Iterable[str] = await asyncio.to_thread(self._unsigned_runs)
            self._moved.update(runs)
            self._knows_all = True
        waiting = sorted(self._moved)
        for at in range(0, len(waiting), _CHUNK):
            chunk = waiting[at : at + _CHUNK]
            self._moved.difference_update(chunk)
            try:
                await self._db.write(lambda tx, chunk=chunk: add_heads(tx, chunk))
            except BaseException:
                self._moved.update(chunk)
                raise
        await asyncio.to_thread(self._append)

    def _unsigned_runs(self) -> tuple[str, ...]:
        try:
            with closing(read_only(self._db.path)) as conn:
                return changed_runs(conn)
        except sqlite3.Error as error:
            raise StorageUnavailable from error

    def _append(self) -> None:
        """In a thread: sign the rows of the chain that no line covers yet."""
        from storage.keys import load_or_make  # noqa: PLC0415  # as at the top
        from storage.signed import Line, append_line, last_line, sign_line  # noqa: PLC0415  # as at the top

        with self._thread:
            self._key = self._key or load_or_make(self._folder)
            if self._signed < 0 or not self._file.exists():
                last = last_line(self._file, self._key.public_key())
                self._signed, self._signed_at = (last.n, last.at) if last else (0, 0.0)
            try:
                with closing(read_only(self._db.path)) as conn:
                    self._check_end(conn)
                    while rows := conn.execute(
                        "SELECT n, run, seq, head, hash FROM heads WHERE n > ? ORDER BY n LIMIT ?",
                        (self._signed, _LINE),
                    ).fetchall():  # fmt: skip
                        now = self._db.clock.transport()
                        runs = {run: (seq, head.hex()) for _, run, seq, head, _ in rows}
                        append_line(self._file, sign_line(Line(now, rows[-1][0], rows[-1][4], runs), self._key))
                        self._signed, self._signed_at = rows[-1][0], now
                    now = self._db.clock.transport()
                    if now - self._signed_at >= _STILL_HERE_S:
                        row = conn.execute("SELECT hash FROM heads WHERE n = ?", (self._signed,)).fetchone()
                        end = row[0] if row else GENESIS
                        append_line(self._file, sign_line(Line(now, self._signed, end, {}), self._key))
                        self._signed_at = now
            except sqlite3.Error as error:
                raise StorageUnavailable from error

    def _check_end(self, conn: sqlite3.Connection) -> None:
        """A database that lacks what was signed was rolled back or tampered with: say so, and sign what there is."""
        last = conn.execute("SELECT coalesce(max(n), 0) FROM heads").fetchone()[0]
        if last < self._signed:
            _log.error("audit_heads_missing", signed=self._signed, there=last, fix="run `secondkey audit verify`")
            self._signed = last

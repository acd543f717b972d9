"""The walk along every run's chain and along the chain over their heads: reads only, trusts nothing that it reads."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from storage.heads import head_row
from storage.journal import header
from storage.schema import BODY_IN_PAYLOAD
from storage.verdict import MOST_FINDINGS, Finding, Why
from storage.working import GENESIS

_RUNS = """SELECT u.id, r.seq, r.head_hash FROM (SELECT id FROM runs UNION SELECT run FROM events) u
  LEFT JOIN runs r ON r.id = u.id ORDER BY 1"""
_ROWS = """SELECT seq, type, version, at, epoch, payload, payload_hash, prev_hash, hash FROM events WHERE run = ?
  ORDER BY seq"""
_HEADS = """SELECT h.n, h.run, h.seq, h.head, h.dropped, h.hash, e.hash FROM heads h
  LEFT JOIN events e ON e.run = h.run AND e.seq = h.seq ORDER BY h.n"""

_NEVER_DROPPED = "its payload is gone, though retention never dropped it"


@dataclass(slots=True)
class Walk:
    """One verification under way over one snapshot."""

    conn: sqlite3.Connection
    runs: int = 0
    events: int = 0
    dropped: int = 0
    heads: int = 0
    findings: dict[str, Finding] = field(default_factory=dict[str, Finding])
    """The first of each run; the key is empty for one of the chain over the heads itself."""
    _whole: set[str] = field(default_factory=set[str])

    def found(self, run: str, seq: int, why: Why, problem: str) -> None:
        """Keep the first finding of a run."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.setdefault(run, Finding(run, seq, why, problem))

    # -- the runs ------------------------------------------------------------------------------------------------

    def walk_runs(self) -> None:
        """Walk every run's chain, and compare its end with the head that the run's row keeps."""
        self._has_heads = has_heads(self.conn)
        for run, seq, head in self.conn.execute(_RUNS):
            self.runs += 1
            finding = self._walk_run(run, seq, head)
            if finding is not None:
                self.found(*finding)

    _has_heads: bool = False

    def _walk_run(self, run: str, seq: int | None, head: bytes | None) -> tuple[str, int, Why, str] | None:
        expected, prev = 1, GENESIS
        dropped_to = -1
        for row in self.conn.execute(_ROWS, (run,)):
            self.events += 1
            number, payload = row[0], row[5]
            wrong = self._check_row(run, expected, prev, row)
            if wrong is None and payload is None:
                if dropped_to < 0:
                    dropped_to = self._dropped_to(run)
                    self.dropped += dropped_to > 0
                if number > dropped_to:
                    wrong = ("removed", _NEVER_DROPPED)
            elif wrong is None:
                wrong = self._check_bodies(payload)
            if wrong is not None:
                return run, expected, wrong[0], wrong[1]
            expected, prev = expected + 1, row[8]
        return _check_end(run, expected - 1, prev, seq, head)

    def _check_row(  # noqa: PLR0911  # one answer a kind of damage
        self, run: str, expected: int, prev: bytes, row: tuple[Any, ...]
    ) -> tuple[Why, str] | None:
        """Whether this row is the one that belongs here, and what became of it when it is not."""
        number, kind, version, at, epoch, payload, kept_hash, prev_hash, digest = row
        written = b"" if payload is None else hashlib.sha256(payload.encode("utf-8", "surrogateescape")).digest()
        payload_hash = kept_hash or written
        if not payload_hash and number == expected:
            return "removed", _NEVER_DROPPED
        if number != expected or prev_hash != prev:
            moved = self.conn.execute(
                "SELECT seq FROM events WHERE run = ? AND prev_hash = ? AND seq <> ?", (run, prev, expected)
            ).fetchone()
            if moved:
                return "reordered", f"the row that belongs here stands at {moved[0]}"
            shifted = _hash(run, number + 1, kind, version, at, epoch, payload_hash, prev_hash) == digest
            if number != expected or shifted:
                return "removed", "the row is not there"
            return "edited", "the row does not follow from the one before it"
        if payload is not None and written != payload_hash:
            return "edited", "the payload is not the one that was written"
        if _hash(run, number, kind, version, at, epoch, payload_hash, prev_hash) != digest:
            return "edited", "the row is not the one that was written"
        return None

    def _check_bodies(self, payload: str) -> tuple[Why, str] | None:
        for digest in BODY_IN_PAYLOAD.findall(payload):
            if digest in self._whole:
                continue
            row = self.conn.execute("SELECT body FROM blobs WHERE hash = ?", (bytes.fromhex(digest),)).fetchone()
            if row is None:
                return "removed", f"the body {digest[:12]}… that the row names is not there"
            if hashlib.sha256(row[0]).hexdigest() != digest:
                return "edited", f"the body {digest[:12]}… that the row names is not the one that was written"
            self._whole.add(digest)
        return None

    def _dropped_to(self, run: str) -> int:
        if not self._has_heads:
            return 0
        row = self.conn.execute("SELECT max(seq) FROM heads WHERE run = ? AND dropped = 1", (run,)).fetchone()
        return row[0] or 0

    # -- the chain over their heads ------------------------------------------------------------------------------

    def walk_heads(self) -> Iterator[tuple[int, bytes]]:
        """Walk the chain over the heads, comparing it with the runs; yields each row's number and hash."""
        if not has_heads(self.conn):
            return
        expected, prev = 1, GENESIS
        good: dict[str, int] = {}
        for n, run, seq, head, dropped, digest, stands in self.conn.execute(_HEADS):
            self.heads += 1
            if n != expected:
                self.found("", 0, "removed", f"row {expected} of the chain over the heads is not there")
            elif head_row(n, run, seq, head, dropped, prev) != digest:
                self.found("", 0, "edited", f"row {n} of the chain over the heads is not the one that was written")
            if stands == head:
                good[run] = max(seq, good.get(run, 0))
            elif stands is None:
                self.missing(run, seq)
            else:
                self.found(run, good.get(run, 0) + 1, "edited", f"rows up to {seq} were written anew later")
            expected, prev = n + 1, digest
            yield n, digest

    def missing(self, run: str, seq: int) -> None:
        """A run's journal once reached this row and does not any more."""
        last = self.conn.execute("SELECT max(seq) FROM events WHERE run = ?", (run,)).fetchone()[0]
        if last is None:
            self.found(run, 1, "run deleted", f"the run and its journal of {seq} rows at least are not there")
        elif last < seq:
            self.found(run, last + 1, "tail missing", f"the journal reached row {seq} once and ends at {last}")
        else:
            self.found(run, seq, "removed", "the row is not there")

    def hash_of(self, run: str, seq: int) -> bytes | None:
        """The hash of one row of a run's journal."""
        row = self.conn.execute("SELECT hash FROM events WHERE run = ? AND seq = ?", (run, seq)).fetchone()
        return row[0] if row else None


def has_heads(conn: sqlite3.Connection) -> bool:
    """Whether the file is of a release that chains heads; older ones are verified as far as they go."""
    return conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'heads'").fetchone() is not None


def _hash(run: str, *columns: Any) -> bytes:  # noqa: ANN401  # the columns as they were read, whatever they hold
    try:
        return hashlib.sha256(header(run, *columns)).digest()
    except (ValueError, TypeError, AttributeError):
        return b""  # such a value was never written by us


def _check_end(
    run: str, last: int, end: bytes, seq: int | None, head: bytes | None
) -> tuple[str, int, Why, str] | None:
    if seq is None:
        return run, 1, "removed", "the run's own row is not there, though its journal is"
    if seq > last:
        if not last:
            return run, 1, "tail missing", f"all {seq} rows of the journal are not there"
        return run, last + 1, "tail missing", f"the journal ends at row {last} of {seq}"
    if seq < last:
        return run, seq + 1, "added", f"the journal had {seq} rows"
    return None if end == head else (run, last, "edited", "the run's head is not the end of its chain")

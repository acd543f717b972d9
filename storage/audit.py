"""Proof and complaints: the verification of every chain, and rows for what was refused."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from storage.database import Database, Tx
from storage.journal import header
from storage.working import GENESIS


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found; `run` and `seq` name the first bad row, `problem` says what is wrong with it."""

    ok: bool
    runs: int
    events: int
    run: str = ""
    seq: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An attempt that changed nothing. Business time."""

    id: int
    at: float
    kind: str
    principal: str
    subject: str
    detail: str


def refused(tx: Tx, *, kind: str, principal: str, subject: str, detail: str = "") -> None:
    """Keep a row of an attempt that was refused."""
    tx.conn.execute("INSERT INTO audit VALUES (NULL, ?, ?, ?, ?, ?)", (tx.now, kind, principal, subject, detail))


def refusals(db: Database, *, subject: str = "", limit: int = 100) -> tuple[Refusal, ...]:
    """The latest refusals, newest first, of one subject or (empty) of all."""
    return db.read(
        lambda conn: tuple(
            Refusal(*row)
            for row in conn.execute(
                "SELECT id, at, kind, principal, subject, detail FROM audit WHERE ? IN ('', subject) "
                "ORDER BY id DESC LIMIT ?",
                (subject, limit),
            )
        )
    )


def verify(db: Database) -> Verdict:
    """Walk every run's chain; a long read, meant for a command and not for a server's loop."""
    return db.read(verify_connection)


def verify_file(path: Path) -> Verdict:
    """The same for a file that nothing else need have open; raises sqlite3.Error when it is no database of ours."""
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        conn.execute("BEGIN")
        return verify_connection(conn)
    finally:
        conn.close()


def verify_connection(conn: sqlite3.Connection) -> Verdict:
    """Walk every run's chain and compare its end with the head that the run's row keeps."""
    runs = events = 0
    heads = conn.execute(
        "SELECT u.id, r.seq, r.head_hash FROM (SELECT id FROM runs UNION SELECT run FROM events) u "
        "LEFT JOIN runs r ON r.id = u.id ORDER BY 1"
    )
    for run, seq, head in heads:
        runs += 1
        count, bad, problem = _walk(conn, run, seq, head)
        events += count
        if problem:
            return Verdict(ok=False, runs=runs, events=events, run=run, seq=bad, problem=problem)
    return Verdict(ok=True, runs=runs, events=events)


def _walk(  # noqa: PLR0911  # one return a way in which a chain can be broken
    conn: sqlite3.Connection, run: str, seq: int | None, head: bytes | None
) -> tuple[int, int, str]:
    """Events walked, then the first bad row and its problem; an empty problem means that the chain holds."""
    expected, prev = 1, GENESIS
    rows = conn.execute(
        "SELECT seq, type, version, at, epoch, payload, payload_hash, prev_hash, hash FROM events WHERE run = ? "
        "ORDER BY seq",
        (run,),
    )  # fmt: skip
    for number, kind, version, at, epoch, payload, payload_hash, prev_hash, digest in rows:
        if number != expected:
            return expected - 1, expected, "a row is missing"
        if prev_hash != prev:
            return expected - 1, expected, "the row does not follow from the one before it"
        if payload is not None and hashlib.sha256(payload.encode()).digest() != payload_hash:
            return expected - 1, expected, "the payload was changed"
        covered = header(run, number, kind, version, at, epoch, payload_hash, prev_hash)
        if hashlib.sha256(covered).digest() != digest:
            return expected - 1, expected, "the row was changed"
        expected, prev = expected + 1, digest
    if seq is None:
        return expected - 1, 1, "the run's own row is missing"
    if seq != expected - 1:
        return expected - 1, expected, "the end of the journal is missing" if seq >= expected else "a row was added"
    if prev != head:
        return expected - 1, expected - 1, "the run's head is not the end of its chain"
    return expected - 1, 0, ""

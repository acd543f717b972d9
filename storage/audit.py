"""Proof and complaints: the verification of every chain, and rows for what was refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.database import Database, Tx, read_only
from storage.verdict import CheckedReceipts, Finding, SignedHeads, Verdict
from storage.verification import Walk

__all__ = ["Refusal", "Verdict", "refusals", "refused", "verify", "verify_connection", "verify_file"]

Compare = Callable[[Walk, Mapping[int, bytes]], SignedHeads]
"""Holds the chain over the heads, row number → hash, against what was signed."""
Check = Callable[[Walk], CheckedReceipts | None]
"""Checks the receipts of decisions and votes."""


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
    """Walk every chain; a long read, meant for a command and not for a server's loop."""
    return db.read(verify_connection)


def verify_file(path: Path, heads_file: Path | None = None, public_key: Path | None = None) -> Verdict:
    """The same for a file that nothing else need have open.

    With the public key the receipts of all decisions are checked too, and the signed heads when they are given.
    Raises ConfigurationError when the key or the heads cannot be read, sqlite3.Error when the database is none.
    """
    compare: Compare | None = None
    check: Check | None = None
    if public_key is not None:
        from storage.comparison import against  # noqa: PLC0415  # cryptography is for this command, not for every start
        from storage.receipt_check import receipts_of  # noqa: PLC0415  # as above

        check = receipts_of(public_key)
        compare = against(heads_file, public_key) if heads_file is not None else None
    conn = _open(path)
    conn.text_factory = _lenient
    try:
        conn.execute("BEGIN")
        return verify_connection(conn, compare, check)
    finally:
        conn.close()


def verify_connection(
    conn: sqlite3.Connection, compare: Compare | None = None, check: Check | None = None
) -> Verdict:  # fmt: skip
    """Walk every run's chain and the chain over their heads, and compare them and decisions with what was signed."""
    walk = Walk(conn)
    walk.walk_runs()
    known = dict(walk.walk_heads())
    signed = compare(walk, known) if compare is not None else None
    receipts = check(walk) if check is not None else None
    named = sorted((item for item in walk.findings.values() if item.run), key=lambda item: item.run)
    findings = (*named, *(item for item in walk.findings.values() if not item.run))
    first = findings[0] if findings else Finding("", 0, "edited", "")
    return Verdict(
        ok=not findings,
        runs=walk.runs,
        events=walk.events,
        run=first.run,
        seq=first.seq,
        problem=first.problem,
        why=first.why if findings else "",
        dropped=walk.dropped,
        heads=walk.heads,
        signed=signed,
        receipts=receipts,
        findings=findings,
        cannot_find=_limits(walk, signed, receipts),
    )


def _lenient(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")  # whatever somebody wrote there, it is read and then found wrong


def _limits(walk: Walk, signed: SignedHeads | None, receipts: CheckedReceipts | None) -> tuple[str, ...]:
    derived = "runs, approvals and so on" if receipts is None else "but for decisions and votes: runs, grants and so on"
    always = (
        f"Payloads that somebody dropped too early in the way of retention; {walk.dropped} runs have none.",
        f"Changes to tables other than the journal{':' if receipts is None else ','} {derived} are derived from it.",
    )
    if signed is None:
        alone = (
            "Without the file of signed heads: a run that was deleted together with its rows in `heads`, or a journal "
            "whose hashes were all computed anew. Whoever can write the database can do both."
        )
        return (alone, *always)
    back = (
        "A database and a file of heads that were both put back to the same earlier state. Keep a copy of the file on "
        "another machine, and verify against that."
    )
    forged = (
        "What was signed anew by somebody who can read audit.key. Compare the key's fingerprint "
        f"({signed.key}) with one that is noted elsewhere."
    )
    recent = f"What happened after the newest signed head (row {signed.n}; the database has {walk.heads})."
    return (recent, back, forged, *always)


def _open(path: Path) -> sqlite3.Connection:
    """The file, read-only; also one that stands on a medium on which SQLite cannot make its helper files."""
    conn = read_only(path)
    try:
        conn.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        conn.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        conn = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    return conn

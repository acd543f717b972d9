"""Which policies the server worked with, and whether the last reload failed; so that a command beside it can tell."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from storage.database import Tx

_KEPT = 100


@dataclass(frozen=True, slots=True)
class Loaded:
    """One loading of a policy, business time; with a problem the one before it stayed in force."""

    at: float
    version: str
    problem: str


def note_policy(tx: Tx, version: str, problem: str = "") -> None:
    """Note that a policy is in force from now on, or why the one in the file is not."""
    tx.conn.execute("INSERT INTO policies(at, version, problem) VALUES (?, ?, ?)", (tx.now, version, problem))
    tx.conn.execute("DELETE FROM policies WHERE id <= (SELECT max(id) FROM policies) - ?", (_KEPT,))


def last_loaded(conn: sqlite3.Connection) -> Loaded | None:
    """The newest loading, or None when there was none."""
    row = conn.execute("SELECT at, version, problem FROM policies ORDER BY id DESC LIMIT 1").fetchone()
    return Loaded(*row) if row else None

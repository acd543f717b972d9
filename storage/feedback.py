"""How people liked an answer: one vote a person and run, which they can change, and a word about it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from agent.errors import UnknownRun
from storage.audit import refused
from storage.database import Tx

Vote = Literal["good", "bad"]
WORD_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one person thinks of a run's answer. Business time."""

    run: str
    principal: str
    vote: Vote
    word: str
    at: float


def vote(tx: Tx, run: str, principal: str, how: Vote) -> Vote | None:
    """Keep a vote and an audit row; returns what they had voted before. Raises UnknownRun."""
    if tx.conn.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is None:
        raise UnknownRun
    before = tx.conn.execute("SELECT vote FROM feedback WHERE run = ? AND principal = ?", (run, principal)).fetchone()
    if before is None or before[0] != how:
        tx.conn.execute("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, '', ?)", (run, principal, how, tx.now))
        refused(tx, kind="feedback", principal=principal, subject=run, detail=how)
    return before[0] if before else None


def add_word(tx: Tx, run: str, principal: str, word: str) -> bool:
    """Keep what they said of their vote; False when they have not voted."""
    query = "UPDATE feedback SET word = ?, at = ? WHERE run = ? AND principal = ?"
    kept = tx.conn.execute(query, (word[:WORD_CHARACTERS], tx.now, run, principal)).rowcount == 1
    if kept:
        refused(tx, kind="feedback", principal=principal, subject=run, detail="with a word")
    return kept


def opinions(conn: sqlite3.Connection, run: str) -> tuple[Opinion, ...]:
    """What people think of a run's answer, oldest first."""
    query = "SELECT run, principal, vote, word, at FROM feedback WHERE run = ? ORDER BY at"
    return tuple(Opinion(*row) for row in conn.execute(query, (run,)))

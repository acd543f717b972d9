"""Quotas: how many runs a person and everybody may start, counted over the runs themselves."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.errors import QuotaExceeded
from storage.database import Tx

WINDOW_S = 3600.0


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits on new runs; 0 means no limit."""

    per_person: int = 10
    """Runs a person may start in an hour of business time."""
    everybody: int = 100
    """Runs that all people together may start in an hour."""
    at_once: int = 3
    """Runs of one person that are neither over nor waiting for people."""
    waiting: int = 0
    """Runs of one person beyond those that may wait for their turn."""
    follow_ups: int = 30
    """Follow-ups to runs under way that a person may write in an hour."""


def check_quotas(conn: sqlite3.Connection, requester: str, now: float, quotas: Quotas) -> QuotaExceeded | None:
    """The first quota that one more run of this person would break, or None."""
    since = now - WINDOW_S
    if quotas.at_once:
        query = "SELECT count(*) FROM runs WHERE requester = ? AND status IN ('queued', 'running')"
        (busy,) = conn.execute(query, (requester,)).fetchone()
        if busy >= quotas.at_once + quotas.waiting:
            runs = "run" if busy == 1 else "runs"
            beyond = f", and {quotas.waiting} more wait for their turn" if quotas.waiting else ""
            text = f"You have {busy} {runs} going; at most {quotas.at_once} run at once for one person{beyond}."
            return QuotaExceeded(text, scope="at_once")
    if quotas.per_person:
        mine = "SELECT created_at FROM runs WHERE requester = ? AND created_at > ?"
        row = conn.execute(
            f"{mine} ORDER BY created_at DESC LIMIT 1 OFFSET ?", (requester, since, quotas.per_person - 1)
        ).fetchone()
        if row:
            text = f"You started {quotas.per_person} runs within the last hour, which is the limit for one person."
            return QuotaExceeded(text, retry_at=row[0] + WINDOW_S, scope="person")
    if quotas.everybody:
        query = "SELECT created_at FROM runs WHERE created_at > ? ORDER BY created_at DESC LIMIT 1 OFFSET ?"
        row = conn.execute(query, (since, quotas.everybody - 1)).fetchone()
        if row:
            text = (
                f"{quotas.everybody} runs were started within the last hour, which is the limit for everybody together."
            )
            return QuotaExceeded(text, retry_at=row[0] + WINDOW_S, scope="everybody")
    return None


def check_follow_ups(tx: Tx, run: str, principal: str, quotas: Quotas) -> QuotaExceeded | None:
    """Count one more follow-up of this person, or say why it is one too many; what left the window is forgotten."""
    tx.conn.execute("DELETE FROM follow_ups WHERE principal = ? AND at <= ?", (principal, tx.now - WINDOW_S))
    if quotas.follow_ups:
        query = "SELECT at FROM follow_ups WHERE principal = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        row = tx.conn.execute(query, (principal, quotas.follow_ups - 1)).fetchone()
        if row:
            text = f"You added to running tasks {quotas.follow_ups} times within the last hour, which is the limit."
            return QuotaExceeded(text, retry_at=row[0] + WINDOW_S, scope="follow_ups")
    tx.conn.execute("INSERT INTO follow_ups VALUES (?, ?, ?)", (principal, tx.now, run))
    return None

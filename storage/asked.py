"""What an append must know of an approval, with its action and the policy by which that was rated: read at once."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

_FIND = """SELECT a.action, a.digest, a.epoch, a.state, a.reason_until, a.consumed_at, a.expires_at,
  (SELECT iif(json_valid(e.payload), json_extract(e.payload, '$.policy_version'), '') FROM events e
    WHERE e.run = c.run AND e.seq = c.rated_seq AND e.type = 'action_rated'),
  c.id, c.step, c.tool, c.tier, c.phase, c.outcome, c.digest, c.approval, c.takeover, c.attempt, c.resumed,
  c.lease_token, c.proposed_seq, c.rated_seq, c.ended_seq, c.started_at, c.ended_at
  FROM approvals a LEFT JOIN actions c ON c.run = a.run AND c.id = a.action WHERE a.id = ? AND a.run = ?"""
_OWN = 8


@dataclass(slots=True)
class Asked:
    """The half of a row of `approvals` by which it is decided. Business seconds."""

    action: str
    digest: str
    epoch: int
    state: str
    reason_until: float | None
    consumed_at: float | None
    expires_at: float
    policy: str
    """Version of the policy by which its action was last rated, before this append; empty when nobody knows."""


def find_asked(conn: sqlite3.Connection, run: str, approval: str) -> tuple[Asked, tuple[Any, ...]] | None:
    """An approval of the run, and the columns of its action's row (all None when it has none)."""
    row = conn.execute(_FIND, (approval, run)).fetchone()
    if row is None:
        return None
    asked = Asked(*row[:_OWN])
    asked.policy = str(asked.policy or "")
    return asked, row[_OWN:]

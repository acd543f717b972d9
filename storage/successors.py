"""What stands in the place of an approval that was edited or asked again, and what else of its run waits."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal, cast

from agent import events as ev
from agent.domain import Outcome, RunStatus

_SUCCESSOR = """SELECT s.cause, s."by", s.at, s.run, s.action, r.status FROM successors s JOIN runs r ON r.id = s.run
  WHERE s.approval = ?"""
_ACTION = """SELECT a.approval, a.takeover, a.outcome, e.payload FROM actions a
  LEFT JOIN events e ON e.run = a.run AND e.seq = a.ended_seq WHERE a.run = ? AND a.id = ?"""
_FIRST_APPROVAL = "SELECT id FROM approvals WHERE run = ? ORDER BY created_at, id LIMIT 1"
_WAITING = "SELECT id FROM approvals WHERE run = ? AND state = 'pending' ORDER BY created_at, id"


@dataclass(frozen=True, slots=True)
class Successor:
    """The action, or the run, that a person had proposed instead. Business seconds."""

    cause: Literal["edit", "ask_again"]
    by: str
    at: float
    run: str
    """The run in which it is; another one than before when that was over."""
    action: str
    """Empty when it is a new run."""
    run_status: RunStatus
    approval: str = ""
    """The approval that it led to; empty as long as there is none."""
    takeover: str = ""
    outcome: Outcome | None = None
    why: str = ""
    """What was said when it ended, one sentence."""


def find_successor(conn: sqlite3.Connection, approval: str) -> Successor | None:
    """What stands in the place of an approval, or None."""
    row = conn.execute(_SUCCESSOR, (approval,)).fetchone()
    if row is None:
        return None
    cause, by, at, run, action, status = row
    kind = cast("Literal['edit', 'ask_again']", cause)
    if not action:
        first = conn.execute(_FIRST_APPROVAL, (run,)).fetchone()
        return Successor(kind, by, at, run, "", RunStatus(status), first[0] if first else "")
    line: tuple[str, str, str | None, str | None] | None = conn.execute(_ACTION, (run, action)).fetchone()
    found = line or ("", "", None, None)
    ended = ev.decode(found[3]) if found[3] else None
    why = ended.summary if isinstance(ended, ev.ActionFinished) else ""
    outcome = Outcome(found[2]) if found[2] else None
    return Successor(kind, by, at, run, action, RunStatus(status), found[0], found[1], outcome, why)


def waiting_in(conn: sqlite3.Connection, run: str) -> tuple[str, ...]:
    """Approvals of a run that wait for people, the oldest first."""
    return tuple(key for (key,) in conn.execute(_WAITING, (run,)))

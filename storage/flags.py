"""Control flags: stop, pause, resume and kill, as rows that any process may write and every start reads."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.errors import RunPaused, RunStopped
from storage.database import Tx
from storage.scopes import EVERYTHING, Scope, read_kill_file
from storage.working import Working

Kind = Literal["stop", "pause", "resume", "kill", "decide", "revoke", "undo"]
# A stop is for the runs that were there; pause and kill stand until they are lifted.
_HALTS = """SELECT kind, run, tool, person FROM control WHERE lifted_at IS NULL AND run IN ('', ?) AND (
  kind IN ('pause', 'kill') OR
  (kind = 'stop' AND (run <> '' OR at >= (SELECT created_at FROM runs WHERE id = ?))))"""
_PEOPLE = "SELECT requester FROM runs WHERE id = ? UNION ALL SELECT principal FROM co_requesters WHERE run = ?"
_ADD = """INSERT INTO control(kind, run, "by", reason, at, taken_at, lifted_at, tool, person, grant_id)
  VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?, ?)"""


@dataclass(frozen=True, slots=True)
class Flag:
    """One control row; without run, tool and person it is about everything. Business time."""

    id: int
    kind: Kind
    run: str
    by: str
    reason: str
    at: float
    tool: str = ""
    person: str = ""
    grant: str = ""

    @property
    def scope(self) -> Scope:
        """What it is about."""
        return scope_of(self.run, self.tool, self.person)


def scope_of(run: str, tool: str, person: str) -> Scope:
    """The scope that these columns hold."""
    if run:
        return Scope("run", run)
    if tool:
        return Scope("tool", tool)
    return Scope("person", person) if person else EVERYTHING


def people_of(conn: sqlite3.Connection, run: str) -> tuple[str, ...]:
    """Principal keys of everybody whose words are in the run."""
    return tuple(key for (key,) in conn.execute(_PEOPLE, (run, run)))


def refuse_if_halted(work: Working, kill_file: Path | None, action: str) -> None:
    """Raise RunStopped or RunPaused when a flag or the kill file is about this start, read in its transaction."""
    conn = work.tx.conn
    standing = conn.execute(_HALTS, (work.id, work.id)) if work.tx.known.may_be_halted(conn) else ()
    flags = [(kind, scope_of(*columns)) for kind, *columns in standing]
    named = read_kill_file(kill_file)
    if not flags and not named:
        return
    tool, people = work.action(action).tool, people_of(conn, work.id)

    def is_about(scope: Scope) -> bool:
        return scope.covers(run=work.id, tool=tool, people=people)

    killed = next((scope for scope in named if is_about(scope)), None)
    if killed is not None and kill_file is not None:
        what = "Everything" if killed == EVERYTHING else str(killed)
        raise RunStopped(f"{what} is stopped by the file {kill_file.name}.")
    hits = [(kind, scope) for kind, scope in flags if is_about(scope)]
    if any(kind in {"stop", "kill"} for kind, _ in hits):
        raise RunStopped
    if hits:
        scope = next((scope for _, scope in hits if scope == EVERYTHING), hits[0][1])
        raise RunPaused(None if scope == EVERYTHING else f"{scope} is paused; it starts nothing until it is resumed.")


def write_flag(tx: Tx, kind: Kind, *, scope: Scope = EVERYTHING, by: str, reason: str = "", grant: str = "") -> int:
    """Write one row inside a transaction; `resume` lifts what pauses or kills its scope, or all that does.

    Returns the row's id.
    """
    lifted = None
    if kind == "resume":
        lift_all = scope == EVERYTHING
        tx.conn.execute(
            "UPDATE control SET lifted_at = ? WHERE lifted_at IS NULL AND kind IN ('pause', 'kill') "
            "AND (? OR (run = ? AND tool = ? AND person = ?))",
            (tx.now, lift_all, scope.run, scope.tool, scope.person),
        )
        lifted = tx.now
    elif kind in {"decide", "revoke"}:
        lifted = tx.now
    at = tx.now
    if kind == "stop" and not scope.run:  # by a process whose business clock is behind: the runs there are meant
        at = max(at, tx.conn.execute("SELECT coalesce(max(created_at), 0.0) FROM runs").fetchone()[0])
    row = (kind, scope.run, by, reason, at, lifted, scope.tool, scope.person, grant)
    added = tx.conn.execute(_ADD, row)
    tx.known.forget()
    tx.signal("control", scope.run)
    return added.lastrowid or 0

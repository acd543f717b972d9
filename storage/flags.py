"""Control flags: stop, pause, resume and kill, as rows that any process may write and every start reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.errors import RunPaused, RunStopped
from storage.database import Tx
from storage.working import Working

Kind = Literal["stop", "pause", "resume", "kill", "decide", "undo"]
# A stop of everything is for the runs that were there; pause and kill stand until they are lifted.
_HALTS = """SELECT kind FROM control WHERE lifted_at IS NULL AND run IN ('', ?) AND (kind IN ('pause', 'kill') OR
  (kind = 'stop' AND (run <> '' OR at >= (SELECT created_at FROM runs WHERE id = ?))))"""


@dataclass(frozen=True, slots=True)
class Flag:
    """One control row; `run` is empty for all runs. Business time."""

    id: int
    kind: Kind
    run: str
    by: str
    reason: str
    at: float


def refuse_if_halted(work: Working, kill_file: Path | None) -> None:
    """Raise RunStopped or RunPaused when a flag or the kill file stands, read in the transaction that would start."""
    kinds = {row[0] for row in work.tx.conn.execute(_HALTS, (work.id, work.id))}
    if kill_file is not None and kill_file.exists():
        raise RunStopped(f"Everything is stopped by the file {kill_file.name}.")
    if kinds & {"stop", "kill"}:
        raise RunStopped
    if kinds:
        raise RunPaused


def write_flag(tx: Tx, kind: Kind, *, run: str = "", by: str, reason: str = "") -> int:
    """Write one row inside a transaction; `resume` lifts what pauses or kills. Returns the row's id."""
    lifted = None
    if kind == "resume":
        tx.conn.execute(
            "UPDATE control SET lifted_at = ? WHERE lifted_at IS NULL AND kind IN ('pause', 'kill') "
            "AND (? = '' OR run = ?)",
            (tx.now, run, run),
        )
        lifted = tx.now
    elif kind == "decide":
        lifted = tx.now
    at = tx.now
    if kind == "stop" and not run:  # by a process whose business clock is behind: the runs that are there are meant
        at = max(at, tx.conn.execute("SELECT coalesce(max(created_at), 0.0) FROM runs").fetchone()[0])
    added = tx.conn.execute(
        "INSERT INTO control VALUES (NULL, ?, ?, ?, ?, ?, NULL, ?)", (kind, run, by, reason, at, lifted)
    )
    tx.signal("control", run)
    return added.lastrowid or 0

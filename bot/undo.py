"""Undo: what a run put into the project is taken back by whoever drives the runs, for a day."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agent.domain import RunStatus
from agent.errors import ToolError
from agent.events import ChangesUndone
from agent.workspace import Workspace
from storage.control import Control
from storage.database import Database, Tx
from storage.flags import Flag
from storage.journal import append
from storage.queries import Queries

LIMIT_S = 86_400.0
"""How long after it began a change can be taken back, business seconds."""
_APPLIED = "SELECT max(started_at) FROM actions WHERE run = ? AND tool = 'apply_changes' AND started_at IS NOT NULL"
_TOLD = "SELECT 1 FROM events WHERE run = ? AND type = 'changes_undone' AND json_extract(payload, '$.flag') = ?"


class Undo:
    """Carries out the control rows that ask for it; each once, and what came of it stands in the run's journal."""

    def __init__(self, db: Database, control: Control, workspaces: Path, project: Path) -> None:
        self._db, self._control = db, control
        self._workspaces, self._project = workspaces, project

    async def carry_out(self) -> None:
        """Carry out what was ordered and not yet done; only for the holder of the lease."""
        for flag in self._control.standing():
            if flag.kind == "undo":
                await self._one(flag)
                await self._control.lift(flag.id)

    async def _one(self, flag: Flag) -> None:
        run = Queries(self._db).run(flag.run)
        if run is None or self._db.read(lambda conn: conn.execute(_TOLD, (flag.run, flag.id)).fetchone()):
            return
        problem, files = "", tuple[str, ...]()
        if not RunStatus(run.status).is_final:
            problem = "The run is not over yet; stop it first."
        elif flag.at - self._began(flag.run) > LIMIT_S:
            problem = "What it changed is more than a day old, or it changed nothing."
        else:
            workspace = Workspace(self._workspaces.resolve() / flag.run, self._project.resolve())
            try:
                files = await workspace.take_back(f"order{flag.id}")
            except ToolError as error:
                problem = str(error)
        told = ChangesUndone(flag=flag.id, by=flag.by, files=files, problem=problem)

        def write(tx: Tx) -> None:
            append(tx, flag.run, (told,))

        await self._db.write(write)

    def _began(self, run: str) -> float:
        def read(conn: sqlite3.Connection) -> float:
            return float(conn.execute(_APPLIED, (run,)).fetchone()[0] or float("-inf"))

        return self._db.read(read)

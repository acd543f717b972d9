"""Workspaces of runs that ended some time ago are removed, so that copies of the project do not fill the disk.

What was put into the project can be taken back for a day; a workspace stays for longer than that.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import structlog

from agent.errors import StorageUnavailable
from storage.database import Database, read_only
from storage.retention import DAY_S

_ENDED: Final = "SELECT ended_at FROM runs WHERE id = ? AND ended_at IS NOT NULL"
_log = structlog.get_logger(__name__)


class Tidying:
    """Removes folders below `workspaces` that are called like a run which ended `days` of business time ago."""

    def __init__(self, db: Database, workspaces: Path, *, days: float) -> None:
        self._db, self._workspaces, self._days = db, workspaces, days

    async def tidy(self) -> int:
        """Remove what is due; returns how many. Raises StorageUnavailable; a folder that resists is logged and left."""
        return await asyncio.to_thread(self._tidy, self._db.clock.now() - self._days * DAY_S)

    def _tidy(self, before: float) -> int:
        if not self._workspaces.is_dir():
            return 0
        try:
            with closing(read_only(self._db.path)) as conn:
                due = [folder for folder in self._workspaces.iterdir() if _is_due(conn, folder, before)]
        except sqlite3.Error as error:
            raise StorageUnavailable from error
        gone = 0
        for folder in due:
            try:
                shutil.rmtree(folder)  # never follows a link
            except OSError as error:
                _log.warning("workspace_not_removed", run_id=folder.name, error=type(error).__name__)
            else:
                gone += 1
        return gone


def _is_due(conn: sqlite3.Connection, folder: Path, before: float) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    row = conn.execute(_ENDED, (folder.name,)).fetchone()
    return row is not None and row[0] < before

"""Files that people attach to a task: owed until they are in the run's workspace, or cannot be; a restart goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from agent.domain import AttachedFile
from agent.events import FilesAttached
from storage.database import Database, Tx
from storage.journal import append
from storage.working import Working

_COLUMNS = "run, batch, file, n, name, kind, size, url, state, path, why"


@dataclass(frozen=True, slots=True)
class Offered:
    """A file as a message names it; nothing of it has been fetched yet."""

    file: str
    """Slack's id of it."""
    name: str
    kind: str = ""
    """Its media type, as Slack says."""
    size: int = 0
    url: str = ""
    why: str = ""
    """Why it is not taken; empty when it is."""
    uploader: str = ""
    """Slack's user id of who uploaded it."""


@dataclass(frozen=True, slots=True)
class AttachmentRow:
    """A file that is owed to a run, or was."""

    run: str
    batch: str
    file: str
    n: int
    name: str
    kind: str
    size: int
    url: str
    state: str
    """`owed`, `done` or `failed`."""
    path: str
    why: str


def owe(tx: Tx, run: str, batch: str, files: Sequence[Offered]) -> None:
    """Note in the transaction that takes the message which files the run is owed."""
    for n, item in enumerate(files):
        tx.conn.execute(
            "INSERT OR IGNORE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'owed', '', ?, ?)",
            (run, batch, item.file, n, item.name, item.kind, item.size, item.url, item.why, tx.now),
        )


class Attachments:
    """What is owed, and what became of it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def owed(self, limit: int = 50) -> tuple[AttachmentRow, ...]:
        """Files that are owed, the longest waiting first and those of one message in their order."""
        query = f"SELECT {_COLUMNS} FROM attachments WHERE state = 'owed' ORDER BY at, run, batch, n LIMIT ?"  # noqa: S608  # a constant
        return self._db.read(lambda conn: tuple(AttachmentRow(*row) for row in conn.execute(query, (limit,))))

    async def settle(self, row: AttachmentRow, *, path: str = "", size: int = 0, why: str = "") -> bool:
        """It is at `path` in the workspace, or `why` not; with the last one of a message the run is told.

        False when the run was over by then. Raises StorageUnavailable.
        """
        place = (row.run, row.batch)

        def write(tx: Tx) -> bool:
            tx.conn.execute(
                "UPDATE attachments SET state = ?, path = ?, size = ?, why = ? "
                "WHERE run = ? AND batch = ? AND file = ? AND state = 'owed'",
                ("failed" if why else "done", path, size or row.size, why, *place, row.file),
            )
            if tx.conn.execute(_STILL_OWED, place).fetchone():
                return True
            work = Working.load(tx, row.run)
            if work.live.status.is_final:
                return False
            append(tx, row.run, (FilesAttached(files=_files(tx.conn, place)),), work=work)
            return True

        return await self._db.write(write)


_STILL_OWED = "SELECT 1 FROM attachments WHERE run = ? AND batch = ? AND state = 'owed'"


def _files(conn: sqlite3.Connection, place: tuple[str, str]) -> tuple[AttachedFile, ...]:
    query = "SELECT name, path, kind, size, why FROM attachments WHERE run = ? AND batch = ? ORDER BY n"
    return tuple(
        AttachedFile(name=name, path=path, kind=kind, size=size, why=why)
        for name, path, kind, size, why in conn.execute(query, place)
    )

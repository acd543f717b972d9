"""Ids as people type them: the first characters of a run's, an action's, an approval's or a takeover's."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from storage.database import Database
from storage.views import RUN, RunLine, as_line, find_line

SHOWN = 6
"""Characters of an id in a list: with 25 bits of chance behind the letter, seldom the same for two."""
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Found:
    """Something that an id names; an approval and a takeover are found as the action that they are about."""

    kind: Literal["action", "approval", "takeover"]
    id: str
    run: str
    action: str


def short(identifier: str) -> str:
    """As much of an id as a list shows."""
    return identifier[:SHOWN]


class ShortIds:
    """Finds what a prefix can mean; synchronous, in the loop's thread."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def runs(self, prefix: str, limit: int = 200) -> tuple[RunLine, ...]:
        """The run with this id, else every run whose id begins so, newest first; none for an empty prefix."""

        def read(conn: sqlite3.Connection) -> tuple[RunLine, ...]:
            exact = find_line(conn, prefix)
            if exact or not prefix:
                return (exact,) if exact else ()
            query = f"{RUN} WHERE id >= ? AND id < ? ORDER BY created_at DESC LIMIT ?"
            return tuple(as_line(row) for row in conn.execute(query, (prefix, prefix + _LAST, limit)))

        return self._db.read(read)

    def subjects(self, prefix: str, limit: int = 200) -> tuple[Found, ...]:
        """The actions, approvals and takeovers whose id is or begins so; none for an empty prefix."""
        if not prefix:
            return ()

        def read(conn: sqlite3.Connection) -> tuple[Found, ...]:
            found: list[Found] = []
            for query, kind in _SUBJECTS:
                rows = conn.execute(query, (prefix, prefix + _LAST, limit)).fetchall()
                found += [Found(kind, *row) for row in rows]
            return tuple(item for item in found if item.id == prefix) or tuple(found)

        return self._db.read(read)


_SUBJECTS: tuple[tuple[str, Literal["action", "approval", "takeover"]], ...] = (
    ("SELECT id, run, action FROM approvals WHERE id >= ? AND id < ? LIMIT ?", "approval"),
    ("SELECT id, run, action FROM takeovers WHERE id >= ? AND id < ? LIMIT ?", "takeover"),
    ("SELECT id, run, id FROM actions WHERE id >= ? AND id < ? LIMIT ?", "action"),
)

"""Anchors: tasks that were asked elsewhere than in a message, until the run under the message of ours exists."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from storage.database import Database, Tx

State = Literal["draft", "asked", "taken", "refused", "over"]
Via = Literal["command", "shortcut", "message", "step"]
_COLUMNS = """id, via, team, channel, thread_ts, principal, author, text, quote, execution, state, tried, run, reason,
  created_at, attempts, next_at, error"""
_ENDED = "('completed', 'partial', 'failed', 'cancelled')"
# A step of a workflow is completed when its run is over; of the others nothing is owed once their run exists.
_OWED = f"""a.state IN ('asked', 'taken', 'refused') AND (a.state <> 'taken' OR EXISTS
  (SELECT 1 FROM runs r WHERE r.id = a.run AND r.status IN {_ENDED}))"""  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True)
class Anchor:
    """One such task. `created_at` is business time, `next_at` transport time."""

    id: str
    """Also the key of the delivery, such as `function:Fx1`: what comes twice is one anchor."""
    via: Via
    team: str
    channel: str
    """Where it was asked; empty for the person's direct message with the bot."""
    thread_ts: str
    principal: str
    """Principal key of who asked."""
    author: str = ""
    """Principal key of who wrote the quoted message."""
    text: str = ""
    """What was asked, redacted; empty while its window is open and once the run holds it."""
    quote: str = ""
    """A message that it is about, redacted."""
    execution: str = ""
    """Slack's id of the workflow step to be completed; empty when there is none."""
    state: State = "asked"
    tried: bool = False
    """Whether the message may stand in Slack already."""
    run: str = ""
    reason: str = ""
    """Why it was refused, for people."""
    created_at: float = 0.0
    attempts: int = 0
    next_at: float = 0.0
    error: str = ""


class Anchors:
    """Keeps anchors: draft → asked → taken or refused → over. Every step is one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, anchor: Anchor) -> bool:
        """Keep a new one: asked, draft, or refused on arrival; False when known. Raises StorageUnavailable."""

        def write(tx: Tx) -> bool:
            values = (
                anchor.id, anchor.via, anchor.team, anchor.channel, anchor.thread_ts, anchor.principal, anchor.author,
                anchor.text, anchor.quote, anchor.execution, anchor.state, anchor.reason, tx.now,
            )  # fmt: skip
            query = "INSERT OR IGNORE INTO anchors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', ?, ?, 0, 0, '')"
            return tx.conn.execute(query, values).rowcount == 1

        return await self._db.write(write)

    async def fill(self, anchor: str, principal: str, text: str) -> bool:
        """A draft's window was sent by the person who opened it; False when it is no draft of theirs (any more)."""
        query = "UPDATE anchors SET text = ?, state = 'asked' WHERE id = ? AND principal = ? AND state = 'draft'"
        return await self._db.write(lambda tx: tx.conn.execute(query, (text, anchor, principal)).rowcount == 1)

    async def drop(self, anchor: str, principal: str) -> None:
        """A draft's window was closed."""
        query = "DELETE FROM anchors WHERE id = ? AND principal = ? AND state = 'draft'"
        await self._db.write(lambda tx: tx.conn.execute(query, (anchor, principal)))

    async def trying(self, anchor: str, channel: str) -> None:
        """Its message is about to be posted there; from now on it is looked for before it is posted again."""
        query = "UPDATE anchors SET tried = 1, channel = ? WHERE id = ?"
        await self._db.write(lambda tx: tx.conn.execute(query, (channel, anchor)))

    async def taken(self, anchor: str, run: str) -> None:
        """Its run exists and holds the words."""
        query = """UPDATE anchors SET run = ?, text = '', quote = '', attempts = 0, next_at = 0, error = '',
          state = CASE WHEN execution = '' THEN 'over' ELSE 'taken' END WHERE id = ? AND state = 'asked'"""
        await self._db.write(lambda tx: tx.conn.execute(query, (run, anchor)))

    async def refuse(self, anchor: str, reason: str) -> None:
        """There will be no run, for this reason."""
        query = """UPDATE anchors SET reason = ?, text = '', quote = '', attempts = 0, next_at = 0, state = 'refused'
          WHERE id = ? AND state = 'asked'"""
        await self._db.write(lambda tx: tx.conn.execute(query, (reason, anchor)))

    async def over(self, anchor: str) -> None:
        """Nothing is owed any more."""
        await self._db.write(lambda tx: tx.conn.execute("UPDATE anchors SET state = 'over' WHERE id = ?", (anchor,)))

    async def put_off(self, anchor: str, error: str, next_at: float) -> None:
        """It did not work; again at this transport time."""
        query = "UPDATE anchors SET attempts = attempts + 1, error = ?, next_at = ? WHERE id = ?"
        await self._db.write(lambda tx: tx.conn.execute(query, (error[:200], next_at, anchor)))

    async def forget(self, drafts_before: float, over_before: float) -> int:
        """Drop drafts and what is over, older than these business times; returns how many."""
        query = """DELETE FROM anchors WHERE (state = 'draft' AND created_at < ?)
          OR (state = 'over' AND created_at < ?)"""
        return await self._db.write(lambda tx: tx.conn.execute(query, (drafts_before, over_before)).rowcount)

    def get(self, anchor: str) -> Anchor | None:
        """One of them."""
        query = f"SELECT {_COLUMNS} FROM anchors WHERE id = ?"  # noqa: S608  # a constant
        row = self._db.read(lambda conn: conn.execute(query, (anchor,)).fetchone())
        return _anchor(row) if row else None

    def due(self, now: float, limit: int = 20) -> tuple[Anchor, ...]:
        """What is owed at this transport time, the longest waiting first."""
        query = f"SELECT {_COLUMNS} FROM anchors a WHERE {_OWED} AND next_at <= ? ORDER BY created_at LIMIT ?"  # noqa: S608  # constants

        def read(conn: sqlite3.Connection) -> tuple[Anchor, ...]:
            return tuple(_anchor(row) for row in conn.execute(query, (now, limit)))

        return self._db.read(read)

    def next_at(self, now: float) -> float | None:
        """When the next one that had to wait becomes due after `now`, transport time; None when there is none."""
        query = f"SELECT min(next_at) FROM anchors a WHERE {_OWED} AND next_at > ?"  # noqa: S608  # constants
        return self._db.read(lambda conn: conn.execute(query, (now,)).fetchone())[0]


def _anchor(row: tuple[object, ...]) -> Anchor:
    values = list(row)
    values[11] = bool(row[11])
    return Anchor(*values)  # pyright: ignore[reportArgumentType]  # the columns are the fields, in their order

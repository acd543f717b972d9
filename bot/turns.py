"""Whose turn it is: runs in the queue are woken when there is room, and people see how many go before them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.errors import StorageUnavailable
from storage.database import Database
from storage.turns import Room, queue, whose_turn

SHOWN = 20
"""Runs at the front of the queue whose messages follow their place."""
_log = structlog.get_logger(__name__)


class Turns:
    """Wakes runs whose turn has come, and has the messages of those that still wait drawn anew."""

    def __init__(
        self, db: Database, room: Room, *, wake: Callable[[str], None], draw: Callable[[str], Awaitable[None]]
    ) -> None:
        self._db, self._room, self._wake, self._draw = db, room, wake, draw
        self._moved = asyncio.Event()
        self._places: dict[str, int] = {}

    def look(self, key: str = "") -> None:
        """A run began, ended, or waits for people: there may be room for another."""
        del key
        if not self._db.fetch("SELECT 1 FROM runs WHERE status = 'queued' LIMIT 1", ()):
            return
        for run in self._db.read(lambda conn: whose_turn(conn, self._room)):
            self._wake(run)
        self._moved.set()

    def place(self, run: str) -> int:
        """How many-th a run is in the queue, from 1; 0 when it does not have to wait there."""
        return self._waiting().get(run, 0)

    async def run(self) -> None:
        """Follow the places until cancelled."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self._show()
            except StorageUnavailable as error:
                _log.warning("queue_not_shown", error=str(error))

    def _waiting(self) -> dict[str, int]:
        order = self._db.read(queue)
        begins = frozenset(self._db.read(lambda conn: whose_turn(conn, self._room)))
        return {run: number for number, run in enumerate((run for run, _ in order if run not in begins), 1)}

    async def _show(self) -> None:
        before, self._places = self._places, self._waiting()
        for run, place in list(self._places.items())[:SHOWN]:
            if before.get(run) != place:
                await self._draw(run)

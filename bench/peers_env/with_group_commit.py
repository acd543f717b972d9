"""The floor with one writer thread that commits whatever has queued up meanwhile."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import main, tune
from with_sqlite3 import TABLES, begin, finish, take

Write = Callable[[sqlite3.Connection], Any]


class GroupCommit:
    """The same three durable points a run; many runs share a commit."""

    width = 512

    def __init__(self) -> None:
        self.effects: Counter[int] = Counter()
        self._jobs: queue.SimpleQueue[tuple[Write, asyncio.Future[Any]] | None] = queue.SimpleQueue()

    async def open(self, path: Path) -> None:
        """Make the tables and start the writer."""
        self._loop = asyncio.get_running_loop()
        self._conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        tune(self._conn)
        for statement in TABLES:
            self._conn.execute(statement)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    async def start(self, number: int) -> str:
        """First durable point."""
        return await self._write(lambda conn: begin(conn, number))

    async def decide(self, key: str) -> float:
        """Second durable point, the effect, third durable point."""
        number = await self._write(lambda conn: take(conn, key))
        self.effects[number] += 1
        await self._write(lambda conn: finish(conn, key, f"touched {number}"))
        return time.perf_counter()

    async def close(self) -> None:
        """Write what is queued."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._conn.close()

    def _write(self, work: Write) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._jobs.put((work, future))
        return future

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch = [job]
            while not self._jobs.empty() and (more := self._jobs.get_nowait()) is not None:
                batch.append(more)
            self._conn.execute("BEGIN IMMEDIATE")
            done = [(future, work(self._conn)) for work, future in batch]
            self._conn.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, done)


def _settle(done: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, value in done:
        future.set_result(value)


if __name__ == "__main__":
    main(GroupCommit)

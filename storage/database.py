"""One SQLite file: a writer thread with group commit, and a reader that belongs to the event loop."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from agent.errors import StorageUnavailable
from agent.ports import Clock
from storage.batch import (
    CAREFUL_BATCHES,
    LOCKED,
    Batch,
    Done,
    Job,
    Known,
    Topic,
    Tx,
    roll_back,
    said,
    typed,
    unavailable,
)
from storage.checkpoint import Checkpointer
from storage.receipts import Keyring
from storage.schema import is_current, migrate

T = TypeVar("T")
Subscriber = Callable[[str], None]
HELD_UP_S = 0.1
"""A transaction that could not begin for so long waited for another process."""
BATCH = 256
BATCH_S = 0.05
"""How long a batch takes on further work before it is committed, seconds: who wrote first waits for it too."""
FIRST_S = 0.01
"""The same from when it took something that goes first, which a person waits for."""
FAVOURED = 16
"""Writes that go first before one that does not is done all the same: a flood of clicks holds up nothing for good."""
TOLD_A_TURN = 4
"""Callers that are told at one turn of the event loop: each goes on there, and what came in meanwhile has to wait."""
ROWS_A_STATEMENT = 64
CHECKPOINT_PAGES = 16_000
"""64 MiB of log, a safety net: `checkpoint` does it long before, and not inside of somebody's commit."""
BUSY_TIMEOUT_MS = 5000


class Observer(Protocol):
    """Who keeps watch over the writing."""

    def __call__(self, seconds: float, /, *, busy: bool) -> None:
        """A group commit took so long; `busy` when another process's lock was in the way."""
        ...


def _nobody(seconds: float, /, *, busy: bool) -> None:
    del seconds, busy


class Database:
    """The store. `write` is durable when it returns; `read` is for short reads in the loop's own thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.keyring = Keyring(path.parent)
        self._loop = asyncio.get_running_loop()
        self._first: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._favoured = 0
        """How many went first since the last one that did not; only in the writer's thread."""
        self._news: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """True for each job that is to be done; False when there will be no more."""
        self._subscribers: dict[Topic, list[Subscriber]] = {}
        self._closed = False
        self._careful = 0
        """Batches from now on in which a write that fails is expected."""
        self.problem = ""
        """Why the last write could not be made, one sentence; emptied by the next one that reaches the disk."""
        self.observe: Observer = _nobody
        """Hears of every group commit, in the writer's thread."""
        self._reader = connect(path)
        self._reader.execute("PRAGMA query_only=1")
        self._writer = connect(path, check_same_thread=False)
        self._checkpointer = Checkpointer(lambda: connect(path, check_same_thread=False))
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> Database:
        """Migrate the file, making it if it is not there, and open it; raises StorageUnavailable."""
        try:
            await asyncio.to_thread(migrate, path)
            return cls(path, clock)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"{path} cannot be opened: {error}") from error

    @classmethod
    async def join(cls, path: Path, *, clock: Clock) -> Database:
        """Open it beside whoever else uses it, without making or migrating anything.

        Raises StorageUnavailable when it is not there, no database, or of another release.
        """

        def look() -> bool:
            conn = read_only(path)
            try:
                return is_current(conn)
            finally:
                conn.close()

        try:
            if not await asyncio.to_thread(look):
                raise StorageUnavailable(f"{path} belongs to another release; start `secondkey serve` once.")
            return cls(path, clock)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"{path} cannot be opened: {error}") from error

    async def write(self, work: Callable[[Tx], T], *, to_the_end: bool = False, first: bool = False) -> T:
        """What `work` returned, once it is on the disk; its own error, with nothing written, when it raised.

        `work` runs in the writer's thread, and a second time when another's failure spoilt the transaction: it must
        change nothing but the database. It cannot be taken back: cancelling the caller only stops the waiting.
        `to_the_end` waits all the same, and raises the cancellation only when `work` was written, else what was wrong.
        `first` goes before what was asked for without it: somebody waits for an answer, or everything depends on it.
        Raises StorageUnavailable when the database cannot be written.
        """
        if self._closed:
            raise StorageUnavailable
        future: asyncio.Future[T] = self._loop.create_future()
        (self._first if first else self._others).append(Job(work, future, first))
        self._news.put(True)  # noqa: FBT003  # as it is explained there
        if not to_the_end:
            return await future
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            if not future.cancelled() and (error := future.exception()) is not None:
                raise error from None  # nothing was written: whoever holds a fact must write it in another way
            raise

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` reads from one consistent snapshot; only in the loop's thread. Raises StorageUnavailable."""
        if self._closed:
            raise StorageUnavailable
        if self._reader.in_transaction:
            return work(self._reader)
        try:
            self._reader.execute("BEGIN")
            try:
                return work(self._reader)
            finally:
                self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise typed(error) from error

    def fetch(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of one SELECT, which needs no transaction around it; else as `read`."""
        if self._closed:
            raise StorageUnavailable
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise typed(error) from error

    def subscribe(self, topic: Topic, callback: Subscriber) -> Callable[[], None]:
        """Have `callback(key)` called in the loop after commits that signal the topic; returns how to end it."""
        callbacks = self._subscribers.setdefault(topic, [])
        callbacks.append(callback)
        return lambda: callbacks.remove(callback)

    async def close(self) -> None:
        """Write what is queued, then close; later calls raise StorageUnavailable."""
        if self._closed:
            return
        self._closed = True
        self._news.put(False)  # noqa: FBT003  # as it is explained there
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._checkpointer.stop)
        self._reader.close()

    def _serve(self) -> None:
        while self._news.get():
            if self._first or self._others:  # else an earlier batch has taken along what was new
                self._commit(self._batch())
                self._checkpointer.note()
        self._writer.close()

    def _batch(self) -> Iterator[Job]:
        """What is written together, asked for while it is written, so that what goes first need not wait for a next."""
        until = self.clock.monotonic() + BATCH_S
        for _ in range(BATCH):
            if self._first and (self._favoured < FAVOURED or not self._others):
                self._favoured += 1
                until = min(until, self.clock.monotonic() + FIRST_S)
                yield self._first.popleft()
            elif self._others:
                self._favoured = 0
                yield self._others.popleft()
            else:
                return
            if self.clock.monotonic() >= until:
                return

    def _commit(self, jobs: Iterator[Job]) -> None:
        conn = self._writer
        batch = Batch(conn, self._tx, careful=self._careful > 0)
        changes = conn.total_changes
        began, busy = self.clock.monotonic(), False
        try:
            conn.execute("BEGIN IMMEDIATE")
            busy = self.clock.monotonic() - began > HELD_UP_S
            for job in jobs:
                batch.take(job)
            self._careful = CAREFUL_BATCHES if batch.was_redone else max(0, self._careful - 1)
            done, signals = batch.done, batch.signals
            conn.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever broke the batch, its callers learn it and the writer lives on
            if conn.in_transaction:
                roll_back(conn)
            signals = {}
            done = [Done(job, None, unavailable(error)) for job in (*batch.jobs, *jobs)]
            self.problem = said(error)
            busy = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in LOCKED
        else:
            trouble = next((item.error for item in done if isinstance(item.error, StorageUnavailable)), None)
            if trouble is not None:
                self.problem = said(trouble.__cause__ or trouble)
            elif conn.total_changes != changes:  # a transaction that wrote nothing proves nothing
                self.problem = ""
        self.observe(self.clock.monotonic() - began, busy=busy)
        try:
            self._loop.call_soon_threadsafe(self._settle, done, signals)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more, and what was written is written

    def _tx(self, known: Known) -> Tx:
        return Tx(self._writer, self.clock.now(), self.clock.transport(), self.keyring, known)

    def _settle(self, done: list[Done], signals: dict[tuple[Topic, str], None]) -> None:
        self._tell(deque(sorted(done, key=lambda item: not item.job.first)))
        for topic, key in signals:
            for callback in tuple(self._subscribers.get(topic, ())):
                try:
                    callback(key)
                except Exception as error:  # noqa: BLE001  # one subscriber's fault must not keep the others from hearing
                    self._loop.call_exception_handler(
                        {"message": f"a subscriber of {topic!r} failed", "exception": error}
                    )

    def _tell(self, done: deque[Done]) -> None:
        """Tell a few callers what came of it, and the others at the loop's next turns."""
        told = 0
        while done and (told < TOLD_A_TURN or done[0].job.first or self._closed):
            job, value, error = done.popleft()
            told += 1
            if job.future.done():
                continue  # its caller went away
            if error is None:
                job.future.set_result(value)
            else:
                job.future.set_exception(error)
        if done:
            self._loop.call_soon(self._tell, done)


def connect(path: Path, *, check_same_thread: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode with this project's pragmas; raises sqlite3.Error."""
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=check_same_thread, cached_statements=256)
    conn.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA synchronous=FULL")  # NORMAL may lose "started" in a power cut, and the tool would run again
    conn.execute("PRAGMA foreign_keys=ON")
    conn.execute("PRAGMA temp_store=MEMORY")
    conn.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return conn


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that can only read, for a long read in a thread of its own; raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)


def insert_many(conn: sqlite3.Connection, statement: str, row: str, values: Sequence[Sequence[object]]) -> None:
    """Run an INSERT whose `{}` stands for its rows, `row` being one row's placeholders.

    One statement instead of many: each lets go of the interpreter, and getting it back costs more than the row.
    """
    for low in range(0, len(values), ROWS_A_STATEMENT):
        part = values[low : low + ROWS_A_STATEMENT]
        conn.execute(_of_rows(statement, row, len(part)), [value for one in part for value in one])


@cache
def _of_rows(statement: str, row: str, count: int) -> str:
    return statement.format(", ".join([row] * count))

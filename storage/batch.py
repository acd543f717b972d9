"""One group commit: the writes that came together, each as if it were alone, in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from agent.errors import StorageUnavailable
from storage.receipts import Keyring

Topic = Literal["run", "head", "outbox", "deadline", "control", "home", "queue"]
CAREFUL_BATCHES = 64
"""Batches with a way back before each write, after one of them had to be done anew."""
_STANDING = "SELECT 1 FROM control WHERE lifted_at IS NULL LIMIT 1"
# Result codes that speak of the disk or the lock and not of the statement: BUSY, LOCKED, NOMEM, READONLY, IOERR,
# CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB.
_ENVIRONMENT = frozenset({5, 6, 7, 8, 10, 11, 13, 14, 15, 26})
LOCKED = frozenset({5, 6})
_SAID = {
    5: "another process holds the database locked",
    6: "another connection holds the database locked",
    8: "the database is read-only",
    10: "the disk reports an error",
    11: "the database file is damaged",
    13: "the disk is full",
    14: "the database file cannot be opened",
    26: "the file is no database",
}


class Known:
    """What was read in this transaction and stays true in it, since nobody else can write: who writes it says so."""

    __slots__ = ("_halted", "leases")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Somebody wrote a lease or a flag, or what was written was taken back."""
        self.leases: dict[str, tuple[float, float]] = {}
        """A token's lease: when it expires, and until when its effects may last; transport seconds."""
        self._halted: bool | None = None

    def may_be_halted(self, conn: sqlite3.Connection) -> bool:
        """Whether any flag stands, about whatever."""
        if self._halted is None:
            self._halted = conn.execute(_STANDING).fetchone() is not None
        return self._halted


class Tx:
    """One write inside the shared transaction: its connection, its instant on both clocks, what to tell afterwards."""

    __slots__ = ("conn", "keyring", "known", "now", "signals", "transport")

    def __init__(
        self,
        conn: sqlite3.Connection,
        now: float,
        transport: float,
        keyring: Keyring | None = None,
        known: Known | None = None,
    ) -> None:
        self.conn = conn
        self.known = known or Known()
        self.keyring = keyring
        """Signs decisions; without one a decision gets no receipt, and nothing starts on it."""
        self.now = now
        """Business time, seconds."""
        self.transport = transport
        """Real time, seconds."""
        self.signals: dict[tuple[Topic, str], None] = {}

    def signal(self, topic: Topic, key: str = "") -> None:
        """Tell the topic's subscribers once this write is durable; told once a batch, however often it is asked for."""
        self.signals[topic, key] = None


class Job(NamedTuple):
    """A write that somebody waits for. It may be done twice, the first time for nothing."""

    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    first: bool
    """Goes before everything that does not."""


class Done(NamedTuple):
    """What a write came to."""

    job: Job
    value: Any
    error: BaseException | None


class Batch:
    """Writes done one after another in a transaction that is open.

    A way back before each one would cost more than what most of them write, and hardly any fails after it wrote. So
    there is none at first; when one is missed, the transaction is begun anew and all are done once more, with it.
    """

    def __init__(self, conn: sqlite3.Connection, make: Callable[[Known], Tx], *, careful: bool) -> None:
        self._conn, self._make = conn, make
        self._careful = careful
        """With a way back before each."""
        self._known = Known()
        self.jobs: list[Job] = []
        self.done: list[Done] = []
        self.signals: dict[tuple[Topic, str], None] = {}
        """For after the commit."""
        self.was_redone = False

    def take(self, job: Job) -> None:
        """Do it, and keep what came of it; raises what broke the whole transaction."""
        self.jobs.append(job)
        self._do(job)

    def _do(self, job: Job) -> None:
        before = self._conn.total_changes
        error = self._try(job)
        if error is None:
            return
        self._known.forget()
        if self._careful or self._conn.total_changes == before:
            self._failed(job, error)
        elif any(item.error is None for item in self.done):
            self._redo()
        else:
            self._begin_anew()  # only what it wrote itself is lost
            self._failed(job, error)

    def _try(self, job: Job) -> BaseException | None:
        """The error when it failed; raises it when the transaction is gone with it."""
        conn = self._conn
        tx = self._make(self._known)
        if self._careful:
            conn.execute("SAVEPOINT one")
        try:
            value = job.work(tx)
        except BaseException as error:
            # Some disk errors make SQLite roll the whole transaction back: then the batch is lost, not one write.
            if not conn.in_transaction:
                raise
            if self._careful:
                conn.execute("ROLLBACK TO one")
                conn.execute("RELEASE one")
            return error
        if self._careful:
            conn.execute("RELEASE one")
        self.signals.update(tx.signals)
        self.done.append(Done(job, value, None))
        return None

    def _failed(self, job: Job, error: BaseException) -> None:
        self.done.append(Done(job, None, typed(error) if isinstance(error, sqlite3.Error) else error))

    def _redo(self) -> None:
        self._begin_anew()
        self._careful = self.was_redone = True
        self.done.clear()
        self.signals.clear()
        for job in self.jobs:
            self._do(job)

    def _begin_anew(self) -> None:
        self._conn.execute("ROLLBACK")
        self._conn.execute("BEGIN IMMEDIATE")


def roll_back(conn: sqlite3.Connection) -> None:
    """Take everything back."""
    try:
        conn.execute("ROLLBACK")
    except sqlite3.Error:
        return  # SQLite had rolled it back already


def typed(error: sqlite3.Error) -> Exception:
    """StorageUnavailable when the disk or the lock is to blame, else the error as it is: a fault of ours."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return unavailable(error) if code is not None and code & 0xFF in _ENVIRONMENT else error


def unavailable(error: BaseException) -> StorageUnavailable:
    """The error that people are told of, with its cause."""
    unavailable = StorageUnavailable()
    unavailable.__cause__ = error
    return unavailable


def said(error: BaseException) -> str:
    """What is wrong, without a path: the readiness probe shows it to whoever asks."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return _SAID.get((code or 0) & 0xFF, f"the database cannot be written ({type(error).__name__})")

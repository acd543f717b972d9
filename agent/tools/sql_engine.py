"""What query_sql needs of a database engine, and which engine a named database has."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from agent.broker import Broker
from agent.facts.sql import Statement
from agent.tools.databases import Database, NamedDatabase
from agent.tools.sql_survey import Row, Survey
from agent.tools.threads import Stop


@dataclass(frozen=True, slots=True)
class Answer:
    """What a SELECT gives: the names of its columns, and its rows one after the other."""

    columns: tuple[str, ...]
    rows: Iterable[Row]


@dataclass(frozen=True, slots=True)
class Shown:
    """What people saw of a change before they said yes."""

    fingerprint: str
    count: int


class Session(Protocol):
    """One connection for one call. Left without `commit`, it changes nothing."""

    def read(self, sql: str, limit: int) -> Answer:
        """Run one SELECT, of which at most `limit` rows are wanted; raises ToolFailed, ToolTimedOut."""
        ...

    def look(self, statement: Statement, sql: str) -> Survey:
        """Everything that a change would touch, by reading only; raises CannotPreview, ToolFailed, ToolTimedOut."""
        ...

    def change(self, statement: Statement, sql: str, shown: Shown) -> Survey:
        """Execute, uncommitted; raises PreviewMismatch when anything but what was shown would change."""
        ...

    def commit(self) -> None:
        """Make the change last; raises ToolFailed."""
        ...


def session(
    database: NamedDatabase, broker: Broker, *, write: bool, stop: Stop, deadline: float
) -> AbstractContextManager[Session]:
    """A session with a named database; `deadline` is on `time.perf_counter`. Raises ToolFailed, ToolTimedOut."""
    if isinstance(database, Database):
        from agent.tools.sqlite import sqlite_session  # noqa: PLC0415  either engine is loaded when it is used

        return sqlite_session(database, write=write, stop=stop, deadline=deadline)
    from agent.tools.postgres import postgres_session  # noqa: PLC0415  its driver is an extra

    return postgres_session(database, broker, write=write, stop=stop, deadline=deadline)


def agrees(found: Survey, shown: Shown) -> bool:
    """Whether what would change now is what people saw."""
    return found.fingerprint == shown.fingerprint and found.count == shown.count

"""A session with a SQLite database: its rows are watched while they change."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator

from agent.errors import PreviewMismatch
from agent.facts.sql import Statement
from agent.tools.databases import Database
from agent.tools.sql_engine import Answer, Shown, agrees
from agent.tools.sql_survey import CannotPreview, Survey, quoted
from agent.tools.sqlite_connection import only_changes, opened
from agent.tools.sqlite_survey import key_name, survey
from agent.tools.threads import Stop

_ACTIONS = {"insert": sqlite3.SQLITE_INSERT, "update": sqlite3.SQLITE_UPDATE, "delete": sqlite3.SQLITE_DELETE}
_TOUCHED = "secondkey_touched"


class SqliteSession:
    """One connection for one call."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self, sql: str, limit: int) -> Answer:
        """Run one SELECT; raises sqlite3.Error, which `sqlite_session` puts into words."""
        del limit
        cursor = self._connection.execute(sql)
        return Answer(tuple(str(item[0]) for item in cursor.description or ()), cursor)

    def look(self, statement: Statement, sql: str) -> Survey:
        """Everything that a change would touch, by reading only; raises CannotPreview, sqlite3.Error."""
        return survey(self._connection, statement, sql)

    def change(self, statement: Statement, sql: str, shown: Shown) -> Survey:
        """Execute inside the open transaction; raises PreviewMismatch when anything but what was shown would change."""
        return _change_as_shown(self._connection, statement, sql, shown)

    def commit(self) -> None:
        """Make the change last; raises sqlite3.Error."""
        self._connection.set_authorizer(None)
        self._connection.execute("COMMIT")


@contextlib.contextmanager
def sqlite_session(database: Database, *, write: bool, stop: Stop, deadline: float) -> Generator[SqliteSession]:
    """A session, in a transaction when it is to write; raises ToolFailed, ToolTimedOut."""
    with opened(database, write=write, stop=stop, deadline=deadline) as connection:
        if write:
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield SqliteSession(connection)
        finally:
            if connection.in_transaction:
                connection.set_authorizer(None)
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")


def _change_as_shown(connection: sqlite3.Connection, statement: Statement, sql: str, shown: Shown) -> Survey:
    try:
        found = survey(connection, statement, sql)
    except CannotPreview as error:
        raise PreviewMismatch from error
    if not agrees(found, shown):
        raise PreviewMismatch
    watched = statement.kind != "insert"
    if watched:
        _watch(connection, found, statement.kind)
    only_changes(connection, _ACTIONS[statement.kind], found.table.name)
    total = connection.total_changes
    cursor = connection.execute(sql)
    changed, everything = cursor.rowcount, connection.total_changes - total
    # Each watched row is counted twice in all: once itself and once where its key is noted down.
    if changed != found.count or everything != found.count * (2 if watched else 1):
        raise PreviewMismatch
    if watched and _touched(connection, len(found.table.key)) != sorted(map(repr, found.keys)):
        raise PreviewMismatch
    if statement.kind == "update" and not _came_out_as_shown(connection, found):
        raise PreviewMismatch("What it would have written is not what was shown, so nothing was changed.")
    return found


def _came_out_as_shown(connection: sqlite3.Connection, found: Survey) -> bool:
    """Compare what was written with what people saw: the preview was computed by another parser than SQLite's."""
    places = [(place, name) for place, name in enumerate(found.columns) if name.lower() in found.settable]
    if not places:
        return True
    columns = ", ".join(quoted(name) for _, name in places)
    where = " AND ".join(f"{key_name(part)} IS ?" for part in found.table.key)
    query = f"SELECT {columns} FROM main.{quoted(found.table.name)} WHERE {where}"  # noqa: S608 - quoted names only
    for key, shown_row in zip(found.keys, found.after, strict=False):
        written = connection.execute(query, key).fetchone()
        if written is None:
            continue  # its key itself was changed, so that it cannot be found by the old one
        if not all(_same(new, shown_row[place]) for new, (place, _) in zip(written, places, strict=True)):
            return False
    return True


def _same(written: object, shown_value: object) -> bool:
    """Whether two values are one, but for the type that the column gives it."""
    if written == shown_value:
        return True
    try:
        return float(str(written)) == float(str(shown_value))
    except ValueError:
        return str(written) == str(shown_value)


def _watch(connection: sqlite3.Connection, found: Survey, kind: str) -> None:
    """Note down the key of each row really touched: the preview was read by another parser than the statement is."""
    columns = [f"k{number}" for number in range(len(found.table.key))]
    keys = ", ".join(f"OLD.{quoted(part)}" for part in found.table.key)
    connection.execute(f"CREATE TEMP TABLE {_TOUCHED} ({', '.join(columns)})")
    note = f"INSERT INTO {_TOUCHED} VALUES ({keys})"  # noqa: S608 - quoted names and fixed words
    table = f"main.{quoted(found.table.name)}"
    connection.execute(f"CREATE TEMP TRIGGER secondkey_watch AFTER {kind.upper()} ON {table} BEGIN {note}; END")


def _touched(connection: sqlite3.Connection, width: int) -> list[str]:
    rows = connection.execute(f"SELECT * FROM temp.{_TOUCHED}").fetchall()  # noqa: S608 - a fixed name
    return sorted(repr(tuple(row[:width])) for row in rows)

"""Migrations: sqlite-utils applies them and records which were applied."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sqlite_utils import Database, Migrations

from storage.tables import STATEMENTS

BODY_IN_PAYLOAD = re.compile(r'"\w+_blob":"([0-9a-f]{64})"')
"""A body that an event's JSON names; a quotation mark within a text of people is escaped there and never matches."""

_PATIENCE_S = 30.0


def migrations() -> Migrations:
    """Every migration of this release, oldest first."""
    steps = Migrations("secondkey")
    for name, statements in STATEMENTS.items():
        steps(name=name)(_step(statements, _FILL.get(name)))
    return steps


def _step(statements: Sequence[str], fill: Callable[[sqlite3.Connection], None] | None) -> Callable[[Database], None]:
    def run(db: Database) -> None:
        for statement in statements:
            db.conn.execute(statement)
        if fill is not None:
            fill(db.conn)

    return run


def _fill_body_runs(conn: sqlite3.Connection) -> None:
    for run, payload in conn.execute("SELECT run, payload FROM events WHERE payload LIKE '%_blob\":\"%'"):
        for digest in BODY_IN_PAYLOAD.findall(payload):
            conn.execute("INSERT OR IGNORE INTO body_runs VALUES (?, ?)", (bytes.fromhex(digest), run))


_FILL: Mapping[str, Callable[[sqlite3.Connection], None]] = MappingProxyType({"m002_audit": _fill_body_runs})
"""What a migration does with the rows that are there already."""


def is_current(conn: sqlite3.Connection) -> bool:
    """Whether the file has exactly this release's schema; raises sqlite3.Error when it is no database."""
    return set(applied(conn)) == set(STATEMENTS)


def applied(conn: sqlite3.Connection) -> tuple[str, ...]:
    """The migrations that were applied to the file, oldest first; raises sqlite3.Error when it is no database."""
    known = conn.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if known is None:
        return ()
    query = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'secondkey' ORDER BY applied_at, name"
    return tuple(name for (name,) in conn.execute(query))


def migrate(path: Path) -> None:
    """Bring the file to this release's schema, making it if need be; raises sqlite3.Error."""
    conn = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_S)
    try:
        _set_journal_mode(conn)
        conn.execute("BEGIN IMMEDIATE")  # a second process waits here, and then finds nothing left to do
        try:
            migrations().apply(Database(conn, execute_plugins=False))
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        conn.execute("COMMIT")
    finally:
        conn.close()


def _set_journal_mode(conn: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait for others here, so this does."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            conn.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return

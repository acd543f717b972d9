"""Connections to SQLite that cannot do more than they should, and that end when their time is up."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Generator

from agent.errors import ToolFailed, ToolTimedOut
from agent.tools.databases import Database
from agent.tools.threads import Stop

#: Virtual machine steps between two looks at the clock: a fraction of a millisecond.
_STEPS = 2_000
_BUSY_MS = 2_000
_MOST_BYTES = 16 * 1_048_576
_SAFE_PRAGMAS = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
)
_DENIED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "sqlar_uncompress"})
_READ_ACTIONS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})


@contextlib.contextmanager
def opened(database: Database, *, write: bool, stop: Stop, deadline: float) -> Generator[sqlite3.Connection]:
    """A connection for one call; `deadline` is on `time.perf_counter`. Raises ToolFailed, ToolTimedOut."""
    mode = "rw" if write else "ro"
    try:
        connection = sqlite3.connect(
            f"{database.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=_BUSY_MS / 1000,
            cached_statements=0,
        )
    except sqlite3.Error as error:
        raise ToolFailed(f"The database {database.name} cannot be opened: {error}.") from error
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        if not write:
            connection.execute("PRAGMA query_only = ON")
            connection.set_authorizer(_only_reads)
        # Looked at inside SQLite, so that it holds from the first step on; interrupt() would miss a statement that
        # has not begun.
        connection.set_progress_handler(lambda: int(stop.stopped or time.perf_counter() > deadline), _STEPS)
        yield connection
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise ToolTimedOut("The query took longer than its limit and was ended.") from error
        raise ToolFailed(f"The database {database.name} says: {error}.") from error
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise ToolFailed(f"The database {database.name} says: {error}.") from error
    finally:
        connection.close()


def _only_reads(action: int, first: str | None, second: str | None, schema: str | None, trigger: str | None) -> int:
    del schema, trigger
    if action in _READ_ACTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
        # SQLite asks this when a table-valued function such as json_each declares its columns. A real change of the
        # schema is refused anyway: writable_schema is off, and its pragma is not on the list.
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _DENIED_FUNCTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _SAFE_PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def only_changes(connection: sqlite3.Connection, action: int, table: str) -> None:
    """From here on the connection may read, and do this one thing to this one table; sequences count along."""
    own = {table.lower(), "sqlite_sequence", "secondkey_touched"}

    def allow(asked: int, first: str | None, second: str | None, schema: str | None, trigger: str | None) -> int:
        del trigger
        if asked == action and (first or "").lower() == table.lower() and schema == "main":
            return sqlite3.SQLITE_OK
        bookkeeping = asked in {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE} and (first or "").lower() in own - {
            table.lower()
        }
        return sqlite3.SQLITE_OK if bookkeeping else _only_reads(asked, first, second, schema, None)

    connection.set_authorizer(allow)

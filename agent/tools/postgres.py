"""A session with a PostgreSQL database: a change tells its new values, and the rows it left behind are counted."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

import psycopg
import sqlglot
from psycopg import errors as pg

from agent.broker import Broker
from agent.errors import BadArguments, PreviewMismatch, ToolFailed
from agent.facts.sql import Statement
from agent.tools.databases import Server
from agent.tools.postgres_connection import Connection, connected
from agent.tools.postgres_survey import Look, survey
from agent.tools.sql_engine import Answer, Shown, agrees
from agent.tools.sql_survey import CannotPreview, Row, Survey, quoted
from agent.tools.threads import Stop

_BATCH = 20
#: A longer cell is cut by the server, so that no answer fills our memory.
_LONGEST_CELL = 4_000
_BYTEA = 17
_TYPES = "SELECT oid::int8 FROM pg_type WHERE typlen < 0 AND oid = ANY (%s)"
#: What this transaction did to any table, the server's own included.
_DONE = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8 FROM pg_stat_xact_all_tables
WHERE schemaname <> 'pg_toast'
"""


class PostgresSession:
    """One connection in one transaction, for one call."""

    def __init__(self, connection: Connection, name: str, cursors: contextlib.ExitStack) -> None:
        self._connection, self._name, self._cursors = connection, name, cursors

    def read(self, sql: str, limit: int) -> Answer:
        """Run one SELECT through a cursor, which the server opens for nothing else; raises psycopg.Error."""
        text = _body(sql)
        if text[:7].lower().startswith("explain"):
            cursor = self._connection.execute(text.encode(), prepare=True)
            return Answer(tuple(column.name for column in cursor.description or ()), iter(cursor.fetchall()))
        probe = self._connection.execute(f"SELECT * FROM (\n{text}\n) AS q LIMIT 0".encode(), prepare=True)  # noqa: S608 - that is what the tool is for
        columns = [(column.name, column.type_code) for column in probe.description or ()]
        long = {int(row[0]) for row in self._connection.execute(_TYPES, ([code for _, code in columns],))}
        cells = [_cell(number, code, is_long=code in long) for number, (_, code) in enumerate(columns)]
        listed = ", ".join(f"c{number}" for number in range(len(columns)))
        query = f"SELECT {', '.join(cells)} FROM (\n{text}\n) AS q ({listed}) LIMIT {limit + 1}"  # noqa: S608 - as above
        rows = self._cursors.enter_context(self._connection.cursor("secondkey_rows"))
        rows.execute(query.encode())
        return Answer(tuple(name for name, _ in columns), _batches(rows))

    def look(self, statement: Statement, sql: str) -> Survey:
        """Everything that a change would touch, by reading only; raises CannotPreview, psycopg.Error."""
        return self._look(statement, sql).survey

    def change(self, statement: Statement, sql: str, shown: Shown) -> Survey:
        """Execute; raises PreviewMismatch when anything but what was shown would change."""
        try:
            look = self._look(statement, sql)
        except CannotPreview as error:
            raise PreviewMismatch from error
        if not agrees(look.survey, shown):
            raise PreviewMismatch
        try:
            self._execute(look, _body(sql))
        except (pg.SerializationFailure, pg.DeadlockDetected) as error:
            raise PreviewMismatch from error
        return look.survey

    def commit(self) -> None:
        """Make the change last; raises ToolFailed, which says so when nobody can know whether it did."""
        try:
            self._connection.execute(b"COMMIT")
        except psycopg.OperationalError as error:
            if self._connection.closed:
                raise ToolFailed(
                    f"The line to the database {self._name} broke while the change was being saved. It may have been"
                    " made or not: please look before anybody does it again."
                ) from error
            raise

    def _look(self, statement: Statement, sql: str) -> Look:
        if "\0" in sql:
            raise BadArguments("A statement cannot hold a NUL.")
        return survey(self._connection, statement, sql)

    def _execute(self, look: Look, text: str) -> None:
        connection, found = self._connection, look.survey
        if look.returning:
            text = f"{text}\nRETURNING {', '.join(map(quoted, look.returning))}"
        # Prepared, so that the server takes one statement and no more.
        cursor = connection.execute(text.encode(), prepare=True)
        if cursor.rowcount != found.count:
            raise PreviewMismatch
        if look.returning:
            came_out = sorted(repr(tuple(row)) for row in cursor)
            if came_out != sorted(map(repr, look.expected)):
                raise PreviewMismatch("What it would have written is not what was shown, so nothing was changed.")
        table = f"public.{quoted(found.table.name)}"
        left = connection.execute(
            f"SELECT count(*) FROM {table} WHERE ctid = ANY (%s::tid[])".encode(),  # noqa: S608 - a quoted name
            (list(look.places),),
        ).fetchone()
        done = connection.execute(_DONE).fetchone()
        # As many rows as were shown were changed, nothing else was, and where each of those lay there is none now.
        if left != (0,) or done != (found.count,):
            raise PreviewMismatch


@contextlib.contextmanager
def postgres_session(
    server: Server, broker: Broker, *, write: bool, stop: Stop, deadline: float
) -> Generator[PostgresSession]:
    """A session in a transaction, which is rolled back unless it is committed; raises ToolFailed, ToolTimedOut."""
    with (
        connected(server, broker, write=write, stop=stop, deadline=deadline) as connection,
        contextlib.ExitStack() as cursors,
    ):
        yield PostgresSession(connection, server.name, cursors)


def _body(sql: str) -> str:
    """The statement without what stands behind it: a semicolon or a comment would swallow what is added."""
    if "\0" in sql:
        raise BadArguments("A statement cannot hold a NUL.")
    tokens = [token for token in sqlglot.tokenize(sql, dialect="postgres") if token.text != ";"]
    return sql[tokens[0].start : tokens[-1].end + 1] if tokens else ""


def _cell(number: int, code: int, *, is_long: bool) -> str:
    name = f"q.c{number}"
    if code == _BYTEA:
        return f"'<' || octet_length({name}) || ' bytes>'"
    if not is_long:
        return name
    text = f"{name}::text"
    cut = f"left({text}, {_LONGEST_CELL}) || '… (' || length({text}) || ' characters)'"
    return f"CASE WHEN length({text}) > {_LONGEST_CELL} THEN {cut} ELSE {text} END"


def _batches(cursor: psycopg.ServerCursor[tuple[object, ...]]) -> Iterator[Row]:
    while rows := cursor.fetchmany(_BATCH):
        yield from rows

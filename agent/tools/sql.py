"""query_sql: reads at once; changes rows only as people saw it beforehand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from agent.errors import BadArguments, PreviewMismatch, ToolError, ToolFailed, ToolNotAllowed
from agent.facts.model import Facts
from agent.facts.sql import Statement, prepare_sql, read_sql
from agent.tools.base import Arguments, Database, Preview, Tool, ToolContext, ToolResult
from agent.tools.sql_connection import Cell, only_changes, opened, quoted, shown_rows
from agent.tools.sql_survey import SHOWN_ROWS, CannotPreview, Survey, key_name, survey
from agent.tools.threads import Stop, to_the_end

MOST_READ = 200
_TEXT = 8_192
_CELL = 120
#: Characters of one cell and of all cells that a read gives back as data.
_LONGEST_CELL = 4_096
_MOST_GIVEN = 131_072
#: Left of the tool's time for rolling back and answering, seconds.
_MARGIN_S = 2.0
_VERBS = {"insert": "Add", "update": "Change", "delete": "Delete"}
_DONE = {"insert": "added to", "update": "changed in", "delete": "deleted from"}
_ACTIONS = {"insert": sqlite3.SQLITE_INSERT, "update": sqlite3.SQLITE_UPDATE, "delete": sqlite3.SQLITE_DELETE}
_TOUCHED = "secondkey_touched"


class QueryArguments(Arguments):
    """One statement against one named database."""

    database: str = Field(description="The database's name.")
    sql: str = Field(description="One SQL statement in SQLite's dialect.")
    limit: Annotated[int, Field(ge=1, le=MOST_READ, description="Rows to give back at most.")] = 50


@dataclass(frozen=True, slots=True)
class _Looked:
    survey: Survey | None
    why: str = ""


class QuerySql(Tool[QueryArguments]):
    """Read from or change a named SQLite database."""

    name = "query_sql"
    description = (
        "Run one SQL statement on a named SQLite database. SELECT answers at once. INSERT, UPDATE and DELETE with a"
        " WHERE are shown to a person first."
    )
    arguments = QueryArguments

    async def bind(self, arguments: QueryArguments, context: ToolContext) -> QueryArguments:
        """Refuse an unknown database and a change to one that is for reading; raises BadArguments, ToolNotAllowed."""
        database = _database(arguments, context)
        await prepare_sql(arguments.sql, arguments.database)
        if not database.writable and not _only_reads(arguments):
            raise ToolNotAllowed(f"The database {database.name} is for reading only.")
        return arguments

    async def facts(self, arguments: QueryArguments, context: ToolContext) -> Facts:
        """The statement's effects, with `no_preview` when nothing can be shown beforehand, and the count of rows."""
        await prepare_sql(arguments.sql, arguments.database)
        facts, statement = read_sql(arguments.sql, arguments.database)
        if statement is None or statement.kind == "read":
            return facts
        looked = await self._look(arguments, context, statement)
        if looked.survey is None:
            return facts.model_copy(
                update={"flags": (*facts.flags, "no_preview"), "undecidable": (*facts.undecidable, looked.why)}
            )
        flags = (*facts.flags, "unbounded") if looked.survey.unbounded else facts.flags
        return facts.model_copy(
            update={"flags": tuple(dict.fromkeys(flags)), "counts": {**facts.counts, "rows": looked.survey.count}}
        )

    async def preview(self, arguments: QueryArguments, context: ToolContext) -> Preview:
        """The rows before and after, 50 at most, and the fingerprint of all; a text when nothing can be shown."""
        await prepare_sql(arguments.sql, arguments.database)
        _, statement = read_sql(arguments.sql, arguments.database)
        if statement is not None and statement.kind == "read":
            return Preview(kind="text", text=arguments.sql)
        if statement is None:
            return Preview(kind="text", text=f"{arguments.sql}\n\nWhat this would change cannot be shown beforehand.")
        looked = await self._look(arguments, context, statement)
        if looked.survey is None:
            return Preview(kind="text", text=f"{arguments.sql}\n\n{looked.why}")
        found = looked.survey
        return Preview(
            kind="rows",
            text=arguments.sql,
            columns=found.columns,
            before=shown_rows(found.before),
            after=shown_rows(found.after),
            count=found.count,
            fingerprint=found.fingerprint,
        )

    def headline(self, arguments: QueryArguments, preview: Preview) -> str:
        """Such as "Change 3 rows of orders in database shop"."""
        facts, statement = read_sql(arguments.sql, arguments.database)
        where = f"database {arguments.database}"[:80]
        if statement is None or statement.kind not in _VERBS:
            reads = statement is not None and statement.kind == "read"
            return f"{'Read from' if reads else 'Run a statement on'} {where}"
        table = statement.table[:40]
        if preview.kind != "rows":
            unbounded = "all" if "unbounded" in facts.flags else "an unknown number of"
            return f"{_VERBS[statement.kind]} {unbounded} rows of {table} in {where}"
        joint = "to" if statement.kind == "insert" else "of"
        return f"{_VERBS[statement.kind]} {_rows(preview.count)} {joint} {table} in {where}"

    async def run(self, arguments: QueryArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Read, or change exactly what the preview showed; raises PreviewMismatch, ToolFailed, ToolTimedOut."""
        database = _database(arguments, context)
        _, statement = read_sql(arguments.sql, arguments.database)
        deadline = time.perf_counter() + self.timeout_s - _MARGIN_S
        if statement is not None and statement.kind == "read":
            return await to_the_end(lambda stop: _read(arguments, database, stop, deadline))
        if not database.writable:
            raise ToolNotAllowed(f"The database {database.name} is for reading only.")
        if statement is None or statement.kind not in _ACTIONS:
            raise ToolFailed("Only SELECT, INSERT, UPDATE and DELETE are run; a person must do anything else.")
        if not preview.fingerprint:
            raise PreviewMismatch("Nobody could be shown what this would change, so nothing was changed.")
        return await to_the_end(
            lambda stop: _change(arguments, statement, database, preview, stop=stop, deadline=deadline)
        )

    async def _look(self, arguments: QueryArguments, context: ToolContext, statement: Statement) -> _Looked:
        database = _database(arguments, context)
        deadline = time.perf_counter() + self.timeout_s / 3

        def look(stop: Stop) -> _Looked:
            try:
                with opened(database, write=False, stop=stop, deadline=deadline) as connection:
                    return _Looked(survey(connection, statement, arguments.sql))
            except (CannotPreview, ToolError) as error:
                return _Looked(None, str(error))

        return await to_the_end(look)


class ReadSql(QuerySql):
    """The same for workers that only read."""

    async def bind(self, arguments: QueryArguments, context: ToolContext) -> QueryArguments:
        """Refuse whatever is no read; raises BadArguments, ToolNotAllowed."""
        await prepare_sql(arguments.sql, arguments.database)
        if not _only_reads(arguments):
            raise ToolNotAllowed("This worker may only read from databases.")
        return await super().bind(arguments, context)

    async def run(self, arguments: QueryArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Read; raises ToolNotAllowed for anything else, and what reading raises."""
        if not _only_reads(arguments):
            raise ToolNotAllowed("This worker may only read from databases.")
        return await super().run(arguments, context, preview)


def _database(arguments: QueryArguments, context: ToolContext) -> Database:
    found = context.databases.get(arguments.database)
    if found is None:
        known = ", ".join(sorted(context.databases)) or "none"
        raise BadArguments(f"There is no database {arguments.database[:60]!r}; known: {known}.")
    return found


def _only_reads(arguments: QueryArguments) -> bool:
    _, statement = read_sql(arguments.sql, arguments.database)
    return statement is not None and statement.kind == "read"


def _read(arguments: QueryArguments, database: Database, stop: Stop, deadline: float) -> ToolResult:
    with opened(database, write=False, stop=stop, deadline=deadline) as connection:
        cursor = connection.execute(arguments.sql)
        columns = [str(item[0]) for item in cursor.description or ()]
        rows, more = _bounded_rows(cursor, arguments.limit)
    note = f"\n(the first {len(rows)} rows; there are more)" if more else ""
    return ToolResult(
        text=_table(columns, rows) + note,
        data={"columns": columns, "rows": [list(row) for row in rows], "count": len(rows)},
        summary=f"{'At least ' if more else ''}{_rows(len(rows))} read from database {database.name}",
    )


def _bounded_rows(cursor: sqlite3.Cursor, limit: int) -> tuple[tuple[tuple[Cell, ...], ...], bool]:
    """Rows one by one, until there are enough or they are too much for a journal; and whether more are left."""
    rows: list[tuple[Cell, ...]] = []
    room = _MOST_GIVEN
    for row in cursor:
        if len(rows) == limit or room <= 0:
            return tuple(rows), True
        cells = shown_rows([row])[0]
        cells = tuple(
            f"{cell[:_LONGEST_CELL]}… ({len(cell):,} characters)"
            if isinstance(cell, str) and len(cell) > _LONGEST_CELL
            else cell
            for cell in cells
        )
        room -= sum(len(cell) if isinstance(cell, str) else 8 for cell in cells)
        rows.append(cells)
    return tuple(rows), False


def _change(
    arguments: QueryArguments,
    statement: Statement,
    database: Database,
    preview: Preview,
    *,
    stop: Stop,
    deadline: float,
) -> ToolResult:
    with opened(database, write=True, stop=stop, deadline=deadline) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = _change_as_shown(connection, arguments, statement, preview)
            if stop.stopped:
                raise ToolFailed("It was stopped; nothing was changed.")
            connection.set_authorizer(None)
            connection.execute("COMMIT")
            stop.kept = True
        finally:
            if connection.in_transaction:
                connection.set_authorizer(None)
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")
    rows = shown_rows(found.after)
    sentence = f"{_rows(found.count)} {_DONE[statement.kind]} {found.table.name} in database {database.name}"
    table = f"\n{_table(found.columns, rows)}" if rows else ""
    return ToolResult(
        text=f"{sentence}.{table}",
        data={"columns": list(found.columns), "rows": [list(row) for row in rows], "count": found.count},
        summary=sentence,
    )


def _change_as_shown(
    connection: sqlite3.Connection, arguments: QueryArguments, statement: Statement, preview: Preview
) -> Survey:
    """Execute inside the open transaction; raises PreviewMismatch when anything but what was shown would change."""
    try:
        found = survey(connection, statement, arguments.sql)
    except CannotPreview as error:
        raise PreviewMismatch from error
    if found.fingerprint != preview.fingerprint or found.count != preview.count:
        raise PreviewMismatch
    watched = statement.kind != "insert"
    if watched:
        _watch(connection, found, statement.kind)
    only_changes(connection, _ACTIONS[statement.kind], found.table.name)
    total = connection.total_changes
    cursor = connection.execute(arguments.sql)
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


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [" | ".join(columns)]
    size = len(lines[0])
    for row in rows:
        line = " | ".join("NULL" if value is None else str(value).replace("\n", " ")[:_CELL] for value in row)
        size += len(line) + 1
        if size > _TEXT:
            lines.append("…")
            break
        lines.append(line)
    return "\n".join(lines)


__all__ = ["MOST_READ", "SHOWN_ROWS", "QueryArguments", "QuerySql", "ReadSql"]

"""query_sql: reads at once; changes rows only as people saw it beforehand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from agent.broker import Broker
from agent.errors import BadArguments, PreviewMismatch, ToolError, ToolFailed, ToolNotAllowed
from agent.facts.model import Facts
from agent.facts.sql import Dialect, Statement, prepare_sql, read_sql
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.databases import SPOKEN, NamedDatabase
from agent.tools.sql_engine import Shown, session
from agent.tools.sql_survey import SHOWN_ROWS, CannotPreview, Cell, Row, Survey, shown_rows
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
_NONE: Mapping[str, NamedDatabase] = MappingProxyType({})


class QueryArguments(Arguments):
    """One statement against one named database."""

    database: str = Field(description="The database's name.")
    sql: str = Field(description="One SQL statement in that database's dialect.")
    limit: Annotated[int, Field(ge=1, le=MOST_READ, description="Rows to give back at most.")] = 50


@dataclass(frozen=True, slots=True)
class _Looked:
    survey: Survey | None
    why: str = ""


class QuerySql(Tool[QueryArguments]):
    """Read from or change a named database."""

    name = "query_sql"
    description = (
        "Run one SQL statement on a named database. SELECT answers at once. INSERT, UPDATE and DELETE with a WHERE are"
        " shown to a person first."
    )
    arguments = QueryArguments

    def __init__(self, databases: Mapping[str, NamedDatabase] = _NONE) -> None:
        """`databases` say which speaks which SQL; one that is not named speaks SQLite's."""
        self._databases = databases
        if any(one.dialect != "sqlite" for one in databases.values()):
            known = ", ".join(f"{name} ({SPOKEN[one.dialect]})" for name, one in sorted(databases.items()))
            self.description = f"{type(self).description} Databases: {known}."

    def for_reading(self) -> ReadSql:
        """The same for workers that only read."""
        return ReadSql(self._databases)

    async def bind(self, arguments: QueryArguments, context: ToolContext) -> QueryArguments:
        """Refuse an unknown database and a change to one that is for reading; raises BadArguments, ToolNotAllowed."""
        database = _database(arguments, context)
        await prepare_sql(arguments.sql, arguments.database, database.dialect)
        if not database.writable and not _only_reads(arguments, database.dialect):
            raise ToolNotAllowed(f"The database {database.name} is for reading only.")
        return arguments

    async def facts(self, arguments: QueryArguments, context: ToolContext) -> Facts:
        """The statement's effects, with `no_preview` when nothing can be shown beforehand, and the count of rows."""
        dialect = self._dialect(arguments, context)
        await prepare_sql(arguments.sql, arguments.database, dialect)
        facts, statement = read_sql(arguments.sql, arguments.database, dialect)
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
        dialect = self._dialect(arguments, context)
        await prepare_sql(arguments.sql, arguments.database, dialect)
        _, statement = read_sql(arguments.sql, arguments.database, dialect)
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
        facts, statement = read_sql(arguments.sql, arguments.database, self._dialect(arguments))
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
        _, statement = read_sql(arguments.sql, arguments.database, database.dialect)
        deadline = time.perf_counter() + self.timeout_s - _MARGIN_S
        if statement is not None and statement.kind == "read":
            return await to_the_end(
                lambda stop: _read(arguments, database, context.broker, stop=stop, deadline=deadline)
            )
        if not database.writable:
            raise ToolNotAllowed(f"The database {database.name} is for reading only.")
        if statement is None or statement.kind not in _VERBS:
            raise ToolFailed("Only SELECT, INSERT, UPDATE and DELETE are run; a person must do anything else.")
        if not preview.fingerprint:
            raise PreviewMismatch("Nobody could be shown what this would change, so nothing was changed.")
        shown = Shown(preview.fingerprint, preview.count)

        def change(stop: Stop) -> ToolResult:
            with session(database, context.broker, write=True, stop=stop, deadline=deadline) as connected:
                found = connected.change(statement, arguments.sql, shown)
                if stop.stopped:
                    raise ToolFailed("It was stopped; nothing was changed.")
                connected.commit()
                stop.kept = True
            return _changed(found, statement, database)

        return await to_the_end(change)

    def _dialect(self, arguments: QueryArguments, context: ToolContext | None = None) -> Dialect:
        """The database's own where it is at hand; a headline is written without it."""
        known = self._databases if context is None else context.databases
        found = known.get(arguments.database)
        return found.dialect if found is not None else "sqlite"

    async def _look(self, arguments: QueryArguments, context: ToolContext, statement: Statement) -> _Looked:
        database = _database(arguments, context)
        deadline = time.perf_counter() + self.timeout_s / 3

        def look(stop: Stop) -> _Looked:
            try:
                with session(database, context.broker, write=False, stop=stop, deadline=deadline) as connected:
                    return _Looked(connected.look(statement, arguments.sql))
            except (CannotPreview, ToolError) as error:
                return _Looked(None, str(error))

        return await to_the_end(look)


class ReadSql(QuerySql):
    """The same for workers that only read."""

    async def bind(self, arguments: QueryArguments, context: ToolContext) -> QueryArguments:
        """Refuse whatever is no read; raises BadArguments, ToolNotAllowed."""
        dialect = self._dialect(arguments, context)
        await prepare_sql(arguments.sql, arguments.database, dialect)
        if not _only_reads(arguments, dialect):
            raise ToolNotAllowed("This worker may only read from databases.")
        return await super().bind(arguments, context)

    async def run(self, arguments: QueryArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Read; raises ToolNotAllowed for anything else, and what reading raises."""
        if not _only_reads(arguments, self._dialect(arguments, context)):
            raise ToolNotAllowed("This worker may only read from databases.")
        return await super().run(arguments, context, preview)


def _database(arguments: QueryArguments, context: ToolContext) -> NamedDatabase:
    found = context.databases.get(arguments.database)
    if found is None:
        known = ", ".join(sorted(context.databases)) or "none"
        raise BadArguments(f"There is no database {arguments.database[:60]!r}; known: {known}.")
    return found


def _only_reads(arguments: QueryArguments, dialect: Dialect) -> bool:
    _, statement = read_sql(arguments.sql, arguments.database, dialect)
    return statement is not None and statement.kind == "read"


def _read(
    arguments: QueryArguments, database: NamedDatabase, broker: Broker, *, stop: Stop, deadline: float
) -> ToolResult:
    with session(database, broker, write=False, stop=stop, deadline=deadline) as connected:
        answer = connected.read(arguments.sql, arguments.limit)
        columns = list(answer.columns)
        rows, more = _bounded_rows(answer.rows, arguments.limit)
    note = f"\n(the first {len(rows)} rows; there are more)" if more else ""
    return ToolResult(
        text=_table(columns, rows) + note,
        data={"columns": columns, "rows": [list(row) for row in rows], "count": len(rows)},
        summary=f"{'At least ' if more else ''}{_rows(len(rows))} read from database {database.name}",
    )


def _bounded_rows(given: Iterable[Row], limit: int) -> tuple[tuple[tuple[Cell, ...], ...], bool]:
    """Rows one by one, until there are enough or they are too much for a journal; and whether more are left."""
    rows: list[tuple[Cell, ...]] = []
    room = _MOST_GIVEN
    for row in given:
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


def _changed(found: Survey, statement: Statement, database: NamedDatabase) -> ToolResult:
    rows = shown_rows(found.after)
    sentence = f"{_rows(found.count)} {_DONE[statement.kind]} {found.table.name} in database {database.name}"
    table = f"\n{_table(found.columns, rows)}" if rows else ""
    return ToolResult(
        text=f"{sentence}.{table}",
        data={"columns": list(found.columns), "rows": [list(row) for row in rows], "count": found.count},
        summary=sentence,
    )


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

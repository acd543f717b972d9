"""What a change of a SQLite database would touch, found by a SELECT that is rewritten from it."""

from __future__ import annotations

import sqlite3

from sqlglot import exp

from agent.facts.sql import Statement, is_deterministic
from agent.tools import sql_survey as limits
from agent.tools.sql_survey import (
    SHOWN_ROWS,
    SMALL_TABLE,
    CannotPreview,
    Row,
    Survey,
    Table,
    assignments,
    fingerprint,
    pick,
    quoted,
    refuse_many,
    refuse_parts,
)

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_HARMLESS_ACTIONS = frozenset({"NO ACTION", "RESTRICT"})


def survey(connection: sqlite3.Connection, statement: Statement, sql: str) -> Survey:
    """Look at what the statement would touch, reading only; raises CannotPreview or sqlite3.Error."""
    tree = statement.tree
    refuse_parts(statement)
    table = _describe(connection, tree, statement)
    if statement.kind == "insert":
        return _survey_insert(connection, tree, table, sql)
    if statement.kind in {"update", "delete"}:
        return _survey_rows(connection, tree, table, sql)
    raise CannotPreview("Only INSERT, UPDATE and DELETE can be shown beforehand.")


def _describe(connection: sqlite3.Connection, tree: exp.Expr, statement: Statement) -> Table:
    found = connection.execute(
        "SELECT name, type, sql FROM main.sqlite_schema WHERE lower(name) = lower(?)", (statement.table,)
    ).fetchone()
    if found is None:
        raise CannotPreview(f"There is no table {statement.table}.")
    name, kind, definition = str(found[0]), found[1], str(found[2] or "")
    if kind != "table" or name.lower().startswith("sqlite_") or definition.lower().startswith("create virtual"):
        raise CannotPreview(f"{name} is not an ordinary table.")
    triggers = connection.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?)", (name,)
    ).fetchone()
    if triggers is not None:
        raise CannotPreview(f"The trigger {triggers[0]} on {name} would do more than can be shown.")
    described = connection.execute(f"PRAGMA main.table_xinfo({quoted(name)})").fetchall()
    columns = tuple(str(row[1]) for row in described if row[6] == 0)
    primary = tuple(str(row[1]) for row in sorted(described, key=lambda row: row[5]) if row[5])
    if not isinstance(tree, exp.Insert):
        _refuse_cascades(connection, name, tree, primary)
    taken = {str(row[1]).lower() for row in described}
    rowid = next((alias for alias in _ROWID_NAMES if alias not in taken), "")
    if _has_rowid(connection, name):
        if not rowid:
            raise CannotPreview(f"The rows of {name} cannot be told apart.")
        return Table(name, columns, (rowid,))
    return Table(name, columns, primary)


def _has_rowid(connection: sqlite3.Connection, name: str) -> bool:
    row = connection.execute("SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", (name,)).fetchone()
    return row is None or not row[0]


def _refuse_cascades(connection: sqlite3.Connection, name: str, tree: exp.Expr, primary: tuple[str, ...]) -> None:
    """Another table's foreign key may change that table when this one changes."""
    deletes = isinstance(tree, exp.Delete)
    written = {one.this.name.lower() for one in tree.expressions if isinstance(one, exp.EQ)}
    key = {column.lower() for column in primary}
    others = connection.execute(
        'SELECT m.name, f."to", f.on_update, f.on_delete FROM main.sqlite_schema AS m, pragma_foreign_key_list(m.name)'
        " AS f WHERE m.type = 'table' AND lower(f.\"table\") = lower(?)",
        (name,),
    )
    for other, column, on_update, on_delete in others:
        meant = {str(column).lower()} if column is not None else key
        action = on_delete if deletes else on_update if written & meant else "NO ACTION"
        if action not in _HARMLESS_ACTIONS:
            raise CannotPreview(f"Rows of {other} would change along with those of {name}.")


def _survey_rows(connection: sqlite3.Connection, tree: exp.Expr, table: Table, sql: str) -> Survey:
    target = tree.this
    if not isinstance(target, exp.Table) or tree.args.get("tables"):
        raise CannotPreview("What it changes is not a single table.")
    where = tree.args.get("where")
    alias = f" AS {quoted(target.alias)}" if target.alias else ""
    prefix = quoted(target.alias or table.name)
    sets = _sets(tree, table)
    after = {name.lower(): value for name, value in sets}
    key = [f"{prefix}.{key_name(part)}" for part in table.key]
    values = [f"{prefix}.{quoted(column)}" for column in table.columns]
    computed = [f"({value.sql(dialect='sqlite')})" for _, value in sets]
    # The pieces are quoted names or were read and printed by sqlglot; the connection is read-only all the same.
    query = f"SELECT {', '.join((*key, *values, *computed))} FROM main.{quoted(table.name)}{alias}"  # noqa: S608 - see above
    query += f" {where.sql(dialect='sqlite')}" if where is not None else ""
    query += f" ORDER BY {', '.join(key)}"
    rows = _fetch(connection, query)
    first, last = len(key), len(key) + len(values)
    exact = [last + number for number, (_, value) in enumerate(sets) if is_deterministic(value)]
    hashed = ((*row[:last], *(row[index] for index in exact)) for row in rows)
    places = {name.lower(): last + number for number, (name, _) in enumerate(sets)}
    order = [first + number for number in range(len(values))]
    changed = [places.get(column.lower(), first + number) for number, column in enumerate(table.columns)]
    columns, show_key = table.columns, not _shows_key(connection, table)
    lead = list(range(first)) if show_key else []
    return Survey(
        table=table,
        columns=(*(table.key if show_key else ()), *columns),
        keys=tuple(row[:first] for row in rows),
        before=pick(rows, lead + order),
        after=pick(rows, lead + changed) if after else (),
        count=len(rows),
        fingerprint=fingerprint(sql, hashed),
        settable=tuple(name.lower() for name, value in sets if is_deterministic(value)),
        unbounded=len(rows) > SMALL_TABLE and len(rows) == _size(connection, table),
    )


def _sets(tree: exp.Expr, table: Table) -> list[tuple[str, exp.Expr]]:
    known = {column.lower() for column in table.columns}
    sets = [(column.name, value) for column, value in assignments(tree)]
    for name, _ in sets:
        if name.lower() not in known:
            raise CannotPreview(f"{table.name} has no column {name} that can be written.")
    return sets


def _survey_insert(connection: sqlite3.Connection, tree: exp.Expr, table: Table, sql: str) -> Survey:
    target, source = tree.this, tree.expression
    names = [part.name for part in target.expressions] if isinstance(target, exp.Schema) else list(table.columns)
    if source is None or {name.lower() for name in names} - {column.lower() for column in table.columns}:
        raise CannotPreview("What it would insert cannot be told.")
    rows = _fetch(connection, source.sql(dialect="sqlite"))
    if any(len(row) != len(names) for row in rows):
        raise CannotPreview(f"It gives another number of values than {table.name} has columns.")
    exact = rows if is_deterministic(source) else [(len(rows),)]
    return Survey(
        table=table,
        columns=tuple(names),
        keys=(),
        before=(),
        after=tuple(rows[:SHOWN_ROWS]),
        count=len(rows),
        fingerprint=fingerprint(sql, exact),
    )


def _fetch(connection: sqlite3.Connection, query: str) -> list[Row]:
    rows: list[Row] = connection.execute(query).fetchmany(limits.MOST_ROWS + 1)
    refuse_many(len(rows))
    return rows


def _size(connection: sqlite3.Connection, table: Table) -> int:
    row = connection.execute(f"SELECT count(*) FROM main.{quoted(table.name)}").fetchone()  # noqa: S608 - a quoted name
    return int(row[0])


def _shows_key(connection: sqlite3.Connection, table: Table) -> bool:
    """Whether a primary key stands among the columns, so that the rowid tells people nothing."""
    described = connection.execute(f"PRAGMA main.table_info({quoted(table.name)})").fetchall()
    return any(row[5] for row in described)


def key_name(part: str) -> str:
    """A part of a key as SQL: one of the names of the rowid, or a quoted column."""
    return part if part in _ROWID_NAMES else quoted(part)

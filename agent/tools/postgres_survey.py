"""What a change of a PostgreSQL database would touch, found by a SELECT that is rewritten from it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from agent.facts.sql import Statement, is_deterministic
from agent.tools import sql_survey as limits
from agent.tools.postgres_connection import Connection
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

#: All that is fetched to be compared, as text.
_MOST_BYTES = 16 * 1_048_576
_NO_ACTION = frozenset({"a", "r"})
_DELETES, _UPDATES = "confdeltype", "confupdtype"

_ABOUT = """
SELECT c.oid, c.relkind = 'r' AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relname = %s
"""
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attgenerated = '' FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEY = """
SELECT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)
"""
_ELSE = """
SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = %(of)s AND NOT tgisinternal AND tgenabled <> 'D'
UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = %(of)s
"""
#: Functions that somebody wrote and that would run along: in defaults, checks, indexes and row security.
_CODE = """
SELECT p.proname FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.refobjid JOIN pg_language AS l ON l.oid = p.prolang
WHERE d.refclassid = 'pg_proc'::regclass AND l.lanname NOT IN ('internal', 'c') AND (
  (d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = %(of)s))
  OR (d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT oid FROM pg_constraint WHERE conrelid = %(of)s))
  OR (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(of)s))
  OR (d.classid = 'pg_policy'::regclass AND d.objid IN (SELECT oid FROM pg_policy WHERE polrelid = %(of)s)))
"""
_FOREIGN = """
SELECT conrelid::regclass::text, confupdtype, confdeltype,
  (SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = confrelid AND attnum = ANY (confkey))::text[]
FROM pg_constraint WHERE contype = 'f' AND confrelid = %s
"""


@dataclass(frozen=True, slots=True)
class Look:
    """A survey, and what only PostgreSQL needs to see that the change came out as shown."""

    survey: Survey
    places: tuple[str, ...]
    """Where each row lies (`ctid`): gone for whoever changed it."""
    returning: tuple[str, ...] = ()
    """Columns of which the change tells the new values, empty when none can be told beforehand."""
    expected: tuple[Row, ...] = ()
    """Those values."""


@dataclass(frozen=True, slots=True)
class _Described:
    table: Table
    kinds: dict[str, str]
    """The type of each column, by its name."""
    oid: int


def survey(connection: Connection, statement: Statement, sql: str) -> Look:
    """Look at what the statement would touch, reading only; raises CannotPreview or psycopg.Error."""
    refuse_parts(statement)
    tree = statement.tree
    if statement.kind not in {"insert", "update", "delete"}:
        raise CannotPreview("Only INSERT, UPDATE and DELETE can be shown beforehand.")
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier) or tree.args.get("tables"):
        raise CannotPreview("What it changes is not a single table.")
    described = _describe(connection, _fold(target.this))
    if isinstance(tree, exp.Insert):
        return _survey_insert(connection, tree, described, sql)
    sets = _sets(tree, described)
    _refuse_cascades(connection, described, {name for name, _ in sets}, deletes=isinstance(tree, exp.Delete))
    return _survey_rows(connection, tree, target, described, sets=sets, sql=sql)


def _fold(name: exp.Expr) -> str:
    """An identifier as the server reads it: in lower case unless it stands in quotes."""
    quoted_too = isinstance(name, exp.Identifier) and bool(name.args.get("quoted"))
    return name.name if quoted_too else name.name.lower()


def _describe(connection: Connection, name: str) -> _Described:
    found = connection.execute(_ABOUT, (name,)).fetchone()
    if found is None:
        raise CannotPreview(f"There is no table {name} in the schema public.")
    oid = int(found[0])
    if not found[1]:
        raise CannotPreview(f"{name} is not an ordinary table.")
    if other := connection.execute(_ELSE, {"of": oid}).fetchone():
        raise CannotPreview(f"The {other[0]} on {name} would do more than can be shown.")
    if code := connection.execute(_CODE, {"of": oid}).fetchone():
        raise CannotPreview(f"The function {code[0]}, which {name} uses, may do more than can be shown.")
    columns = connection.execute(_COLUMNS, (oid,)).fetchall()
    key = tuple(str(row[0]) for row in connection.execute(_KEY, (oid,)))
    table = Table(name, tuple(str(row[0]) for row in columns if row[2]), key)
    return _Described(table, {str(row[0]): str(row[1]) for row in columns}, oid)


def _refuse_cascades(connection: Connection, described: _Described, written: set[str], *, deletes: bool) -> None:
    """Another table's foreign key may change that table when this one changes."""
    for other, on_update, on_delete, columns in connection.execute(_FOREIGN, (described.oid,)):
        # The array comes as text, such as {id,"a b"}: whatever stands in it counts.
        meant = any(name in str(columns) for name in written)
        action = on_delete if deletes else on_update if meant else "a"
        if action not in _NO_ACTION:
            raise CannotPreview(f"Rows of {other} would change along with those of {described.table.name}.")


def _sets(tree: exp.Expr, described: _Described) -> list[tuple[str, exp.Expr]]:
    sets: list[tuple[str, exp.Expr]] = []
    for column, value in assignments(tree):
        name = _fold(column.this)
        if name not in described.table.columns or column.table:
            raise CannotPreview(f"{described.table.name} has no column {name} that can be written.")
        sets.append((name, value))
    return sets


def _survey_rows(
    connection: Connection,
    tree: exp.Expr,
    target: exp.Table,
    described: _Described,
    *,
    sets: list[tuple[str, exp.Expr]],
    sql: str,
) -> Look:
    table = described.table
    alias = _fold(target.args["alias"].this) if target.alias else ""
    prefix = quoted(alias or table.name)
    where = tree.args.get("where")
    key = [f"{prefix}.{quoted(part)}" for part in table.key]
    values = [f"{prefix}.{quoted(column)}" for column in table.columns]
    computed = [_cast(value, described.kinds[name]) for name, value in sets]
    cells = [f"{prefix}.ctid::text", *key, *values, *computed]
    # The pieces are quoted names or were read and printed by sqlglot; the transaction is read-only all the same.
    query = f"SELECT {', '.join(f'{cell} AS c{number}' for number, cell in enumerate(cells))}"
    query += f" FROM public.{quoted(table.name)}{f' AS {quoted(alias)}' if alias else ''}"
    query += f" {where.sql(dialect='postgres')}" if where is not None else ""
    query += f" ORDER BY {', '.join(key) if key else f'{prefix}.ctid'}"
    rows = _fetch(connection, query)
    first = 1 + len(key)
    last = first + len(values)
    told = [number for number, (_, value) in enumerate(sets) if is_deterministic(value)]
    after = {name: last + number for number, (name, _) in enumerate(sets)}
    order = list(range(first, last))
    changed = [after.get(column, first + number) for number, column in enumerate(table.columns)]
    lead = [] if table.key else [0]
    known = {sets[number][0]: last + number for number in told}
    # A key that is set to something unforeseeable cannot be told either; one that is not set stays.
    kept = {part: 1 + number for number, part in enumerate(table.key) if part not in after}
    returning = {**kept, **known} if known else {}
    found = Survey(
        table=table,
        columns=(*(() if table.key else ("ctid",)), *table.columns),
        keys=tuple(row[1:first] if table.key else row[:1] for row in rows),
        before=pick(rows, lead + order),
        after=pick(rows, lead + changed) if after else (),
        count=len(rows),
        fingerprint=fingerprint(
            sql, ((*row[0 if not key else 1 : last], *(row[last + n] for n in told)) for row in rows)
        ),
        settable=tuple(known),
        unbounded=len(rows) > SMALL_TABLE and len(rows) == _size(connection, table, len(rows) + 1),
    )
    return Look(
        found,
        places=tuple(str(row[0]) for row in rows),
        returning=tuple(returning),
        expected=tuple(tuple(row[place] for place in returning.values()) for row in rows) if returning else (),
    )


def _survey_insert(connection: Connection, tree: exp.Insert, described: _Described, sql: str) -> Look:
    target, source, table = tree.this, tree.expression, described.table
    names = [_fold(part) for part in target.expressions] if isinstance(target, exp.Schema) else list(table.columns)
    if source is None or set(names) - set(table.columns) or len(set(names)) != len(names):
        raise CannotPreview("What it would insert cannot be told.")
    text = f"({source.sql(dialect='postgres')})"
    given = connection.execute(f"SELECT * FROM {text} AS given LIMIT 0".encode()).description or ()  # noqa: S608 - as above
    if len(given) != len(names):
        raise CannotPreview(f"It gives another number of values than {table.name} has columns.")
    cells = [f"CAST(given.c{number} AS {described.kinds[name]})" for number, name in enumerate(names)]
    listed = ", ".join(f"c{number}" for number in range(len(names)))
    query = f"SELECT {', '.join(f'{cell} AS c{n}' for n, cell in enumerate(cells))} FROM {text} AS given ({listed})"  # noqa: S608 - as above
    rows = _fetch(connection, query)
    is_told = is_deterministic(source)
    found = Survey(
        table=table,
        columns=tuple(names),
        keys=(),
        before=(),
        after=tuple(rows[:SHOWN_ROWS]),
        count=len(rows),
        fingerprint=fingerprint(sql, rows if is_told else [(len(rows),)]),
    )
    return Look(found, places=(), returning=tuple(names) if is_told else (), expected=tuple(rows) if is_told else ())


def _cast(value: exp.Expr, kind: str) -> str:
    return f"CAST(({value.sql(dialect='postgres')}) AS {kind})"


def _fetch(connection: Connection, query: str) -> list[Row]:
    most = limits.MOST_ROWS + 1
    limited = f"{query} LIMIT {most}"
    count, size = connection.execute(
        f"SELECT count(*), coalesce(sum(octet_length(q::text)), 0)::int8 FROM ({limited}) AS q".encode()  # noqa: S608 - as above
    ).fetchone() or (0, 0)
    refuse_many(int(count))
    if int(size) > _MOST_BYTES:
        raise CannotPreview("It touches more data than can be compared.")
    return [tuple(row) for row in connection.execute(limited.encode())]


def _size(connection: Connection, table: Table, most: int) -> int:
    query = f"SELECT count(*) FROM (SELECT FROM public.{quoted(table.name)} LIMIT {most}) AS q"  # noqa: S608 - a quoted name
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0

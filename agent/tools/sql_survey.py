"""What a change would touch: the same for every engine, found by a SELECT and never by running the change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from agent.facts.sql import Statement

Cell = str | int | float | None
Row = tuple[object, ...]

MOST_ROWS = 10_000
SHOWN_ROWS = 50
#: A change that meets every row of a table larger than this is unbounded, whatever its WHERE says.
SMALL_TABLE = 50
#: JSON has no more exact integers than a double.
_EXACT = 2**53
_REFUSED_PARTS = (
    "returning", "with_", "conflict", "alternative", "order", "limit", "from_", "using", "ignore", "default",
)  # fmt: skip


class CannotPreview(Exception):
    """Nothing can be said beforehand about what this would change."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its engine describes it."""

    name: str
    columns: tuple[str, ...]
    """All that can be written, in order."""
    key: tuple[str, ...]
    """What tells its rows apart: its primary key, or the engine's own name of a row where that is better."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that a change would touch."""

    table: Table
    columns: tuple[str, ...]
    keys: tuple[Row, ...]
    before: tuple[Row, ...]
    after: tuple[Row, ...]
    count: int
    fingerprint: str
    unbounded: bool = False
    settable: tuple[str, ...] = ()
    """Columns of an UPDATE whose new values can be told beforehand, and so must come out as shown."""


def refuse_parts(statement: Statement) -> None:
    """Raise CannotPreview for a statement with a part that no SELECT shows."""
    for part in _REFUSED_PARTS:
        if statement.tree.args.get(part):
            raise CannotPreview(f"{statement.kind.upper()} with {part.rstrip('_').upper()} cannot be shown beforehand.")


def assignments(tree: exp.Expr) -> list[tuple[exp.Column, exp.Expr]]:
    """What an UPDATE sets to what; raises CannotPreview when that is no list of columns."""
    if not isinstance(tree, exp.Update):
        return []
    sets: list[tuple[exp.Column, exp.Expr]] = []
    for one in tree.expressions:
        if not isinstance(one, exp.EQ) or not isinstance(one.this, exp.Column):
            raise CannotPreview("It sets several columns at once.")
        sets.append((one.this, one.expression))
    return sets


def refuse_many(count: int) -> None:
    """Raise CannotPreview when there are more rows than are compared."""
    if count > MOST_ROWS:
        raise CannotPreview(f"It touches more than {MOST_ROWS:,} rows.")


def shown(value: object) -> Cell:
    """A value as people and JSON can take it; bytes are named by their length."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else str(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124 - only NaN differs from itself
    return str(value)


def shown_rows(rows: Sequence[Row]) -> tuple[tuple[Cell, ...], ...]:
    """Rows as people and JSON can take them."""
    return tuple(tuple(shown(value) for value in row) for row in rows)


def quoted(name: str) -> str:
    """An identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def pick(rows: Sequence[Row], places: Sequence[int]) -> tuple[Row, ...]:
    """The first rows, of each the cells at these places: what people are shown."""
    return tuple(tuple(row[place] for place in places) for row in rows[:SHOWN_ROWS])


def fingerprint(sql: str, rows: Iterable[Row]) -> str:
    """SHA-256 over the statement and everything it would touch."""
    total = hashlib.sha256(sql.encode())
    for row in rows:
        total.update(b"\0row")
        for value in row:
            # Length first, so that no two lists of values have the same bytes; the type, since 1 is not '1'.
            text = repr(value).encode()
            total.update(f"{type(value).__name__}:{len(text)}:".encode() + text)
    return total.hexdigest()

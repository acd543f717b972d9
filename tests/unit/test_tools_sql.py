"""query_sql over real SQLite files."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Worker
from agent.errors import BadArguments, PreviewMismatch, ToolError, ToolFailed, ToolNotAllowed, ToolTimedOut
from agent.sandbox.none import NoSandbox
from agent.tools.base import Database, Preview, ToolContext, ToolResult
from agent.tools.registry import Registry, default_tools
from agent.tools.sql import QuerySql, ReadSql

SCHEMA = """
PRAGMA synchronous = OFF;
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, status TEXT, total REAL, updated TEXT);
CREATE TABLE items (order_id INTEGER REFERENCES orders(id) ON DELETE CASCADE, sku TEXT);
CREATE TABLE notes (text TEXT);
CREATE TABLE tags (name TEXT PRIMARY KEY, uses INTEGER) WITHOUT ROWID;
CREATE TABLE watched (id INTEGER PRIMARY KEY, n INTEGER);
CREATE TABLE log (n INTEGER);
CREATE TRIGGER watch AFTER UPDATE ON watched BEGIN INSERT INTO log VALUES (new.n); END;
CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'open';
INSERT INTO tags VALUES ('a', 1), ('b', 2);
INSERT INTO notes VALUES ('x'), ('y');
INSERT INTO watched VALUES (1, 1);
"""
TOOL = QuerySql()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop #1?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("PRAGMA synchronous = OFF")
        rows = [(number, number % 7, "open" if number <= 3 else "paid", number * 1.5) for number in range(1, 201)]
        connection.executemany("INSERT INTO orders (id, customer, status, total) VALUES (?, ?, ?, ?)", rows)
        connection.commit()
    return path


@pytest.fixture
def context(tmp_path: Path, shop: Path) -> ToolContext:
    databases = {
        "shop": Database("shop", shop),
        "archive": Database("archive", shop, writable=False),
        "lost": Database("lost", tmp_path / "nowhere.db"),
    }
    return ToolContext(run="r1", workspace=tmp_path / "w", project=tmp_path, sandbox=NoSandbox(), databases=databases)


@pytest.fixture
def unchanged(shop: Path) -> Iterator[None]:
    """The file must be the same, byte by byte, after the test."""
    before = hashlib.sha256(shop.read_bytes()).hexdigest()
    yield
    assert hashlib.sha256(shop.read_bytes()).hexdigest() == before


def rows(shop: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(shop)) as connection:
        return connection.execute(sql).fetchall()


def execute(shop: Path, sql: str) -> None:
    with closing(sqlite3.connect(shop)) as connection:
        connection.execute(sql)
        connection.commit()


async def seen(context: ToolContext, sql: str) -> Preview:
    return await TOOL.preview(TOOL.parse({"database": "shop", "sql": sql}), context)


async def run(context: ToolContext, sql: str, preview: Preview | None = None, **more: Any) -> ToolResult:
    arguments = TOOL.parse({"database": "shop", "sql": sql, **more})
    return await TOOL.run(arguments, context, preview or await TOOL.preview(arguments, context))


async def flags(context: ToolContext, sql: str) -> set[str]:
    return set((await TOOL.facts(TOOL.parse({"database": "shop", "sql": sql}), context)).flags)


async def test_a_select_gives_columns_rows_and_count(context: ToolContext) -> None:
    result = await run(context, "SELECT id, status FROM orders ORDER BY id", limit=2)
    assert result.data == {"columns": ["id", "status"], "rows": [[1, "open"], [2, "open"]], "count": 2}
    assert result.text == "id | status\n1 | open\n2 | open\n(the first 2 rows; there are more)"


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT load_extension('x')",
        "SELECT * FROM orders; DELETE FROM orders",
        "PRAGMA query_only = OFF",
        "ATTACH '/etc/passwd' AS x",
        "VACUUM INTO 'copy.db'",
        "CREATE TABLE x (a)",
        "WITH x AS (SELECT 1) DELETE FROM notes",
        "SELECT zeroblob(1000000000)",
        "INSERT INTO notes VALUES ('a') RETURNING *",
        "REPLACE INTO tags VALUES ('a', 5)",
        "INSERT INTO tags VALUES ('a', 1) ON CONFLICT DO UPDATE SET uses = 9",
        "DROP TABLE orders",
        "EXPLAIN DELETE FROM notes WHERE text = 'x'",
        "UPDATE open_orders SET status = 'x' WHERE id = 1",
        "UPDATE sqlite_master SET sql = '' WHERE name = 'x'",
    ],
)
async def test_what_is_no_plain_read_or_change_is_never_run(context: ToolContext, sql: str) -> None:
    with pytest.raises(ToolError):
        await run(context, sql)


async def test_the_connection_for_reads_cannot_write_whatever_the_parser_thought(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch, shop: Path
) -> None:
    from agent.facts.sql import Statement, read_sql  # noqa: PLC0415 - replaced only here

    facts, statement = read_sql("SELECT 1", "shop")
    assert statement
    monkeypatch.setattr("agent.tools.sql.read_sql", lambda *_: (facts, Statement("read", statement.tree)))
    for sql in ("DELETE FROM notes", "ATTACH ':memory:' AS x", "PRAGMA writable_schema = 1"):
        with pytest.raises(ToolFailed):
            await run(context, sql)
    assert len(rows(shop, "SELECT * FROM notes")) == 2


@pytest.mark.usefixtures("unchanged")
async def test_a_preview_shows_rows_before_and_after_and_changes_nothing(context: ToolContext) -> None:
    sql = "UPDATE orders SET total = total * 2, status = 'late' WHERE status = 'open'"
    preview = await seen(context, sql)
    assert preview.columns == ("id", "customer", "status", "total", "updated")
    assert preview.before[0] == (1, 1, "open", 1.5, None)
    assert preview.after[0] == (1, 1, "late", 3.0, None)
    assert preview.count == 3
    assert TOOL.headline(TOOL.parse({"database": "shop", "sql": sql}), preview) == (
        "Change 3 rows of orders in database shop"
    )
    assert await flags(context, sql) == set()


async def test_an_update_changes_exactly_what_was_shown(context: ToolContext, shop: Path) -> None:
    result = await run(context, "UPDATE orders SET status = 'late' WHERE status = 'open'")
    assert result.summary == "3 rows changed in orders in database shop"
    assert result.data["count"] == 3
    assert [row[2] for row in result.data["rows"]] == ["late"] * 3
    assert rows(shop, "SELECT count(*) FROM orders WHERE status = 'late'") == [(3,)]
    assert rows(shop, "SELECT name FROM sqlite_schema WHERE name LIKE 'secondkey%'") == []


@pytest.mark.parametrize(
    ("sql", "check", "count"),
    [
        ("DELETE FROM notes WHERE text = 'x'", "SELECT count(*) FROM notes", 1),
        ("UPDATE tags SET name = 'c' WHERE name = 'a'", "SELECT count(*) FROM tags WHERE name = 'c'", 1),
        ("DELETE FROM tags AS t WHERE t.name = 'a'", "SELECT count(*) FROM tags", 1),
        ("INSERT INTO notes VALUES ('p'), ('q')", "SELECT count(*) FROM notes", 4),
        ("INSERT INTO notes (text) SELECT name FROM tags", "SELECT count(*) FROM notes", 4),
        (
            "UPDATE orders SET updated = CURRENT_TIMESTAMP WHERE id = 5",
            "SELECT count(*) FROM orders WHERE updated IS NOT NULL",
            1,
        ),
        ("UPDATE orders SET id = 1000 WHERE id = 5", "SELECT count(*) FROM orders WHERE id = 1000", 1),
        (
            "UPDATE orders SET customer = (SELECT max(uses) FROM tags) WHERE id IN (SELECT 1 UNION SELECT 2)",
            "SELECT count(*) FROM orders WHERE customer = 2 AND id < 3",
            2,
        ),
    ],
)
async def test_every_kind_of_change_that_can_be_shown_can_be_made(
    context: ToolContext, shop: Path, sql: str, check: str, count: int
) -> None:
    execute(shop, "DROP TABLE items")
    assert not await flags(context, sql) & {"no_preview", "unbounded"}
    await run(context, sql)
    assert rows(shop, check) == [(count,)]


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE orders SET total = 99 WHERE id = 2",
        "DELETE FROM orders WHERE id = 2",
        "INSERT INTO orders (id, status) VALUES (500, 'open')",
        "UPDATE orders SET status = 'open' WHERE id = 100",
    ],
)
async def test_rows_that_changed_after_they_were_shown_are_left_alone(
    context: ToolContext, shop: Path, meanwhile: str
) -> None:
    sql = "UPDATE orders SET status = 'late' WHERE status = 'open'"
    preview = await seen(context, sql)
    execute(shop, meanwhile)
    with pytest.raises(PreviewMismatch):
        await run(context, sql, preview)
    assert rows(shop, "SELECT count(*) FROM orders WHERE status = 'late'") == [(0,)]


async def test_a_change_whose_new_values_moved_is_left_alone(context: ToolContext, shop: Path) -> None:
    sql = "UPDATE orders SET customer = (SELECT max(uses) FROM tags) WHERE id = 1"
    preview = await seen(context, sql)
    execute(shop, "UPDATE tags SET uses = 77")
    with pytest.raises(PreviewMismatch):
        await run(context, sql, preview)


async def test_a_yes_for_one_statement_is_none_for_another(context: ToolContext) -> None:
    preview = await seen(context, "UPDATE orders SET status = 'late' WHERE status = 'open'")
    with pytest.raises(PreviewMismatch):
        await run(context, "UPDATE orders SET status = 'gone' WHERE status = 'open'", preview)
    with pytest.raises(PreviewMismatch):
        await run(context, "UPDATE orders SET status = 'late' WHERE status = 'open'", Preview())


async def test_a_statement_that_touches_other_rows_than_were_shown_is_rolled_back(
    context: ToolContext, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the preview's parser had understood the WHERE differently than SQLite does."""
    from agent.facts.sql import read_sql  # noqa: PLC0415 - replaced only here
    from agent.tools import sqlite as module  # noqa: PLC0415 - as above

    real = module.survey
    monkeypatch.setattr(
        module,
        "survey",
        lambda connection, _statement, _sql: real(
            connection, read_sql("UPDATE orders SET total = 0 WHERE id = 9", "shop")[1], "same"
        ),
    )
    with pytest.raises(PreviewMismatch):
        await run(context, "UPDATE orders SET total = 0 WHERE id = 8")
    assert rows(shop, "SELECT count(*) FROM orders WHERE total = 0") == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE watched SET n = 2 WHERE id = 1",
        "DELETE FROM orders WHERE id = 1",
        "INSERT OR REPLACE INTO tags VALUES ('a', 5)",
        "INSERT INTO tags DEFAULT VALUES",
        "DELETE FROM notes WHERE text = 'x' RETURNING *",
        "UPDATE tags SET uses = 1 FROM notes WHERE notes.text = tags.name",
        "UPDATE nowhere SET a = 1 WHERE b = 2",
        "UPDATE open_orders SET status = 'x' WHERE id = 1",
        "UPDATE orders SET (status, total) = ('a', 1) WHERE id = 1",
    ],
)
async def test_invariant_7_what_cannot_be_shown_beforehand_says_so(context: ToolContext, sql: str) -> None:
    assert "no_preview" in await flags(context, sql)
    assert (await seen(context, sql)).fingerprint == ""


async def test_a_where_that_meets_every_row_is_unbounded(context: ToolContext) -> None:
    assert "unbounded" in await flags(context, "UPDATE orders SET status = 'x' WHERE id > 0")
    assert "unbounded" not in await flags(context, "UPDATE orders SET status = 'x' WHERE id > 100")


async def test_more_rows_than_can_be_compared_cannot_be_shown(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.tools.sql_survey.MOST_ROWS", 10)
    assert "no_preview" in await flags(context, "UPDATE orders SET status = 'x' WHERE id > 100")


async def test_a_change_that_breaks_a_constraint_changes_nothing(context: ToolContext, shop: Path) -> None:
    with pytest.raises(ToolFailed, match="UNIQUE"):
        await run(context, "INSERT INTO tags VALUES ('new', 1), ('a', 2)")
    assert rows(shop, "SELECT count(*) FROM tags") == [(2,)]


async def test_an_unknown_or_missing_database_is_named(context: ToolContext) -> None:
    with pytest.raises(BadArguments, match="archive, lost, shop"):
        await TOOL.bind(TOOL.parse({"database": "x", "sql": "SELECT 1"}), context)
    with pytest.raises(ToolFailed, match="lost"):
        await TOOL.run(TOOL.parse({"database": "lost", "sql": "SELECT 1"}), context, Preview())


@pytest.mark.usefixtures("unchanged")
async def test_a_database_for_reading_is_not_changed(context: ToolContext) -> None:
    arguments = TOOL.parse({"database": "archive", "sql": "DELETE FROM notes WHERE text = 'x'"})
    with pytest.raises(ToolNotAllowed):
        await TOOL.bind(arguments, context)
    with pytest.raises(ToolNotAllowed):
        await TOOL.run(arguments, context, await TOOL.preview(arguments, context))


@pytest.mark.usefixtures("unchanged")
async def test_a_worker_that_only_reads_changes_nothing(context: ToolContext) -> None:
    tool = Registry(default_tools()).get("query_sql", Worker.RESEARCH)
    assert isinstance(tool, ReadSql)
    arguments = tool.parse({"database": "shop", "sql": "DELETE FROM notes WHERE text = 'x'"})
    preview = await tool.preview(arguments, context)
    with pytest.raises(ToolNotAllowed):
        await tool.bind(arguments, context)
    with pytest.raises(ToolNotAllowed):
        await tool.run(arguments, context, preview)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_query_that_takes_too_long_is_ended(context: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuerySql, "timeout_s", 2.2)
    with pytest.raises(ToolTimedOut):
        await run(context, ENDLESS)


async def test_a_cancelled_query_leaves_no_thread_behind(context: ToolContext) -> None:
    entered = threading.Event()

    async def endless() -> ToolResult:
        entered.set()
        return await run(context, ENDLESS)

    task = asyncio.create_task(endless())
    while not entered.is_set():  # noqa: ASYNC110 - one turn of the loop, no waiting
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_values_that_json_cannot_hold_are_told_in_words(context: ToolContext) -> None:
    result = await run(context, "SELECT x'0102', 9007199254740993, 9e999, NULL")
    assert result.data["rows"] == [["<2 bytes>", "9007199254740993", "inf", None]]


@pytest.mark.parametrize("value", ["CAST('2020-01-01' AS DATE)", "CAST('12abc' AS DATETIME)"])
async def test_a_value_that_comes_out_otherwise_than_it_was_shown_is_rolled_back(
    context: ToolContext, shop: Path, value: str
) -> None:
    sql = f"UPDATE orders SET updated = {value} WHERE id = 7"  # noqa: S608  # the values above
    preview = await seen(context, sql)
    written = rows(shop, f"SELECT {value}")  # the values above
    if preview.kind == "rows" and str(preview.after[0][-1]) != str(written[0][0]):
        with pytest.raises(PreviewMismatch):
            await run(context, sql, preview)
        assert rows(shop, "SELECT updated FROM orders WHERE id = 7") == [(None,)]
    else:
        await run(context, sql, preview)


@pytest.mark.parametrize("value", ["'05'", "5", "5.0", "'x'", "NULL"])
async def test_a_value_that_only_takes_the_type_of_its_column_is_written(
    context: ToolContext, shop: Path, value: str
) -> None:
    await run(context, f"UPDATE orders SET total = {value}, status = {value} WHERE id = 7")  # noqa: S608  # as above
    assert rows(shop, "SELECT total IS NULL OR total IN (5, 'x') FROM orders WHERE id = 7") == [(1,)]

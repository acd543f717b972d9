# ruff: noqa: S608  every text of SQL is put together from constants of this file
"""query_sql over both engines: what holds for a SQLite file holds for a PostgreSQL server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from agent.broker import Broker
from agent.errors import PreviewMismatch, ToolError, ToolFailed, ToolNotAllowed, ToolTimedOut
from agent.sandbox.none import NoSandbox
from agent.tools.base import Preview, ToolContext, ToolResult
from agent.tools.databases import NamedDatabase, named_databases
from agent.tools.sql import QuerySql, ReadSql
from tests.postgres import AGENT, PASSWORD, PostgresServer

TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, status TEXT, total NUMERIC, updated TEXT);
CREATE TABLE items (order_id INTEGER REFERENCES orders(id) ON DELETE CASCADE, sku TEXT);
CREATE TABLE notes (text TEXT);
CREATE TABLE tags (name TEXT PRIMARY KEY, uses INTEGER);
CREATE TABLE watched (id INTEGER PRIMARY KEY, n INTEGER);
CREATE TABLE log (n INTEGER);
CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'open';
INSERT INTO tags VALUES ('a', 1), ('b', 2);
INSERT INTO notes VALUES ('x'), ('y');
INSERT INTO watched VALUES (1, 1);
"""
TRIGGER = {
    "sqlite": "CREATE TRIGGER watch AFTER UPDATE ON watched BEGIN INSERT INTO log VALUES (new.n); END;",
    "postgres": """
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (new.n); RETURN new; END';
    CREATE TRIGGER watch AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION note();
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO agent;
    """,
}
ORDERS = ", ".join(f"({n}, {n % 7}, '{'open' if n <= 3 else 'paid'}', {n * 1.5}, NULL)" for n in range(1, 201))
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 1000 FROM n) SELECT count(*) FROM n"
LATE = "UPDATE orders SET status = 'late' WHERE status = 'open'"


class Place(Protocol):
    """A database as its owner has it."""

    def execute(self, sql: str) -> list[Any]: ...


@dataclass
class File:
    path: Path

    def execute(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()


@dataclass
class OnServer:
    server: PostgresServer
    database: str

    def execute(self, sql: str) -> list[Any]:
        return self.server.execute(self.database, sql)


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    postgres.execute("postgres", "CREATE DATABASE shop")
    postgres.execute("shop", TABLES + TRIGGER["postgres"] + f"INSERT INTO orders VALUES {ORDERS}")
    return "shop"


@dataclass
class Shop:
    """The shop's database, as its owner and as an agent have it."""

    place: Place
    context: ToolContext
    tool: QuerySql

    def rows(self, sql: str) -> list[Any]:
        return [tuple(row) for row in self.place.execute(sql)]

    async def seen(self, sql: str) -> Preview:
        return await self.tool.preview(self.tool.parse({"database": "shop", "sql": sql}), self.context)

    async def run(self, sql: str, preview: Preview | None = None, **more: Any) -> ToolResult:
        arguments = self.tool.parse({"database": "shop", "sql": sql, **more})
        return await self.tool.run(arguments, self.context, preview or await self.seen(sql))

    async def flags(self, sql: str) -> set[str]:
        return set((await self.tool.facts(self.tool.parse({"database": "shop", "sql": sql}), self.context)).flags)


def _shop(place: Place, databases: dict[str, NamedDatabase], broker: Broker, folder: Path) -> Shop:
    context = ToolContext(
        run="r1", workspace=folder / "w", project=folder, sandbox=NoSandbox(), databases=databases, broker=broker
    )
    return Shop(place, context, QuerySql(databases))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "sqlite":
        path = tmp_path / "shop.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(
                f"PRAGMA synchronous = OFF; {TABLES} {TRIGGER['sqlite']} INSERT INTO orders VALUES {ORDERS};"
            )
        yield _shop(File(path), named_databases({"shop": path}, Broker()), Broker(), tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.copy(request.getfixturevalue("template"))
    broker = Broker({"SHOP": {"from": "env:PW", "databases": ["shop"]}}, {"PW": PASSWORD})
    databases = named_databases({"shop": {"url": server.url(name), "password": "secret:SHOP"}}, broker)
    yield _shop(OnServer(server, name), databases, broker, tmp_path)
    stayed = server.execute("postgres", f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{AGENT}'")
    assert stayed == [(0,)], "a session was left behind"


async def test_a_select_gives_columns_rows_and_count(shop: Shop) -> None:
    result = await shop.run("SELECT id, status FROM orders ORDER BY id -- the first; \n;", limit=2)
    assert result.data == {"columns": ["id", "status"], "rows": [[1, "open"], [2, "open"]], "count": 2}
    assert result.text == "id | status\n1 | open\n2 | open\n(the first 2 rows; there are more)"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders; DELETE FROM notes",
        "CREATE TABLE x (a INTEGER)",
        "DROP TABLE log",
        "WITH x AS (SELECT 1) DELETE FROM notes",
        "INSERT INTO notes VALUES ('a') RETURNING *",
        "INSERT INTO tags VALUES ('a', 1) ON CONFLICT (name) DO UPDATE SET uses = 9",
        "EXPLAIN DELETE FROM notes WHERE text = 'x'",
        "UPDATE open_orders SET status = 'x' WHERE id = 1",
        "UPDATE watched SET n = 2 WHERE id = 1",
        "SELECT 1; -- \n SELECT 2",
        "SELECT nowhere FROM orders",
        "SELECT '\0'",
    ],
)
async def test_what_is_no_plain_read_or_change_is_never_run(shop: Shop, sql: str) -> None:
    with pytest.raises(ToolError):
        await shop.run(sql)
    assert shop.rows("SELECT (SELECT count(*) FROM notes), (SELECT uses FROM tags WHERE name = 'a')") == [(2, 1)]


async def test_a_preview_shows_rows_before_and_after_and_changes_nothing(shop: Shop) -> None:
    before = shop.rows("SELECT * FROM orders ORDER BY id")
    sql = "UPDATE orders SET customer = customer * 2, status = 'late' WHERE status = 'open'"
    preview = await shop.seen(sql)
    assert preview.columns == ("id", "customer", "status", "total", "updated")
    assert preview.before[1][:3] == (2, 2, "open")
    assert preview.after[1][:3] == (2, 4, "late")
    assert preview.count == 3
    assert shop.tool.headline(shop.tool.parse({"database": "shop", "sql": sql}), preview) == (
        "Change 3 rows of orders in database shop"
    )
    assert await shop.flags(sql) == set()
    assert shop.rows("SELECT * FROM orders ORDER BY id") == before


@pytest.mark.parametrize(
    ("sql", "check", "count"),
    [
        (LATE, "SELECT count(*) FROM orders WHERE status = 'late'", 3),
        ("DELETE FROM notes WHERE text = 'x'", "SELECT count(*) FROM notes", 1),
        ("UPDATE notes SET text = 'z' WHERE text = 'x'", "SELECT count(*) FROM notes WHERE text = 'z'", 1),
        ("UPDATE tags SET name = 'c' WHERE name = 'a'", "SELECT count(*) FROM tags WHERE name = 'c'", 1),
        ("DELETE FROM tags AS t WHERE t.name = 'a';", "SELECT count(*) FROM tags", 1),
        ("INSERT INTO notes VALUES ('p'), ('q') -- two", "SELECT count(*) FROM notes", 4),
        ("INSERT INTO notes (text) SELECT name FROM tags", "SELECT count(*) FROM notes", 4),
        (
            "UPDATE orders SET updated = CURRENT_TIMESTAMP WHERE id = 5",
            "SELECT count(*) FROM orders WHERE updated IS NOT NULL",
            1,
        ),
        ("UPDATE watched SET n = 3 WHERE id = 7", "SELECT count(*) FROM watched WHERE n = 3", 0),
        (
            "UPDATE orders SET customer = (SELECT max(uses) FROM tags) WHERE id IN (SELECT 1 UNION SELECT 2)",
            "SELECT count(*) FROM orders WHERE customer = 2 AND id < 3",
            2,
        ),
        ("DELETE FROM orders WHERE id BETWEEN 10 AND 80", "SELECT count(*) FROM orders", 129),
    ],
)
async def test_every_kind_of_change_that_can_be_shown_can_be_made(shop: Shop, sql: str, check: str, count: int) -> None:
    shop.place.execute("DROP TABLE items")
    if "watched" in sql:
        shop.place.execute("DROP TRIGGER watch" + (" ON watched" if isinstance(shop.place, OnServer) else ""))
    assert not await shop.flags(sql) & {"no_preview", "unbounded"}
    await shop.run(sql)
    assert shop.rows(check) == [(count,)]


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE orders SET total = 99 WHERE id = 2",
        "DELETE FROM orders WHERE id = 2",
        "INSERT INTO orders (id, status) VALUES (500, 'open')",
        "UPDATE orders SET status = 'open' WHERE id = 100",
    ],
)
async def test_rows_that_changed_after_they_were_shown_are_left_alone(shop: Shop, meanwhile: str) -> None:
    preview = await shop.seen(LATE)
    shop.place.execute(meanwhile)
    with pytest.raises(PreviewMismatch):
        await shop.run(LATE, preview)
    assert shop.rows("SELECT count(*) FROM orders WHERE status = 'late'") == [(0,)]


async def test_a_yes_for_one_statement_is_none_for_another(shop: Shop) -> None:
    preview = await shop.seen(LATE)
    for other in (LATE.replace("late", "gone"), LATE + " "):
        with pytest.raises(PreviewMismatch):
            await shop.run(other, preview)
    with pytest.raises(PreviewMismatch):
        await shop.run(LATE, Preview())


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE watched SET n = 2 WHERE id = 1",
        "DELETE FROM orders WHERE id = 1",
        "DELETE FROM notes WHERE text = 'x' RETURNING *",
        "UPDATE tags SET uses = 1 FROM notes WHERE notes.text = tags.name",
        "UPDATE nowhere SET a = 1 WHERE b = 2",
        "UPDATE open_orders SET status = 'x' WHERE id = 1",
        "UPDATE orders SET (status, customer) = ('a', 1) WHERE id = 1",
        "INSERT INTO tags VALUES ('c')",
    ],
)
async def test_invariant_7_what_cannot_be_shown_beforehand_says_so(shop: Shop, sql: str) -> None:
    assert "no_preview" in await shop.flags(sql)
    assert (await shop.seen(sql)).fingerprint == ""


async def test_a_where_that_meets_every_row_is_unbounded(shop: Shop) -> None:
    assert "unbounded" in await shop.flags("UPDATE orders SET status = 'x' WHERE id > 0")
    assert "unbounded" not in await shop.flags("UPDATE orders SET status = 'x' WHERE id > 100")


async def test_more_rows_than_can_be_compared_cannot_be_shown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.tools.sql_survey.MOST_ROWS", 10)
    assert "no_preview" in await shop.flags("UPDATE orders SET status = 'x' WHERE id > 100")
    assert "no_preview" not in await shop.flags("UPDATE orders SET status = 'x' WHERE id > 190")


async def test_a_change_that_breaks_a_constraint_changes_nothing(shop: Shop) -> None:
    with pytest.raises(ToolFailed, match=r"(?i)unique"):
        await shop.run("INSERT INTO tags VALUES ('new', 1), ('a', 2)")
    assert shop.rows("SELECT count(*) FROM tags") == [(2,)]


async def test_a_worker_that_only_reads_changes_nothing(shop: Shop) -> None:
    tool = shop.tool.for_reading()
    assert isinstance(tool, ReadSql)
    arguments = tool.parse({"database": "shop", "sql": "DELETE FROM notes WHERE text = 'x'"})
    with pytest.raises(ToolNotAllowed):
        await tool.bind(arguments, shop.context)
    with pytest.raises(ToolNotAllowed):
        await tool.run(arguments, shop.context, await tool.preview(arguments, shop.context))


async def test_a_query_that_takes_too_long_is_ended(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuerySql, "timeout_s", 2.3)
    with pytest.raises(ToolTimedOut):
        await shop.run(ENDLESS.replace("UNION ALL", "UNION ALL") + " WHERE n.i >= 0")


async def test_a_statement_that_touches_other_rows_than_were_shown_is_rolled_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the preview's parser had understood the WHERE differently than the engine does."""
    from agent.facts.sql import read_sql  # noqa: PLC0415 - replaced only here

    dialect = shop.context.databases["shop"].dialect
    module = "agent.tools.sqlite" if dialect == "sqlite" else "agent.tools.postgres"
    whole = __import__(module, fromlist=["survey"])
    real = whole.survey
    other = read_sql("UPDATE orders SET total = 0 WHERE id = 9", "shop", dialect)[1]
    monkeypatch.setattr(whole, "survey", lambda connection, _statement, _sql: real(connection, other, "same"))
    for sql in ("UPDATE orders SET total = 0 WHERE id = 8", "UPDATE orders SET total = 1 WHERE id = 9"):
        with pytest.raises(PreviewMismatch):
            await shop.run(sql)
    assert shop.rows("SELECT count(*) FROM orders WHERE total < 2") == [(1,)]
    shop.place.execute("DROP TABLE items")
    other = read_sql("DELETE FROM orders WHERE id = 9", "shop", dialect)[1]
    with pytest.raises(PreviewMismatch):
        await shop.run("DELETE FROM orders WHERE id = 8")
    assert shop.rows("SELECT count(*) FROM orders") == [(200,)]

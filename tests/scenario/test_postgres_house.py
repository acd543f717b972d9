"""A task on a real PostgreSQL server, from the mention to the changed row, and the same call from the shell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Outcome, RunStatus
from agent.fakes import ScriptedModel
from bot.__main__ import main
from tests.postgres import PASSWORD, PostgresServer, running
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import MAYA, OMAR, words

pytestmark = pytest.mark.needs("postgres")

TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT, price NUMERIC(10, 2), due TIMESTAMPTZ);
INSERT INTO orders VALUES (1, 'open', 1.5, '2026-01-01'), (2, 'open', 2.5, NULL), (3, 'paid', 9, NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO agent;
"""
LATE = "UPDATE orders SET state = 'late', price = price * 2 WHERE state = 'open'"
AGE = "SELECT id, date_part('year', due) FROM orders WHERE due < now() ORDER BY id"
COUNT = "SELECT count(*) AS n FROM orders WHERE state ILIKE 'OPEN'"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running() as server:
        server.execute("postgres", "CREATE DATABASE crm")
        server.execute("crm", TABLES)
        yield server


@pytest.fixture
def crm(postgres: PostgresServer) -> Crm:
    return Crm(postgres, postgres.copy("crm"))


class Crm:
    """The database as its owner sees it."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server, self._name = server, name

    def execute(self, sql: str) -> list[Any]:
        return self._server.execute(self._name, sql)

    def orders(self) -> list[Any]:
        return self.execute("SELECT id, state, price::text FROM orders ORDER BY id")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "databases": {"crm": {"url": self._server.url(self._name), "password": "secret:CRM"}},
            "secrets": {"CRM": {"from": "env:CRM_PASSWORD", "databases": ["crm"]}},
        }


def _sql(statement: str) -> Any:
    return script.use(("query_sql", {"database": "crm", "sql": statement}))


async def _house(open_house: Opened, crm: Crm, *calls: Any) -> tuple[House, ScriptedModel]:
    model = ScriptedModel([script.plan(), *calls, script.end(), script.say("That is all.")])
    return await open_house(model=model, settings=crm.settings, environment={"CRM_PASSWORD": PASSWORD}), model


def _ended(house: House, run: str) -> list[tuple[Outcome, str]]:
    return [(event.outcome, event.code) for event in house.events(run) if event.type == "action_finished"]


UNCHANGED = [(1, "open", "1.50"), (2, "open", "2.50"), (3, "paid", "9.00")]
CHANGED = [(1, "late", "3.00"), (2, "late", "5.00"), (3, "paid", "9.00")]


async def test_a_task_reads_at_once_and_changes_exactly_the_rows_that_were_shown_on_a_yes(
    open_house: Opened, crm: Crm, capfd: pytest.CaptureFixture[str]
) -> None:
    house, model = await _house(open_house, crm, _sql(AGE), _sql(LATE))
    ts = await house.ask("mark what is open as late")
    card = await house.card("Change 2 rows of orders in database crm", "2.50", "5.00")
    assert "1 | 2026" in "\n".join(script.heard(request) for request in model.requests)
    assert crm.orders() == UNCHANGED
    refused = await house.click(MAYA, card, "approve")
    await house.told(MAYA, "Nobody decides on their own request")
    assert (refused["ok"], crm.orders()) == (True, UNCHANGED)
    await house.click(OMAR, card, "approve")
    await house.shows(card, f"Approved by <@{OMAR}>", "Done")
    await house.answer(ts)
    assert crm.orders() == CHANGED
    run = await house.run_at(ts, RunStatus.COMPLETED)
    assert _ended(house, run.id) == [(Outcome.SUCCEEDED, ""), (Outcome.SUCCEEDED, "")]
    kept = b"".join(path.read_bytes() for path in (house.folder / "data").rglob("*") if path.is_file())
    everything = json.dumps(await house.slack.log()) + "".join(capfd.readouterr()) + kept.decode(errors="replace")
    assert PASSWORD not in everything + "\n".join(script.heard(request) for request in model.requests)


async def test_a_value_that_somebody_changes_before_the_yes_is_left_alone_and_asked_about_anew(
    open_house: Opened, crm: Crm
) -> None:
    house, _ = await _house(open_house, crm, _sql(LATE))
    ts = await house.ask("mark what is open as late")
    card = await house.card("Change 2 rows", "5.00")
    crm.execute("UPDATE orders SET price = 7 WHERE id = 2")
    await house.click(OMAR, card, "approve")
    again = await house.card("Change 2 rows", "14.00", without=[card])
    assert [row[1] for row in crm.orders()] == ["open", "open", "paid"]
    await house.click(OMAR, again, "approve")
    await house.answer(ts)
    assert crm.orders() == [(1, "late", "3.00"), (2, "late", "14.00"), (3, "paid", "9.00")]
    run = await house.run_at(ts, RunStatus.COMPLETED)
    assert _ended(house, run.id) == [(Outcome.REFUSED, "PREVIEW_MISMATCH"), (Outcome.SUCCEEDED, "")]


async def test_a_statement_without_a_where_goes_to_a_person_and_a_right_that_is_missing_is_said(
    open_house: Opened, crm: Crm
) -> None:
    crm.execute("REVOKE SELECT ON orders FROM agent")
    house, model = await _house(open_house, crm, _sql(COUNT), _sql("DELETE FROM orders"))
    ts = await house.ask("empty it")
    card = await house.card("all rows of orders", "DELETE FROM orders")
    assert words(card).count("Approve") == 0
    assert "permission denied" in "\n".join(script.heard(request) for request in model.requests)
    assert len(crm.orders()) == 3
    assert (await house.run_at(ts)).status is RunStatus.WAITING


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], crm: Crm) -> Any:
    """`secondkey tool call query_sql` on the database; gives its exit code and what it said."""
    given = crm.settings
    database, secret = given["databases"]["crm"], given["secrets"]["CRM"]
    (tmp_path / "secondkey.toml").write_text(
        f"[databases.crm]\nurl = {json.dumps(database['url'])}\npassword = {json.dumps(database['password'])}\n"
        f"[secrets.CRM]\nfrom = {json.dumps(secret['from'])}\ndatabases = ['crm']\n"
    )
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRM_PASSWORD", PASSWORD)

    def call(sql: str, *options: str) -> tuple[int, dict[str, Any]]:
        args = json.dumps({"database": "crm", "sql": sql})
        code = main(("tool", "call", "query_sql", "--args", args, "--workspace", "project", "--json", *options))
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        return code, json.loads(out)

    return call


def test_from_the_shell_a_read_is_done_a_change_needs_a_yes_and_what_cannot_be_shown_a_person(
    shell: Any, crm: Crm
) -> None:
    code, told = shell(COUNT)
    assert (code, told["tier"], told["data"]["rows"]) == (0, "low", [[2]])
    code, told = shell(LATE)
    assert (code, told["tier"], crm.orders()) == (4, "medium", UNCHANGED)
    assert shell("DELETE FROM orders", "--approve")[0] == 4
    assert shell("SELECT pg_read_file('/etc/passwd')", "--approve")[0] == 4
    assert shell("SELECT nowhere FROM orders")[0] == 1
    code, told = shell(LATE, "--approve")
    assert (code, told["data"]["count"], crm.orders()) == (0, 2, CHANGED)


def test_from_the_shell_a_value_that_changes_between_look_and_change_is_refused(
    shell: Any, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.tools.sql import QuerySql  # noqa: PLC0415  replaced only here

    real = QuerySql.run

    async def late(*given: Any) -> Any:
        crm.execute("UPDATE orders SET price = 7 WHERE id = 2")
        return await real(*given)

    monkeypatch.setattr(QuerySql, "run", late)
    code, told = shell(LATE, "--approve")
    assert (code, "PREVIEW_MISMATCH" in told["error"]) == (3, True)
    assert crm.orders() == [(1, "open", "1.50"), (2, "open", "7.00"), (3, "paid", "9.00")]

"""A call that nobody made is read in the SQL of its database, as the call itself would be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.facts.sql import Dialect
from agent.hypothetical import static_facts
from agent.tools.databases import dialects_of
from bot.__main__ import main

CONFIG = """
[databases]
shop = "shop.db"
[databases.notes]
path = "notes.db"
[databases.crm]
url = "postgresql://agent@db.example/crm"
password = "secret:CRM"
"""
#: Of PostgreSQL's own, and unknown to SQLite.
AGE = "SELECT age(due), left(name, 2) FROM orders WHERE name ILIKE 'o%'"
#: The other way round.
MAIN = "SELECT count(*) FROM main.orders"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secondkey.toml").write_text(CONFIG)
    (tmp_path / "policy.toml").write_text("version = 1\n[people]\napprovers = ['U0OMAR']\n")
    monkeypatch.setenv("SECONDKEY_POLICY", str(tmp_path / "policy.toml"))


def explained(capsys: pytest.CaptureFixture[str], database: str, sql: str) -> str:
    args = json.dumps({"database": database, "sql": sql})
    assert main(["policy", "explain", "--tool", "query_sql", "--args", args, "--json"]) == 0
    out = capsys.readouterr().out
    return str(json.loads(out[out.index("{") :])["tier"])


def test_explain_reads_a_statement_in_its_databases_own_sql(capsys: pytest.CaptureFixture[str]) -> None:
    tiers = {(name, sql): explained(capsys, name, sql) for name in ("crm", "shop", "notes") for sql in (AGE, MAIN)}
    assert tiers == {
        ("crm", AGE): "low", ("crm", MAIN): "high", ("shop", AGE): "high", ("shop", MAIN): "low",
        ("notes", AGE): "high", ("notes", MAIN): "low",
    }  # fmt: skip


def test_own_tables_of_tests_are_read_so_too_and_the_shipped_one_is_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = "[[test]]\nname = '{0} {1}'\ntool = 'query_sql'\nargs = {{ database = '{0}', sql = \"{2}\" }}\ntier = '{1}'\n"
    (tmp_path / "policy_tests.toml").write_text(row.format("crm", "low", AGE) + row.format("shop", "high", AGE))
    assert main(["policy", "test"]) == 0, capsys.readouterr().out
    (tmp_path / "secondkey.toml").write_text(CONFIG.replace("[databases.crm]", "[databases.other]"))
    assert main(["policy", "test"]) == 1
    assert "FAILED crm low" in capsys.readouterr().out


def test_who_may_decide_hangs_on_the_same_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.toml").write_text(
        "version = 1\n[people]\napprovers = ['U0OMAR']\n"
        "[[rule]]\nname = 'asked_reads'\nwhen = \"tool == 'query_sql' && !facts.undecidable\"\ntier = 'medium'\n"
        "say = 'A read.'\ndeciders = ['U0INES']\n"
    )
    for database, may in (("crm", 0), ("shop", 1)):
        args = json.dumps({"database": database, "sql": AGE})
        assert main(("approvers", "test", "U0INES", "--tool", "query_sql", "--args", args)) == may, capsys.readouterr()


@pytest.mark.parametrize(("dialect", "low"), [("postgres", True), ("sqlite", False)])
def test_the_facts_of_a_text_hang_on_the_dialect(dialect: Dialect, low: bool) -> None:
    facts = static_facts("query_sql", {"database": "crm", "sql": AGE}, {"crm": dialect})
    assert (not facts.undecidable) is low


def test_a_database_says_what_it_speaks_without_secret_or_driver() -> None:
    given = {"a": Path("a.db"), "b": {"path": "b.db"}, "c": {"url": "postgresql://x@y/z", "password": "secret:NO"}}
    assert dialects_of(given) == {"a": "sqlite", "b": "sqlite", "c": "postgres"}

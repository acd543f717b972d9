"""Invariant 10: what people said no to stays no, in any spelling and by any tool."""

from __future__ import annotations

import pytest

from agent.denials import denied_by
from agent.domain import Effect, Intent
from agent.facts.python import python_facts
from agent.facts.shell import shell_facts
from agent.facts.sql import sql_facts
from agent.facts.url import http_facts


def no(effect: Effect, target: str) -> tuple[Intent, ...]:
    return (Intent(effect=effect, target=target),)


FILE = no(Effect.DELETE, "file:docs/a.md")
ROWS = sql_facts("DELETE FROM orders WHERE id = 7", "shop").effects


@pytest.mark.parametrize(
    "command",
    [
        "rm docs/a.md", "rm ./docs//a.md", "rm docs/x/../a.md", "rm /workspace/docs/a.md", "cd docs && rm a.md",
        "rm -r docs", "rm -r .", "rm docs/*.md", "rm docs/?.md", "git rm docs/a.md", "mv docs/a.md b.md",
        "find docs -delete", "sh -c 'rm docs/a.md'", "sudo rm docs/a.md", "unlink docs/a.md", "git clean -fdx",
        "python3 -c \"import os; os.remove('docs/a.md')\"", "git reset --hard",
    ],
)  # fmt: skip
def test_invariant_10_a_denied_deletion_is_not_reached_by_the_shell(command: str) -> None:
    assert denied_by(shell_facts(command).effects, FILE)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.remove('docs/a.md')",
        "from pathlib import Path; Path('docs/a.md').unlink()",
        "import shutil; shutil.rmtree('docs')",
        "import os as o; f = o.unlink; f('./docs/a.md')",
    ],
)
def test_invariant_10_a_denied_deletion_is_not_reached_by_python(code: str) -> None:
    assert denied_by(python_facts(code).effects, FILE)


@pytest.mark.parametrize("command", ["rm docs/b.md", "rm a.md", "cat docs/a.md", "rm -r src", "touch docs/a.md"])
def test_what_was_not_denied_is_free(command: str) -> None:
    assert denied_by(shell_facts(command).effects, FILE) is None


@pytest.mark.parametrize(
    "effects",
    [
        sql_facts('delete from "Orders" where id in (7)', "shop").effects,
        sql_facts("DELETE FROM main.orders", "shop").effects,
        sql_facts("DROP TABLE orders", "shop").effects,
        sql_facts("WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x", "shop").effects,
        shell_facts("sqlite3 shop.db 'DELETE FROM orders WHERE id=7'").effects,
        shell_facts('psql -c "delete from public.orders"').effects,
        python_facts("import sqlite3; sqlite3.connect('s').execute('DELETE FROM orders WHERE id = 7')").effects,
        sql_facts("REPLACE INTO orders VALUES (1)", "shop").effects,
    ],
)
def test_invariant_10_denied_rows_are_not_reached_by_another_statement_or_tool(effects: tuple[Intent, ...]) -> None:
    assert denied_by(effects, ROWS)


def test_another_database_and_another_table_are_other_targets() -> None:
    assert denied_by(sql_facts("DELETE FROM orders WHERE id = 7", "archive").effects, ROWS) is None
    assert denied_by(sql_facts("DELETE FROM carts WHERE id = 7", "shop").effects, ROWS) is None
    assert denied_by(sql_facts("SELECT * FROM orders", "shop").effects, ROWS) is None


def test_hosts_are_one_whatever_their_case_and_a_read_is_never_denied() -> None:
    assert denied_by(no(Effect.SEND, "net:API.example.com/v1/"), no(Effect.SEND, "net:api.example.com/v1"))
    assert denied_by(no(Effect.READ, "file:a"), no(Effect.READ, "file:a")) is None


def test_what_cannot_be_told_is_not_refused_here_but_asked_by_the_gate() -> None:
    assert denied_by(no(Effect.DELETE, "workspace:?"), FILE) is None


@pytest.mark.parametrize(
    "code",
    [
        "from pathlib import Path; Path('docs/a.md').write_text('')", "open('./docs/a.md', 'w').close()",
        "import shutil; shutil.copyfile('/dev/null', 'docs/a.md')", "with open('docs/a.md', 'w'):\n    pass",
    ],
)  # fmt: skip
def test_invariant_10_a_denied_deletion_is_not_reached_by_emptying_the_file_in_python(code: str) -> None:
    assert denied_by(python_facts(code).effects, FILE)


@pytest.mark.parametrize(
    "command", ["> docs/a.md", "cp /dev/null docs/a.md", "sed -i d docs/a.md", "sort -o docs/a.md /dev/null"]
)
def test_invariant_10_a_denied_deletion_is_not_reached_by_emptying_the_file_in_the_shell(command: str) -> None:
    assert denied_by(shell_facts(command).effects, FILE)


@pytest.mark.parametrize(
    "path", ["/v1/refunds/", "/v1//refunds", "/v1/%72efunds", "/V1/refunds", "/v1/./refunds", "/v1;x=1/refunds;y"]
)
def test_invariant_10_a_denied_address_is_not_reached_in_another_spelling(path: str) -> None:
    denied = http_facts("POST", "https://api.harbour.coffee/v1/refunds").effects
    assert denied_by(http_facts("PUT", f"https://api.harbour.coffee{path}").effects, denied)
    assert denied_by(http_facts("POST", "https://api.harbour.coffee/v1/refunds2").effects, denied) is None


def test_a_file_that_cannot_be_told_is_not_every_file() -> None:
    code = "from pathlib import Path\nfor path in Path().glob('*'):\n    path.write_text('')"
    assert no(Effect.DELETE, "workspace:?")[0] in python_facts(code).effects
    assert denied_by(python_facts(code).effects, FILE) is None

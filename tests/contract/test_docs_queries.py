"""SQL and PromQL of the documentation, given to a real PostgreSQL server and to Prometheus' own parser."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.postgres import PostgresServer

DOCS = Path(__file__).parents[2] / "docs"
TABLES = """CREATE TABLE orders (id serial PRIMARY KEY, drink text);
CREATE TABLE people (id int PRIMARY KEY);
INSERT INTO people VALUES (1)"""
MADE = re.compile(r"^CREATE ROLE (\w+) LOGIN PASSWORD '(.+?)'", re.MULTILINE)


def written(kind: str) -> list[tuple[str, str]]:
    """Page and text of each block of this kind."""
    return [
        (path.name, text)
        for path in sorted(DOCS.glob("*.md"))
        for text in re.findall(rf"^```{kind}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.needs("postgres")
def test_the_role_that_a_page_has_you_make_can_do_what_the_page_says_and_no_more(postgres: PostgresServer) -> None:
    ((page, text),) = written("sql")
    made = MADE.search(text)
    assert made, page
    # The server of the tests has a role of that name already, with other rights.
    role, password = f"{made[1]}_of_the_page", made[2]
    postgres.execute("postgres", "CREATE DATABASE page")
    postgres.execute("page", TABLES)
    postgres.execute("page", re.sub(rf"\b{made[1]}\b", role, text))
    place = f"host=127.0.0.1 port={postgres.port} user={role} password={password} dbname=page"
    with closing(psycopg.connect(place, autocommit=True)) as agent:
        agent.execute("INSERT INTO orders (drink) VALUES ('tea')")
        agent.execute("UPDATE orders SET drink = 'mocha' WHERE id = 1")
        assert agent.execute("SELECT o.drink, p.id FROM orders o, people p").fetchall() == [("mocha", 1)]
        for refused in ("DELETE FROM people", "DROP TABLE orders", "CREATE TABLE mine (a int)", "CREATE ROLE other"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                agent.execute(refused.encode())


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(("page", "query"), written("promql"), ids=lambda text: text.split("(")[0].strip()[:40])
def test_a_query_of_a_page_is_one_over_metrics_that_there_are(page: str, query: str, tmp_path: Path) -> None:
    rules = {"groups": [{"name": "page", "rules": [{"record": "page:query", "expr": query.strip()}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    checked = subprocess.run(  # noqa: S603  a constant command
        ("promtool", "check", "rules", str(tmp_path / "rules.yml")),  # noqa: S607  Debian's
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert checked.returncode == 0, (page, checked.stdout + checked.stderr)
    named = set(re.findall(r"\b(?:agent|gen_ai|mcp)_\w+", query))
    told = (DOCS / "telemetry.md").read_text(encoding="utf-8").replace(query, "")
    assert named
    assert {re.sub(r"_(?:count|sum|bucket)$", "", name) for name in named} <= set(re.findall(r"`(\w+)`", told))

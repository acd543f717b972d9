"""What can be read off SQL, Python and text without judgement."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain import Effect
from agent.facts.bounds import MAX_BYTES, MAX_NESTING, too_large
from agent.facts.python import python_facts
from agent.facts.seeds import seed_patterns
from agent.facts.sql import read_sql, sql_facts


@pytest.mark.parametrize(
    ("sql", "effects"),
    [
        ("SELECT 1", {("read", "db:shop")}),
        ("SELECT * FROM Orders o JOIN main.items USING (id)", {("read", "db:shop/orders"), ("read", "db:shop/items")}),
        ("WITH q AS (SELECT * FROM z) SELECT * FROM q", {("read", "db:shop/z")}),
        ("INSERT INTO t VALUES (1)", {("create", "db:shop/t")}),
        ("INSERT OR REPLACE INTO t VALUES (1)", {("create", "db:shop/t"), ("modify", "db:shop/t")}),
        ("INSERT INTO t SELECT * FROM u", {("create", "db:shop/t"), ("read", "db:shop/u")}),
        ("UPDATE t SET a = 1 WHERE b = 2", {("modify", "db:shop/t")}),
        ("DELETE FROM t WHERE b = 2", {("delete", "db:shop/t")}),
        ("DROP TABLE t", {("delete", "db:shop/t")}),
        ("EXPLAIN QUERY PLAN DELETE FROM t WHERE a = 1", {("delete", "db:shop/t")}),
        ("SELECT 1; DROP TABLE x", {("read", "db:shop"), ("delete", "db:shop/x")}),
        ("/* a */ -- b\nSELECT * FROM t", {("read", "db:shop/t")}),
    ],
)
def test_sql_tells_its_effects(sql: str, effects: set[tuple[str, str]]) -> None:
    facts = sql_facts(sql, "shop")
    assert {(item.effect.value, item.target) for item in facts.effects} == effects
    assert facts.undecidable == ()


def test_a_delete_hidden_in_a_common_table_expression_is_found() -> None:
    facts, statement = read_sql("WITH x AS (DELETE FROM t WHERE a = 1 RETURNING *) SELECT * FROM x", "shop")
    assert Effect.DELETE in facts.effect_classes
    assert statement
    assert statement.kind == "other"


@pytest.mark.parametrize(
    ("sql", "flag"),
    [
        ("DELETE FROM t", "unbounded"),
        ("DELETE FROM t WHERE 1 = 1", "unbounded"),
        ("DELETE FROM t WHERE a = 1 OR 1 = 1", "unbounded"),
        ("UPDATE t SET a = 1 WHERE a = a", "unbounded"),
        ("UPDATE t SET a = 1", "unbounded"),
        ("EXPLAIN DELETE FROM t", "unbounded"),
        ("DROP TABLE t", "ddl"),
        ("CREATE TABLE t (a)", "ddl"),
        ("ALTER TABLE t ADD COLUMN a", "ddl"),
        ("SELECT * INTO x FROM t", "ddl"),
        ("SELECT 1; SELECT 2", "multi_statement"),
        ("SELECT 1; DELETE FROM t WHERE a = 1", "multi_statement"),
        ("DELETE FROM t WHERE a = 1", "destructive"),
    ],
)
def test_sql_is_flagged(sql: str, flag: str) -> None:
    assert flag in sql_facts(sql, "shop").flags


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        "SELEC 1",
        "SELECT * FROM",
        "PRAGMA writable_schema = 1",
        "ATTACH 'x' AS y",
        "VACUUM",
        "REPLACE INTO t VALUES (1)",
        "SAVEPOINT x",
        "GRANT ALL",
        "SELECT load_extension('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT * FROM temp.t",
        "SELECT " + "(" * 60 + "1" + ")" * 60,
        "SELECT " + "(" * 201 + "1" + ")" * 201,
        "SELECT '" + "x" * MAX_BYTES + "'",
        "\0",
        "SELECT '\ud800'",
    ],
)
def test_invariant_7_sql_that_is_not_understood_is_undecidable(sql: str) -> None:
    facts = sql_facts(sql, "shop")
    assert facts.undecidable
    assert facts.effects


def test_invariant_7_an_analyser_that_raises_anything_is_undecidable(monkeypatch: pytest.MonkeyPatch) -> None:
    def explodes(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("sqlglot.parse", explodes)
    monkeypatch.setattr("ast.parse", explodes)
    never_read = "SELECT 417"  # what was read before is remembered
    assert sql_facts(never_read, "shop").flags == ("unparseable",)
    assert sql_facts(never_read, "shop").undecidable
    assert python_facts("print(1)").undecidable


def test_the_last_net_is_for_sql_that_no_parser_understood() -> None:
    assert "seed_pattern" in sql_facts("DROP TABLE ((", "shop").flags
    assert "seed_pattern" not in sql_facts("SELECT 'DROP TABLE x'", "shop").flags


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_invariant_7_no_text_makes_an_analyser_raise(text: str) -> None:
    sql_facts(text, "shop")
    python_facts(text)
    seed_patterns(text)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.remove('x')",
        "from os import remove as r; r('x')",
        "import os as o\nf = o.remove\nf('x')",
        "import os; getattr(os, 'remove')('x')",
        "from pathlib import Path; Path('x').unlink()",
        "import shutil; shutil.rmtree('x')",
        "from pathlib import Path; Path('a').replace('b')",
        "list(map(__import__('os').unlink, []))",
    ],
)
def test_python_that_deletes_or_moves_is_destructive(code: str) -> None:
    assert "destructive" in python_facts(code).flags


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "exec(input())",
        "import os; getattr(os, 'rem' + 'ove')('x')",
        "__import__('o' + 's')",
        "import subprocess; subprocess.run(['ls'])",
        "import os; os.system('ls')",
        "import ctypes",
        "().__class__.__base__.__subclasses__()",
        "open('x', m)",
        "from os import *",
        "x = (",
        "(" * 201 + ")" * 201,
        "x = '" + "a" * MAX_BYTES + "'",
        "a\0b",
    ],
)
def test_invariant_7_python_that_hides_what_it_does_is_undecidable(code: str) -> None:
    assert python_facts(code).undecidable


@pytest.mark.parametrize(
    "code",
    [
        "print(1)",
        "import json, csv\nprint(json.dumps({'a': [1]}))",
        "with open('a.txt') as f:\n    print(f.read().replace('a', 'b'))",
        "from collections import Counter; print(Counter('abc').most_common(1))",
        "import re; re.compile('a')",
        "from urllib.parse import quote; print(quote('a b'))",
    ],
)
def test_harmless_python_has_no_flag(code: str) -> None:
    facts = python_facts(code)
    assert facts.flags == ()
    assert facts.undecidable == ()


def test_python_that_writes_or_speaks_to_the_network_is_told() -> None:
    assert "open:write" in python_facts("open('a', 'w')").verbs
    assert "network" in python_facts("import urllib.request").flags


def test_the_same_code_is_the_same_intent_however_it_is_laid_out() -> None:
    assert python_facts("print( 1 )\n").effects == python_facts("print(1)").effects
    assert python_facts("print(2)").effects != python_facts("print(1)").effects


@pytest.mark.parametrize(
    "text",
    ["rm -rf /", "rm  -fr x", "rm -r -f x", "rm --recursive --force x", "Drop  Table x", "delete/**/from t"],
)
def test_the_last_net_catches(text: str) -> None:
    assert seed_patterns(text)


@pytest.mark.parametrize("text", ["rm file", "farm -rf", "rm -r x", "drop the table", "DELETED FROM", "rm a; ls -rf"])
def test_the_last_net_lets_pass(text: str) -> None:
    assert seed_patterns(text) == ()


def test_bounds_are_counted_before_parsing() -> None:
    assert too_large("x" * MAX_BYTES) == ""
    assert too_large("x" * (MAX_BYTES + 1))
    assert too_large("ä" * (MAX_BYTES // 2 + 1))
    assert too_large("(" * MAX_NESTING) == ""
    assert too_large("([{" * MAX_NESTING)

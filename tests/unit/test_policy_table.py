"""The shipped policy against its shipped table, and each of its rules against being forgotten."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.domain import Tier
from agent.errors import ConfigurationError
from agent.policy import load_policy
from agent.policy_check import check_policy
from bot.cli_policy import Table, read_table, shipped_tests, try_row

POLICY = load_policy()
TABLE: Table = read_table(shipped_tests(), "the shipped tests")
#: Only ever together with another high rule on a call of this kind, which the table cannot tell apart.
TOOLS = ("search", "query_sql", "run_shell")


@pytest.mark.parametrize("row", TABLE.test, ids=lambda row: row.name)
def test_the_shipped_policy_rates_each_row_of_its_table_as_written(row: object) -> None:
    assert try_row(POLICY, row) == []  # type: ignore[arg-type]  # a TableTest


@pytest.mark.parametrize("forgotten", [rule.text.name for rule in POLICY.shipped])
def test_a_rule_that_is_forgotten_fails_the_table(forgotten: str) -> None:
    left = tuple(rule for rule in POLICY.shipped if rule.text.name != forgotten)
    mutant = dataclasses.replace(POLICY, shipped=left)
    assert any(try_row(mutant, row) for row in TABLE.test), f"no row needs {forgotten}"


@pytest.mark.parametrize("weakened", [rule.text.name for rule in POLICY.shipped if rule.text.tier != "low"])
def test_a_rule_that_says_low_instead_fails_the_table(weakened: str) -> None:
    made = tuple(
        dataclasses.replace(rule, text=rule.text.model_copy(update={"tier": Tier.LOW}))
        if rule.text.name == weakened
        else rule
        for rule in POLICY.shipped
    )
    mutant = dataclasses.replace(POLICY, shipped=made)
    assert any(try_row(mutant, row) for row in TABLE.test), f"no row notices {weakened}"


def test_a_row_that_is_wrong_says_what_came_out() -> None:
    table = read_table("[[test]]\nname = 'x'\ntool = 'search'\ntier = 'high'\nrules = ['nope']\nquorum = 2\n", "t")
    said = try_row(POLICY, table.test[0])
    assert said == ["it is low (reads), not high", "nope did not say so, but reads", "quorum is 1, not 2"]


@pytest.mark.parametrize(
    "text", ["[[test]", "[[test]]\nname = 'x'", "[[test]]\nname='x'\ntool='y'\ntier='huge'", "x = 1"]
)
def test_a_table_that_is_not_right_names_the_place(text: str) -> None:
    with pytest.raises(ConfigurationError):
        read_table(text, "the table")


def found(rules: str, head: str = "[people]\napprovers = ['U1', 'U2']\n") -> dict[str, str]:
    policy = load_policy(f"version = 1\n{head}{rules}")
    return {item.rule: f"{item.level}: {item.text}" for item in check_policy(policy, TOOLS)}


def rule(when: str, more: str = "", tier: str = "medium", name: str = "mine") -> str:
    return f"[[rule]]\nname = '{name}'\nwhen = \"{when}\"\ntier = '{tier}'\nsay = 'x'\n{more}\n"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (rule("false"), "dead: Its condition is never true"),
        (rule("1 == 2"), "dead: Its condition is never true"),
        (rule("tool == 'serach'"), "dead: There is no tool serach"),
        (rule("tool == 'search'", tier="low"), "dead: A rule without `lower` only raises"),
        (rule("tool == 'query_sql' && 'ddl' in facts.flags"), "dead: Whenever it counts, 'sql_ddl' does too"),
        (rule("tool == 'search' && channel == 'C1'") + rule("tool == 'search'", name="all"), "'all' does too"),
        (rule("true", "lower = true\nscope = 'db:shop/x'", "low"), "unsafe: It lets things"),
        (rule("tool == 'query_sql'", "lower = true\nscope = '*'", "low"), "unsafe: "),
        (rule("tool == 'query_sql'", "lower = true\nscope = 'db:*'", "low"), "unsafe: "),
        (rule("tool == 'search' && channel != ''", "self_approve = ['slack:*']"), "unsafe: It lets people of Slack"),
        (rule("tool == 'search' && channel != ''", "timeout_s = 5"), "unsafe: Nobody can read"),
        (rule("tool == 'query_sql' && facts.counts.rows > 5"), "odd: facts.counts.rows is not always there"),
        (rule("args.limit > 5"), "odd: args.limit is not always there"),
        (rule("tool == 'search' && channel != ''", "quorum = 3"), "odd: It needs 3 yeses, and names 2"),
        (rule("tool == 'search' && channel != ''", "deciders = ['U1']\nescalate_to = ['U1']"), "odd: It escalates"),
    ],
)  # fmt: skip
def test_the_check_finds_what_its_author_cannot_have_meant(rules: str, said: str) -> None:
    assert said in found(rules)["mine"]


def test_the_check_finds_nothing_in_a_policy_that_says_what_it_means() -> None:
    good = rule(
        "tool == 'query_sql' && facts.targets.exists(t, t == 'db:shop/orders')", "deciders = ['U1', 'S1']\nquorum = 2"
    )
    assert found(good) == {}


def test_the_check_finds_a_policy_with_nobody_and_with_too_much_trust() -> None:
    assert "odd: Nobody is named" in found("", "")["[people]"]
    assert "unsafe: " in found("", "[people]\napprovers = ['U1']\nself_approve = ['slack:*']\n")["[people]"]


def test_the_shipped_table_is_an_example_that_stands_in_the_package() -> None:
    assert (Path(__file__).parents[2] / "agent" / "policy_tests.toml").is_file()

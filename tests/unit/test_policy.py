"""The policy: DESIGN.md §7 row by row, and the higher risk whenever something is unclear."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Effect, Intent, Principal, Tier
from agent.errors import ConfigurationError
from agent.facts.model import Facts
from agent.facts.python import python_facts
from agent.facts.sql import sql_facts
from agent.policy import Policy, load_policy

ANNA = Principal(team="T1", user="U1")
POLICY = load_policy()


def rate(
    tool: str, facts: Facts, args: dict[str, Any] | None = None, policy: Policy = POLICY, *, read_only: bool = False
) -> Tier:
    return policy.rate(tool, args or {}, facts, ANNA, read_only=read_only).tier


def intents(*pairs: tuple[Effect, str]) -> tuple[Intent, ...]:
    return tuple(Intent(effect=effect, target=target) for effect, target in pairs)


def workspace(*flags: str, **more: Any) -> Facts:
    return Facts(effects=intents((Effect.MODIFY, "workspace:a")), where="workspace", flags=flags, **more)


def applied(*flags: str, files: int = 2) -> Facts:
    return Facts(
        effects=intents((Effect.MODIFY, "file:a")), where="project", flags=flags, counts={"files": files, "bytes": 1}
    )


def sql(text: str, *flags: str, why: tuple[str, ...] = ()) -> Facts:
    facts = sql_facts(text, "shop")
    return facts.model_copy(update={"flags": (*facts.flags, *flags), "undecidable": (*facts.undecidable, *why)})


@pytest.mark.parametrize(
    ("tool", "facts", "tier"),
    [
        ("search", Facts(), "low"),
        ("list_files", Facts(), "low"),
        ("read_file", Facts(), "low"),
        ("calculate", Facts(), "low"),
        ("write_file", workspace(), "low"),
        ("write_file", workspace("touches_ci"), "low"),
        ("write_file", workspace("destructive"), "medium"),
        ("write_file", workspace(undecidable=("?",)), "medium"),
        ("write_file", workspace().model_copy(update={"where": "project"}), "high"),
        ("run_python", python_facts("print(1)"), "low"),
        ("run_python", python_facts("import os; os.remove('x')"), "medium"),
        ("run_python", python_facts("eval('1')"), "medium"),
        ("run_python", python_facts("x = ("), "medium"),
        ("run_python", python_facts("print('rm -rf /')"), "high"),
        ("run_python", workspace("sandbox_missing"), "high"),
        ("apply_changes", applied(), "medium"),
        ("apply_changes", applied("touches_ci"), "high"),
        ("apply_changes", applied("touches_credentials"), "high"),
        ("apply_changes", applied(files=50), "medium"),
        ("apply_changes", applied(files=51), "high"),
        ("apply_changes", applied("too_large"), "high"),
        ("query_sql", sql("SELECT * FROM orders"), "low"),
        ("query_sql", sql("INSERT INTO orders VALUES (1)"), "medium"),
        ("query_sql", sql("UPDATE orders SET a = 1 WHERE id = 1"), "medium"),
        ("query_sql", sql("DELETE FROM orders WHERE id = 1"), "medium"),
        ("query_sql", sql("DELETE FROM orders"), "high"),
        ("query_sql", sql("UPDATE orders SET a = 1"), "high"),
        ("query_sql", sql("DROP TABLE orders"), "high"),
        ("query_sql", sql("UPDATE orders SET a = 1 WHERE id = 1", "no_preview"), "high"),
        ("query_sql", sql("UPDATE orders SET a = 1 WHERE id = 1", why=("?",)), "high"),
        ("query_sql", sql("SELEC 1"), "high"),
        ("query_sql", sql("SELECT readfile('x')"), "high"),
        ("query_sql", sql("SELECT 1; SELECT 2"), "high"),
        ("run_shell", Facts(), "high"),
        ("http_request", Facts(), "high"),
        ("", Facts(), "high"),
    ],
)
def test_the_default_tiers_are_those_of_the_design(tool: str, facts: Facts, tier: str) -> None:
    assert rate(tool, facts).value == tier


def test_invariant_7_an_unknown_tool_is_high() -> None:
    risk = POLICY.rate("send_money", {}, Facts(), ANNA, read_only=True)
    assert risk.tier is Tier.HIGH
    assert [reason.rule for reason in risk.reasons] == ["unknown_tool"]


OWN = """
version = 1
[people]
approvers = ["U2", "slack:T9:U3", "U2"]
admins = ["local:1000"]
[limits]
quorum = 2
"""


def own(rule: str, head: str = "version = 1\n") -> Policy:
    return load_policy(f"{head}[[rule]]\nname = 'mine'\nsay = 'Because.'\n{rule}\n")


@pytest.mark.parametrize(
    "when",
    [
        "args.nope == 1",
        "1 / 0 == 1",
        "'yes'",
        "1",
        "facts.counts.nope > 1",
        "args",
        "facts.flags[7] == 'x'",
        "args.text.matches('(')",
    ],
)
def test_invariant_7_a_rule_that_errs_or_says_anything_but_true_or_false_means_high(when: str) -> None:
    policy = own(f'when = """{when}"""\ntier = "low"')
    risk = policy.rate("calculate", {"text": "x"}, Facts(), ANNA, read_only=True)
    assert risk.tier is Tier.HIGH
    assert [reason.rule for reason in risk.reasons] == ["policy_error"]


def test_invariant_7_arguments_that_the_engine_cannot_take_mean_high() -> None:
    assert rate("calculate", Facts(), {"x": object()}) is Tier.HIGH


def test_invariant_7_what_nobody_could_analyse_is_never_low() -> None:
    risk = POLICY.rate("search", {}, Facts(undecidable=("It could not be read.",)), ANNA, read_only=True)
    assert risk.tier is Tier.MEDIUM
    assert risk.reasons[0].text == "It could not be read."


def test_an_own_rule_raises() -> None:
    policy = own("when = \"tool == 'search' && args.query.contains('salary')\"\ntier = 'medium'")
    assert rate("search", Facts(), {"query": "salary list"}, policy) is Tier.MEDIUM
    assert rate("search", Facts(), {"query": "weather"}, policy) is Tier.LOW


def test_an_own_rule_without_lower_never_lowers() -> None:
    policy = own("when = 'true'\ntier = 'low'")
    assert rate("apply_changes", applied(), policy=policy) is Tier.MEDIUM
    assert rate("anything", Facts(), policy=policy) is Tier.HIGH


def test_a_lowering_rule_counts_only_in_its_scope() -> None:
    policy = own("when = \"tool == 'query_sql'\"\ntier = 'low'\nlower = true\nscope = 'db:shop/carts'")
    assert rate("query_sql", sql("DELETE FROM carts WHERE id = 1"), policy=policy) is Tier.LOW
    assert rate("query_sql", sql("DELETE FROM orders WHERE id = 1"), policy=policy) is Tier.MEDIUM
    assert rate("query_sql", sql("INSERT INTO carts SELECT * FROM orders"), policy=policy) is Tier.MEDIUM
    assert rate("query_sql", sql("DELETE FROM carts WHERE"), policy=policy) is Tier.HIGH
    assert rate("other", Facts(), policy=policy) is Tier.HIGH


def test_observe_asks_for_everything_but_reads() -> None:
    policy = load_policy("version = 1\nmode = 'observe'\n")
    assert rate("search", Facts(), policy=policy, read_only=True) is Tier.LOW
    assert rate("query_sql", sql("SELECT * FROM t"), policy=policy) is Tier.LOW
    assert rate("write_file", workspace(), policy=policy) is Tier.MEDIUM
    assert rate("run_python", python_facts("print(1)"), policy=policy) is Tier.MEDIUM
    assert rate("query_sql", sql("DROP TABLE t"), policy=policy) is Tier.HIGH


def test_people_become_principals_of_the_team() -> None:
    policy = load_policy(OWN)
    assert policy.deciders("T1") == ("slack:T1:U2", "slack:T9:U3")
    assert policy.admins("T1") == ("local:1000",)
    assert policy.limits.quorum == 2
    assert POLICY.deciders("T1") == ()


def test_the_version_changes_with_the_text_and_only_with_it(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(OWN)
    assert load_policy(path).version == load_policy(OWN).version
    assert load_policy(f"{OWN}\n").version != load_policy(OWN).version
    assert len(POLICY.version) == 12


RULE = "version = 1\n[[rule]]\nname = 'mine'\nsay = 'x'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = ", "not TOML"),
        ("", "version"),
        ("version = 2", "version"),
        ("version = 1\nmode = 'off'", "mode"),
        ("version = 1\nmodee = 'observe'", "modee"),
        (f"{RULE}when = 'tool =='\ntier = 'low'", "'mine'"),
        (f"{RULE}when = 'tol == 1'\ntier = 'low'", "tol"),
        (f"{RULE}when = 'true'\ntier = 'huge'", "'mine', tier"),
        (f"{RULE}when = 'true'\ntier = 'low'\nlower = true", "'mine'"),
        (f"{RULE}when = 'true'\ntier = 'low'\nscope = 'db:*'", "'mine'"),
        (RULE.replace("mine", "reads") + "when = 'true'\ntier = 'low'", "taken"),
        (RULE + "when = 'true'\ntier = 'low'\n" + RULE.partition("\n")[2] + "when = 'true'\ntier = 'low'", "taken"),
    ],
)
def test_a_policy_that_is_not_right_names_the_place_and_the_fix(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        load_policy(text)
    assert caught.value.fix


def test_a_missing_policy_file_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"secondkey\.policy") as caught:
        load_policy(tmp_path / "secondkey.policy")
    assert str(tmp_path) in caught.value.fix


def test_a_rating_takes_half_a_millisecond() -> None:
    facts = sql("UPDATE orders SET a = 1 WHERE id = 1")
    times: list[float] = []
    for _ in range(200):
        started = time.perf_counter()
        rate("query_sql", facts, {"database": "shop", "sql": "UPDATE orders SET a = 1 WHERE id = 1"})
        times.append(time.perf_counter() - started)
    assert sorted(times)[20] < 0.0005

"""What rules say besides a tier: who decides, how many, by when; and what they can look at."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.chain import Chain
from agent.domain import Effect, Intent, Principal, Risk, Tier
from agent.errors import ConfigurationError
from agent.facts.model import Facts
from agent.facts.sql import sql_facts
from agent.policy import Policy, load_policy
from agent.terms import Scope

MAYA = Principal(team="T1", user="U1")
WRITE = sql_facts("UPDATE orders SET a = 1 WHERE id = 1", "shop")


class Groups:
    def __init__(self, **members: set[str]) -> None:
        self.of = members
        self.entered: tuple[str, ...] = ()

    def members(self, group: str) -> frozenset[str]:
        return frozenset(self.of.get(group, ()))

    def registered(self, scope: Scope) -> tuple[str, ...]:
        del scope
        return self.entered


def policy(rules: str, people: str = "approvers = ['U2', 'U3']", groups: Groups | None = None) -> Policy:
    made = load_policy(f"version = 1\n[people]\n{people}\n{rules}")
    return dataclasses.replace(made, directory=groups or Groups())


def rule(name: str, more: str, when: str = "tool == 'query_sql'", tier: str = "medium") -> str:
    return f"[[rule]]\nname = '{name}'\nwhen = \"{when}\"\ntier = '{tier}'\nsay = 'x'\n{more}\n"


def rate(made: Policy, facts: Facts = WRITE, tool: str = "query_sql", **more: Any) -> Risk:
    return made.rate(tool, {}, facts, MAYA, read_only=False, **more)


def test_without_a_word_the_policys_own_people_decide_within_half_an_hour() -> None:
    made = policy("")
    terms = rate(made).terms
    assert (terms.quorum, terms.timeout_s, terms.reason_for, terms.rules) == (1, 1800.0, (), ())
    assert made.deciders("T1", terms) == ("slack:T1:U2", "slack:T1:U3")


def test_a_rule_says_who_how_many_by_when_and_who_next() -> None:
    made = policy(
        rule("dba", "deciders = ['role:dba']\nquorum = 2\ntimeout_s = 600\nescalate_to = ['S1']\nreason = ['deny']"),
        "approvers = ['U2']\n[people.roles]\ndba = ['U4', 'S2']",
        Groups(S1={"U7"}, S2={"U5", "U4"}),
    )
    terms = rate(made).terms
    assert (terms.quorum, terms.timeout_s, terms.reason_for, terms.rules) == (2, 600.0, ("deny",), ("dba",))
    assert made.deciders("T1", terms) == ("slack:T1:U4", "slack:T1:U5")
    assert made.next_deciders("T1", terms) == ("slack:T1:U7",)
    assert made.everybody("T1") == {f"slack:T1:U{n}" for n in (2, 4, 5, 7)}
    assert made.terms_named(terms.rules) == terms


def test_of_several_rules_the_stricter_wins_in_each_respect() -> None:
    made = policy(
        rule(
            "one",
            "deciders = ['U2', 'U3']\nquorum = 2\ntimeout_s = 900\nreason = ['approve']\nself_approve = ['local:1']",
        )
        + rule("two", "deciders = ['U3', 'U4']\ntimeout_s = 300\nreason = ['deny']\nself_approve = []")
    )
    terms = rate(made).terms
    assert (terms.quorum, terms.timeout_s, terms.reason_for, terms.self_approve) == (2, 300.0, ("approve", "deny"), ())
    assert made.deciders("T1", terms) == ("slack:T1:U3",)


def test_a_group_that_slack_tells_nothing_of_is_empty_and_never_everybody() -> None:
    made = policy(rule("dba", "deciders = ['S404']"))
    assert made.deciders("T1", rate(made).terms) == ()


def test_terms_of_a_rule_that_is_gone_fall_back_to_the_policys_own() -> None:
    made = policy("")
    assert made.deciders("T1", made.terms_named(("gone",))) == ("slack:T1:U2", "slack:T1:U3")


def test_the_registry_adds_to_the_policys_people_and_not_to_a_rules() -> None:
    groups = Groups()
    groups.entered = ("U9",)
    made = policy(
        rule("dba", "deciders = ['U4']", when="facts.targets.exists(t, t == 'db:shop/orders')"), groups=groups
    )
    assert made.deciders("T1", made.terms_named(("dba",))) == ("slack:T1:U4",)
    assert made.deciders("T1") == ("slack:T1:U2", "slack:T1:U3", "slack:T1:U9")


def test_invariant_5_a_rule_can_take_the_terminals_exception_away_but_high_never_has_it() -> None:
    made = policy(rule("strict", "self_approve = []"))
    local = Principal(kind="local", user="1000")
    assert made.may_approve_own(local)
    assert not made.may_approve_own(local, ("strict",))
    assert not made.may_approve_own(MAYA)


def test_rules_look_at_channel_time_principal_and_the_run_so_far() -> None:
    made = policy(
        rule("channel", "", when="tool == 'search' && channel == 'C1'")
        + rule("night", "", when="tool == 'search' && (time.hour < 6 || time.weekday > 5)")
        + rule("who", "", when="tool == 'search' && principal.user == 'U9'")
    )

    def tier(**more: Any) -> Tier:
        return rate(made, Facts(), "search", **more).tier

    noon = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    assert tier(at=noon) is Tier.LOW
    assert tier(at=noon, channel="C1") is Tier.MEDIUM
    assert tier(at=noon - 8 * 3600) is Tier.MEDIUM
    assert tier(at=noon + 5 * 86_400) is Tier.MEDIUM


def test_time_is_that_of_the_policys_zone() -> None:
    text = "version = 1\n[limits]\ntime_zone = 'Asia/Tokyo'\n" + rule(
        "late", "", when="tool == 'search' && time.hour == 21"
    )
    at = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    assert rate(load_policy(text), Facts(), "search", at=at).tier is Tier.MEDIUM
    with pytest.raises(ConfigurationError, match="time zone"):
        load_policy("version = 1\n[limits]\ntime_zone = 'Mars/Base'")


@pytest.mark.parametrize(
    ("chain", "rule_name"),
    [
        (Chain(rows=1_001), "run_rows"),
        (Chain(spend=1_000_000_001), "run_spend"),
        (Chain(irreversible=11), "run_irreversible"),
    ],
)
def test_small_steps_that_together_are_a_large_one_are_high(chain: Chain, rule_name: str) -> None:
    facts = WRITE.model_copy(update={"reversibility": "irreversible", "amount": 1})
    risk = rate(load_policy(), facts, chain=chain)
    assert (risk.tier, [reason.rule for reason in risk.reasons]) == (Tier.HIGH, [rule_name])
    assert rate(load_policy(), facts, chain=Chain(rows=1_000, spend=1_000_000_000, irreversible=10)).tier is Tier.MEDIUM


def test_what_the_sum_raised_no_rule_lowers() -> None:
    made = policy(rule("mine", "lower = true\nscope = 'db:shop/*'", tier="low"))
    assert rate(made).tier is Tier.LOW
    assert rate(made, chain=Chain(rows=1_001)).tier is Tier.HIGH


def test_invariant_7_a_rule_that_looks_at_no_tool_makes_no_tool_known() -> None:
    facts = Facts(effects=(Intent(effect=Effect.SEND, target="net:x"),), flags=("untrusted_target",))
    risk = rate(load_policy(), facts.model_copy(update={"effects": ()}), "send_money")
    assert (risk.tier, risk.reasons[0].rule) == (Tier.HIGH, "unknown_tool")


@pytest.mark.parametrize(
    ("people", "rules", "said"),
    [
        ("approvers = ['maya@example.com']", "", "maya@example.com"),
        ("approvers = ['']", "", "nobody"),
        ("approvers = ['role:dba']", "", "not there"),
        ("[people.roles]\ndba = ['role:other']\nother = ['U1']", "", "not there"),
        ("approvers = []", rule("r", "deciders = ['everybody']"), "rule 'r'"),
        ("approvers = []", rule("r", "quorum = 0"), "quorum"),
        ("approvers = []", rule("r", "timeout_s = 0"), "timeout_s"),
        ("approvers = []", rule("r", "reason = ['maybe']"), "reason"),
    ],
)
def test_a_person_is_a_slack_id_and_never_an_email(people: str, rules: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        policy(rules, people)

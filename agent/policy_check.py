"""Reads a policy for what its author cannot have meant: rules that never count, and rules that let too much through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import cel

from agent.domain import Tier, Value
from agent.policy import Policy
from agent.policy_text import Rule, RuleText, unless_ours
from agent.terms import is_group

_SHORTEST_S = 60.0
_TOOL = re.compile(r"\btool\s*==\s*['\"]([^'\"]+)['\"]")
_COUNT = re.compile(r"(?<!has\()facts\.counts\.(\w+)")
_ARGUMENT = re.compile(r"(?<!has\()\bargs\.(\w+)")


class Finding(Value):
    """Something to look at. `unsafe` lets more through than it seems to; `dead` never counts; `odd` may surprise."""

    level: Literal["unsafe", "dead", "odd"]
    rule: str
    text: str


def check_policy(policy: Policy, tools: Iterable[str]) -> tuple[Finding, ...]:
    """Everything found in the own rules and in who decides; an empty tuple for a policy that says what it means."""
    own = [rule.text for rule in policy.own]
    every = [rule.text for rule in (*policy.shipped, *policy.own)]
    found = [*_people(policy), *(item for rule in policy.own for item in _constant(rule))]
    for rule in own:
        found += _dead(rule, every, frozenset(tools))
        found += _unsafe(rule)
        found += _odd(rule)
    for rule in own:
        found += _enough(rule, policy)
    return tuple(found)


def _people(policy: Policy) -> list[Finding]:
    found: list[Finding] = []
    people = policy.people
    named = {*people.approvers, *(one for rule in policy.own for one in rule.text.deciders)}
    if not named:
        found.append(Finding(level="odd", rule="[people]", text="Nobody is named as approver here."))
    if any(not glob.startswith("local:") for glob in people.self_approve):
        text = "People of Slack may say yes to their own medium actions; a second person is the point."
        found.append(Finding(level="unsafe", rule="[people]", text=text))
    for role, members in people.roles.items():
        if not members:
            found.append(Finding(level="odd", rule=f"role {role}", text="Nobody has this role."))
    return found


def _constant(rule: Rule) -> list[Finding]:
    if rule.reads:
        return []
    try:
        says = rule.program.execute(cel.Context({}))
    except BaseException as error:  # noqa: BLE001 - the rule engine's panics are no Exception
        unless_ours(error)
        says = None
    name = rule.text.name
    if says is False:
        return [Finding(level="dead", rule=name, text="Its condition is never true.")]
    if says is not True:
        return [Finding(level="odd", rule=name, text="Its condition always errs, so every call would be high.")]
    if rule.text.lower:
        return [Finding(level="unsafe", rule=name, text="It lowers whatever happens in its scope.")]
    return []


def _dead(rule: RuleText, every: Sequence[RuleText], tools: frozenset[str]) -> list[Finding]:
    found: list[Finding] = []
    named = _TOOL.findall(rule.when)
    foreign = [one for one in named if one not in tools and not one.startswith(("mcp_", "mcp.", "mcp:"))]
    if named and len(foreign) == len(named):
        found.append(Finding(level="dead", rule=rule.name, text=f"There is no tool {', '.join(foreign)}."))
    if rule.tier is Tier.LOW and not rule.lower and not rule.sets_terms:
        text = "A rule without `lower` only raises, so one that says low changes nothing."
        found.append(Finding(level="dead", rule=rule.name, text=text))
    if rule.lower and rule.tier is Tier.HIGH:
        found.append(Finding(level="dead", rule=rule.name, text="Nothing is higher than high, so it lowers nothing."))
    mine = _parts(rule.when)
    for other in every:
        if other is rule or other.lower or rule.lower or rule.sets_terms:
            continue
        wider = _parts(other.when) <= mine
        same = _parts(other.when) == mine and other.tier is rule.tier
        first = every.index(other) < every.index(rule)
        if wider and (other.tier.rank > rule.tier.rank or (other.tier is rule.tier and (not same or first))):
            text = f"Whenever it counts, {other.name!r} does too and says {other.tier}; it is shadowed."
            found.append(Finding(level="dead", rule=rule.name, text=text))
            break
    return found


def _parts(condition: str) -> frozenset[str]:
    """The parts of a condition that must all hold; `true` has none. Parts with `||` outside brackets stay whole."""
    plain = re.sub(r"\s+", "", condition)
    if plain == "true":
        return frozenset()
    depth, parts, begin = 0, list[str](), 0
    for index, sign in enumerate(plain):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and plain.startswith("||", index):
            return frozenset({plain})
        if depth == 0 and plain.startswith("&&", index):
            parts.append(plain[begin:index])
            begin = index + 2
    return frozenset((*parts, plain[begin:]))


def _unsafe(rule: RuleText) -> list[Finding]:
    texts: list[str] = []
    if rule.lower:
        if rule.scope.strip("*?") in {"", ":", "db:", "file:", "workspace:", "net:"}:
            texts.append(f"Its scope {rule.scope!r} is nearly everything.")
        if "tool" not in rule.when:
            texts.append("It lowers whatever tool it is.")
        if rule.tier is Tier.LOW and "reversib" not in rule.when and "effects" not in rule.when:
            texts.append(
                "It lets things that cannot be undone run unasked; look at facts.reversibility or facts.effects."
            )
    if rule.self_approve and any(not glob.startswith("local:") for glob in rule.self_approve):
        texts.append("It lets people of Slack say yes to their own actions.")
    if rule.timeout_s is not None and rule.timeout_s < _SHORTEST_S:
        texts.append("Nobody can read and decide in less than a minute.")
    return [Finding(level="unsafe", rule=rule.name, text=text) for text in texts]


def _odd(rule: RuleText) -> list[Finding]:
    found: list[Finding] = []
    for name in sorted({*_COUNT.findall(rule.when)}):
        if f"has(facts.counts.{name})" not in rule.when:
            text = f"facts.counts.{name} is not always there, and an error makes a call high; ask has(…) first."
            found.append(Finding(level="odd", rule=rule.name, text=text))
    for name in sorted({*_ARGUMENT.findall(rule.when)}):
        if f"has(args.{name})" not in rule.when and not rule.when.lstrip().startswith("tool =="):
            text = f"args.{name} is not always there, and an error makes a call high; begin with tool == '…' &&."
            found.append(Finding(level="odd", rule=rule.name, text=text))
    if rule.escalate_to and set(rule.escalate_to) <= set(rule.deciders):
        found.append(Finding(level="odd", rule=rule.name, text="It escalates to those who were asked already."))
    return found


def _enough(rule: RuleText, policy: Policy) -> list[Finding]:
    quorum = rule.quorum or policy.limits.quorum
    references = rule.deciders or policy.people.approvers
    roles = [one for one in references if one.startswith("role:")]
    people = {*references, *(member for one in roles for member in policy.people.roles.get(one[5:], ()))} - set(roles)
    if "registered" in people or any(is_group(one) for one in people) or not people:
        return []
    if len(people) < quorum:
        text = f"It needs {quorum} yeses, and names {len(people)}: nobody could ever approve it."
        return [Finding(level="odd", rule=rule.name, text=text)]
    return []

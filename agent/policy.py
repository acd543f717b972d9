"""Rules over facts: TOML for people, CEL for the conditions, and the higher risk whenever something is unclear."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cel

from agent.chain import Chain
from agent.domain import Principal, Reason, Risk, Terms, Tier
from agent.errors import ConfigurationError
from agent.facts.model import Facts
from agent.policy_text import (
    Limits,
    Mode,
    People,
    PolicyText,
    Rule,
    RuleText,
    compile_rules,
    parse,
    shipped_text,
    text_of,
    unless_ours,
)
from agent.terms import Directory, Nobody, Scope, groups_in, in_all, may_approve_own, resolve, terms_of

__all__ = ["Limits", "Mode", "People", "Policy", "PolicyText", "RuleText", "load_policy"]

#: What these flags say can be lowered by no rule.
_NEVER_LOWERED = frozenset(
    {"unparseable", "too_large", "too_slow", "seed_pattern", "multi_statement", "sandbox_missing", "schema_changed"}
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Compiled rules. `version` is a short hash of all texts that it was made of."""

    version: str
    mode: Mode
    people: People
    limits: Limits
    shipped: tuple[Rule, ...]
    own: tuple[Rule, ...] = ()
    directory: Directory = field(default_factory=Nobody, compare=False)
    """Who belongs to user groups and the registry now."""
    _raising: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    _lowering: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    _named: frozenset[str] = field(init=False, repr=False, compare=False)
    """What the conditions name, and maybe more; nothing else need be told to the rule engine."""
    _usual: Terms = field(init=False, repr=False, compare=False)
    """The terms where no rule sets any."""

    def __post_init__(self) -> None:
        """Put aside what each rating would find out anew."""
        rules = (*self.shipped, *self.own)
        object.__setattr__(self, "_raising", tuple(rule for rule in self.own if not rule.text.lower))
        object.__setattr__(self, "_lowering", tuple(rule for rule in self.own if rule.text.lower))
        object.__setattr__(self, "_named", frozenset(name for rule in rules for name in rule.program.variables()))
        object.__setattr__(self, "_usual", terms_of((), self.people, self.limits))

    def rate(
        self,
        tool_name: str,
        args: Mapping[str, Any],
        facts: Facts,
        principal: Principal,
        *,
        read_only: bool,
        channel: str = "",
        at: float = 0.0,
        chain: Chain | None = None,
    ) -> Risk:
        """Rate one call; never raises. `read_only` is the tool's own word, for `observe`; `at` is business time."""
        try:
            context = self._context(tool_name, args, facts, principal, channel=channel, at=at, chain=chain or Chain())
        except BaseException as error:  # noqa: BLE001 - the rule engine's panics are no Exception
            unless_ours(error)
            return Risk(tier=Tier.HIGH, reasons=(_policy_error("the call"),), terms=self._usual)
        failed: list[Reason] = []
        shipped = _matching(self.shipped, context, failed)
        raising = _matching(self._raising, context, failed)
        lowering = _matching(self._lowering, context, failed)
        hits = [*shipped, *raising]
        terms = self.terms([rule.text for rule in hits])
        if failed:
            return Risk(tier=Tier.HIGH, reasons=tuple(failed), terms=terms)
        # A rule that looks at no tool would know every tool, also the one that nobody has heard of.
        if not any("tool" in rule.reads for rule in shipped):
            say = Reason(rule="unknown_tool", text=f"No rule knows the tool {tool_name[:60]}.")
            high = [Reason(rule=rule.text.name, text=rule.text.say) for rule in hits if rule.text.tier is Tier.HIGH]
            return Risk(tier=Tier.HIGH, reasons=(say, *high), terms=terms)
        tier, reasons = _highest(hits)
        floor = max((rule.text.tier.rank for rule in hits if "chain" in rule.reads), default=0)
        fitting = [rule for rule in lowering if _in_scope(rule.text.scope, facts)]
        lowered = [rule for rule in fitting if floor <= rule.text.tier.rank < tier.rank]
        if lowered and not facts.undecidable and not _NEVER_LOWERED & set(facts.flags):
            best = min(lowered, key=lambda rule: rule.text.tier.rank)
            tier = best.text.tier
            reasons = [Reason(rule=best.text.name, text=best.text.say)]
            terms = self.terms([*(rule.text for rule in hits), best.text])
        if tier is Tier.LOW and facts.undecidable:
            tier = Tier.MEDIUM
            reasons = [Reason(rule="undecidable", text=why) for why in facts.undecidable[:5]]
        if tier is Tier.LOW and self.mode == "observe" and not _only_reads(facts, read_only=read_only):
            tier = Tier.MEDIUM
            reasons = [Reason(rule="observe", text="In observe mode everything but reads is asked.")]
        return Risk(tier=tier, reasons=tuple(reasons), terms=terms)

    @property
    def reads_the_time(self) -> bool:
        """Whether the same call may be rated otherwise a minute later."""
        return "time" in self._named

    def terms(self, rules: Iterable[RuleText]) -> Terms:
        """How an action is asked for which these rules matched."""
        setting = [rule for rule in rules if rule.sets_terms]
        return terms_of(setting, self.people, self.limits) if setting else self._usual

    def terms_named(self, names: Sequence[str]) -> Terms:
        """The terms that the rules of these names set now; a rule that is gone sets none."""
        return self.terms([rule.text for rule in (*self.shipped, *self.own) if rule.text.name in names])

    def deciders(self, team: str, terms: Terms | None = None, scope: Scope | None = None) -> tuple[str, ...]:
        """The principal keys that may decide now, in the order of the file; empty when the policy names nobody."""
        sets = terms.deciders if terms is not None and terms.deciders else ((*self.people.approvers, "registered"),)
        return in_all(sets, lambda one: resolve(one, self.people, team, self.directory, scope))

    def next_deciders(self, team: str, terms: Terms, scope: Scope | None = None) -> tuple[str, ...]:
        """Who may decide as well once an approval is escalated."""
        return resolve(terms.escalate_to, self.people, team, self.directory, scope)

    def everybody(self, team: str) -> frozenset[str]:
        """Everybody who may decide on anything."""
        rules = [rule.text for rule in (*self.shipped, *self.own)]
        named = [*self.people.approvers, "registered"]
        named += [one for rule in rules for one in (*rule.deciders, *rule.escalate_to)]
        return frozenset(resolve(named, self.people, team, self.directory))

    def may_approve_own(self, principal: Principal, names: Sequence[str] = ()) -> bool:
        """Whether these rules let somebody say yes to their own medium action."""
        return may_approve_own(principal.key, self.terms_named(names).self_approve)

    def admins(self, team: str) -> tuple[str, ...]:
        """The principal keys that may administer."""
        return resolve(self.people.admins, self.people, team, self.directory)

    @property
    def groups(self) -> tuple[str, ...]:
        """Slack user groups that it names."""
        return groups_in(self.people, (rule.text for rule in (*self.shipped, *self.own)))

    def _context(
        self,
        tool: str,
        args: Mapping[str, Any],
        facts: Facts,
        principal: Principal,
        *,
        channel: str,
        at: float,
        chain: Chain,
    ) -> cel.Context:
        # Arguments and facts always, also when no rule names them: what the engine cannot take makes the call high.
        told: dict[str, Any] = {
            "tool": tool,
            "args": dict(args),
            "facts": facts.as_rule_input(),
            "mode": self.mode,
            "channel": channel,
        }
        if "principal" in self._named:
            told["principal"] = {
                "kind": principal.kind,
                "team": principal.team,
                "user": principal.user,
                "key": principal.key,
            }
        if "limits" in self._named:
            told["limits"] = {
                "max_files": self.limits.max_files,
                "approval_timeout_s": self.limits.approval_timeout_s,
                "quorum": self.limits.quorum,
                "run_rows": self.limits.run_rows,
                "run_irreversible": self.limits.run_irreversible,
                "run_spend": int(self.limits.run_spend * 1_000_000),
                "run_denials": self.limits.run_denials,
            }
        if "time" in self._named:
            now = datetime.fromtimestamp(at, tz=ZoneInfo(self.limits.time_zone))
            told["time"] = {
                "hour": now.hour,
                "minute": now.minute,
                "weekday": now.isoweekday(),
                "date": f"{now:%Y-%m-%d}",
            }
        if "chain" in self._named:
            told["chain"] = chain.as_rule_input()
        return cel.Context(told)


def load_policy(source: str | Path | None = None) -> Policy:
    """The shipped rules, and on top of them an own policy from its text or file; raises ConfigurationError.

    People, limits and mode are the own policy's when there is one.
    """
    first = shipped_text()
    shipped = parse(first, "the shipped policy")
    shipped_rules = compile_rules(shipped, "the shipped policy")
    if source is None:
        return Policy(_version(first), shipped.mode, shipped.people, shipped.limits, shipped_rules)
    where = f"the policy {source.name}" if isinstance(source, Path) else "the policy"
    text = text_of(source, where)
    own = parse(text, where)
    names = [rule.name for rule in own.rule]
    for name in names:
        if names.count(name) > 1 or any(rule.name == name for rule in shipped.rule):
            raise ConfigurationError(f"In {where} the rule name {name!r} is taken.", fix="Give the rule another name.")
    return Policy(_version(first, text), own.mode, own.people, own.limits, shipped_rules, compile_rules(own, where))


def _matching(rules: Sequence[Rule], context: cel.Context, failed: list[Reason]) -> list[Rule]:
    """The rules that say exactly True; whatever else than True or False goes to `failed`."""
    hits: list[Rule] = []
    for rule in rules:
        try:
            answer = rule.program.execute(context)
        except BaseException as error:  # noqa: BLE001 - the rule engine's panics are no Exception
            unless_ours(error)
            answer = None
        if answer is True:
            hits.append(rule)
        elif answer is not False:
            failed.append(_policy_error(f"the rule {rule.text.name!r}"))
    return hits


def _highest(hits: Sequence[Rule]) -> tuple[Tier, list[Reason]]:
    tier = max((rule.text.tier for rule in hits), key=lambda one: one.rank)
    return tier, [Reason(rule=rule.text.name, text=rule.text.say) for rule in hits if rule.text.tier is tier]


def _policy_error(what: str) -> Reason:
    return Reason(rule="policy_error", text=f"The policy could not judge {what}.")


def _in_scope(scope: str, facts: Facts) -> bool:
    return bool(facts.effects) and all(fnmatch.fnmatchcase(item.target, scope) for item in facts.effects)


def _only_reads(facts: Facts, *, read_only: bool) -> bool:
    return read_only or (bool(facts.effects) and all(item.effect.value == "read" for item in facts.effects))


def _version(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]

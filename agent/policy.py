"""Rules over facts: TOML for people, CEL for the conditions, and the higher risk whenever something is unclear."""

from __future__ import annotations

import fnmatch
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import cel
from pydantic import Field, ValidationError

from agent.domain import APPROVAL_TIMEOUT_S, Principal, Reason, Risk, Tier, Value
from agent.errors import ConfigurationError
from agent.facts.model import Facts

Mode = Literal["enforce", "observe"]
_VARIABLES = frozenset({"tool", "args", "facts", "principal", "mode", "limits"})
#: What these flags say can be lowered by no rule.
_NEVER_LOWERED = frozenset({"unparseable", "too_large", "seed_pattern", "multi_statement", "sandbox_missing"})


class People(Value):
    """Who decides and who administers: Slack user ids of the home team, or whole keys such as `local:1000`."""

    approvers: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()


class Limits(Value):
    """Figures that rules and gate refer to."""

    max_files: int = Field(default=50, ge=1)
    approval_timeout_s: float = Field(default=APPROVAL_TIMEOUT_S, gt=0, le=7_200)
    quorum: int = Field(default=1, ge=1, le=10)


class RuleText(Value):
    """One rule as it is written."""

    name: str = Field(min_length=1, max_length=60)
    when: str = Field(min_length=1, max_length=2_000)
    tier: Tier
    say: str = Field(min_length=1, max_length=300)
    lower: bool = False
    scope: str = Field(default="", max_length=300)
    """A glob; a lowering rule counts only when every target of the call is in it, such as `db:shop/carts`."""


class PolicyText(Value):
    """A policy file as it is written."""

    version: Literal[1]
    mode: Mode = "enforce"
    people: People = People()
    limits: Limits = Limits()
    rule: tuple[RuleText, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rule:
    text: RuleText
    program: cel.Program


@dataclass(frozen=True, slots=True)
class Policy:
    """Compiled rules. `version` is a short hash of all texts that it was made of."""

    version: str
    mode: Mode
    people: People
    limits: Limits
    shipped: tuple[_Rule, ...]
    own: tuple[_Rule, ...] = ()

    def rate(
        self,
        tool_name: str,
        args: Mapping[str, Any],
        facts: Facts,
        principal: Principal,
        *,
        read_only: bool,
    ) -> Risk:
        """Rate one call; never raises. `read_only` is the tool's own word, for `observe`."""
        try:
            context = self._context(tool_name, args, facts, principal)
        except BaseException as error:  # noqa: BLE001 - the rule engine's panics are no Exception
            _unless_ours(error)
            return Risk(tier=Tier.HIGH, reasons=(_policy_error("the call"),))
        failed: list[Reason] = []
        known = _matching(self.shipped, context, failed)
        raising = _matching([rule for rule in self.own if not rule.text.lower], context, failed)
        lowering = _matching([rule for rule in self.own if rule.text.lower], context, failed)
        if failed:
            return Risk(tier=Tier.HIGH, reasons=tuple(failed))
        if not known:
            say = f"No rule knows the tool {tool_name[:60]}."
            return Risk(tier=Tier.HIGH, reasons=(Reason(rule="unknown_tool", text=say),))
        hits = [*known, *raising]
        tier = max((rule.text.tier for rule in hits), key=lambda one: one.rank)
        reasons = [Reason(rule=rule.text.name, text=rule.text.say) for rule in hits if rule.text.tier is tier]
        lowered = [rule for rule in lowering if rule.text.tier.rank < tier.rank and _in_scope(rule.text.scope, facts)]
        if lowered and not facts.undecidable and not _NEVER_LOWERED & set(facts.flags):
            best = min(lowered, key=lambda rule: rule.text.tier.rank)
            tier = best.text.tier
            reasons = [Reason(rule=best.text.name, text=best.text.say)]
        if tier is Tier.LOW and facts.undecidable:
            tier = Tier.MEDIUM
            reasons = [Reason(rule="undecidable", text=why) for why in facts.undecidable[:5]]
        if tier is Tier.LOW and self.mode == "observe" and not _only_reads(facts, read_only=read_only):
            tier = Tier.MEDIUM
            reasons = [Reason(rule="observe", text="In observe mode everything but reads is asked.")]
        return Risk(tier=tier, reasons=tuple(reasons))

    def deciders(self, team: str) -> tuple[str, ...]:
        """The principal keys that may decide, in the order of the file; empty when the policy names nobody."""
        return _keys(self.people.approvers, team)

    def admins(self, team: str) -> tuple[str, ...]:
        """The principal keys that may administer."""
        return _keys(self.people.admins, team)

    def _context(self, tool: str, args: Mapping[str, Any], facts: Facts, principal: Principal) -> cel.Context:
        return cel.Context(
            {
                "tool": tool,
                "args": dict(args),
                "facts": facts.as_rule_input(),
                "principal": {
                    "kind": principal.kind,
                    "team": principal.team,
                    "user": principal.user,
                    "key": principal.key,
                },
                "mode": self.mode,
                "limits": {
                    "max_files": self.limits.max_files,
                    "approval_timeout_s": self.limits.approval_timeout_s,
                    "quorum": self.limits.quorum,
                },
            }
        )


def load_policy(source: str | Path | None = None) -> Policy:
    """The shipped rules, and on top of them an own policy from its text or file; raises ConfigurationError.

    People, limits and mode are the own policy's when there is one.
    """
    shipped_text = resources.files("agent").joinpath("policy.toml").read_text(encoding="utf-8")
    shipped = _parse(shipped_text, "the shipped policy")
    shipped_rules = _compile(shipped, "the shipped policy")
    if source is None:
        return Policy(_version(shipped_text), shipped.mode, shipped.people, shipped.limits, shipped_rules)
    where = f"the policy {source.name}" if isinstance(source, Path) else "the policy"
    text = _text(source, where)
    own = _parse(text, where)
    names = [rule.name for rule in own.rule]
    for name in names:
        if names.count(name) > 1 or any(rule.name == name for rule in shipped.rule):
            raise ConfigurationError(f"In {where} the rule name {name!r} is taken.", fix="Give the rule another name.")
    return Policy(_version(shipped_text, text), own.mode, own.people, own.limits, shipped_rules, _compile(own, where))


def _text(source: str | Path, where: str) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where.capitalize()} cannot be read.", fix=f"Put a policy at {source}.") from error


def _parse(text: str, where: str) -> PolicyText:
    try:
        return PolicyText.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where.capitalize()} is not TOML: {error}.", fix="Mend that line.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = _place(first["loc"], text)
        raise ConfigurationError(
            f"{where.capitalize()} is not valid at {place}: {first['msg']}.", fix=f"Mend {place}."
        ) from error


def _place(location: Sequence[int | str], text: str) -> str:
    """Where in the file, with a rule named by its name."""
    words = [str(part) for part in location]
    match list(location):
        case ["rule", int(number), *rest]:
            written: Any = tomllib.loads(text).get("rule", [])[number]
            name: Any = written.get("name", number + 1) if isinstance(written, dict) else number + 1  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - TOML as it was written
            return f"rule {name!r}" + (f", {rest[0]}" if rest else "")
        case _:
            return ".".join(words) or "its top"


def _compile(policy: PolicyText, where: str) -> tuple[_Rule, ...]:
    rules: list[_Rule] = []
    for rule in policy.rule:
        if rule.lower != bool(rule.scope):
            raise ConfigurationError(
                f"In {where} the rule {rule.name!r} has only one of `lower` and `scope`.",
                fix="A rule that lowers names its scope, such as scope = 'db:shop/carts'; no other rule has one.",
            )
        try:
            program = cel.compile(rule.when)
            strange = set(program.variables()) - _VARIABLES - _bound(rule.when)
        except BaseException as error:
            _unless_ours(error)
            raise ConfigurationError(
                f"In {where} the condition of rule {rule.name!r} is not CEL: {error}."[:500], fix="Mend its `when`."
            ) from error
        if strange:
            raise ConfigurationError(
                f"In {where} the condition of rule {rule.name!r} names {', '.join(sorted(strange))}, which is unknown.",
                fix=f"Known are {', '.join(sorted(_VARIABLES))}.",
            )
        rules.append(_Rule(rule, program))
    return tuple(rules)


def _bound(expression: str) -> set[str]:
    """Names bound by a macro such as `exists(f, …)`."""
    found: set[str] = set()
    for macro in ("exists_one(", "exists(", "all(", "map(", "filter("):
        for piece in expression.split(f".{macro}")[1:]:
            found.add(piece.partition(",")[0].strip())
    return found


def _matching(rules: Sequence[_Rule], context: cel.Context, failed: list[Reason]) -> list[_Rule]:
    """The rules that say exactly True; whatever else than True or False goes to `failed`."""
    hits: list[_Rule] = []
    for rule in rules:
        try:
            answer = rule.program.execute(context)
        except BaseException as error:  # noqa: BLE001 - the rule engine's panics are no Exception
            _unless_ours(error)
            answer = None
        if answer is True:
            hits.append(rule)
        elif answer is not False:
            failed.append(_policy_error(f"the rule {rule.text.name!r}"))
    return hits


def _unless_ours(error: BaseException) -> None:
    """Let through what stops the process."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        raise error


def _policy_error(what: str) -> Reason:
    return Reason(rule="policy_error", text=f"The policy could not judge {what}.")


def _in_scope(scope: str, facts: Facts) -> bool:
    return bool(facts.effects) and all(fnmatch.fnmatchcase(item.target, scope) for item in facts.effects)


def _only_reads(facts: Facts, *, read_only: bool) -> bool:
    return read_only or (bool(facts.effects) and all(item.effect.value == "read" for item in facts.effects))


def _keys(people: Sequence[str], team: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_key(person, team) for person in people))


def _key(person: str, team: str) -> str:
    return person if ":" in person else Principal(team=team, user=person).key


def _version(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]

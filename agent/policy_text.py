"""A policy file as it is written: its rules, people and limits, read, checked and compiled."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import cel
from pydantic import Field, ValidationError, field_validator

from agent.domain import APPROVAL_TIMEOUT_S, ReasonFor, Tier, Value
from agent.errors import ConfigurationError

Mode = Literal["enforce", "observe"]
VARIABLES = frozenset({"tool", "args", "facts", "principal", "mode", "limits", "channel", "time", "chain"})
_REFERENCE = re.compile(r"role:[a-z][a-z0-9_-]{0,39}|registered|local:\w+|slack:\w+:\w+|[USW][A-Z0-9]{1,20}")
LONGEST_TIMEOUT_S = 86_400.0


class People(Value):
    """Who decides and who administers: Slack user ids of the home team, user groups, roles, or whole keys.

    A reference is `U0123` (a person), `S0123` (a Slack user group), `role:NAME`, `registered` (whom
    `secondkey approvers` names), or a principal's key such as `local:1000`.
    """

    approvers: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    roles: dict[str, tuple[str, ...]] = {}
    """Name → references; a role may hold user groups, not other roles."""
    self_approve: tuple[str, ...] = ("local:*",)
    """Globs over principals' keys of who may say yes to their own medium action (invariant 5); never to a high one."""


class Limits(Value):
    """Figures that rules and gate refer to."""

    max_files: int = Field(default=50, ge=1)
    approval_timeout_s: float = Field(default=APPROVAL_TIMEOUT_S, gt=0, le=7_200)
    quorum: int = Field(default=1, ge=1, le=10)
    run_rows: int = Field(default=1_000, ge=1)
    """Rows that one run may change before each further change is high."""
    run_irreversible: int = Field(default=10, ge=1)
    """Irreversible actions of one run before each further one is high."""
    run_spend: float = Field(default=1_000, gt=0)
    """Money that one run's actions may name in all, in whole units of whatever currency, before it is high."""
    run_denials: int = Field(default=3, ge=1)
    """Denied or expired actions of one run after which whatever changes something is asked."""
    approve_floor_s: float = Field(default=0.0, ge=0, le=600)
    """Real seconds for which the card of an irreversible action must have stood before a yes to it counts."""
    trusted: tuple[str, ...] = ()
    """Globs of hosts, addresses and accounts that the operator vouches for, whoever names them."""
    time_zone: str = "UTC"
    """Of the rules' `time`."""

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"there is no time zone {value!r}") from error
        return value


class RuleText(Value):
    """One rule as it is written."""

    name: str = Field(min_length=1, max_length=60)
    when: str = Field(min_length=1, max_length=2_000)
    tier: Tier
    say: str = Field(min_length=1, max_length=300)
    lower: bool = False
    scope: str = Field(default="", max_length=300)
    """A glob; a lowering rule counts only when every target of the call is in it, such as `db:shop/carts`."""
    deciders: tuple[str, ...] = ()
    """Who may decide what this rule asks; the policy's approvers when empty. Several such rules: who is in all."""
    quorum: int | None = Field(default=None, ge=1, le=10)
    timeout_s: float | None = Field(default=None, gt=0, le=LONGEST_TIMEOUT_S)
    escalate_to: tuple[str, ...] = ()
    """Who may decide as well once half of the time is over."""
    reason: tuple[ReasonFor, ...] = ()
    """Votes that need a reason."""
    self_approve: tuple[str, ...] | None = None
    """As the policy's own; several rules: who is in all."""

    @property
    def sets_terms(self) -> bool:
        """Whether it says more than a tier."""
        named = self.deciders or self.escalate_to or self.reason
        return bool(named) or not self.quorum is self.timeout_s is self.self_approve is None


class PolicyText(Value):
    """A policy file as it is written."""

    version: Literal[1]
    mode: Mode = "enforce"
    people: People = People()
    limits: Limits = Limits()
    rule: tuple[RuleText, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can be asked."""

    text: RuleText
    program: cel.Program
    reads: frozenset[str] = frozenset()
    """Variables that its condition reads."""


def shipped_text() -> str:
    """The policy that comes with Second Key."""
    return resources.files("agent").joinpath("policy.toml").read_text(encoding="utf-8")


def text_of(source: str | Path, where: str) -> str:
    """The text of a policy; raises ConfigurationError."""
    if isinstance(source, str):
        return source
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where.capitalize()} cannot be read.", fix=f"Put a policy at {source}.") from error


def parse(text: str, where: str) -> PolicyText:
    """A policy's text as values; raises ConfigurationError with the place."""
    try:
        found = PolicyText.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where.capitalize()} is not TOML: {error}.", fix="Mend that line.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = _place(first["loc"], text)
        raise ConfigurationError(
            f"{where.capitalize()} is not valid at {place}: {first['msg']}.", fix=f"Mend {place}."
        ) from error
    _check_references(found, where)
    return found


def _check_references(policy: PolicyText, where: str) -> None:
    """Every person, group and role that is named can be one; raises ConfigurationError."""
    people = policy.people
    named = [("[people]", one) for one in (*people.approvers, *people.admins)]
    named += [(f"role {role!r}", one) for role, members in people.roles.items() for one in members]
    named += [(f"rule {rule.name!r}", one) for rule in policy.rule for one in (*rule.deciders, *rule.escalate_to)]
    for place, one in named:
        if not _REFERENCE.fullmatch(one):
            raise ConfigurationError(
                f"In {where}, {place} names {one!r}, which is nobody.",
                fix="Write U… for a person, S… for a Slack user group, role:NAME, registered, or local:UID.",
            )
        if one.startswith("role:") and (place.startswith("role ") or one[5:] not in people.roles):
            raise ConfigurationError(
                f"In {where}, {place} names {one!r}, which is not there.", fix=f"Add {one[5:]} to [people.roles]."
            )


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


def compile_rules(policy: PolicyText, where: str) -> tuple[Rule, ...]:
    """Every rule's condition as a program; raises ConfigurationError with the rule's name."""
    rules: list[Rule] = []
    for rule in policy.rule:
        if rule.lower != bool(rule.scope):
            raise ConfigurationError(
                f"In {where} the rule {rule.name!r} has only one of `lower` and `scope`.",
                fix="A rule that lowers names its scope, such as scope = 'db:shop/carts'; no other rule has one.",
            )
        try:
            program = cel.compile(rule.when)
            reads = set(program.variables()) - _bound(rule.when)
        except BaseException as error:
            unless_ours(error)
            raise ConfigurationError(
                f"In {where} the condition of rule {rule.name!r} is not CEL: {error}."[:500], fix="Mend its `when`."
            ) from error
        if strange := reads - VARIABLES:
            raise ConfigurationError(
                f"In {where} the condition of rule {rule.name!r} names {', '.join(sorted(strange))}, which is unknown.",
                fix=f"Known are {', '.join(sorted(VARIABLES))}.",
            )
        rules.append(Rule(rule, program, frozenset(reads)))
    return tuple(rules)


def _bound(expression: str) -> set[str]:
    """Names bound by a macro such as `exists(f, …)`."""
    found: set[str] = set()
    for macro in ("exists_one(", "exists(", "all(", "map(", "filter("):
        for piece in expression.split(f".{macro}")[1:]:
            found.add(piece.partition(",")[0].strip())
    return found


def unless_ours(error: BaseException) -> None:
    """Let through what stops the process."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        raise error

"""Grants: standing permissions for medium actions, with an exact scope, an end, and maximum uses and spend. Pure.

A grant never covers a high action, nor one that no analyser could decide. What it does not name, it does not allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from agent.domain import Action, Effect, Intent, Tier, Value, canonical
from agent.errors import GrantRefused
from agent.facts.model import Facts

MOST_USES = 100
LONGEST_S = 86_400.0
SPEND = "spend_micro_usd"
"""The count of facts that says what an action spends."""
CAPPED = ("rows", "files")
"""Counts of which a later call may have no more than the one on which the permission was given."""


class Terms(Value):
    """What a person chose when they gave a grant."""

    this_run_only: bool
    seconds: float = Field(gt=0, le=LONGEST_S)
    uses: int = Field(ge=1, le=MOST_USES)
    spend_micro_usd: int = Field(default=0, ge=0)
    free: tuple[str, ...] = ()
    """Names of arguments that may have another value; all others must be exactly as they were."""


class Grant(Value):
    """A standing permission. Business seconds; money in micro-USD."""

    id: str
    by: str
    """Principal key of who gave it."""
    requester: str
    """Principal key of whose runs may use it."""
    run: str = ""
    """The one run that may use it; empty for every run of the requester."""
    tool: str
    schema_hash: str
    """Of the tool as it was: a changed tool is a new tool."""
    arguments: dict[str, Any]
    """Arguments that must be exactly so; with nothing free, these and no others."""
    free: tuple[str, ...] = ()
    intents: tuple[Intent, ...]
    """All that may be done to whom: effect and target."""
    caps: dict[str, int] = {}
    expires_at: float
    max_uses: int = Field(ge=1, le=MOST_USES)
    max_spend_micro_usd: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Use:
    """A call that may be covered, with what was read off it."""

    action: Action
    tier: Tier
    facts: Facts

    @property
    def spends(self) -> int | None:
        """Micro-USD that it spends; None when nobody can tell."""
        known = self.facts.counts.get(SPEND)
        if known is not None:
            return known if known >= 0 else None
        return None if any(item.effect is Effect.SPEND for item in self.facts.effects) else 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A grant and how much of it is used."""

    grant: Grant
    uses: int = 0
    spent_micro_usd: int = 0

    def refusal(self, use: Use, *, run: str, requester: str, now: float) -> str:  # noqa: PLR0911  # one line a reason
        """Why this call is not covered, one sentence; empty when it is."""
        grant = self.grant
        if now >= grant.expires_at:
            return "The permission has run out."
        if self.uses >= grant.max_uses:
            return "The permission is used up."
        if requester != grant.requester or grant.run not in {"", run}:
            return "The permission is for another run."
        if use.tier is not Tier.MEDIUM or use.facts.undecidable:
            return "Its risk is not one that a permission covers."
        if (use.action.tool, use.action.schema_hash) != (grant.tool, grant.schema_hash):
            return "The permission is for another tool."
        if not _fits(grant, use.action.arguments):
            return "Its arguments are other ones than those allowed."
        if not set(use.facts.effects) <= set(grant.intents) or (grant.free and not use.facts.effects):
            return "It would do more than is allowed."
        if any(use.facts.counts.get(name, 0) > grant.caps.get(name, 0) for name in CAPPED):
            return "It would touch more than is allowed."
        spends = use.spends
        if spends is None or (spends and self.spent_micro_usd + spends > grant.max_spend_micro_usd):
            return "It would spend more than is allowed."
        return ""


def _fits(grant: Grant, arguments: Mapping[str, Any]) -> bool:
    """Equal as canonical JSON, in which 1 is not true; the names must be exactly the fixed and the free ones."""
    if set(arguments) != set(grant.arguments) | set(grant.free):
        return False
    fixed = {name: value for name, value in arguments.items() if name not in grant.free}
    return canonical(fixed) == canonical(grant.arguments)


def grant_of(key: str, use: Use, terms: Terms, *, by: str, requester: str, run: str, now: float) -> Grant:
    """The grant that these terms mean on this call; raises GrantRefused when it would be too wide, or cannot be told.

    An empty constraint is never everything: at least one argument stays as it is, unless none is free at all.
    """
    facts, arguments = use.facts, use.action.arguments
    if use.tier is not Tier.MEDIUM:
        raise GrantRefused("Only calls of medium risk can be allowed beforehand.")
    if facts.undecidable:
        raise GrantRefused("What this does cannot be told in full, so it cannot be allowed beforehand.")
    if unknown := set(terms.free) - set(arguments):
        raise GrantRefused(f"It has no argument {min(unknown)}.")
    if terms.free and len(set(terms.free)) >= len(arguments):
        raise GrantRefused("At least one argument must stay as it is; nothing is allowed without a limit.")
    if terms.free and not facts.effects:
        raise GrantRefused("Nobody can tell what it touches, so every argument must stay as it is.")
    spends = use.spends
    if spends is None:
        raise GrantRefused("Nobody can tell what it spends, so it cannot be allowed beforehand.")
    if spends > terms.spend_micro_usd:
        raise GrantRefused("One use alone would spend more than that.")
    return Grant(
        id=key,
        by=by,
        requester=requester,
        run=run if terms.this_run_only else "",
        tool=use.action.tool,
        schema_hash=use.action.schema_hash,
        arguments={name: value for name, value in arguments.items() if name not in terms.free},
        free=tuple(sorted(set(terms.free))),
        intents=tuple(dict.fromkeys(facts.effects)),
        caps={name: facts.counts[name] for name in CAPPED if name in facts.counts},
        expires_at=now + terms.seconds,
        max_uses=terms.uses,
        max_spend_micro_usd=terms.spend_micro_usd,
    )

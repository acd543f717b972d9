"""The gate: the one door between an action and its execution. Pure; it fails closed.

low → go, medium → approval, high → takeover; what people said no to stays no, by whatever tool (invariant 10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.denials import denied_by
from agent.domain import Intent, Reason, Risk, Tier
from agent.errors import DeniedIntent
from agent.state import RunState


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says: `go`, `ask` (an approval), `person` (a takeover) or `refuse`, and the risk it stands on."""

    door: Literal["go", "ask", "person", "refuse"]
    risk: Risk
    code: str = ""
    why: str = ""


def decide(
    state: RunState, risk: Risk, intents: tuple[Intent, ...], *, undecidable: bool, edited: bool = False
) -> Verdict:
    """What may happen with an action of this rating in this run; one that a person `edited` is never just let go."""
    denied = state.denied_intents()
    hit = denied_by(intents, denied) if denied else None
    if hit is not None:
        why = f"To {hit.effect.value} {hit.target} was denied or expired in this run; people may ask again."
        return Verdict("refuse", risk, DeniedIntent.code, why)
    if denied and undecidable and risk.tier is Tier.LOW:
        said = Reason(rule="after_denial", text="Something was denied in this run, and what this does cannot be told.")
        risk = risk.model_copy(update={"tier": Tier.MEDIUM, "reasons": (*risk.reasons, said)})
    if edited and risk.tier is Tier.LOW:
        said = Reason(rule="edited", text="A person changed it, so somebody else must see what became of it.")
        risk = risk.model_copy(update={"tier": Tier.MEDIUM, "reasons": (*risk.reasons, said)})
    match risk.tier:
        case Tier.LOW:
            return Verdict("go", risk)
        case Tier.MEDIUM:
            return Verdict("ask", risk)
        case Tier.HIGH:
            return Verdict("person", risk)


def may_start(before: Tier | None, now: Verdict, *, has_yes: bool) -> bool:
    """Whether an action that was let through earlier may still start after it was rated again (DESIGN.md §3.7)."""
    if before is None or now.door in {"refuse", "person"}:
        return False
    if now.door == "ask":
        return has_yes and now.risk.tier.rank <= before.rank
    return True

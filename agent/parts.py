"""What a run is made of, as its journal folds it: steps, calls, actions, approvals, takeovers; values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from agent import events as ev
from agent.domain import Action, ApprovalState, Intent, Outcome, Reason, TakeoverState, Tier

Item = TypeVar("Item")
ActionPhase = Literal["proposed", "allowed", "asked", "approved", "with_person", "started", "finished"]


class IllegalTransition(ValueError):
    """The event does not fit the state; the journal is damaged or of another release."""


@dataclass(frozen=True)
class ModelCall:
    """A wire call: open while `phase` is started."""

    id: str
    purpose: ev.Purpose
    step: int
    turn: int
    attempt: int
    model: str
    reserved: int
    phase: Literal["started", "finished", "failed"] = "started"
    reply_blob: str = ""
    cost: int = 0
    code: str = ""
    detail: str = ""
    retryable: bool = False
    tokens: int = 0
    """What it may use at most while it is open, then what it used, as far as anybody counted."""


@dataclass(frozen=True)
class ActionState:
    """An action and where it stands."""

    action: Action
    phase: ActionPhase = "proposed"
    tier: Tier | None = None
    reasons: tuple[Reason, ...] = ()
    intents: tuple[Intent, ...] = ()
    undecidable: bool = False
    headline: str = ""
    preview_blob: str = ""
    approval: str = ""
    grant: str = ""
    takeover: str = ""
    outcome: Outcome | None = None
    output_blob: str = ""
    summary: str = ""
    code: str = ""
    attempt: int = 0
    lease_token: str = ""
    feedback: str = ""
    """What people said of it: a reason for a denial, an instruction at a hand-back."""
    again: bool = False
    """A person found that it did not happen, and wants the same call proposed anew."""
    rows: int = 0
    files: int = 0
    amount: int = 0
    irreversible: bool = False
    rules: tuple[str, ...] = ()
    """The rules that set who decides on it."""


@dataclass(frozen=True)
class Approval:
    """An approval and how it was decided."""

    id: str
    action: str
    digest: str
    epoch: int
    expires_at: float
    state: ApprovalState = ApprovalState.PENDING
    by: str = ""
    reason: str = ""
    reason_open: bool = False
    """Denied, and the run still waits for an optional reason."""
    start_before: float = 0.0
    quorum: int = 1
    yes: tuple[str, ...] = ()
    """Principal keys of who said yes."""


@dataclass(frozen=True)
class Takeover:
    """A takeover and who has it."""

    id: str
    action: str
    cause: Literal["high", "unknown"]
    state: TakeoverState = TakeoverState.OPEN
    by: str = ""
    claim_token: str = ""


@dataclass(frozen=True)
class StepState:
    """A hand-over to a worker; its actions in the order of their proposal."""

    number: int
    planned: int
    feedback: str = ""
    actions: tuple[str, ...] = ()
    status: Literal["open", "done", "blocked", "failed"] = "open"
    summary: str = ""
    sources: tuple[str, ...] = ()
    code: str = ""
    decision: ev.StepDecision | Literal[""] = ""
    """What the supervisor made of it; empty until it is evaluated."""
    reason: str = ""
    advice: str = ""
    """What the next try is told."""
    target: int = -1
    seen: int = 0
    """How many of its actions the evaluation knew of."""
    trimmed: int = 0
    """How many of its turns are told in short, in `trimmed_blob`."""
    trimmed_blob: str = ""


def changed(item: Item, **changes: object) -> Item:
    """As `dataclasses.replace`, for the values of a state: a tenth of the time, and a fold is made of such changes.

    They have no slots for its sake: a dictionary is copied at once, slots one by one.
    """
    made = object.__new__(type(item))
    made.__dict__.update(item.__dict__, **changes)
    return made


def found(items: Mapping[str, Item], key: str) -> Item:
    """The item of this id; raises IllegalTransition."""
    try:
        return items[key]
    except KeyError as error:
        raise IllegalTransition(f"nothing is known of {key}") from error

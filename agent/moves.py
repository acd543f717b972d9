"""The moves of a run: what the supervisor says can be done now, and the limits within which it says so.

A move is a frozen value, so that the runtime can tell whether it is already in flight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.domain import (
    ACTIVE_TIME_S,
    BUDGET_MICRO_USD,
    MAX_ACTIONS_A_STEP,
    MAX_STEPS,
    MAX_TURNS_A_STEP,
    RunStatus,
)

MAX_REPLANS = 2
STEPS_AT_ONCE = 3
HISTORY_TOKENS = 24_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use up."""

    steps: int = MAX_STEPS
    """Every retry and every new plan counts as one."""
    turns_a_step: int = MAX_TURNS_A_STEP
    actions_a_step: int = MAX_ACTIONS_A_STEP
    micro_usd: int = BUDGET_MICRO_USD
    active_s: float = ACTIVE_TIME_S
    tokens: int = 0
    """Read and written together, over all calls; 0: no limit."""
    call_s: float = 60.0
    """Real seconds that one call of a model may take."""
    chain: tuple[str, ...] = ()
    """Models in the order of trying; empty when there is none."""
    replans: int = MAX_REPLANS
    steps_at_once: int = STEPS_AT_ONCE
    history_tokens: int = HISTORY_TOKENS
    """Tokens of a step's conversation above which its first turns are told in short."""
    judge: Literal["doubt", "always", "never"] = "doubt"
    """When a model judges a finished step against what was expected of it: by default where the record leaves doubt."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Take the run up."""


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Ask this model for a plan, or the runbooks when there is none left."""

    model: str
    attempt: int
    round: int = 0
    """Above 0: a new plan for what is left."""


@dataclass(frozen=True, slots=True)
class BeginStep:
    """Hand the planned step to its worker."""

    number: int
    planned: int
    feedback: str = ""


@dataclass(frozen=True, slots=True)
class AskWorker:
    """One turn of a worker's model."""

    step: int
    turn: int
    model: str
    attempt: int


@dataclass(frozen=True, slots=True)
class TrimHistory:
    """Tell the turns of a step before this one in short from here on."""

    step: int
    turns: int


@dataclass(frozen=True, slots=True)
class ProposeScripted:
    """Propose the calls `start … stop - 1` of a runbook's script, in one commit."""

    step: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ProposeAgain:
    """Propose the call of an action anew that did not happen, as a person found out."""

    action: str


@dataclass(frozen=True, slots=True)
class RateAction:
    """Read facts, rate, and pass the gate."""

    action: str


@dataclass(frozen=True, slots=True)
class StartAction:
    """Check everything again and do it."""

    action: str


@dataclass(frozen=True, slots=True)
class CloseStep:
    """The worker cannot go on, or is done."""

    step: int
    status: str
    summary: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class EvaluateStep:
    """Decide what follows from a step that is over: by this model, or by rule when it is empty."""

    step: int
    seen: int
    """How many actions it has, so that one which a person had proposed later is evaluated as well."""
    model: str
    attempt: int


@dataclass(frozen=True, slots=True)
class NoteTimeOut:
    """The active time is used up."""


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """Write the final answer with this model, or from what is known when it is empty."""

    model: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Finish:
    """End the run without an answer of a model."""

    status: RunStatus
    code: str = ""


Move = (
    Begin
    | MakePlan
    | BeginStep
    | AskWorker
    | TrimHistory
    | ProposeScripted
    | ProposeAgain
    | RateAction
    | StartAction
    | CloseStep
    | EvaluateStep
    | NoteTimeOut
    | WriteAnswer
    | Finish
)

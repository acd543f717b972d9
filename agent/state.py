"""The state of a run as a fold of its journal: `apply(state, event)` and the legal transitions; no I/O.

What a state is made of stands in `parts` and `runstate`, what each event does to it in `transitions` and `oversight`.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent import events as ev
from agent.domain import RunStatus
from agent.parts import (
    ActionPhase,
    ActionState,
    Approval,
    IllegalTransition,
    ModelCall,
    StepState,
    Takeover,
    changed,
)
from agent.ports import Stored
from agent.runstate import RunState, put
from agent.transitions import change

__all__ = [
    "ActionPhase",
    "ActionState",
    "Approval",
    "IllegalTransition",
    "ModelCall",
    "RunState",
    "StepState",
    "Takeover",
    "apply",
    "fold",
]

# Facts arrive whenever they arrive: an effect in flight may end, and a card be delivered, after a run was cancelled.
_AFTER_THE_END = (
    ev.ActionFinished,
    ev.ModelCallFinished,
    ev.ModelCallFailed,
    ev.ApprovalDelivered,
    ev.ApprovalDecided,
    ev.DenialExplained,
    ev.TakeoverClosed,
    ev.StopRequested,
    ev.GrantRevoked,
    ev.ChangesUndone,
)


def fold(run: str, stored: Iterable[Stored], state: RunState | None = None) -> RunState:
    """The state after these events; raises IllegalTransition."""
    state = changed(state) if state is not None else RunState(run=run)
    for item in stored:
        _apply(state, item)
    if state.status in {RunStatus.RUNNING, RunStatus.WAITING}:  # no event asks for it in between
        put(state, status=RunStatus.WAITING if state.is_waiting else RunStatus.RUNNING)
    return state


def apply(state: RunState, stored: Stored) -> RunState:
    """The state after one more event; raises IllegalTransition when it does not fit."""
    return fold(state.run, (stored,), state)


def _apply(state: RunState, stored: Stored) -> None:
    """Change a state that nobody else has seen yet: a copy an event would cost more than all the rest of a fold."""
    if stored.seq != state.seq + 1:
        raise IllegalTransition(f"run {state.run}: event {stored.seq} after {state.seq}")
    if state.status.is_final and not isinstance(stored.event, _AFTER_THE_END):
        raise IllegalTransition(f"run {state.run}: {stored.event.type} after the end")
    change(put(state, seq=stored.seq), stored.event, stored.at)

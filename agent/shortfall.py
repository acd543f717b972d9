"""Why no model goes on with a run, in a sentence for people: what each one answered, or which budget is used up."""

from __future__ import annotations

from collections.abc import Iterable

from agent.state import ModelCall, RunState

MODELS_NAMED = 4
DETAIL_CHARACTERS = 240
TOO_DEAR = "BUDGET_EXCEEDED"


def why_no_model(calls: Iterable[ModelCall]) -> str:
    """What the last try of each model came to; empty when none was tried."""
    failed = [call for call in calls if call.phase == "failed"]
    last = {call.model: call for call in failed}
    if last and all(call.code == TOO_DEAR for call in last.values()):
        return next(reversed(last.values())).detail or "The budget does not allow another call."
    said = [_said(call) for call in list(last.values())[:MODELS_NAMED]]
    return f"No model could be reached or paid for: {' '.join(said)}" if said else ""


def money_may_come_back(state: RunState) -> bool:
    """Whether calls of the run are on the wire, which hold more than they will cost; a question's is not waited for."""
    return any(call.phase == "started" and call.purpose != "question" for call in state.calls.values())


def _said(call: ModelCall) -> str:
    detail = " ".join(call.detail.split())[:DETAIL_CHARACTERS] or f"it failed ({call.code})"
    told = detail if call.model in detail else f"{call.model}: {detail}"
    return told if told.endswith((".", "!", "?", "…")) else f"{told}."

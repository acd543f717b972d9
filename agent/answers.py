"""What a run has to say for itself without a model: partial answers that list what was done and what was not."""

from __future__ import annotations

from agent.domain import Outcome, RunStatus
from agent.state import ActionState, RunState

_NOT_DONE = {
    Outcome.DENIED: "Denied",
    Outcome.EXPIRED: "Expired without an answer",
    Outcome.WITHDRAWN: "Withdrawn",
    Outcome.CANCELLED: "Cancelled",
    Outcome.REFUSED: "Refused",
    Outcome.FAILED: "Failed",
    Outcome.TIMED_OUT: "Timed out",
    Outcome.UNKNOWN: "Nobody knows whether it happened",
}


def report(state: RunState, opening: str = "") -> str:
    """A Markdown answer from the state alone: what was done, skipped, denied, expired."""
    lines = [opening or _opening(state)]
    done = [item for item in state.actions.values() if item.outcome in {Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN}]
    if done:
        lines += ["", "**Done**", *(f"- {_line(item)}" for item in done)]
    missing = [item for item in state.actions.values() if item.outcome in _NOT_DONE]
    for outcome, word in _NOT_DONE.items():
        of_kind = [item for item in missing if item.outcome is outcome]
        if of_kind:
            lines += ["", f"**{word}**", *(f"- {_line(item)}" for item in of_kind)]
    skipped = _skipped(state)
    if skipped:
        lines += ["", "**Not begun**", *(f"- {instruction}" for instruction in skipped)]
    return "\n".join(lines)


def _opening(state: RunState) -> str:
    if state.stop_by:
        return "The run was stopped."
    if state.plan_failed:
        return state.plan_failed
    if state.out_of_time:
        return "The run's time was used up, so this is what there is."
    return "Not everything could be done."


def _line(item: ActionState) -> str:
    what = item.summary or item.headline or item.action.tool
    if item.outcome in {Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN}:
        by = " (by a person)" if item.outcome is Outcome.DONE_BY_HUMAN else ""
        return f"{what}{by}"
    why = item.feedback or (item.summary if item.summary != what else "")
    head = item.headline or item.action.tool
    reason = why or (item.summary if item.summary != head else "")
    return f"{head}: {reason}" if reason else head


def _skipped(state: RunState) -> tuple[str, ...]:
    if state.plan is None or state.status is RunStatus.COMPLETED:
        return ()
    begun = {step.planned for step in state.steps}
    return tuple(step.instruction for index, step in enumerate(state.plan.steps) if index not in begun)

"""What a run has to say for itself without a model: partial answers that list what was done and what was not."""

from __future__ import annotations

from agent.domain import Effect, Outcome, RunStatus, TakeoverState
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
    done = [item for item in state.standing if item.outcome in {Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN}]
    lists = [
        ("Looked up", [_line(item) for item in done if _only_read(item)]),
        ("Done", [_line(item) for item in done if not _only_read(item)]),
    ]
    missing = [item for item in state.standing if item.outcome in _NOT_DONE]
    back = [item for item in missing if _handed_back(state, item)]
    lists.append(("Handed back", [_back_line(state, item) for item in back]))
    for outcome, word in _NOT_DONE.items():
        lists.append((word, [_line(item) for item in missing if item.outcome is outcome and item not in back]))
    lists.append(("Not begun", list(_skipped(state))))
    parts = ["\n".join([f"**{word}**", *(f"- {line}" for line in lines)]) for word, lines in lists if lines]
    # What the lists show need not be said before them, and the message has a heading that says it once more.
    first = opening or _opening(state) or ("" if parts else "Not everything could be done.")
    return "\n\n".join([first, *parts] if first else parts)


def _opening(state: RunState) -> str:
    if state.stop_by:
        return "The run was stopped."
    if state.plan_failed:
        return state.plan_failed
    if state.out_of_time:
        return "The run's time was used up, so this is what there is."
    if state.steps and state.steps[-1].status == "failed":
        return state.steps[-1].summary
    return ""


def _only_read(item: ActionState) -> bool:
    """Whether the agent looked and changed nothing; what a person did is always something done."""
    reads = bool(item.intents) and all(intent.effect is Effect.READ for intent in item.intents)
    return reads and item.outcome is Outcome.SUCCEEDED


def _handed_back(state: RunState, item: ActionState) -> bool:
    takeover = state.takeovers.get(item.takeover)
    return takeover is not None and takeover.state is TakeoverState.HANDED_BACK and item.outcome is Outcome.WITHDRAWN


def _back_line(state: RunState, item: ActionState) -> str:
    """What was handed back and the instruction; a runbook cannot follow one, which must not go unsaid."""
    by_runbook = state.plan is not None and state.plan.planner.startswith("runbook:")
    unheard = " (not followed: a runbook cannot take instructions)" if by_runbook else ""
    said = f': "{item.feedback}"{unheard}' if item.feedback else ""
    return f"{item.headline or item.action.tool}{said}"


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
    return tuple(state.plan.steps[index].instruction for index in state.plan.wanted if index not in begun)

"""What follows from a step that is over: PURE rules. Where they leave doubt, a model is asked once (`EvaluateStep`)."""

from __future__ import annotations

from typing import NamedTuple

from agent import events as ev
from agent.domain import Effect, Outcome, Plan, Tier
from agent.moves import Limits
from agent.state import ActionState, RunState, StepState

TRIES = 2
"""How often the same planned step is tried before there is a new plan, or an end."""
SEND_BACKS = 2
"""How often one review may send work back."""
PEOPLES_NO = frozenset({Outcome.DENIED, Outcome.EXPIRED, Outcome.WITHDRAWN})
_WENT_WELL = frozenset({Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN})
_NO_EFFECT = frozenset({Outcome.REFUSED, Outcome.DENIED, Outcome.EXPIRED, Outcome.WITHDRAWN})


class Evaluation(NamedTuple):
    """A decision about a step that is over, with its reason for people and what the next try is told."""

    decision: ev.StepDecision
    reason: str = ""
    feedback: str = ""
    target: int = -1


def latest_by_call(state: RunState, step: StepState) -> tuple[ActionState, ...]:
    """The step's actions, one a call: a call that had to be asked again counts as its newest action."""
    items = {state.actions[key].action.call_id: state.actions[key] for key in step.actions}
    return tuple(items.values())


def known(step: StepState) -> Evaluation | None:
    """The journalled decision, unless a person had an action of the step proposed again since."""
    if not step.decision or step.seen != len(step.actions):
        return None
    return Evaluation(step.decision, step.reason, step.advice, step.target)


def by_rule(state: RunState, plan: Plan, step: StepState, limits: Limits) -> Evaluation:
    """The decision where no model is asked."""
    if step.status == "done":
        return Evaluation("continue")
    if any(item.outcome in PEOPLES_NO for item in latest_by_call(state, step)):
        return Evaluation("stop", "What people said no to is not asked for a second time.")
    if plan.steps[step.planned].script:
        return Evaluation("stop", "A script would do the same again.")
    if step.status == "blocked" and tries(state, step) < TRIES:
        return Evaluation("retry", step.summary, step.summary)
    if step.status == "blocked" or step.code == "LOOP":
        return _anew(state, plan, limits, step.summary)
    by_runbook = step.code == "NO_MODEL" and not _has_changed_anything(state)
    return _anew(state, plan, limits, step.summary) if by_runbook else Evaluation("stop", step.summary)


def is_in_doubt(state: RunState, plan: Plan, step: StepState, limits: Limits) -> bool:
    """Whether a finished step must be judged against what was expected of it.

    The record speaks for itself where something was done and all of it went well at the first try. What people said no
    to is their decision, and no ground for another try.
    """
    planned = plan.steps[step.planned]
    if step.status != "done" or not plan.evaluated or not planned.expected or planned.script:
        return False
    items = latest_by_call(state, step)
    if limits.judge == "never" or any(item.outcome in PEOPLES_NO for item in items):
        return False
    went_well = bool(items) and all(item.outcome in _WENT_WELL for item in items)
    return limits.judge == "always" or not went_well or tries(state, step) > 1


def bounded(state: RunState, plan: Plan, step: StepState, wanted: Evaluation, limits: Limits) -> Evaluation:
    """A model's or a reviewer's decision within what is left: no third try, and no new plan beyond the limit."""
    match wanted.decision:
        case "retry" if tries(state, step) >= TRIES:
            return _anew(state, plan, limits, wanted.reason)
        case "replan":
            return _anew(state, plan, limits, wanted.reason)
        case "send_back" if _sent_back(state, step) >= SEND_BACKS:
            return Evaluation("stop", f"It was sent back {SEND_BACKS} times already. {wanted.reason}".strip())
        case _:
            return wanted


def used_steps(state: RunState) -> int:
    """Steps of the run's allowance: every hand-over to a worker, and every new plan."""
    return len(state.steps) + state.replans


def may_replan(state: RunState, plan: Plan, limits: Limits) -> bool:
    """Whether there may be another plan, with room for at least one step of it."""
    room = used_steps(state) + 1 < limits.steps and state.replans < limits.replans
    return plan.planner == "model" and plan.evaluated and room and not state.out_of_time


def tries(state: RunState, step: StepState) -> int:
    """How often the step's part of the plan was tried, this time included."""
    return sum(1 for item in state.steps if item.planned == step.planned and item.number <= step.number)


def _anew(state: RunState, plan: Plan, limits: Limits, reason: str) -> Evaluation:
    return Evaluation("replan" if may_replan(state, plan, limits) else "stop", reason)


def _sent_back(state: RunState, step: StepState) -> int:
    return sum(1 for item in state.steps if item.planned == step.planned and item.decision == "send_back")


def _has_changed_anything(state: RunState) -> bool:
    """Whether an action had, or may have had, an effect: then a runbook must not begin from the start."""
    return any(
        item.phase == "started" or (item.phase == "finished" and item.outcome not in _NO_EFFECT)
        for item in state.actions.values()
        if item.tier is not Tier.LOW or any(intent.effect is not Effect.READ for intent in item.intents)
    )

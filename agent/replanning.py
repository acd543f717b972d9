"""A new plan in the place of what is left of the last one; PURE.

Steps keep their index, since the journal names them by it: those that are left over are dropped, and the new ones come
behind.
"""

from __future__ import annotations

from agent.domain import Plan, PlannedStep
from agent.state import RunState, StepState


def given_up_at(state: RunState) -> StepState | None:
    """The newest step after which a new plan was decided on and not made."""
    if state.plan is None:
        return None
    wanted = frozenset(state.plan.wanted)
    asked = (step for step in reversed(state.steps) if step.decision == "replan" and step.planned in wanted)
    return next(asked, None)


def merged(state: RunState, old: Plan, new: Plan) -> Plan:
    """The old steps that worked out with the new ones behind them; a runbook's replace all of them."""
    first = len(old.steps)
    newest = {step.planned: step for step in state.steps}
    kept = frozenset(
        index
        for index in old.wanted
        if new.planner == "model" and index in newest and newest[index].decision == "continue"
    )
    return new.model_copy(
        update={
            "steps": (*old.steps, *(_moved(step, first) for step in new.steps)),
            "dropped": tuple(index for index in range(first) if index not in kept),
        }
    )


def _moved(step: PlannedStep, by: int) -> PlannedStep:
    """A step whose needs are counted in its own plan, in a longer one."""
    if step.needs is None:
        return step
    return step.model_copy(update={"needs": tuple(need + by for need in step.needs)})

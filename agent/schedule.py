"""Where each planned step stands, and which may be begun now: PURE.

Steps that do not need each other are open at the same time, unless both may write the workspace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent.domain import Plan
from agent.evaluation import Evaluation, by_rule, is_in_doubt, known, used_steps
from agent.moves import BeginStep, Limits
from agent.state import RunState, StepState

AGAIN = "The work that you sent back was done again; check it anew."
Place = Literal["to_do", "open", "unjudged", "settled", "again", "waits", "stuck", "replan"]


class Standing(NamedTuple):
    """A planned step: `again` is due once more with `feedback`; `waits` for work that it sent back."""

    place: Place
    step: StepState | None = None
    feedback: str = ""


_TO_DO = Standing("to_do")


@dataclass(frozen=True, slots=True)
class Board:
    """Every wanted step of a plan and where it stands."""

    plan: Plan
    standings: dict[int, Standing]

    @property
    def unjudged(self) -> tuple[StepState, ...]:
        """Steps that are over and not evaluated."""
        return tuple([item.step for item in self.standings.values() if item.place == "unjudged" and item.step])

    @property
    def wants_new_plan(self) -> StepState | None:
        """The step after which what is left is to be planned anew, if any."""
        for item in self.standings.values():
            if item.place == "replan":
                return item.step
        return None

    @property
    def is_complete(self) -> bool:
        """Whether every wanted step worked out."""
        return all(item.place == "settled" for item in self.standings.values())

    def next_step(self, state: RunState, limits: Limits) -> BeginStep | None:
        """The first step that may be begun now. One at a time: its number is its place in the journal."""
        if used_steps(state) >= limits.steps:
            return None
        open_ = [index for index, item in self.standings.items() if item.place == "open"]
        if len(open_) >= limits.steps_at_once:
            return None
        unsettled: list[int] = []
        for index, item in self.standings.items():
            if item.place in {"to_do", "again"}:
                needs = self.plan.steps[index].needs
                # As `Plan.needs_of`: what it needs of the wanted steps before it must have worked out.
                is_ready = not unsettled or (needs is not None and set(needs).isdisjoint(unsettled))
                if is_ready and not (self.plan.steps[index].writes and self._is_writing(open_)):
                    return BeginStep(len(state.steps), index, item.feedback)
            if item.place != "settled":
                unsettled.append(index)
        return None

    def _is_writing(self, open_: list[int]) -> bool:
        return any(self.plan.steps[index].writes for index in open_)


def board_of(state: RunState, plan: Plan, limits: Limits) -> Board:
    """Where each step that still belongs to the plan stands."""
    newest = {step.planned: step for step in state.steps}
    standings = {index: _standing(state, plan, newest.get(index), limits) for index in plan.wanted}
    for index, item in [pair for pair in standings.items() if pair[1].place == "waits"]:
        if item.step is not None:
            standings |= _sent_back(standings, newest, index, item.step)
    return Board(plan, standings)


def _standing(state: RunState, plan: Plan, step: StepState | None, limits: Limits) -> Standing:
    if step is None:
        return _TO_DO
    if step.status == "open":
        return Standing("open", step)
    if step.decision == "continue" and step.seen == len(step.actions):  # most steps, most of the time
        return Standing("settled", step)
    found = known(step)
    if found is None:
        if plan.evaluated:
            return Standing("unjudged", step)
        found = by_rule(state, plan, step, limits)
    return _decided(step, found)


def _decided(step: StepState, found: Evaluation) -> Standing:
    match found.decision:
        case "continue":
            return Standing("settled", step)
        case "retry":
            return Standing("again", step, found.feedback)
        case "send_back":
            return Standing("waits", step, found.feedback)
        case "replan":
            return Standing("replan", step)
        case "stop":
            return Standing("stuck", step)


def _sent_back(
    standings: dict[int, Standing], newest: dict[int, StepState], index: int, step: StepState
) -> dict[int, Standing]:
    """The work that this step sent back, or this step itself once that was done again."""
    target = newest.get(step.target)
    if target is None or step.target not in standings:
        return {index: Standing("stuck", step)}
    if target.number < step.number:
        return {step.target: Standing("again", target, step.advice)}
    if standings[step.target].place == "settled":
        return {index: Standing("again", step, AGAIN)}
    if standings[step.target].place == "stuck":
        return {index: Standing("stuck", step)}
    return {}


def needs_judging(state: RunState, plan: Plan, step: StepState, limits: Limits) -> bool:
    """Whether a model is asked what to make of a step."""
    return bool(limits.chain) and is_in_doubt(state, plan, step, limits)

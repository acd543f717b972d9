"""The supervisor: PURE. `next_moves(state, limits)` says what can be done now in a run; the runtime does it.

A move is a frozen value, so that the runtime can tell whether it is already in flight. No move is ever emitted for an
action that has started: only `recover` deals with what a dead process left behind (DESIGN.md §3.8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.domain import (
    ACTIVE_TIME_S,
    BUDGET_MICRO_USD,
    MAX_ACTIONS_A_STEP,
    MAX_STEPS,
    MAX_TURNS_A_STEP,
    ApprovalState,
    Outcome,
    Plan,
    PlannedStep,
    RunStatus,
    TakeoverState,
)
from agent.shortfall import why_no_model
from agent.state import ActionState, ModelCall, RunState, StepState

ATTEMPTS_A_MODEL = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use up."""

    steps: int = MAX_STEPS
    turns_a_step: int = MAX_TURNS_A_STEP
    actions_a_step: int = MAX_ACTIONS_A_STEP
    micro_usd: int = BUDGET_MICRO_USD
    tokens: int = 0
    """Read and written together, over all calls; 0: no limit."""
    active_s: float = ACTIVE_TIME_S
    chain: tuple[str, ...] = ()
    """Models in the order of trying; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Take the run up."""


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Ask this model for a plan, or the runbooks when there is none left."""

    model: str
    attempt: int


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
    | ProposeScripted
    | ProposeAgain
    | RateAction
    | StartAction
    | CloseStep
    | NoteTimeOut
    | WriteAnswer
    | Finish
)


def next_moves(state: RunState, limits: Limits) -> tuple[Move, ...]:  # noqa: PLR0911  # one line a case reads best
    """Everything that can be done now; independent moves may be done at once."""
    if state.status.is_final:
        return ()
    if state.stop_by:
        return () if state.in_flight else (Finish(RunStatus.CANCELLED, "STOPPED"),)
    if state.files_owed:
        return ()  # what the task was given is part of it
    if state.status is RunStatus.QUEUED:
        return (Begin(),)
    if state.plan_failed:
        return (Finish(RunStatus.FAILED, "NO_PLAN"),)
    if any(item.state is TakeoverState.ABORTED for item in state.takeovers.values()):
        return () if state.in_flight else (Finish(RunStatus.PARTIAL, "ABORTED"),)
    if state.open_takeover is not None:
        return ()  # what runs finishes; nothing new starts while a person is asked to take over
    if state.active_ms > limits.active_s * 1000 and not state.out_of_time:
        return (NoteTimeOut(),)
    if state.plan is None:
        return _plan(state, limits)
    return _work(state, state.plan, limits)


def _plan(state: RunState, limits: Limits) -> tuple[Move, ...]:
    calls = [call for call in state.calls.values() if call.purpose == "plan"]
    if any(call.phase == "started" for call in calls):
        return ()
    model = next_model(calls, limits.chain) if not state.out_of_time else ""
    return (MakePlan(model, len(calls)),)


def _work(state: RunState, plan: Plan, limits: Limits) -> tuple[Move, ...]:  # noqa: PLR0911  # as next_moves
    last = state.steps[-1] if state.steps else None
    late = asked_again_late(state)
    if last is not None and last.status == "open":
        return _open_step(state, plan.steps[last.planned], last, limits, late)
    if late:
        return _act(state, late)  # what people asked for once more is waited for before anything ends
    if state.out_of_time or len(state.steps) >= limits.steps:
        return _answer(state, plan, limits)
    if last is None:
        return (BeginStep(0, 0),) if plan.steps else _answer(state, plan, limits)
    if last.status == "done":
        if last.planned + 1 < len(plan.steps):
            return (BeginStep(len(state.steps), last.planned + 1),)
        return _answer(state, plan, limits)
    if worth_another_try(state, plan, last):
        return (BeginStep(len(state.steps), last.planned, last.summary),)
    return _answer(state, plan, limits)


def worth_another_try(state: RunState, plan: Plan, last: StepState) -> bool:
    """Whether a step that did not work out is tried once more with what went wrong as feedback.

    A script would do the same again, and what people said no to is not asked for a second time.
    """
    tries = sum(1 for step in state.steps if step.planned == last.planned)
    said_no = any(
        item.outcome in {Outcome.DENIED, Outcome.EXPIRED, Outcome.WITHDRAWN} for item in latest_by_call(state, last)
    )
    return last.status == "blocked" and tries == 1 and not said_no and not plan.steps[last.planned].script


def asked_again_late(state: RunState) -> list[ActionState]:
    """Actions that a person asked for again when their step was over, and that have not ended yet."""
    return [
        item
        for item in state.actions.values()
        if item.action.revision is not None
        and item.phase != "finished"
        and state.steps[item.action.step].status != "open"
    ]


def _open_step(
    state: RunState, planned: PlannedStep, step: StepState, limits: Limits, late: list[ActionState]
) -> tuple[Move, ...]:
    items = list(latest_by_call(state, step))
    moves = _act(state, [*late, *items])
    unfinished = [item for item in items if item.phase != "finished" or item.again or _reason_open(state, item)]
    if state.out_of_time and not unfinished:
        return (CloseStep(step.number, "failed", "The run's time was used up."),)
    if planned.script:
        return (*moves, *_script(planned, step, items, waiting=bool(unfinished)))
    if unfinished:
        return moves
    return _turn(state, step, limits)


def latest_by_call(state: RunState, step: StepState) -> tuple[ActionState, ...]:
    """The step's actions, one a call: a call that had to be asked again counts as its newest action."""
    items = {state.actions[key].action.call_id: state.actions[key] for key in step.actions}
    return tuple(items.values())


def _act(state: RunState, items: list[ActionState]) -> tuple[Move, ...]:
    moves: list[Move] = []
    busy = any(item.phase == "started" and item.action.exclusive for item in state.actions.values())
    for item in items:
        if item.phase == "proposed" and item.tier is None:
            moves.append(RateAction(item.action.id))
        elif item.again:
            moves.append(ProposeAgain(item.action.id))
        elif item.phase in {"allowed", "approved"}:
            if item.action.exclusive and busy:
                continue
            busy = busy or item.action.exclusive
            moves.append(StartAction(item.action.id))
    return tuple(moves)


def _script(
    planned: PlannedStep, step: StepState, items: list[ActionState], *, waiting: bool
) -> tuple[Move, ...]:  # fmt: skip
    proposed = len(items)
    if planned.together and proposed < len(planned.script):
        return (ProposeScripted(step.number, proposed, len(planned.script)),)
    if waiting:
        return ()
    bad = next((item for item in items if item.outcome not in {Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN}), None)
    if bad is not None:
        return (CloseStep(step.number, "blocked", f"{bad.action.tool}: {bad.outcome}"),)
    if proposed < len(planned.script):
        return (ProposeScripted(step.number, proposed, proposed + 1),)
    return (CloseStep(step.number, "done", planned.expected or planned.instruction),)


def _turn(state: RunState, step: StepState, limits: Limits) -> tuple[Move, ...]:
    calls = [call for call in state.calls.values() if call.purpose == "work" and call.step == step.number]
    if any(call.phase == "started" for call in calls):
        return ()
    turn = sum(1 for call in calls if call.phase == "finished")
    if turn >= limits.turns_a_step:
        return (CloseStep(step.number, "failed", f"The worker used its {limits.turns_a_step} turns."),)
    if len(step.actions) >= limits.actions_a_step:
        return (CloseStep(step.number, "failed", f"The worker used its {limits.actions_a_step} actions."),)
    failed = [call for call in calls if call.turn == turn]
    model = next_model(failed, limits.chain)
    if not model:
        why = why_no_model(failed) or "No model could be reached or paid for."
        return (CloseStep(step.number, "failed", why),)
    return (AskWorker(step.number, turn, model, len(failed)),)


def _answer(state: RunState, plan: Plan, limits: Limits) -> tuple[Move, ...]:
    calls = [call for call in state.calls.values() if call.purpose == "answer"]
    if any(call.phase == "started" for call in calls):
        return ()
    by_model = plan.planner == "model" and not state.out_of_time
    # An answer that was overtaken is no failure of its model, which may write the next one too.
    failed = [call for call in calls if call.phase == "failed"]
    return (WriteAnswer(next_model(failed, limits.chain) if by_model else "", len(calls)),)


def next_model(failed: Iterable[ModelCall], chain: tuple[str, ...]) -> str:
    """The next model to try after these failed calls; empty when the chain is used up or money is out."""
    calls = list(failed)
    if any(call.code == "BUDGET_EXCEEDED" for call in calls):
        return ""
    for model in chain:
        mine = [call for call in calls if call.model == model]
        if not mine or (mine[-1].retryable and len(mine) < ATTEMPTS_A_MODEL):
            return model
    return ""


def _reason_open(state: RunState, item: ActionState) -> bool:
    approval = state.approvals.get(item.approval)
    return approval is not None and approval.reason_open


def is_complete(state: RunState) -> bool:
    """Whether every planned step was done."""
    if state.plan is None:
        return False
    done = {step.planned for step in state.steps if step.status == "done"}
    return len(done) == len(state.plan.steps)


def pending_approvals(state: RunState) -> tuple[str, ...]:
    """Ids of approvals that still wait for people."""
    return tuple(item.id for item in state.approvals.values() if item.state is ApprovalState.PENDING)

"""The supervisor: PURE. `next_moves(state, limits)` says what can be done now in a run; the runtime does it.

No move is ever emitted for an action that has started: only `recover` deals with what a dead process left behind
(DESIGN.md §3.8). What follows from a step that is over is `evaluation`'s, which steps may be begun is `schedule`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.domain import ApprovalState, Outcome, Plan, PlannedStep, RunStatus, TakeoverState
from agent.evaluation import latest_by_call
from agent.loops import CIRCLES, circles
from agent.moves import (
    AskWorker,
    Begin,
    BeginStep,
    CloseStep,
    EvaluateStep,
    Finish,
    Limits,
    MakePlan,
    Move,
    NoteTimeOut,
    ProposeAgain,
    ProposeScripted,
    RateAction,
    StartAction,
    TrimHistory,
    WriteAnswer,
)
from agent.schedule import Board, board_of, needs_judging
from agent.shortfall import TOO_DEAR, money_may_come_back, why_no_model
from agent.state import ActionState, ModelCall, RunState, StepState

__all__ = [
    "AskWorker",
    "Begin",
    "BeginStep",
    "CloseStep",
    "EvaluateStep",
    "Finish",
    "Limits",
    "MakePlan",
    "Move",
    "NoteTimeOut",
    "ProposeAgain",
    "ProposeScripted",
    "RateAction",
    "StartAction",
    "TrimHistory",
    "WriteAnswer",
    "asked_again_late",
    "is_complete",
    "latest_by_call",
    "next_model",
    "next_moves",
    "pending_approvals",
]

ATTEMPTS_A_MODEL = 2
TURNS_KEPT = 3
"""The newest turns of a step, which are always told in full."""


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


def _plan(state: RunState, limits: Limits, again: StepState | None = None) -> tuple[Move, ...]:
    """A plan, or `again` a new one after this step: without a model that answers, the runbooks are asked."""
    turn = state.replans + 1 if again is not None else 0
    calls = [call for call in state.calls.values() if call.purpose == "plan" and call.turn == turn]
    if any(call.phase == "started" for call in calls):
        return ()
    has_none = state.out_of_time or (again is not None and again.code == "NO_MODEL")
    return (MakePlan("" if has_none else next_model(calls, limits.chain), len(calls), turn),)


def _work(state: RunState, plan: Plan, limits: Limits) -> tuple[Move, ...]:
    open_ = [step for step in state.steps if step.status == "open"]
    late = asked_again_late(state)
    items = [*late, *(item for step in open_ for item in latest_by_call(state, step))]
    moves: list[Move] = list(_act(state, items))
    for step in open_:
        moves += _open_step(state, plan.steps[step.planned], step, limits)
    if late:
        return tuple(moves)  # what people asked for once more is waited for before anything begins or ends
    board = board_of(state, plan, limits)
    moves += _evaluate(state, plan, board, limits)
    if not state.out_of_time and board.wants_new_plan is None and (begun := board.next_step(state, limits)):
        moves.append(begun)
    if moves or open_ or board.unjudged:
        return tuple(moves)
    if board.wants_new_plan is not None and not state.out_of_time:
        return _plan(state, limits, board.wants_new_plan)
    return _answer(state, plan, limits)


def _evaluate(state: RunState, plan: Plan, board: Board, limits: Limits) -> list[Move]:
    moves: list[Move] = []
    for step in board.unjudged:
        calls = [call for call in state.calls.values() if call.purpose == "judge" and call.step == step.number]
        if any(call.phase == "started" for call in calls) or _waits_for_money(state, calls):
            continue
        judged = needs_judging(state, plan, step, limits) and not state.out_of_time
        failed = [call for call in calls if call.phase == "failed"]
        model = next_model(failed, limits.chain) if judged else ""
        moves.append(EvaluateStep(step.number, len(step.actions), model, len(calls)))
    return moves


def asked_again_late(state: RunState) -> list[ActionState]:
    """Actions that a person asked for again when their step was over, and that have not ended yet."""
    return [
        item
        for item in state.actions.values()
        if item.action.revision is not None
        and item.phase != "finished"
        and state.steps[item.action.step].status != "open"
    ]


def _open_step(state: RunState, planned: PlannedStep, step: StepState, limits: Limits) -> tuple[Move, ...]:
    """What an open step needs besides what its actions need."""
    items = list(latest_by_call(state, step))
    unfinished = [item for item in items if item.phase != "finished" or item.again or _reason_open(state, item)]
    if state.out_of_time and not unfinished:
        asked = _is_asked(state, step)
        return () if asked else (CloseStep(step.number, "failed", "The run's time was used up."),)
    if planned.script:
        return _script(planned, step, items, waiting=bool(unfinished))
    return () if unfinished else _turn(state, step, limits)


def _act(state: RunState, items: list[ActionState]) -> tuple[Move, ...]:
    moves: list[Move] = []
    if not items:
        return ()
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


def _turn(  # noqa: PLR0911  # as next_moves
    state: RunState, step: StepState, limits: Limits
) -> tuple[Move, ...]:
    calls = [call for call in state.calls.values() if call.purpose == "work" and call.step == step.number]
    if any(call.phase == "started" for call in calls):
        return ()
    said = [call for call in calls if call.phase == "finished"]
    turn = len(said)
    if circles(state, step) >= CIRCLES:
        return (CloseStep(step.number, "failed", "The worker went round in circles.", "LOOP"),)
    if turn >= limits.turns_a_step:
        return (CloseStep(step.number, "failed", f"The worker used its {limits.turns_a_step} turns.", "TURNS"),)
    if len(step.actions) >= limits.actions_a_step:
        return (CloseStep(step.number, "failed", f"The worker used its {limits.actions_a_step} actions.", "ACTIONS"),)
    failed = [call for call in calls if call.turn == turn]
    if _waits_for_money(state, failed):
        return ()
    model = next_model(failed, limits.chain)
    if not model:
        why = why_no_model(failed) or "No model could be reached or paid for."
        return (CloseStep(step.number, "failed", why, "NO_MODEL"),)
    if said and said[-1].tokens > limits.history_tokens and turn - TURNS_KEPT > step.trimmed:
        return (TrimHistory(step.number, turn - TURNS_KEPT),)
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
    """The next model to try after these failed calls; empty when the chain is used up.

    What is too dear with one model may be within the budget with another one further on.
    """
    calls = list(failed)
    for model in chain:
        mine = [call for call in calls if call.model == model]
        tries = sum(call.code != TOO_DEAR for call in mine)  # who waited for money was not tried
        if not mine or (mine[-1].retryable and tries < ATTEMPTS_A_MODEL):
            return model
    return ""


def _waits_for_money(state: RunState, calls: list[ModelCall]) -> bool:
    """Whether the last call was too dear as long as others of the run were on the wire, and some of them still are."""
    last = calls[-1] if calls else None
    return last is not None and last.code == TOO_DEAR and last.retryable and money_may_come_back(state)


def _is_asked(state: RunState, step: StepState) -> bool:
    """Whether the step's worker is on the wire."""
    return any(
        call.phase == "started" and call.purpose == "work" and call.step == step.number
        for call in state.calls.values()
    )  # fmt: skip


def _reason_open(state: RunState, item: ActionState) -> bool:
    approval = state.approvals.get(item.approval)
    return approval is not None and approval.reason_open


def is_complete(state: RunState) -> bool:
    """Whether every step that belongs to the plan worked out."""
    if state.plan is None:
        return False
    newest = {step.planned: step for step in state.steps}
    done = (newest.get(index) for index in state.plan.wanted)
    return all(step is not None and step.status == "done" and step.decision in {"", "continue"} for step in done)


def pending_approvals(state: RunState) -> tuple[str, ...]:
    """Ids of approvals that still wait for people."""
    return tuple(item.id for item in state.approvals.values() if item.state is ApprovalState.PENDING)

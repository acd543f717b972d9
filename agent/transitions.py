"""What each event does to a state that is still private to its fold."""

from __future__ import annotations

from agent import events as ev
from agent.domain import Outcome, RunStatus
from agent.oversight import approval_changed, takeover_changed
from agent.parts import ActionState, IllegalTransition, ModelCall, StepState, changed, found
from agent.runstate import RunState, put, put_action, put_step


def change(state: RunState, event: ev.Event, at: float) -> RunState:  # noqa: C901, PLR0911, PLR0912  # one arm an event
    """Change the state by one event that happened `at` (business time); raises IllegalTransition."""
    match event:
        case ev.RunCreated():
            return put(
                state,
                task=event.task,
                parent_run=event.parent_run,
                context_blob=event.context_blob,
                files_owed=event.files,
                trace_id=event.trace_id,
                span_id=event.span_id,
                created_at=at,
                co_requesters=frozenset({event.task.principal.key}),
            )
        case ev.FilesAttached():
            return put(
                state, files=(*state.files, *event.files), files_owed=max(0, state.files_owed - len(event.files))
            )
        case ev.RunStarted():
            return put(state, status=RunStatus.RUNNING)
        case ev.CoRequesterAdded():
            return put(state, co_requesters=state.co_requesters | {event.principal.key})
        case ev.FollowUpReceived():
            return put(
                state,
                follow_ups=(*state.follow_ups, event.text_blob),
                co_requesters=state.co_requesters | {event.principal.key},
            )
        case ev.PlanMade():
            return put(state, plan=event.plan, replans=state.replans + (state.plan is not None))
        case ev.PlanFailed():
            return put(state, plan_failed=event.reason)
        case ev.StepStarted():
            return put(
                state,
                steps=(*state.steps, StepState(number=event.step, planned=event.planned, feedback=event.feedback)),
            )
        case ev.StepFinished():
            return put_step(
                state,
                event.step,
                status=event.status,
                summary=event.summary,
                sources=event.sources,
                code=event.code,
                decision="",
            )
        case ev.StepEvaluated():
            return put_step(
                state,
                event.step,
                decision=event.decision,
                reason=event.reason,
                advice=event.feedback,
                target=event.target,
                seen=len(state.steps[event.step].actions),
            )
        case ev.HistoryTrimmed():
            return put_step(state, event.step, trimmed=event.turns, trimmed_blob=event.summary_blob)
        case ev.StopRequested():
            return put(state, stop_by=state.stop_by or event.by, stop_reason=state.stop_reason or event.reason)
        case ev.TimeRanOut():
            return put(state, out_of_time=True)
        case ev.ChangesUndone():
            return state  # it concerns the project, and the run is over
        case ev.RunFinished():
            return put(state, status=event.status, answer_blob=event.answer_blob)
        case ev.ModelCallStarted() | ev.ModelCallFinished() | ev.ModelCallFailed():
            return _call(state, event)
        case (
            ev.ActionProposed() | ev.ActionRated() | ev.ActionStarted() | ev.ActionFinished() | ev.ActionResumed()
        ):  # fmt: skip
            return _action(state, event)
        case ev.TakeoverAsked() | ev.TakeoverAnswered() | ev.GrantGiven() | ev.GrantRevoked():
            return state  # told beside the run, never to it; grants are looked up where they are used
        case (
            ev.ApprovalRequested()
            | ev.ApprovalDelivered()
            | ev.ApprovalReminded()
            | ev.DecidersChanged()
            | ev.VoteCast()
            | ev.ApprovalDecided()
            | ev.DenialExplained()
        ):
            return approval_changed(state, event)
        case _:
            return takeover_changed(state, event)


def _call(state: RunState, event: ev.ModelCallStarted | ev.ModelCallFinished | ev.ModelCallFailed) -> RunState:
    if isinstance(event, ev.ModelCallStarted):
        call = ModelCall(
            id=event.call,
            purpose=event.purpose,
            step=event.step,
            turn=event.turn,
            attempt=event.attempt,
            model=event.model,
            reserved=event.reserved_micro_usd,
            tokens=event.reserved_tokens,
        )
        # An answer can tell of words, but not act on them any more; who judges a step or explains the run sees none.
        hears = event.purpose in {"plan", "work"}
        heard = len(state.follow_ups) if hears else state.heard
        waited = 0 if event.purpose == "question" else event.waited_ms
        calls = {**state.calls, call.id: call}
        return put(state, calls=calls, heard=heard, active_ms=state.active_ms + waited)
    call = found(state.calls, event.call)
    if call.phase != "started":
        raise IllegalTransition(f"model call {call.id} ended twice")
    if isinstance(event, ev.ModelCallFinished):
        tokens = event.input_tokens + event.output_tokens or call.tokens
        call = changed(call, phase="finished", reply_blob=event.reply_blob, cost=event.cost_micro_usd, tokens=tokens)
    else:
        call = changed(
            call,
            phase="failed",
            code=event.code,
            detail=event.detail,
            retryable=event.retryable,
            cost=event.cost_micro_usd,
            tokens=call.tokens if event.cost_micro_usd else 0,
        )
    took = 0 if call.purpose == "question" else event.duration_ms  # asked beside the run, in nobody's working time
    return put(state, calls={**state.calls, call.id: call}, active_ms=state.active_ms + took)


def _action(
    state: RunState,
    event: ev.ActionProposed | ev.ActionRated | ev.ActionStarted | ev.ActionFinished | ev.ActionResumed,
) -> RunState:
    if isinstance(event, ev.ActionProposed):
        action = event.action
        if action.id in state.actions:
            raise IllegalTransition(f"action {action.id} proposed twice")
        put_step(state, action.step, actions=(*state.steps[action.step].actions, action.id))
        return put_action(state, ActionState(action=action))
    item = found(state.actions, event.action)
    match event:
        case ev.ActionRated():
            return put_action(
                state,
                changed(
                    item,
                    phase="allowed" if event.goes else "proposed",
                    grant=event.grant,
                    outcome=None,
                    tier=event.tier,
                    reasons=event.reasons,
                    intents=event.intents,
                    undecidable=event.undecidable,
                    headline=event.headline,
                    preview_blob=event.preview_blob,
                    rows=event.rows,
                    files=event.files,
                    amount=event.amount,
                    irreversible=event.irreversible,
                    rules=event.rules,
                ),
            )
        case ev.ActionStarted():
            if item.phase not in {"allowed", "approved"}:
                raise IllegalTransition(f"action {event.action} started while {item.phase}")
            return put_action(
                state, changed(item, phase="started", attempt=event.attempt, lease_token=event.lease_token)
            )
        case ev.ActionResumed():
            state = put(state, active_ms=state.active_ms + event.duration_ms)
            return put_action(state, changed(item, phase="allowed", attempt=item.attempt + 1, lease_token=""))
        case ev.ActionFinished():
            state = put(state, active_ms=state.active_ms + event.duration_ms)
            if item.phase == "finished" and item.outcome is not Outcome.UNKNOWN:
                raise IllegalTransition(f"action {event.action} ended twice")
            return put_action(
                state,
                changed(
                    item,
                    phase="finished",
                    outcome=event.outcome,
                    output_blob=event.output_blob,
                    summary=event.summary,
                    code=event.code,
                ),
            )

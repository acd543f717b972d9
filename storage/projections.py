"""From events to rows: one function an event type, called in the transaction that writes the event.

A function also refuses what would not fold (agent/state.py), so that a journal which was written can always be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent import events as ev
from agent.domain import Outcome, RunStatus
from agent.errors import AlreadyStarted, ApprovalNotValid, BudgetExceeded, JournalError, Overtaken
from storage import ledger
from storage import projected_approvals as approvals
from storage import projected_cards as cards
from storage import projected_grants as grants
from storage import projected_takeovers as takeovers
from storage.turns import refuse_before_turn
from storage.working import LANE_DECISION, LANE_PROGRESS, ActionRow, RunRow, Working

TITLE_CHARS = 200
#: Facts arrive whenever they arrive: the same set as in agent/state.py, and a test compares the two.
AFTER_THE_END = (
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
_WHENEVER = frozenset({ev.RunCreated, *AFTER_THE_END})
_QUIET = frozenset({
    ev.ModelCallStarted,
    ev.ModelCallFinished,
    ev.ModelCallFailed,
    ev.VoteCast,
    ev.ApprovalDelivered,
    ev.ApprovalReminded,
    ev.DecidersChanged,
    ev.TakeoverAsked,
    ev.TakeoverAnswered,
    ev.GrantGiven,
    ev.GrantRevoked,
})  # fmt: skip


def project(work: Working, event: ev.Event, seq: int) -> None:
    """Change the rows as one event says; raises JournalError or AlreadyDecided when it does not fit them."""
    kind = type(event)  # no event has subclasses, and this runs for each one
    if kind not in _WHENEVER:
        work.must_not_be_over(event.type)
    _TABLE[kind](work, event, seq)
    if kind not in _QUIET:
        work.bump(f"progress:{work.id}", LANE_PROGRESS)


def _run_created(work: Working, event: ev.RunCreated, seq: int) -> None:
    if work.run is not None or seq != 1:
        raise JournalError(f"Run {work.id} exists already.")
    task, place = event.task, event.task.place
    work.tx.conn.execute(
        "INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?)",
        (task.id, work.id, place.team, place.channel, place.message_ts),
    )
    row = RunRow(work.id, place.team, place.channel, place.thread_ts or place.message_ts, task.principal.key)
    work.add_run(
        row,
        task=task.id,
        parent=event.parent_run,
        title=task.text[:TITLE_CHARS],
        trace_id=event.trace_id,
        span_id=event.span_id,
    )
    if event.asks_again:
        cards.asked_again(work, event.asks_again, task.principal.key)
    work.tx.signal("home", task.principal.key)


def _run_started(work: Working, event: ev.RunStarted, seq: int) -> None:
    del event, seq
    if work.room is not None and work.live.status is RunStatus.QUEUED:
        refuse_before_turn(work.tx.conn, work.id, work.live.requester, work.room)
    work.live.status = RunStatus.RUNNING
    work.live.started_at = work.live.started_at or work.tx.now


def _run_finished(work: Working, event: ev.RunFinished, seq: int) -> None:
    del seq
    run = work.live
    if not event.status.is_final:
        raise JournalError(f"A run cannot finish as {event.status.value}.")
    if event.follow_ups >= 0 and cards.is_anything_left(work, event.follow_ups):
        raise Overtaken
    run.status, run.ended_at = event.status, work.tx.now
    run.answer_blob, run.summary = event.answer_blob, event.summary
    if work.tx.known.may_be_halted(work.tx.conn):
        query = "UPDATE control SET lifted_at = ? WHERE run = ? AND lifted_at IS NULL"
        work.tx.conn.execute(query, (work.tx.now, work.id))
    work.bump(f"answer:{work.id}", LANE_DECISION)
    work.tx.signal("home", run.requester)


def _co_requester(work: Working, event: ev.CoRequesterAdded | ev.FollowUpReceived, seq: int) -> None:
    del seq
    if event.principal.key != work.live.requester:
        work.tx.conn.execute("INSERT OR IGNORE INTO co_requesters VALUES (?, ?)", (work.id, event.principal.key))


def _model_call_started(work: Working, event: ev.ModelCallStarted, seq: int) -> None:
    del seq
    _within_budgets(work, event.reserved_micro_usd)
    beside, day, held = event.purpose == "question", ledger.day_of(work.tx.now), event.reserved_micro_usd
    query = "INSERT INTO calls(run, id, reserved_micro_usd, beside, day, model) VALUES (?, ?, ?, ?, ?, ?)"
    work.tx.conn.execute(query, (work.id, event.call, held, beside, day, event.model))
    if held:
        ledger.reserve(work.tx.conn, day, work.live.requester, event.model, held)
    work.live.reserved += held
    work.live.in_flight += not beside


def _model_call_ended(work: Working, event: ev.ModelCallFinished | ev.ModelCallFailed, seq: int) -> None:
    del seq
    row = work.tx.conn.execute(
        "DELETE FROM calls WHERE run = ? AND id = ? RETURNING reserved_micro_usd, beside, day, model",
        (work.id, event.call),
    ).fetchone()
    if row is None:
        raise JournalError(f"Model call {event.call} is not on the wire.")
    run = work.live
    if row[0] or event.cost_micro_usd:
        ledger.settle(work.tx.conn, row[2], run.requester, row[3], row[0], event.cost_micro_usd)
    run.reserved -= row[0]
    run.spent += event.cost_micro_usd
    run.in_flight -= not row[1]


def _within_budgets(work: Working, micro_usd: int) -> None:
    """Raise BudgetExceeded when so much more would break the run's budget or one of the day's."""
    run = work.live
    if micro_usd and work.budget is not None and run.spent + run.reserved + micro_usd > work.budget:
        raise BudgetExceeded
    if micro_usd and work.budgets is not None:
        refused = ledger.refusal(work.tx.conn, work.tx.now, run.requester, micro_usd, work.budgets)
        if refused is not None:
            raise refused


def _step_started(work: Working, event: ev.StepStarted, seq: int) -> None:
    del event, seq
    work.live.steps += 1


def _step_finished(work: Working, event: ev.StepFinished | ev.StepEvaluated | ev.HistoryTrimmed, seq: int) -> None:
    del seq
    _known_step(work, event.step)


def _known_step(work: Working, step: int) -> None:
    if not 0 <= step < work.live.steps:
        raise JournalError(f"Run {work.id} has no step {step}.")


def _action_proposed(work: Working, event: ev.ActionProposed, seq: int) -> None:
    action = event.action
    _known_step(work, action.step)
    if work.find_action(action.id) is not None:
        raise JournalError(f"Action {action.id} was proposed before.")
    work.actions[action.id] = ActionRow(
        action.id, action.step, action.tool, None, "proposed", None, action.digest, proposed_seq=seq, is_new=True
    )
    if action.revision is not None:
        cards.revised(work, action.id, action.revision)


def _action_rated(work: Working, event: ev.ActionRated, seq: int) -> None:
    item = work.action(event.action)
    work.reopen(item, "allowed" if event.goes else "proposed")
    item.tier, item.rated_seq = event.tier, seq


def _action_started(work: Working, event: ev.ActionStarted, seq: int) -> None:
    del seq
    item = work.action(event.action)
    if item.phase not in {"allowed", "approved"}:
        raise AlreadyStarted if item.phase in {"started", "finished"} else ApprovalNotValid
    work.move(item, "started")
    item.attempt, item.lease_token, item.resumed = event.attempt, event.lease_token, 0
    item.started_at = work.tx.now
    if event.grant:
        grants.grant_used(work, event)
    if item.approval:
        work.bump(f"card:{item.approval}", LANE_DECISION)


def _action_resumed(work: Working, event: ev.ActionResumed, seq: int) -> None:
    del seq
    item = work.action(event.action)
    if item.started_at is None:
        raise JournalError(f"Action {item.id} was never started, so it cannot be resumed.")
    work.move(item, "allowed")
    item.attempt, item.lease_token, item.resumed = item.attempt + 1, "", 1


def _action_finished(work: Working, event: ev.ActionFinished, seq: int) -> None:
    item = work.action(event.action)
    if item.phase == "finished" and item.outcome != Outcome.UNKNOWN:
        raise JournalError(f"Action {item.id} has ended already ({item.outcome}).")
    work.end_action(item, event.outcome, seq)
    if work.live.waiting_on:
        takeovers.packet_lists(work)
    if item.approval:
        work.bump(f"card:{item.approval}", LANE_DECISION)
        cards.outcome(work, item.approval)
    elif event.outcome in {Outcome.REFUSED, Outcome.CANCELLED}:
        cards.refresh_ancestor(work, item.id)


def _only_told(work: Working, event: ev.Event, seq: int) -> None:
    """The event stands in the journal and in the progress; no row of its own follows from it."""
    del work, event, seq


_TABLE: dict[type[ev.Event], Callable[[Working, Any, int], None]] = {
    ev.RunCreated: _run_created,
    ev.RunStarted: _run_started,
    ev.RunFinished: _run_finished,
    ev.CoRequesterAdded: _co_requester,
    ev.FollowUpReceived: _co_requester,
    ev.ModelCallStarted: _model_call_started,
    ev.ModelCallFinished: _model_call_ended,
    ev.ModelCallFailed: _model_call_ended,
    ev.PlanMade: _only_told,
    ev.PlanFailed: _only_told,
    ev.StepStarted: _step_started,
    ev.StepFinished: _step_finished,
    ev.StepEvaluated: _step_finished,
    ev.HistoryTrimmed: _step_finished,
    ev.ActionProposed: _action_proposed,
    ev.ActionRated: _action_rated,
    ev.ActionStarted: _action_started,
    ev.ActionFinished: _action_finished,
    ev.ActionResumed: _action_resumed,
    ev.ApprovalRequested: approvals.approval_requested,
    ev.ApprovalDelivered: approvals.approval_delivered,
    ev.ApprovalReminded: approvals.approval_reminded,
    ev.DecidersChanged: approvals.deciders_changed,
    ev.VoteCast: approvals.vote_cast,
    ev.ApprovalDecided: approvals.approval_decided,
    ev.DenialExplained: approvals.denial_explained,
    ev.GrantGiven: grants.grant_given,
    ev.GrantRevoked: grants.grant_revoked,
    ev.TakeoverOpened: takeovers.takeover_opened,
    ev.TakeoverClaimed: takeovers.takeover_claimed,
    ev.TakeoverReleased: takeovers.takeover_released,
    ev.TakeoverReminded: takeovers.takeover_reminded,
    ev.TakeoverAsked: takeovers.takeover_asked,
    ev.TakeoverAnswered: takeovers.takeover_answered,
    ev.TakeoverClosed: takeovers.takeover_closed,
    ev.FilesAttached: _only_told,
    ev.StopRequested: _only_told,
    ev.ChangesUndone: _only_told,
    ev.TimeRanOut: _only_told,
}

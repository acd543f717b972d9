"""From events to rows: one function an event type, called in the transaction that writes the event.

A function also refuses what would not fold (agent/state.py), so that a journal which was written can always be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from agent import events as ev
from agent.domain import ApprovalState, Outcome, RunStatus, Tier
from agent.errors import AlreadyDecided, AlreadyStarted, ApprovalNotValid, JournalError
from storage.working import LANE_CARD, LANE_DECISION, LANE_PROGRESS, LANE_TAKEOVER, ActionRow, RunRow, Working

TITLE_CHARS = 200
REMIND_AFTER_S = 6 * 3600.0
ESCALATE_AFTER_S = 12 * 3600.0
#: A card whose deadline moves by less is not worth an update of its own.
_VISIBLE_MOVE_S = 30.0
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
)
_QUIET = (ev.ModelCallStarted, ev.ModelCallFinished, ev.ModelCallFailed, ev.VoteCast, ev.ApprovalDelivered)
_OUTCOME_OF = {
    ApprovalState.DENIED: Outcome.DENIED,
    ApprovalState.EXPIRED: Outcome.EXPIRED,
    ApprovalState.WITHDRAWN: Outcome.WITHDRAWN,
    ApprovalState.SUPERSEDED: Outcome.WITHDRAWN,
}
_OUTCOME_OF_TAKEOVER = {
    "done": Outcome.DONE_BY_HUMAN,
    "handed_back": Outcome.WITHDRAWN,
    "aborted": Outcome.CANCELLED,
}


def project(work: Working, event: ev.Event, seq: int) -> None:
    """Change the rows as one event says; raises JournalError or AlreadyDecided when it does not fit them."""
    if not isinstance(event, (ev.RunCreated, *AFTER_THE_END)):
        work.must_not_be_over(event.type)
    _TABLE[type(event)](work, event, seq)
    if not isinstance(event, _QUIET):
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
    work.tx.signal("home", task.principal.key)


def _run_started(work: Working, event: ev.RunStarted, seq: int) -> None:
    del event, seq
    work.live.status = RunStatus.RUNNING
    work.live.started_at = work.live.started_at or work.tx.now


def _run_finished(work: Working, event: ev.RunFinished, seq: int) -> None:
    del seq
    run = work.live
    if not event.status.is_final:
        raise JournalError(f"A run cannot finish as {event.status.value}.")
    run.status, run.ended_at = event.status, work.tx.now
    run.answer_blob, run.summary = event.answer_blob, event.summary
    work.tx.conn.execute(
        "UPDATE control SET lifted_at = ? WHERE run = ? AND lifted_at IS NULL", (work.tx.now, work.id)
    )  # fmt: skip
    work.bump(f"answer:{work.id}", LANE_DECISION)
    work.tx.signal("home", run.requester)


def _co_requester(work: Working, event: ev.CoRequesterAdded | ev.FollowUpReceived, seq: int) -> None:
    del seq
    if event.principal.key != work.live.requester:
        work.tx.conn.execute("INSERT OR IGNORE INTO co_requesters VALUES (?, ?)", (work.id, event.principal.key))


def _model_call_started(work: Working, event: ev.ModelCallStarted, seq: int) -> None:
    del seq
    work.tx.conn.execute("INSERT INTO calls VALUES (?, ?, ?)", (work.id, event.call, event.reserved_micro_usd))
    work.live.reserved += event.reserved_micro_usd
    work.live.in_flight += 1


def _model_call_ended(work: Working, event: ev.ModelCallFinished | ev.ModelCallFailed, seq: int) -> None:
    del seq
    row = work.tx.conn.execute(
        "DELETE FROM calls WHERE run = ? AND id = ? RETURNING reserved_micro_usd", (work.id, event.call)
    ).fetchone()
    if row is None:
        raise JournalError(f"Model call {event.call} is not on the wire.")
    run = work.live
    run.reserved -= row[0]
    run.spent += event.cost_micro_usd
    run.in_flight -= 1


def _step_started(work: Working, event: ev.StepStarted, seq: int) -> None:
    del event, seq
    work.live.steps += 1


def _step_finished(work: Working, event: ev.StepFinished, seq: int) -> None:
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


def _action_rated(work: Working, event: ev.ActionRated, seq: int) -> None:
    item = work.action(event.action)
    work.move(item, "allowed" if event.tier is Tier.LOW else "proposed")
    item.tier, item.rated_seq = event.tier, seq


def _action_started(work: Working, event: ev.ActionStarted, seq: int) -> None:
    del seq
    item = work.action(event.action)
    if item.phase not in {"allowed", "approved"}:
        raise AlreadyStarted if item.phase in {"started", "finished"} else ApprovalNotValid
    work.move(item, "started")
    item.attempt, item.lease_token, item.resumed = event.attempt, event.lease_token, 0
    item.started_at = work.tx.now


def _action_resumed(work: Working, event: ev.ActionResumed, seq: int) -> None:
    del seq
    item = work.action(event.action)
    if item.started_at is None:
        raise JournalError(f"Action {item.id} was never started, so it cannot be resumed.")
    work.move(item, "approved")
    item.attempt, item.resumed = item.attempt + 1, 1


def _action_finished(work: Working, event: ev.ActionFinished, seq: int) -> None:
    item = work.action(event.action)
    if item.phase == "finished" and item.outcome != Outcome.UNKNOWN:
        raise JournalError(f"Action {item.id} has ended already ({item.outcome}).")
    _end_action(work, item, event.outcome, seq)
    if item.approval:
        work.bump(f"card:{item.approval}", LANE_DECISION)


def _end_action(work: Working, item: ActionRow, outcome: Outcome, seq: int) -> None:
    work.move(item, "finished")
    item.outcome, item.ended_seq, item.ended_at = outcome, seq, work.tx.now


def _approval_requested(work: Working, event: ev.ApprovalRequested, seq: int) -> None:
    del seq
    item = work.action(event.action)
    work.tx.conn.execute(
        "INSERT INTO approvals VALUES "
        "(?, ?, ?, ?, ?, 'pending', ?, ?, ?, NULL, NULL, '', '', NULL, NULL, NULL, ?, ?, 0, ?)",
        (event.approval, work.id, event.action, event.digest, event.epoch, event.created_at, event.expires_at,
         event.timeout_s, event.quorum, json.dumps(event.deciders, separators=(",", ":")), event.because),
    )  # fmt: skip
    work.move(item, "asked")
    item.approval = event.approval
    work.live.waiting_on += 1
    work.bump(f"card:{event.approval}", LANE_CARD)
    work.tx.signal("deadline")


def _approval(work: Working, approval: str) -> tuple[str, str, float | None, float | None, float]:
    row: tuple[str, str, float | None, float | None, float] | None = work.tx.conn.execute(
        "SELECT action, state, reason_until, consumed_at, expires_at FROM approvals WHERE id = ? AND run = ?",
        (approval, work.id),
    ).fetchone()
    if row is None:
        raise JournalError(f"Run {work.id} has no approval {approval}.")
    return row


def _approval_delivered(work: Working, event: ev.ApprovalDelivered, seq: int) -> None:
    del seq
    expires_at = _approval(work, event.approval)[4]
    work.tx.conn.execute(
        "UPDATE approvals SET delivered_at = ?, expires_at = ? WHERE id = ?",
        (event.delivered_at, event.expires_at, event.approval),
    )
    if abs(event.expires_at - expires_at) > _VISIBLE_MOVE_S:
        work.bump(f"card:{event.approval}", LANE_DECISION)
    work.tx.signal("deadline")


def _vote_cast(work: Working, event: ev.VoteCast, seq: int) -> None:
    del seq
    _approval(work, event.approval)
    work.tx.conn.execute(
        "INSERT INTO votes VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET vote = excluded.vote, at = excluded.at",
        (event.approval, event.principal.key, event.vote, event.at),
    )
    work.bump(f"card:{event.approval}", LANE_DECISION)


def _approval_decided(work: Working, event: ev.ApprovalDecided, seq: int) -> None:
    action, state, reason_until, consumed_at, _ = _approval(work, event.approval)
    takes_back = state == ApprovalState.APPROVED and event.state is ApprovalState.WITHDRAWN
    if state != ApprovalState.PENDING and not takes_back:
        raise _decided(work, event.approval)
    if consumed_at is not None:
        raise AlreadyStarted
    work.tx.conn.execute(
        "UPDATE approvals SET state = ?, decided_at = ?, decided_by = ?, reason = ?, start_before = ?, reason_until = ?, "
        "self_approved = ? WHERE id = ?",
        (event.state, event.at, event.by, event.reason, event.start_before or None, event.reason_until or None,
         event.self_approved, event.approval),
    )  # fmt: skip
    work.live.waiting_on += (event.reason_until > 0) - (state == ApprovalState.PENDING or reason_until is not None)
    item = work.action(action)
    if event.state is ApprovalState.APPROVED:
        work.move(item, "approved")
    elif item.phase != "finished":
        _end_action(work, item, _OUTCOME_OF[event.state], seq)
    work.bump(f"card:{event.approval}", LANE_DECISION)
    work.tx.signal("deadline")


def _decided(work: Working, approval: str) -> AlreadyDecided:
    state, by, at = work.tx.conn.execute(
        "SELECT state, decided_by, decided_at FROM approvals WHERE id = ?", (approval,)
    ).fetchone()
    return AlreadyDecided(state=state, by=by, at=at)


def _denial_explained(work: Working, event: ev.DenialExplained, seq: int) -> None:
    del seq
    reason_until = _approval(work, event.approval)[2]
    work.tx.conn.execute(
        "UPDATE approvals SET reason_until = NULL, reason = CASE WHEN ? = '' THEN reason ELSE ? END WHERE id = ?",
        (event.reason, event.reason, event.approval),
    )
    work.live.waiting_on -= reason_until is not None
    if event.reason:
        work.bump(f"card:{event.approval}", LANE_DECISION)
    work.tx.signal("deadline")


def _takeover_opened(work: Working, event: ev.TakeoverOpened, seq: int) -> None:
    del seq
    item = work.action(event.action)
    next_at = min(event.opened_at + REMIND_AFTER_S, event.give_up_at)
    work.tx.conn.execute(
        "INSERT INTO takeovers VALUES (?, ?, ?, 'open', ?, ?, ?, '', '', NULL, NULL, NULL, NULL, ?, NULL, '', '', '', '', "
        "?, ?)",
        (event.takeover, work.id, event.action, event.cause, event.opened_at, event.give_up_at, next_at, event.epoch,
         json.dumps(event.deciders, separators=(",", ":"))),
    )  # fmt: skip
    work.move(item, "with_person")
    item.takeover = event.takeover
    work.live.waiting_on += 1
    work.bump(f"takeover:{event.takeover}", LANE_TAKEOVER)
    work.tx.signal("deadline")


def _takeover(work: Working, takeover: str) -> tuple[str, float, float, float | None, float | None]:
    """Action, opened, give up, reminded and escalated; raises AlreadyDecided when it is over."""
    row = work.tx.conn.execute(
        "SELECT state, closed_by, closed_at, action, opened_at, give_up_at, reminded_at, escalated_at FROM takeovers "
        "WHERE id = ? AND run = ?",
        (takeover, work.id),
    ).fetchone()
    if row is None:
        raise JournalError(f"Run {work.id} has no takeover {takeover}.")
    if row[2] is not None:
        raise AlreadyDecided(state=row[0], by=row[1], at=row[2])
    return row[3:]


def _takeover_claimed(work: Working, event: ev.TakeoverClaimed, seq: int) -> None:
    del seq
    _takeover(work, event.takeover)
    work.tx.conn.execute(
        "UPDATE takeovers SET state = 'claimed', claimed_by = ?, claim_token = ?, claimed_at = ?, claim_until = ?, "
        "next_at = ? WHERE id = ?",
        (event.by.key, event.claim_token, event.at, event.until, event.until, event.takeover),
    )
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    work.tx.signal("deadline")


def _takeover_released(work: Working, event: ev.TakeoverReleased, seq: int) -> None:
    del seq
    _, opened, give_up, reminded, escalated = _takeover(work, event.takeover)
    work.tx.conn.execute(
        "UPDATE takeovers SET state = 'open', claimed_by = '', claim_token = '', claimed_at = NULL, claim_until = NULL, "
        "next_at = ? WHERE id = ?",
        (_next_look(opened, give_up, reminded, escalated), event.takeover),
    )
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    work.tx.signal("deadline")


def _takeover_reminded(work: Working, event: ev.TakeoverReminded, seq: int) -> None:
    del seq
    _, opened, give_up, reminded, escalated = _takeover(work, event.takeover)
    reminded = reminded or event.at
    escalated = escalated or (event.at if event.escalated else None)
    work.tx.conn.execute(
        "UPDATE takeovers SET reminded_at = ?, escalated_at = ?, "
        "next_at = CASE WHEN state = 'open' THEN ? ELSE next_at END WHERE id = ?",
        (reminded, escalated, _next_look(opened, give_up, reminded, escalated), event.takeover),
    )
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    work.tx.signal("deadline")


def _next_look(opened: float, give_up: float, reminded: float | None, escalated: float | None) -> float:
    if escalated is not None:
        return give_up
    return min(give_up, opened + (REMIND_AFTER_S if reminded is None else ESCALATE_AFTER_S))


def _takeover_closed(work: Working, event: ev.TakeoverClosed, seq: int) -> None:
    action = _takeover(work, event.takeover)[0]
    work.tx.conn.execute(
        "UPDATE takeovers SET state = ?, next_at = NULL, closed_at = ?, closed_by = ?, what = ?, reference = ?, "
        "evidence = ? WHERE id = ?",
        (event.state, event.at, event.by, event.what, event.reference, event.evidence, event.takeover),
    )
    _end_action(work, work.action(action), _OUTCOME_OF_TAKEOVER[event.state], seq)
    work.live.epoch = max(work.live.epoch, event.epoch)
    work.live.waiting_on -= 1
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    work.tx.signal("deadline")


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
    ev.ActionProposed: _action_proposed,
    ev.ActionRated: _action_rated,
    ev.ActionStarted: _action_started,
    ev.ActionFinished: _action_finished,
    ev.ActionResumed: _action_resumed,
    ev.ApprovalRequested: _approval_requested,
    ev.ApprovalDelivered: _approval_delivered,
    ev.VoteCast: _vote_cast,
    ev.ApprovalDecided: _approval_decided,
    ev.DenialExplained: _denial_explained,
    ev.TakeoverOpened: _takeover_opened,
    ev.TakeoverClaimed: _takeover_claimed,
    ev.TakeoverReleased: _takeover_released,
    ev.TakeoverReminded: _takeover_reminded,
    ev.TakeoverClosed: _takeover_closed,
    ev.StopRequested: _only_told,
    ev.TimeRanOut: _only_told,
}

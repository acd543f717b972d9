"""From events to the rows of approvals and votes."""

from __future__ import annotations

import json

from agent import events as ev
from agent.domain import ApprovalState, Outcome
from agent.errors import AlreadyDecided, AlreadyStarted
from storage.projected_cards import outcome, refresh_siblings
from storage.working import LANE_CARD, LANE_DECISION, Working

#: Shares of an approval's time after which it is reminded of and escalated.
REMIND_AT, ESCALATE_AT = 0.25, 0.5
#: A card whose deadline moves by less is not worth an update of its own.
_VISIBLE_MOVE_S = 30.0
_OUTCOME_OF = {
    ApprovalState.DENIED: Outcome.DENIED,
    ApprovalState.EXPIRED: Outcome.EXPIRED,
    ApprovalState.WITHDRAWN: Outcome.WITHDRAWN,
    ApprovalState.SUPERSEDED: Outcome.WITHDRAWN,
}


def approval_requested(work: Working, event: ev.ApprovalRequested, seq: int) -> None:
    """A pending approval, its deadline and its card."""
    del seq
    item = work.action(event.action)
    work.tx.conn.execute(
        "INSERT INTO approvals VALUES "
        "(?, ?, ?, ?, ?, 'pending', ?, ?, ?, NULL, NULL, '', '', NULL, NULL, NULL, ?, ?, 0, ?, NULL, NULL, ?)",
        (event.approval, work.id, event.action, event.digest, event.epoch, event.created_at, event.expires_at,
         event.timeout_s, event.quorum, json.dumps(event.deciders, separators=(",", ":")), event.because,
         event.created_at + REMIND_AT * event.timeout_s),
    )  # fmt: skip
    if event.rules or event.escalate_to or event.reason_for or event.floor_s:
        lists = (event.rules, event.escalate_to, event.reason_for)
        work.tx.conn.execute(
            "INSERT INTO approval_terms VALUES (?, ?, ?, ?, ?)",
            (event.approval, *(json.dumps(one) for one in lists), event.floor_s),
        )
    work.reopen(item, "asked")
    item.approval = event.approval
    work.live.waiting_on += 1
    refresh_siblings(work, event.approval, own=1)
    work.bump(f"card:{event.approval}", LANE_CARD)
    work.tx.signal("deadline")


def approval_delivered(work: Working, event: ev.ApprovalDelivered, seq: int) -> None:
    """The card stands; the deadline may move."""
    del seq
    asked = work.approval(event.approval)
    work.tx.conn.execute(
        "UPDATE approvals SET delivered_at = ?, expires_at = ?, remind_at = CASE WHEN reminded_at IS NULL "
        "THEN ? - timeout_s * ? ELSE remind_at END WHERE id = ?",
        (event.delivered_at, event.expires_at, event.expires_at, 1 - REMIND_AT, event.approval),
    )
    if abs(event.expires_at - asked.expires_at) > _VISIBLE_MOVE_S:
        work.bump(f"card:{event.approval}", LANE_DECISION)
    asked.expires_at = event.expires_at
    work.tx.signal("deadline")


def approval_reminded(work: Working, event: ev.ApprovalReminded, seq: int) -> None:
    """The card says how long it has waited, and a word in its thread tells those who may decide."""
    del seq
    work.approval(event.approval)
    next_at = "NULL" if event.escalated else "expires_at - timeout_s * ?"
    values = () if event.escalated else (1 - ESCALATE_AT,)
    column = "escalated_at" if event.escalated else "reminded_at"
    work.tx.conn.execute(
        f"UPDATE approvals SET {column} = ?, remind_at = {next_at} WHERE id = ?",  # noqa: S608  # of constants only
        (event.at, *values, event.approval),
    )
    if event.deciders:
        (known,) = work.tx.conn.execute(
            "SELECT deciders_json FROM approvals WHERE id = ?", (event.approval,)
        ).fetchone()
        deciders = tuple(dict.fromkeys((*json.loads(known), *event.deciders)))
        work.tx.conn.execute(
            "UPDATE approvals SET deciders_json = ? WHERE id = ?",
            (json.dumps(deciders, separators=(",", ":")), event.approval),
        )
    work.bump(f"card:{event.approval}", LANE_DECISION)
    work.bump(f"{'escalation' if event.escalated else 'reminder'}:{event.approval}", LANE_CARD)
    work.tx.signal("deadline")


def deciders_changed(work: Working, event: ev.DecidersChanged, seq: int) -> None:
    """Others may decide from here on, and the card names them."""
    del seq
    work.approval(event.approval)
    work.tx.conn.execute(
        "UPDATE approvals SET deciders_json = ? WHERE id = ?",
        (json.dumps(event.deciders, separators=(",", ":")), event.approval),
    )
    work.bump(f"card:{event.approval}", LANE_DECISION)


def vote_cast(work: Working, event: ev.VoteCast, seq: int) -> None:
    """One person's vote; a later one of theirs replaces it."""
    del seq
    work.approval(event.approval)
    work.tx.conn.execute(
        "INSERT INTO votes VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET vote = excluded.vote, at = excluded.at",
        (event.approval, event.principal.key, event.vote, event.at),
    )
    work.bump(f"card:{event.approval}", LANE_DECISION)


def approval_decided(work: Working, event: ev.ApprovalDecided, seq: int) -> None:
    """The one decision; raises AlreadyDecided, or AlreadyStarted when a yes was used up."""
    asked = work.approval(event.approval)
    state = asked.state
    takes_back = state == ApprovalState.APPROVED and event.state is ApprovalState.WITHDRAWN
    if state != ApprovalState.PENDING and not takes_back:
        raise _decided(work, event.approval)
    if asked.consumed_at is not None:
        raise AlreadyStarted
    work.tx.conn.execute(
        "UPDATE approvals SET state = ?, decided_at = ?, decided_by = ?, reason = ?, start_before = ?, "
        "reason_until = ?, self_approved = ?, remind_at = NULL WHERE id = ?",
        (event.state, event.at, event.by, event.reason, event.start_before or None, event.reason_until or None,
         event.self_approved, event.approval),
    )  # fmt: skip
    work.live.waiting_on += (event.reason_until > 0) - (
        state == ApprovalState.PENDING or asked.reason_until is not None
    )
    asked.state, asked.reason_until = event.state, event.reason_until or None
    item = work.action(asked.action)
    if event.state is ApprovalState.APPROVED:
        work.move(item, "approved")
    elif item.phase != "finished":
        work.end_action(item, _OUTCOME_OF[event.state], seq)
        if event.state is not ApprovalState.SUPERSEDED:
            outcome(work, event.approval)
    refresh_siblings(work, event.approval, own=0)
    work.bump(f"card:{event.approval}", LANE_DECISION)
    work.tx.signal("deadline")


def _decided(work: Working, approval: str) -> AlreadyDecided:
    state, by, at = work.tx.conn.execute(
        "SELECT state, decided_by, decided_at FROM approvals WHERE id = ?", (approval,)
    ).fetchone()
    return AlreadyDecided(state=state, by=by, at=at)


def denial_explained(work: Working, event: ev.DenialExplained, seq: int) -> None:
    """The reason for a denial, or the end of the waiting for it."""
    del seq
    asked = work.approval(event.approval)
    work.tx.conn.execute(
        "UPDATE approvals SET reason_until = NULL, reason = CASE WHEN ? = '' THEN reason ELSE ? END WHERE id = ?",
        (event.reason, event.reason, event.approval),
    )
    work.live.waiting_on -= asked.reason_until is not None
    asked.reason_until = None
    if event.reason:
        work.bump(f"card:{event.approval}", LANE_DECISION)
        outcome(work, event.approval)
    work.tx.signal("deadline")

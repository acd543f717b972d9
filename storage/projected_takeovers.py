"""From events to the rows of takeovers."""

from __future__ import annotations

import json

from agent import events as ev
from agent.domain import Outcome
from agent.errors import AlreadyDecided, JournalError
from storage.projected_cards import outcome
from storage.working import LANE_DECISION, LANE_TAKEOVER, Working

REMIND_AFTER_S = 6 * 3600.0
ESCALATE_AFTER_S = 12 * 3600.0
# An unknown that a person says has happened did happen: by the agent, before the crash.
_OUTCOME_OF_TAKEOVER = {
    ("high", "done"): Outcome.DONE_BY_HUMAN,
    ("unknown", "done"): Outcome.SUCCEEDED,
    ("high", "handed_back"): Outcome.WITHDRAWN,
    ("unknown", "handed_back"): Outcome.WITHDRAWN,
    ("high", "aborted"): Outcome.CANCELLED,
    ("unknown", "aborted"): Outcome.UNKNOWN,
}


def takeover_opened(work: Working, event: ev.TakeoverOpened, seq: int) -> None:
    """An open takeover and its packet."""
    del seq
    item = work.action(event.action)
    next_at = min(event.opened_at + REMIND_AFTER_S, event.give_up_at)
    work.tx.conn.execute(
        "INSERT INTO takeovers VALUES "
        "(?, ?, ?, 'open', ?, ?, ?, '', '', NULL, NULL, NULL, NULL, ?, NULL, '', '', '', '', ?, ?, '')",
        (event.takeover, work.id, event.action, event.cause, event.opened_at, event.give_up_at, next_at, event.epoch,
         json.dumps(event.deciders, separators=(",", ":"))),
    )  # fmt: skip
    work.move(item, "with_person")
    item.takeover = event.takeover
    work.live.waiting_on += 1
    work.bump(f"takeover:{event.takeover}", LANE_TAKEOVER)
    work.tx.signal("deadline")


def _takeover(work: Working, takeover: str) -> tuple[str, float, float, float | None, float | None, str]:
    """Action, opened, give up, reminded, escalated and cause; raises AlreadyDecided when it is over."""
    row = work.tx.conn.execute(
        "SELECT state, closed_by, closed_at, action, opened_at, give_up_at, reminded_at, escalated_at, cause "
        "FROM takeovers WHERE id = ? AND run = ?",
        (takeover, work.id),
    ).fetchone()
    if row is None:
        raise JournalError(f"Run {work.id} has no takeover {takeover}.")
    if row[2] is not None:
        raise AlreadyDecided(state=row[0], by=row[1], at=row[2])
    return row[3:]


def takeover_claimed(work: Working, event: ev.TakeoverClaimed, seq: int) -> None:
    """Somebody has it; to whom it was given is told so."""
    _takeover(work, event.takeover)
    work.tx.conn.execute(
        "UPDATE takeovers SET state = 'claimed', claimed_by = ?, claim_token = ?, claimed_at = ?, claim_until = ?, "
        "next_at = ?, given_by = ? WHERE id = ?",
        (event.by.key, event.claim_token, event.at, event.until, event.until, event.given_by, event.takeover),
    )
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    if event.given_by:
        work.bump(f"note:{event.takeover}/{seq}", LANE_TAKEOVER)
    work.tx.signal("deadline")


def takeover_released(work: Working, event: ev.TakeoverReleased, seq: int) -> None:
    """Nobody has it any more, which is said in its thread."""
    _, opened, give_up, reminded, escalated, _ = _takeover(work, event.takeover)
    work.tx.conn.execute(
        "UPDATE takeovers SET state = 'open', claimed_by = '', claim_token = '', claimed_at = NULL, "
        "claim_until = NULL, next_at = ?, given_by = '' WHERE id = ?",
        (_next_look(opened, give_up, reminded, escalated), event.takeover),
    )
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    if event.why != "reassigned":  # then its new holder is told
        work.bump(f"note:{event.takeover}/{seq}", LANE_TAKEOVER)
    work.tx.signal("deadline")


def takeover_reminded(work: Working, event: ev.TakeoverReminded, seq: int) -> None:
    """It was reminded of, perhaps escalated: a word in its thread, since an update would tell nobody."""
    _, opened, give_up, reminded, escalated, _ = _takeover(work, event.takeover)
    reminded = reminded or event.at
    escalated = escalated or (event.at if event.escalated else None)
    work.tx.conn.execute(
        "UPDATE takeovers SET reminded_at = ?, escalated_at = ?, "
        "next_at = CASE WHEN state = 'open' THEN ? ELSE next_at END WHERE id = ?",
        (reminded, escalated, _next_look(opened, give_up, reminded, escalated), event.takeover),
    )
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    work.bump(f"note:{event.takeover}/{seq}", LANE_TAKEOVER)
    work.tx.signal("deadline")


def _next_look(opened: float, give_up: float, reminded: float | None, escalated: float | None) -> float:
    if escalated is not None:
        return give_up
    return min(give_up, opened + (REMIND_AFTER_S if reminded is None else ESCALATE_AFTER_S))


def packet_lists(work: Working) -> None:
    """What still ran when a takeover opened has ended: its packet lists what it came to."""
    query = "SELECT id FROM takeovers WHERE run = ? AND closed_at IS NULL"
    for (takeover,) in work.tx.conn.execute(query, (work.id,)):
        work.bump(f"takeover:{takeover}", LANE_DECISION)


def takeover_asked(work: Working, event: ev.TakeoverAsked, seq: int) -> None:
    """A question in its thread; one that nobody answers counts as answered with nothing."""
    _takeover(work, event.takeover)
    work.tx.conn.execute(
        "INSERT INTO questions VALUES (?, ?, ?, ?, ?, ?, ?)",
        (work.id, seq, event.takeover, event.by.key, event.quiet, event.text_blob, "" if event.quiet else None),
    )


def takeover_answered(work: Working, event: ev.TakeoverAnswered, seq: int) -> None:
    """The answer, once."""
    del seq
    answered = work.tx.conn.execute(
        "UPDATE questions SET answer_blob = ? WHERE run = ? AND seq = ? AND answer_blob IS NULL",
        (event.answer_blob, work.id, event.question),
    )
    if answered.rowcount != 1:
        raise JournalError(f"Run {work.id} has no open question {event.question}.")
    if event.answer_blob:
        work.bump(f"said:{event.takeover}/{event.question}", LANE_TAKEOVER)


def takeover_closed(work: Working, event: ev.TakeoverClosed, seq: int) -> None:
    """It is over; a hand-back moves the run's epoch."""
    action, *_, cause = _takeover(work, event.takeover)
    work.tx.conn.execute(
        "UPDATE takeovers SET state = ?, next_at = NULL, closed_at = ?, closed_by = ?, what = ?, reference = ?, "
        "evidence = ? WHERE id = ?",
        (event.state, event.at, event.by, event.what, event.reference, event.evidence, event.takeover),
    )
    item = work.action(action)
    work.end_action(item, _OUTCOME_OF_TAKEOVER[cause, event.state], seq)
    if item.approval:  # its card and the reply there said "unknown" until now
        work.bump(f"card:{item.approval}", LANE_DECISION)
        outcome(work, item.approval)
    work.live.epoch = max(work.live.epoch, event.epoch)
    work.live.waiting_on -= 1
    work.bump(f"takeover:{event.takeover}", LANE_DECISION)
    work.tx.signal("deadline")

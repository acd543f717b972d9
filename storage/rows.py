"""Rows as frozen values, for those who decide and those who show."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.domain import Tier
from agent.events import ApprovalDecided, Event

_APPROVAL = """SELECT a.id, a.run, a.action, c.tool, c.tier, a.digest, a.epoch, a.state, a.created_at, a.expires_at,
  a.timeout_s, coalesce(a.delivered_at, 0.0), coalesce(a.decided_at, 0.0), a.decided_by, a.reason,
  coalesce(a.start_before, 0.0), coalesce(a.reason_until, 0.0), coalesce(a.consumed_at, 0.0), a.quorum, a.self_approved,
  a.because, coalesce(a.reminded_at, 0.0), coalesce(a.escalated_at, 0.0), r.requester, r.team, a.deciders_json,
  r.channel, m.rules_json, m.escalate_json, m.reason_json,
  coalesce(m.floor_s, 0.0)
  FROM approvals a JOIN actions c ON c.run = a.run AND c.id = a.action
  JOIN runs r ON r.id = a.run LEFT JOIN approval_terms m ON m.approval = a.id"""
_TAKEOVER = """SELECT t.id, t.run, t.action, c.tool, t.state, t.cause, t.opened_at, t.give_up_at, t.claimed_by,
  t.claim_token, coalesce(t.claimed_at, 0.0), coalesce(t.claim_until, 0.0), coalesce(t.reminded_at, 0.0),
  coalesce(t.escalated_at, 0.0), coalesce(t.closed_at, 0.0), t.closed_by, t.what, t.reference, t.evidence, t.epoch,
  r.requester, r.team, t.deciders_json, t.given_by, r.channel, json_extract(e.payload, '$.rules')
  FROM takeovers t JOIN actions c ON c.run = t.run AND c.id = t.action JOIN runs r ON r.id = t.run
  LEFT JOIN events e ON e.run = t.run AND e.seq = c.rated_seq"""


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """An approval as it stands. Business seconds; 0 means "not yet"."""

    id: str
    run: str
    action: str
    tool: str
    tier: Tier
    digest: str
    epoch: int
    state: str
    created_at: float
    expires_at: float
    timeout_s: float
    delivered_at: float
    decided_at: float
    decided_by: str
    reason: str
    start_before: float
    reason_until: float
    consumed_at: float
    quorum: int
    self_approved: bool
    because: str
    reminded_at: float
    escalated_at: float
    requester: str
    team: str
    deciders: tuple[str, ...]
    channel: str = ""
    """Where the task was asked."""
    rules: tuple[str, ...] = ()
    """The rules that set who decides and how."""
    escalate_to: tuple[str, ...] = ()
    """Principal keys of who may decide as well once it is escalated."""
    reason_for: tuple[str, ...] = ()
    """Votes that need a reason: `approve`, `deny`."""
    floor_s: float = 0.0
    """Real seconds for which the card must have stood before a yes counts."""

    def counts_from(self, rate: float) -> float:
        """When (business time) a yes begins to count, at this rate of business seconds to real ones."""
        return (self.delivered_at or self.created_at) + self.floor_s * rate if self.floor_s else 0.0


@dataclass(frozen=True, slots=True)
class TakeoverRow:
    """A takeover as it stands. Business seconds; 0 means "not yet"."""

    id: str
    run: str
    action: str
    tool: str
    state: str
    cause: str
    opened_at: float
    give_up_at: float
    claimed_by: str
    claim_token: str
    claimed_at: float
    claim_until: float
    reminded_at: float
    escalated_at: float
    closed_at: float
    closed_by: str
    what: str
    reference: str
    evidence: str
    epoch: int
    requester: str
    team: str
    deciders: tuple[str, ...]
    given_by: str = ""
    """Who handed the claim on to its holder; empty when they took it themselves."""
    channel: str = ""
    """Where the task was asked."""
    rules: tuple[str, ...] = ()
    """The rules that set who decides; none when the policy's approvers do."""


def approval_rows(conn: sqlite3.Connection, where: str, values: tuple[object, ...]) -> tuple[ApprovalRow, ...]:
    """Approvals that a constant condition over `a` (approvals), `c` (actions) and `r` (runs) selects."""
    return tuple(_approval(*row) for row in conn.execute(f"{_APPROVAL} {where}", values))


def takeover_rows(conn: sqlite3.Connection, where: str, values: tuple[object, ...]) -> tuple[TakeoverRow, ...]:
    """Takeovers that a constant condition over `t` (takeovers), `c` (actions) and `r` (runs) selects."""
    return tuple(_takeover(*row) for row in conn.execute(f"{_TAKEOVER} {where}", values))


def _approval(*row: Any) -> ApprovalRow:  # noqa: ANN401  # the columns are the fields, in their order
    values = list(row)
    values[4] = Tier(row[4] or Tier.HIGH)
    values[19] = bool(row[19])
    values[25] = tuple(json.loads(row[25]))
    values[27:30] = [tuple(json.loads(text)) if text else () for text in row[27:30]]
    return ApprovalRow(*values)


def _takeover(*row: Any) -> TakeoverRow:  # noqa: ANN401  # the columns are the fields, in their order
    values = list(row)
    values[22] = tuple(json.loads(row[22]))
    values[25] = tuple(json.loads(row[25])) if row[25] else ()
    return TakeoverRow(*values)


def row_after(row: ApprovalRow, events: Sequence[Event]) -> ApprovalRow:
    """The row as it stands once a vote's events are written: what `find_approval` would find."""
    for event in events:
        if isinstance(event, ApprovalDecided) and event.approval == row.id:
            row = replace(
                row, state=event.state.value, decided_at=event.at, decided_by=event.by, reason=event.reason,
                start_before=event.start_before, reason_until=event.reason_until, self_approved=event.self_approved,
            )  # fmt: skip
    return row


def find_approval(conn: sqlite3.Connection, approval: str) -> ApprovalRow | None:
    """One approval, or None."""
    return next(iter(approval_rows(conn, "WHERE a.id = ?", (approval,))), None)


def fetch_approval(
    fetch: Callable[[str, Sequence[object]], Iterable[Sequence[Any]]], approval: str
) -> ApprovalRow | None:
    """The same by one SELECT without a transaction around it: `Database.fetch`."""
    return next((_approval(*row) for row in fetch(f"{_APPROVAL} WHERE a.id = ?", (approval,))), None)


def find_takeover(conn: sqlite3.Connection, takeover: str) -> TakeoverRow | None:
    """One takeover, or None."""
    return next(iter(takeover_rows(conn, "WHERE t.id = ?", (takeover,))), None)

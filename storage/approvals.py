"""Decisions on approvals: votes, denials' reasons, withdrawal, delivery and the deadline. One winner each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol, TypeVar

from agent.domain import ApprovalState, Principal, RunStatus, Tier
from agent.errors import (
    AlreadyDecided,
    DecisionError,
    GrantRefused,
    NotEntitled,
    OwnRequest,
    ReasonRequired,
    Redelivered,
    TooSoon,
    UnknownSubject,
)
from agent.events import (
    ApprovalDecided,
    ApprovalDelivered,
    ApprovalReminded,
    CoRequesterAdded,
    DecidersChanged,
    DenialExplained,
    Event,
    VoteCast,
)
from agent.grants import Terms
from agent.ports import Clock, Ids
from storage.audit import refused
from storage.database import Database, Tx
from storage.grants import given
from storage.inbox import first_time
from storage.journal import append
from storage.receipts import is_vote_signed
from storage.rows import ApprovalRow, TakeoverRow, find_approval, row_after
from storage.working import is_co_requester

T = TypeVar("T")
Vote = Literal["approve", "deny"]
REASON_WINDOW_S = 60.0
LATEST_DELIVERY_S = 7200.0
Named = Callable[[ApprovalRow, bool], Sequence[str]]
"""Principal keys of whom the policy names for an approval now, before or (True) after its escalation."""


class Entitlement(Protocol):
    """Who may decide at this moment. Called in the writer's thread: it must be quick and touch nothing mutable."""

    def may_decide(self, principal: Principal, subject: ApprovalRow | TakeoverRow) -> bool:
        """Whether the policy names this person for it now."""
        ...

    def self_approval_allowed(
        self, principal: Principal, tool: str, tier: Tier, rules: Sequence[str] = (), /
    ) -> bool:  # fmt: skip
        """Whether the policy (with the rules that set its terms) lets this person decide on their own request."""
        ...


class ApprovalDecisions:
    """Decisions on approvals, each in one transaction."""

    def __init__(
        self, db: Database, clock: Clock, ids: Ids, entitlement: Entitlement, *, named: Named | None = None
    ) -> None:  # fmt: skip
        self._named = named
        self._db = db
        self._clock = clock
        self._ids = ids
        self._entitlement = entitlement

    async def vote(
        self,
        approval: str,
        principal: Principal,
        vote: Vote,
        *,
        via: str = "",
        allow: Terms | None = None,
        reason: str = "",
        key: str = "",
    ) -> ApprovalRow:
        """Say yes or no. One deny decides; a yes decides at quorum. `via` says where from, for the audit.

        `key` is the delivery's, kept in the same transaction; Redelivered when it came before, and nothing changes.
        `allow` gives a grant with the yes, or nothing is decided: never on one's own request.
        Raises UnknownSubject, AlreadyDecided, NotEntitled, OwnRequest, TooSoon, GrantRefused, ReasonRequired or
        StorageUnavailable.
        """

        def write(tx: Tx) -> ApprovalRow | DecisionError:  # noqa: PLR0911  # each refusal is an answer
            if not first_time(tx, key):
                return Redelivered()
            row = find_approval(tx.conn, approval)
            if row is None:
                return _refuse(tx, UnknownSubject(), principal, approval, via)
            decided = _decided(tx, row)
            if decided is not None:
                return decided
            row = self._named_now(tx, row)
            own = is_co_requester(tx.conn, row.run, principal)
            refusal = self._refusal(principal, row, own=own)
            if refusal is not None:
                return _refuse(tx, refusal, principal, approval, via)
            if vote == "approve" and tx.now < row.counts_from(self._clock.rate):
                return _refuse(tx, TooSoon(), principal, approval, via)
            if vote in row.reason_for and not reason.strip():
                return ReasonRequired()  # nothing was refused to them: they say why, and press again
            events = self._events_of(tx, row, principal, vote, own=own, reason=reason.strip())
            if allow is not None:
                if own or vote == "deny":
                    return _refuse(tx, OwnRequest() if own else GrantRefused(), principal, approval, via)
                grant = given(tx, row, principal, allow, self._ids)
                if isinstance(grant, DecisionError):
                    return _refuse(tx, grant, principal, approval, via)
                events.append(grant)
            if events:
                append(tx, row.run, events)
            return row_after(row, events)

        return await self._take(write)

    async def look_again(self, approval: str) -> None:
        """Look up who may decide on it now; when others may than its card says, the card is drawn anew.

        Raises StorageUnavailable. A vote does the same by itself.
        """
        row = self._db.read(lambda conn: find_approval(conn, approval))
        if row is None or self._changed(row) is None:
            return

        def write(tx: Tx) -> None:
            found = find_approval(tx.conn, approval)
            if found is not None:
                self._named_now(tx, found)

        await self._db.write(write)

    async def explain_denial(self, approval: str, principal: Principal, reason: str) -> ApprovalRow:
        """Give the reason for one's own denial; an empty one ends the waiting for it, a late one is kept all the same.

        Raises UnknownSubject, NotEntitled, AlreadyDecided (a reason was given before) or StorageUnavailable.
        """

        def write(tx: Tx) -> ApprovalRow | DecisionError:
            row = find_approval(tx.conn, approval)
            if row is None:
                return _refuse(tx, UnknownSubject(), principal, approval, "")
            if row.state != ApprovalState.DENIED or row.decided_by != principal.key:
                return _refuse(tx, NotEntitled("Only who denied it gives the reason."), principal, approval, "")
            if row.reason and reason:
                return AlreadyDecided(
                    "A reason was given already.", state=row.state, by=row.decided_by, at=row.decided_at
                )
            if reason or row.reason_until:
                explained: list[Event] = [DenialExplained(approval=approval, reason=reason, by=principal.key)]
                line = tx.conn.execute("SELECT status FROM runs WHERE id = ?", (row.run,)).fetchone()
                if reason and not RunStatus(line[0]).is_final:
                    explained.append(CoRequesterAdded(principal=principal, cause="denial"))  # the agent hears it
                append(tx, row.run, explained)
            return find_approval(tx.conn, approval) or row

        return await self._take(write)

    async def withdraw(self, approval: str, principal: Principal) -> ApprovalRow:
        """Take one's own request back; raises UnknownSubject, AlreadyDecided, NotEntitled or StorageUnavailable."""

        def write(tx: Tx) -> ApprovalRow | DecisionError:
            row = find_approval(tx.conn, approval)
            if row is None:
                return _refuse(tx, UnknownSubject(), principal, approval, "")
            if not is_co_requester(tx.conn, row.run, principal):
                refusal = NotEntitled("Only who asked for it can withdraw it.")
                return _refuse(tx, refusal, principal, approval, "")
            decided = _decided(tx, row)
            if decided is not None:
                return decided
            withdrawn = ApprovalDecided(
                approval=approval, state=ApprovalState.WITHDRAWN, at=tx.now, by=principal.key
            )  # fmt: skip
            append(tx, row.run, (withdrawn,))
            return find_approval(tx.conn, approval) or row

        return await self._take(write)

    async def delivered(self, approval: str, at: float) -> bool:
        """The card stands in Slack since `at` (business time): the deadline moves, once; False when it did not."""

        def write(tx: Tx) -> bool:
            row = find_approval(tx.conn, approval)
            if row is None or row.delivered_at or row.state != ApprovalState.PENDING or row.expires_at <= tx.now:
                return False
            moved = min(at + row.timeout_s, row.created_at + LATEST_DELIVERY_S)
            expires_at = max(row.expires_at, moved)
            append(tx, row.run, (ApprovalDelivered(approval=approval, delivered_at=at, expires_at=expires_at),))
            return True

        return await self._db.write(write)

    async def expire_due(self, now: float, limit: int = 500) -> int:
        """One batch of the sweep: what is due expires, is reminded of or escalated, and waits for a reason end.

        Returns how many there were.
        """
        if not self._db.read(lambda conn: conn.execute(_ANY_DUE, (now, now, now)).fetchone()):
            return 0

        def write(tx: Tx) -> int:
            due: list[tuple[str, Event]] = []
            for approval, run in tx.conn.execute(_EXPIRED, (now, limit)):
                due.append((run, ApprovalDecided(approval=approval, state=ApprovalState.EXPIRED, at=now)))
            for approval, run in tx.conn.execute(_UNEXPLAINED, (now, limit - len(due))):
                due.append((run, DenialExplained(approval=approval)))
            for approval, run, reminded_at in tx.conn.execute(_UNANSWERED, (now, now, limit - len(due))).fetchall():
                escalated = reminded_at is not None
                more = self._more(tx, approval, escalated=escalated)
                due.append((run, ApprovalReminded(approval=approval, at=now, escalated=escalated, deciders=more)))
            by_run: dict[str, list[Event]] = {}
            for run, event in due:
                by_run.setdefault(run, []).append(event)
            for run, events in by_run.items():
                append(tx, run, events)
            return len(due)

        return await self._db.write(write)

    def next_deadline(self) -> float | None:
        """When the sweep has something to do next (business time); None when nobody is waited for."""
        row = self._db.read(lambda conn: conn.execute(_NEXT).fetchone())
        return row[0]

    def _settled(self, tx: Tx, row: ApprovalRow) -> AlreadyDecided | None:
        """Who or what decided, if anything did."""
        return _decided(tx, row)

    def _refused(self, tx: Tx, error: DecisionError, principal: Principal, subject: str, via: str) -> DecisionError:
        """Keep a row of a refusal, and hand it back."""
        return _refuse(tx, error, principal, subject, via)

    async def _take(self, write: Callable[[Tx], T | DecisionError]) -> T:
        """A refusal is returned and not raised in the transaction, so that its audit row is kept."""
        result = await self._db.write(write, first=True)
        if isinstance(result, DecisionError):
            raise result
        return result

    def _refusal(self, principal: Principal, row: ApprovalRow, *, own: bool) -> DecisionError | None:
        if own:
            allowed = row.tier is not Tier.HIGH and self._entitlement.self_approval_allowed(
                principal, row.tool, row.tier, row.rules
            )
            return None if allowed else OwnRequest()
        if principal.key not in row.deciders or not self._entitlement.may_decide(principal, row):
            return NotEntitled()
        return None

    def _changed(self, row: ApprovalRow) -> tuple[str, ...] | None:
        """Who may decide now, when those are others than was last written down.

        When nobody is named at all, Slack most likely does not answer: those who were asked stay, and are refused.
        """
        if self._named is None or row.state != ApprovalState.PENDING:
            return None
        named = tuple(dict.fromkeys(self._named(row, row.escalated_at > 0)))
        return named if named and set(named) != set(row.deciders) else None

    def _named_now(self, tx: Tx, row: ApprovalRow) -> ApprovalRow:
        """The row with those who may decide now, also when they were entered after it was asked."""
        named = self._changed(row)
        if named is None:
            return row
        append(tx, row.run, (DecidersChanged(approval=row.id, at=tx.now, deciders=named),))
        return replace(row, deciders=named)

    def _more(self, tx: Tx, approval: str, *, escalated: bool) -> tuple[str, ...]:
        """Who may decide from now on as well: the next group, and who joined one of the first meanwhile."""
        row = find_approval(tx.conn, approval)
        if row is None:
            return ()
        named = self._named(row, escalated) if self._named is not None else ()
        more = (*named, *row.escalate_to) if escalated else named
        return tuple(key for key in dict.fromkeys(more) if key not in row.deciders)

    def _counts(self, key: str, row: ApprovalRow) -> bool:
        """Whether an earlier yes still counts: its voter may still decide (invariant 6)."""
        try:
            voter = Principal.parse(key)
        except ValueError:
            return False
        return key in row.deciders and self._entitlement.may_decide(voter, row)

    def _events_of(
        self, tx: Tx, row: ApprovalRow, principal: Principal, vote: Vote, *, own: bool, reason: str
    ) -> list[Event]:
        votes = dict(tx.conn.execute("SELECT principal, vote FROM votes WHERE approval = ?", (row.id,)).fetchall())
        events: list[Event] = []
        # The same click once more may complete a quorum.
        if votes.get(principal.key) != vote or not is_vote_signed(tx.conn, tx.keyring, row.id, principal.key):
            events.append(VoteCast(approval=row.id, principal=principal, vote=vote, at=tx.now, reason=reason))
        earlier = [who for who, what in votes.items() if what == "approve" and who != principal.key]
        others = [who for who in earlier if self._counts(who, row) and is_vote_signed(tx.conn, tx.keyring, row.id, who)]
        yes = len(others) + (vote == "approve")
        if vote == "deny":
            until = 0.0 if reason else tx.now + REASON_WINDOW_S * self._clock.rate
            events.append(
                ApprovalDecided(
                    approval=row.id,
                    state=ApprovalState.DENIED,
                    at=tx.now,
                    by=principal.key,
                    reason=reason,
                    reason_until=until,
                )
            )
            if reason:
                events.append(CoRequesterAdded(principal=principal, cause="denial"))  # the agent hears it
        elif yes >= row.quorum:
            events.append(
                ApprovalDecided(
                    approval=row.id,
                    state=ApprovalState.APPROVED,
                    at=tx.now,
                    by=principal.key,
                    reason=reason,
                    start_before=tx.now + row.timeout_s,
                    self_approved=own,
                    voters=tuple(sorted((*others, principal.key))) if row.quorum > 1 else (),
                )
            )
        return events


_EXPIRED = """SELECT id, run FROM approvals WHERE state = 'pending' AND expires_at <= ? ORDER BY expires_at LIMIT ?"""
_UNEXPLAINED = """SELECT id, run FROM approvals WHERE reason_until IS NOT NULL AND reason_until <= ?
  ORDER BY reason_until LIMIT ?"""
_UNANSWERED = """SELECT id, run, reminded_at FROM approvals
  WHERE remind_at IS NOT NULL AND remind_at <= ? AND expires_at > ?
  ORDER BY remind_at LIMIT ?"""
_ANY_DUE = """SELECT 1 WHERE EXISTS (SELECT 1 FROM approvals WHERE state = 'pending' AND expires_at <= ?)
  OR EXISTS (SELECT 1 FROM approvals WHERE reason_until IS NOT NULL AND reason_until <= ?)
  OR EXISTS (SELECT 1 FROM approvals WHERE remind_at IS NOT NULL AND remind_at <= ?)"""
_NEXT = """SELECT min(at) FROM (
  SELECT min(expires_at) AS at FROM approvals WHERE state = 'pending'
  UNION ALL SELECT min(remind_at) FROM approvals WHERE remind_at IS NOT NULL
  UNION ALL SELECT min(reason_until) FROM approvals WHERE reason_until IS NOT NULL
  UNION ALL SELECT min(next_at) FROM takeovers WHERE next_at IS NOT NULL)"""


def _decided(tx: Tx, row: ApprovalRow) -> AlreadyDecided | None:
    """Who or what decided, if anything did; what is due but not swept yet expires here and now."""
    if row.state == ApprovalState.PENDING and row.expires_at <= tx.now:
        append(tx, row.run, (ApprovalDecided(approval=row.id, state=ApprovalState.EXPIRED, at=tx.now),))
        return AlreadyDecided(state=ApprovalState.EXPIRED, at=tx.now)
    if row.state != ApprovalState.PENDING:
        return AlreadyDecided(state=row.state, by=row.decided_by, at=row.decided_at)
    return None


def _refuse(tx: Tx, error: DecisionError, principal: Principal, subject: str, via: str) -> DecisionError:
    """Keep a row of it, and hand the error back to be raised once the row is durable."""
    refused(tx, kind=error.code.lower(), principal=principal.key, subject=subject, detail=via)
    return error

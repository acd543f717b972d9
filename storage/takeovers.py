"""Decisions on takeovers: claim, release, reassign, close, and the sweep that reminds, escalates and gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from agent.domain import Principal, TakeoverState
from agent.errors import (
    AlreadyDecided,
    DecisionError,
    NotClaimed,
    NotEntitled,
    OwnRequest,
    StillPossible,
    UnknownSubject,
)
from agent.events import (
    CoRequesterAdded,
    Event,
    TakeoverClaimed,
    TakeoverClosed,
    TakeoverReleased,
    TakeoverReminded,
)
from agent.ports import Ids
from storage.approvals import Entitlement
from storage.audit import refused
from storage.database import Database, Tx
from storage.journal import append
from storage.lease import ENDED
from storage.projected_takeovers import ESCALATE_AFTER_S
from storage.rows import TakeoverRow, find_takeover, takeover_rows
from storage.working import is_co_requester

T = TypeVar("T")
_EFFECTS_END = "SELECT coalesce(max(effects_until), 0) FROM lease WHERE name = ?"
Ending = Literal["done", "handed_back", "aborted"]
Answer = Literal["happened", "run_again", "stop"]
CLAIM_S = 1800.0
_ANSWERS: dict[Answer, tuple[Ending, str]] = {
    "happened": ("done", "It happened before the process died."),
    "run_again": ("handed_back", "It did not happen; it is proposed anew."),
    "stop": ("aborted", "Nobody knows whether it happened; the run was ended."),
}


class TakeoverDecisions:
    """Decisions on takeovers, each in one transaction."""

    def __init__(self, db: Database, ids: Ids, entitlement: Entitlement) -> None:
        self._db = db
        self._ids = ids
        self._entitlement = entitlement

    async def claim(self, takeover: str, principal: Principal) -> TakeoverRow:
        """Have it for 30 minutes; claiming what one has already changes nothing.

        Raises UnknownSubject, AlreadyDecided, NotEntitled, OwnRequest or StorageUnavailable.
        """

        def write(tx: Tx) -> TakeoverRow | DecisionError:
            row = find_takeover(tx.conn, takeover)
            if row is None:
                return _refuse(tx, UnknownSubject(), principal, takeover)
            if refusal := self._may_not(tx, row, principal):
                return refusal
            events: list[Event] = []
            if row.state == TakeoverState.CLAIMED:
                if row.claim_until > tx.now:
                    taken = AlreadyDecided(state=row.state, by=row.claimed_by, at=row.claimed_at)
                    return row if row.claimed_by == principal.key else taken
                events.append(TakeoverReleased(takeover=takeover, by=row.claimed_by, at=tx.now, why="lapsed"))
            token = self._ids.new("claim")
            until = tx.now + CLAIM_S
            events.append(
                TakeoverClaimed(takeover=takeover, by=principal, claim_token=token, at=tx.now, until=until)
            )  # fmt: skip
            append(tx, row.run, events)
            return find_takeover(tx.conn, takeover) or row

        return await self._take(write)

    async def release(self, takeover: str, principal: Principal, token: str) -> TakeoverRow:
        """Give a claim up; raises UnknownSubject, AlreadyDecided, NotClaimed or StorageUnavailable."""

        def write(tx: Tx) -> TakeoverRow | DecisionError:
            row = _claimed(tx, takeover, principal, token)
            if isinstance(row, DecisionError):
                return row
            released = TakeoverReleased(takeover=takeover, by=principal.key, at=tx.now, why="released")
            append(tx, row.run, (released,))
            return find_takeover(tx.conn, takeover) or row

        return await self._take(write)

    async def reassign(
        self, takeover: str, principal: Principal, to: Principal, *, token: str, is_admin: bool = False
    ) -> TakeoverRow:
        """Give a claim to somebody else, as its holder or an admin: with a token of its own, and the old one is dead.

        `to` must be entitled to claim it themselves. Raises UnknownSubject, AlreadyDecided, NotClaimed (also when it
        changed hands meanwhile), NotEntitled or StorageUnavailable.
        """

        def write(tx: Tx) -> TakeoverRow | DecisionError:
            row = _claimed(tx, takeover, principal, token, is_admin=is_admin)
            if isinstance(row, DecisionError):
                return row
            if to.key == row.claimed_by:
                return row
            if is_co_requester(tx.conn, row.run, to):
                told = "They cannot take it: their words are part of this run, and nobody decides on their own request."
                return _refuse(tx, NotEntitled(told), principal, takeover)
            if to.key not in row.deciders or not self._entitlement.may_decide(to, row):
                told = "They are not among the people who may take it."
                return _refuse(tx, NotEntitled(told), principal, takeover)
            released = TakeoverReleased(takeover=takeover, by=principal.key, at=tx.now, why="reassigned")
            claimed = TakeoverClaimed(
                takeover=takeover,
                by=to,
                claim_token=self._ids.new("claim"),
                at=tx.now,
                until=tx.now + CLAIM_S,
                given_by=principal.key,
            )
            append(tx, row.run, (released, claimed))
            return find_takeover(tx.conn, takeover) or row

        return await self._take(write)

    async def close_takeover(
        self,
        takeover: str,
        principal: Principal,
        state: Ending,
        *,
        token: str,
        what: str = "",
        reference: str = "",
        evidence: str = "",
    ) -> TakeoverRow:
        """End it as its claimer: done, handed back (the run's epoch moves, the author joins the requesters) or aborted.

        Raises UnknownSubject, AlreadyDecided, NotClaimed, NotEntitled, OwnRequest or StorageUnavailable.
        """

        def write(tx: Tx) -> TakeoverRow | DecisionError:
            row = _claimed(tx, takeover, principal, token)
            if isinstance(row, DecisionError):
                return row
            if not self._entitlement.may_decide(principal, row):
                return _refuse(tx, NotEntitled(), principal, takeover)
            if state == "done" and self._asked_for_it(
                tx, row, principal
            ):  # their words came into it since they took it
                return _refuse(tx, OwnRequest(), principal, takeover)
            (epoch,) = tx.conn.execute("SELECT epoch FROM runs WHERE id = ?", (row.run,)).fetchone()
            events: list[Event] = []
            if state == "handed_back":
                epoch += 1
                events.append(CoRequesterAdded(principal=principal, cause="hand_back"))
            elif state == "done" and (what or reference or evidence):
                events.append(CoRequesterAdded(principal=principal, cause="takeover"))  # the agent hears these words
            closed = TakeoverClosed(
                takeover=takeover,
                state=state,
                at=tx.now,
                by=principal.key,
                what=what,
                reference=reference,
                evidence=evidence,
                epoch=epoch,
            )
            append(tx, row.run, (*events, closed))
            return find_takeover(tx.conn, takeover) or row

        return await self._take(write)

    async def answer_unknown(self, takeover: str, principal: Principal, answer: Answer) -> TakeoverRow:
        """Say of an action with a lost result whether it happened; no claim is needed before.

        `run_again` has the same call proposed and rated anew, once the dead process cannot be doing it any more.
        Raises UnknownSubject, AlreadyDecided, NotEntitled, OwnRequest, StillPossible or StorageUnavailable.
        """

        def write(tx: Tx) -> TakeoverRow | DecisionError:
            row = find_takeover(tx.conn, takeover)
            if row is None or row.cause != "unknown":
                return _refuse(tx, UnknownSubject(), principal, takeover)
            if refusal := self._may_not(tx, row, principal):
                return refusal
            if row.state == TakeoverState.CLAIMED and row.claim_until > tx.now and row.claimed_by != principal.key:
                return AlreadyDecided(state=row.state, by=row.claimed_by, at=row.claimed_at)
            (until,) = tx.conn.execute(_EFFECTS_END, (ENDED,)).fetchone()
            if answer == "run_again" and until > tx.transport:
                return StillPossible(
                    f"The process that died could still be doing it; ask in {until - tx.transport:.0f} s."
                )
            (epoch,) = tx.conn.execute("SELECT epoch FROM runs WHERE id = ?", (row.run,)).fetchone()
            state, what = _ANSWERS[answer]
            closed = TakeoverClosed(
                takeover=takeover,
                state=state,
                at=tx.now,
                by=principal.key,
                what=what,
                epoch=epoch + (answer == "run_again"),
                again=answer == "run_again",
            )
            append(tx, row.run, (closed,))
            return find_takeover(tx.conn, takeover) or row

        return await self._take(write)

    def _asked_for_it(self, tx: Tx, row: TakeoverRow, principal: Principal) -> bool:
        return is_co_requester(tx.conn, row.run, principal)

    def _may_not(self, tx: Tx, row: TakeoverRow, principal: Principal) -> DecisionError | None:
        if is_co_requester(tx.conn, row.run, principal):
            return _refuse(tx, OwnRequest(), principal, row.id)
        if principal.key not in row.deciders or not self._entitlement.may_decide(principal, row):
            return _refuse(tx, NotEntitled(), principal, row.id)
        if TakeoverState(row.state).is_final:
            return AlreadyDecided(state=row.state, by=row.closed_by, at=row.closed_at)
        return None

    async def sweep_takeovers(self, now: float, limit: int = 500) -> int:
        """One batch: claims lapse, open ones are reminded of, escalated and, after their limit, aborted by nobody."""
        query = "SELECT 1 FROM takeovers WHERE next_at <= ? LIMIT 1"
        if not self._db.read(lambda conn: conn.execute(query, (now,)).fetchone()):
            return 0

        def write(tx: Tx) -> int:
            due = takeover_rows(tx.conn, "WHERE t.next_at <= ? ORDER BY t.next_at LIMIT ?", (now, limit))
            for row in due:
                append(tx, row.run, (_overdue(row, now),))
            return len(due)

        return await self._db.write(write)

    async def _take(self, write: Callable[[Tx], T | DecisionError]) -> T:
        """A refusal is returned and not raised in the transaction, so that its audit row is kept."""
        result = await self._db.write(write, first=True)
        if isinstance(result, DecisionError):
            raise result
        return result


def _overdue(row: TakeoverRow, now: float) -> Event:
    if row.state == TakeoverState.CLAIMED:
        return TakeoverReleased(takeover=row.id, by=row.claimed_by, at=now, why="lapsed")
    if row.give_up_at <= now:
        limit = "Nobody took it over in time."
        return TakeoverClosed(takeover=row.id, state="aborted", at=now, what=limit, epoch=row.epoch)
    return TakeoverReminded(takeover=row.id, at=now, escalated=row.opened_at + ESCALATE_AFTER_S <= now)


def _claimed(
    tx: Tx, takeover: str, principal: Principal, token: str, *, is_admin: bool = False
) -> TakeoverRow | DecisionError:
    """The takeover when this person has it under this token, or anybody has and an admin asks; else the refusal."""
    row = find_takeover(tx.conn, takeover)
    if row is None:
        return _refuse(tx, UnknownSubject(), principal, takeover)
    if TakeoverState(row.state).is_final:
        return AlreadyDecided(state=row.state, by=row.closed_by, at=row.closed_at)
    is_theirs = row.claimed_by == principal.key or is_admin
    if row.state != TakeoverState.CLAIMED or not is_theirs or row.claim_token != token:
        return _refuse(tx, NotClaimed(), principal, takeover)
    return row


def _refuse(tx: Tx, error: DecisionError, principal: Principal, subject: str) -> DecisionError:
    refused(tx, kind=error.code.lower(), principal=principal.key, subject=subject)
    return error

"""Second thoughts of people: an approval that is edited, and one that is asked again. One winner each."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent import events as ev
from agent.domain import Action, ApprovalState, Outcome, Place, Principal, RunStatus, Task
from agent.errors import AlreadyDecided, DecisionError, NotEntitled, QuotaExceeded, SecondKeyError, UnknownSubject
from storage.approvals import ApprovalDecisions
from storage.blobs import read_blob
from storage.database import Tx
from storage.journal import append
from storage.quotas import Quotas, check_quotas
from storage.rows import ApprovalRow, find_approval
from storage.working import is_co_requester

TASK_CHARACTERS = 32_000
_SUCCESSOR = """SELECT cause, "by", at FROM successors WHERE approval = ?"""
_STANDS = "SELECT approval, takeover, outcome FROM actions WHERE run = ? AND id = ?"
_CREATED = "SELECT payload FROM events WHERE run = ? AND seq = 1"
_SAID = "SELECT payload FROM events WHERE run = ? AND type = 'follow_up_received' ORDER BY seq"
_CO_REQUESTERS = """SELECT requester FROM runs WHERE id = ? UNION SELECT principal FROM co_requesters WHERE run = ?"""


@dataclass(frozen=True, slots=True)
class Asked:
    """It is asked again: by an action in the same run, or by a new run."""

    run: str
    is_new_run: bool


class Revisions(ApprovalDecisions):
    """Edits and questions that are asked once more, each in one transaction."""

    async def edit(self, approval: str, principal: Principal, action: Action, *, digest: str) -> ApprovalRow:
        """Put a changed call in the place of the pending one, whose `digest` the editor saw.

        The editor becomes a co-requester, so that somebody else must decide. Raises UnknownSubject, AlreadyDecided,
        NotEntitled or StorageUnavailable.
        """

        def write(tx: Tx) -> ApprovalRow | DecisionError:
            row = find_approval(tx.conn, approval)
            if row is None or row.digest != digest or action.revision is None or action.revision.of != row.action:
                return self._refused(tx, UnknownSubject(), principal, approval, "edit")
            own = is_co_requester(tx.conn, row.run, principal)
            if not own and not self._is_decider(principal, row):
                return self._refused(tx, NotEntitled(), principal, approval, "edit")
            if decided := _replaced(tx, row) or self._settled(tx, row):
                return decided
            events: list[ev.Event] = [] if own else [ev.CoRequesterAdded(principal=principal, cause="edit")]
            superseded = ev.ApprovalDecided(
                approval=approval, state=ApprovalState.SUPERSEDED, at=tx.now, by=principal.key
            )
            append(tx, row.run, (*events, superseded, ev.ActionProposed(action=action)))
            return find_approval(tx.conn, approval) or row

        return await self._take(write)

    async def ask_again(
        self, approval: str, principal: Principal, action: Action | None, *, quota: Quotas | None = None
    ) -> Asked:
        """Ask once more for what expired or was withdrawn: with `action` as long as the run goes on, else a new run.

        Who asks again is a co-requester of it. Raises UnknownSubject, AlreadyDecided (also: asked again before),
        NotEntitled, QuotaExceeded or StorageUnavailable.
        """
        new_run, new_task = self._ids.new("run"), self._ids.new("task")

        def write(tx: Tx) -> Asked | SecondKeyError:
            row = find_approval(tx.conn, approval)
            if row is None:
                return self._refused(tx, UnknownSubject(), principal, approval, "ask_again")
            own = is_co_requester(tx.conn, row.run, principal)
            if not own and not self._is_decider(principal, row):
                return self._refused(tx, NotEntitled(), principal, approval, "ask_again")
            if refusal := self._not_again(tx, row):
                return refusal
            (status,) = tx.conn.execute("SELECT status FROM runs WHERE id = ?", (row.run,)).fetchone()
            if RunStatus(status).is_final:
                return self._in_new_run(tx, row, principal, new_run, new_task, quota)
            return self._in_its_run(tx, row, principal, action, own=own)

        result = await self._db.write(write)
        if isinstance(result, DecisionError | QuotaExceeded):
            raise result
        assert isinstance(result, Asked)  # noqa: S101  # nothing else is returned above
        return result

    def _in_its_run(
        self, tx: Tx, row: ApprovalRow, principal: Principal, action: Action | None, *, own: bool
    ) -> Asked | DecisionError:
        if action is None or action.revision is None or action.revision.of != row.action:
            return self._refused(tx, UnknownSubject(), principal, row.id, "ask_again")
        joins: list[ev.Event] = [] if own else [ev.CoRequesterAdded(principal=principal, cause="ask_again")]
        append(tx, row.run, (*joins, ev.ActionProposed(action=action)))
        return Asked(row.run, is_new_run=False)

    def _in_new_run(  # noqa: PLR0917  # the ids are made outside of the transaction
        self, tx: Tx, row: ApprovalRow, principal: Principal, run: str, task: str, quota: Quotas | None
    ) -> Asked | DecisionError | QuotaExceeded:
        exceeded = check_quotas(tx.conn, principal.key, tx.now, quota) if quota else None
        if exceeded:
            return exceeded
        created = _new_run(tx.conn, row, principal, task)
        if created is not None and created.task.place.is_dm and principal.key != row.requester:
            theirs = NotEntitled("It was asked in a direct message, so only who asked can ask for it anew.")
            return self._refused(tx, theirs, principal, row.id, "ask_again")
        if created is None:
            gone = UnknownSubject("This is so old that its task was dropped. Please give me the task anew.")
            return self._refused(tx, gone, principal, row.id, "ask_again")
        others = [key for (key,) in tx.conn.execute(_CO_REQUESTERS, (row.run, row.run)) if key != principal.key]
        words: list[ev.Event] = [
            ev.CoRequesterAdded(principal=Principal.parse(key), cause="ask_again") for key in sorted(others)
        ]
        append(tx, run, (created, *words))
        return Asked(run, is_new_run=True)

    def _is_decider(self, principal: Principal, row: ApprovalRow) -> bool:
        return principal.key in row.deciders and self._entitlement.may_decide(principal, row)

    def _not_again(self, tx: Tx, row: ApprovalRow) -> DecisionError | None:
        """Why it is not to be asked again; what is due but not swept yet has expired."""
        if replaced := _replaced(tx, row):
            return replaced
        overdue = self._settled(tx, row)
        state = overdue.state if overdue is not None else row.state
        if state not in {ApprovalState.EXPIRED, ApprovalState.WITHDRAWN}:
            return overdue or AlreadyDecided("It still waits for an answer, so there is nothing to ask again.")
        newest, takeover, outcome = tx.conn.execute(_STANDS, (row.run, row.action)).fetchone()
        if newest != row.id:
            return AlreadyDecided("It was asked again already; please use the newest card.")
        if takeover or outcome not in {Outcome.EXPIRED, Outcome.WITHDRAWN}:
            return AlreadyDecided("A person was asked to take it over, so it is not asked a second time beside that.")
        return None


def _replaced(tx: Tx, row: ApprovalRow) -> AlreadyDecided | None:
    found = tx.conn.execute(_SUCCESSOR, (row.id,)).fetchone()
    return AlreadyDecided(state=found[0], by=found[1], at=found[2]) if found else None


def _new_run(conn: sqlite3.Connection, row: ApprovalRow, principal: Principal, task: str) -> ev.RunCreated | None:
    """The same task asked by this person, with what was added to it; None when retention dropped its words."""
    line: tuple[str | None] = conn.execute(_CREATED, (row.run,)).fetchone()
    created = ev.decode(line[0]) if line[0] else None
    if not isinstance(created, ev.RunCreated):
        return None
    words, place = [created.task.text], created.task.place
    for (said,) in conn.execute(_SAID, (row.run,)):
        added = ev.decode(said) if said else None
        if isinstance(added, ev.FollowUpReceived):
            words.append(read_blob(conn, added.text_blob))
    again = Task(
        id=task,
        text="\n\n".join(words)[:TASK_CHARACTERS],
        principal=principal,
        # Its message was taken by the parent; the answer goes to the same thread.
        place=Place(
            team=place.team,
            channel=place.channel,
            thread_ts=place.thread_ts or place.message_ts,
            is_dm=place.is_dm,
        ),
    )
    return ev.RunCreated(task=again, parent_run=row.run, asks_again=row.id)

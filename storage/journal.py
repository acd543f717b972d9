"""The journal: hash-chained events, written with everything that is derived from them in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import cast, get_args

from agent.domain import ApprovalState, content_hash
from agent.errors import AlreadyStarted, ApprovalNotValid, EpochMoved, JournalError
from agent.events import (
    EVENT_VERSION,
    ActionFinished,
    ActionProposed,
    ActionRated,
    ActionResumed,
    ActionStarted,
    ApprovalDecided,
    Event,
    RunCreated,
    TakeoverClaimed,
    TakeoverClosed,
    VoteCast,
    decode,
    encode,
)
from agent.ports import Committed, Condition, Intention, Stored
from storage.blobs import BODY, body_of, key_of
from storage.database import Database, Tx, insert_many
from storage.flags import refuse_if_halted
from storage.lease import Lease, refuse_without_lease
from storage.ledger import Budgets
from storage.literals import text
from storage.projected_grants import check_use, check_yes
from storage.projections import project
from storage.receipts import DECIDED, SEALED, check_decision, seal
from storage.takeover_receipts import seal_ending
from storage.turns import Room
from storage.working import ActionRow, Working

_ADD = "INSERT INTO events VALUES {}"
_ADD_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NAMES_BODY = "INSERT OR IGNORE INTO body_runs VALUES {}"
_KEEP_BODY = "INSERT OR IGNORE INTO blobs VALUES {}"
_BODY_FIELDS: dict[type[Event], tuple[str, ...]] = {
    kind: tuple(name for name in kind.model_fields if name.endswith("_blob")) for kind in get_args(Event)
}
_HEX_HASH = 64
SLEW_S = 60.0
"""By how much a clock may have been put back since a yes; by more, nobody can tell whether the yes still counts."""
_ONLY_PEOPLE = "Only people say yes, and not through the agent."
_CONSUME = f"""UPDATE approvals SET consumed_at = ? WHERE id = ? AND run = ? AND action = ? AND digest = ?
  AND epoch = ? AND state = 'approved' AND consumed_at IS NULL AND start_before > ? AND decided_at <= ?
  RETURNING {DECIDED}"""  # noqa: S608  # of constants only
_EVENTS = "SELECT seq, at, payload FROM events WHERE run = ? AND seq > ? ORDER BY seq"


def header(  # noqa: PLR0917  # the hashed columns, in their order
    run: str, seq: int, kind: str, version: int, at: float, epoch: int, payload_hash: bytes, prev_hash: bytes
) -> bytes:
    """What a row's hash covers, as an RFC 8785 array; the payload only through its hash, so that it can be dropped."""
    number = int(at) if at.is_integer() else at
    names = f"{text(run)},{seq:d},{text(kind)},{version:d},{number!r},{epoch:d}"
    return f'[{names},"{payload_hash.hex()}","{prev_hash.hex()}"]'.encode()


def append(tx: Tx, run: str, events: Sequence[Event], *, work: Working | None = None) -> Committed:
    """Append to a run inside a transaction, and project; raises UnknownRun, JournalError or AlreadyDecided.

    `seq` and the previous hash are read and assigned here and nowhere else.
    """
    work = work or Working.load(tx, run)
    stored: list[Stored] = []
    rows: list[tuple[object, ...]] = []
    named: dict[str, None] = {}
    now = tx.now
    for event in events:
        row = work.run
        seq = row.seq + 1 if row else 1
        epoch = row.epoch if row else 0
        if row is None and not isinstance(event, RunCreated):
            work.live  # noqa: B018  # raises UnknownRun
        if type(event) in SEALED:
            event = seal(work, event, stored)  # noqa: PLW2901  # what is written is the event with its receipt
        if isinstance(event, TakeoverClosed):
            event = seal_ending(work, event, stored)  # noqa: PLW2901  # as above
        try:
            project(work, event, seq)
        except sqlite3.IntegrityError as error:
            raise JournalError(f"Run {run} has this already: {event.type} ({error}).") from error
        payload = encode(event)
        payload_hash = hashlib.sha256(payload.encode()).digest()
        row = work.live
        head = header(run, seq, event.type, EVENT_VERSION, now, epoch, payload_hash, row.head)
        digest = hashlib.sha256(head).digest()
        rows.append((run, seq, event.type, EVENT_VERSION, now, epoch, payload, b"", row.head, digest))
        for name in _BODY_FIELDS[type(event)]:
            body: str = getattr(event, name)
            if len(body) == _HEX_HASH:
                named[body] = None
        row.seq, row.head = seq, digest
        stored.append(Stored(seq, now, event))
    insert_many(tx.conn, _ADD, _ADD_ROW, rows)
    if named:
        insert_many(tx.conn, _NAMES_BODY, "(?, ?)", [(bytes.fromhex(body), run) for body in named])
    work.flush()
    if stored:
        tx.signal("head", run)
    return Committed(stored[0].seq if stored else work.live.seq + 1, tuple(stored))


def keep_blobs(tx: Tx, blobs: Mapping[str, str]) -> None:
    """Store bodies once each, by content hash; raises JournalError when a body is not what its hash says."""
    rows: list[tuple[object, ...]] = []
    for digest, body in blobs.items():
        if content_hash(body) != digest:
            raise JournalError(f"The body given as {digest} has another hash.")
        rows.append((bytes.fromhex(digest), body.encode("utf-8", "surrogatepass")))
    insert_many(tx.conn, _KEEP_BODY, "(?, ?)", rows)


def read_events(conn: sqlite3.Connection, run: str, after: int = 0, types: Sequence[str] = ()) -> tuple[Stored, ...]:
    """The run's events with seq > after, in order, all or those of some types.

    Raises JournalError when retention dropped their payloads.
    """
    if types:
        return _decoded(run, conn.execute(_some(len(types)), (run, after, *types)))
    return _decoded(run, conn.execute(_EVENTS, (run, after)))


@cache
def _some(types: int) -> str:
    return _EVENTS.replace(" ORDER", f" AND type IN ({', '.join('?' * types)}) ORDER")


def _decoded(run: str, rows: Iterable[tuple[int, float, str | None]]) -> tuple[Stored, ...]:
    found: list[Stored] = []
    for seq, at, payload in rows:
        if payload is None:
            raise JournalError(f"The payloads of run {run} were dropped after the time of retention.")
        found.append(Stored(seq, at, decode(payload)))
    return tuple(found)


class SqliteJournal:
    """The agent's one way of writing: `commit`. Starts are fenced here, in the transaction that writes them."""

    def __init__(
        self,
        db: Database,
        lease: Lease,
        *,
        kill_file: Path | None = None,
        budgets: Budgets | None = None,
        room: Room | None = None,
    ) -> None:
        self._db = db
        self._kill_file = kill_file
        self._budgets, self._room = budgets, room
        self.lease_token = lease.token

    async def commit(
        self, run: str, events: Sequence[Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Append events in one transaction, with the bodies they name.

        Raises EpochMoved, LeaseLost, RunStopped, RunPaused, ApprovalNotValid, AlreadyStarted, AlreadyDecided,
        BudgetExceeded, RunQueued, UnknownRun, JournalError or StorageUnavailable; then nothing was written.
        """

        def write(tx: Tx) -> Committed:
            work = Working.load(tx, run, _action_of(events))
            work.by_driver = True
            self._check(work, events, condition)
            if isinstance(condition, Intention):
                work.budget, work.budgets, work.room = condition.budget_micro_usd, self._budgets, self._room
            if blobs:
                keep_blobs(tx, blobs)
            committed = append(tx, run, events, work=work)
            if isinstance(condition, Intention) and condition.grant:  # its yes was written with the events
                check_yes(work, condition.consumes, condition.grant)
                _consume(work, work.action(condition.starts), condition.consumes)
            return committed

        return await self._db.write(write, to_the_end=True)

    async def read(self, run: str, after: int = 0) -> tuple[Stored, ...]:
        """The run's events with seq > after, in order; empty when there are none."""
        await asyncio.sleep(0)  # a long journal is decoded here: let the loop breathe between two of them
        return _decoded(run, cast("list[tuple[int, float, str | None]]", self._db.fetch(_EVENTS, (run, after))))

    async def blob(self, digest: str) -> str:
        """A stored body; raises KeyError when retention dropped it or it never was."""
        return body_of(digest, self._db.fetch(BODY, (key_of(digest),)))

    def _check(self, work: Working, events: Sequence[Event], condition: Condition) -> None:
        _refuse_votes(events, condition)
        starts = {event.action for event in events if isinstance(event, ActionStarted)}
        if not isinstance(condition, Intention):
            if starts:
                raise ApprovalNotValid("An action starts only under an intention that names it.")
            return
        refuse_without_lease(work.tx, self.lease_token, condition.effect_s)
        if condition.epoch != (work.run.epoch if work.run else 0):
            raise EpochMoved
        if starts - {condition.starts}:
            raise ApprovalNotValid("An action starts only under an intention that names it.")
        if condition.starts:
            refuse_if_halted(work, self._kill_file, condition.starts)
            _check_start(work, condition, events)


def _refuse_votes(events: Sequence[Event], condition: Condition) -> None:
    """Only people say yes, through `storage/decisions.py`; the driver writes none but that of a grant it uses."""
    granted = condition.consumes if isinstance(condition, Intention) and condition.grant else ""
    for event in events:
        match event:
            case VoteCast():
                raise ApprovalNotValid(_ONLY_PEOPLE)
            case TakeoverClaimed() | TakeoverClosed(state="done" | "handed_back"):
                raise ApprovalNotValid(_ONLY_PEOPLE)
            case ApprovalDecided(state=ApprovalState.APPROVED) if event.approval != granted:
                raise ApprovalNotValid(_ONLY_PEOPLE)
            case _:
                continue


def _check_start(work: Working, condition: Intention, events: Sequence[Event]) -> None:
    """Everything that must hold for this action to have its effect now; a yes is used up here (invariants 1 and 2)."""
    item = work.action(condition.starts)
    if item.phase in {"started", "finished"}:
        raise AlreadyStarted
    if item.phase not in {"allowed", "approved"} or item.digest != condition.digest:
        raise ApprovalNotValid
    if item.tier == "low":
        if condition.consumes:
            _consume(work, item, condition.consumes)
    elif item.tier == "medium" and item.phase == "approved":
        _consume(work, item, condition.consumes)
    elif item.tier == "medium" and condition.grant:
        started = next((event for event in events if isinstance(event, ActionStarted)), None)
        if started is None:
            raise ApprovalNotValid
        check_use(work, item, started, condition.grant)
    else:
        raise ApprovalNotValid("This action is for a person to do." if item.tier == "high" else None)


def _consume(work: Working, item: ActionRow, approval: str) -> None:
    now = work.tx.now
    used = work.tx.conn.execute(
        _CONSUME, (now, approval, work.id, item.id, item.digest, work.live.epoch, now, now + SLEW_S)
    ).fetchall()
    if len(used) != 1:
        raise ApprovalNotValid
    if approval in work.asked:
        work.asked[approval].consumed_at = now
    check_decision(work.tx.keyring, approval, used[0])


def _action_of(events: Sequence[Event]) -> str:
    """The first action that the events change or add; empty when they are about none."""
    for event in events:
        match event:
            case ActionProposed():
                return event.action.id
            case ActionRated() | ActionStarted() | ActionFinished() | ActionResumed():
                return event.action
            case _:
                continue
    return ""

"""The rows that one append changes, loaded once, changed in memory, written back together."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from agent.domain import Outcome, Principal, RunStatus
from agent.errors import AlreadyStarted, JournalError, RunStopped, UnknownRun
from storage.asked import Asked, find_asked
from storage.database import Tx, insert_many
from storage.ledger import Budgets
from storage.turns import Room

LANE_DECISION, LANE_CARD, LANE_TAKEOVER, LANE_PROGRESS = range(4)
GENESIS = bytes(32)

_RUN_COLUMNS = """r.id, r.team, r.channel, r.thread_ts, r.requester, r.status, r.epoch, r.started_at, r.ended_at,
  r.steps, r.spent_micro_usd, r.reserved_micro_usd, r.waiting_on, r.in_flight, r.seq, r.head_hash, r.answer_blob,
  r.summary"""
_RUN_WIDTH = 18
_ACTION_COLUMNS = """c.id, c.step, c.tool, c.tier, c.phase, c.outcome, c.digest, c.approval, c.takeover, c.attempt,
  c.resumed, c.lease_token, c.proposed_seq, c.rated_seq, c.ended_seq, c.started_at, c.ended_at"""
_RUN = f"SELECT {_RUN_COLUMNS} FROM runs r WHERE r.id = ?"  # noqa: S608  # of constants only, as the next ones
_RUN_AND_ACTION = f"""SELECT {_RUN_COLUMNS}, {_ACTION_COLUMNS}
  FROM runs r LEFT JOIN actions c ON c.run = r.id AND c.id = ? WHERE r.id = ?"""  # noqa: S608  # as above
_ACTION = f"SELECT {_ACTION_COLUMNS} FROM actions c WHERE c.run = ? AND c.id = ?"  # noqa: S608  # as above
_ADD_RUN = """INSERT INTO runs(id, task_id, team, channel, thread_ts, requester, parent_run, title, created_at,
  trace_id, span_id, status, epoch, started_at, ended_at, steps, spent_micro_usd, reserved_micro_usd, waiting_on,
  in_flight, seq, head_hash, answer_blob, summary)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WRITE_RUN = """UPDATE runs SET epoch = ?, started_at = ?, ended_at = ?, steps = ?, spent_micro_usd = ?,
  reserved_micro_usd = ?, waiting_on = ?, in_flight = ?, seq = ?, head_hash = ?, answer_blob = ?, summary = ?
  WHERE id = ?"""
# Only when it changed: naming the column makes SQLite go through the indexes that ask for it.
_WRITE_STATUS = _WRITE_RUN.replace("SET", "SET status = ?,", 1)
_ADD_ACTION = """INSERT INTO actions(run, id, step, tool, tier, phase, outcome, digest, approval, takeover, attempt,
  resumed, lease_token, proposed_seq, rated_seq, ended_seq, started_at, ended_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WRITE_ACTION = """UPDATE actions SET tier = ?, phase = ?, outcome = ?, approval = ?, takeover = ?, attempt = ?,
  resumed = ?, lease_token = ?, rated_seq = ?, ended_seq = ?, started_at = ?, ended_at = ? WHERE run = ? AND id = ?"""
# A row that waits to be sent keeps its place in the lane: wanting it once more does not send it to the back.
_BUMP = """INSERT INTO outbox(message_key, run, lane, wanted, sent, team, channel, ts, thread_ts, attempts, next_at,
    error, created_at, wanted_at) VALUES {}
  ON CONFLICT(message_key) DO UPDATE SET wanted = wanted + 1, lane = excluded.lane,
    wanted_at = CASE WHEN sent < wanted THEN wanted_at ELSE excluded.wanted_at END"""

_BUMP_ROW = "(?, ?, ?, 1, 0, ?, ?, '', ?, 0, 0, '', ?, ?)"
_KEEP_RECEIPT, _RECEIPT_ROW = "INSERT OR REPLACE INTO receipts VALUES {}", "(?, ?, ?, ?, ?, ?)"


@dataclass(slots=True)
class RunRow:
    """The changing half of a row of `runs`."""

    id: str
    team: str
    channel: str
    thread_ts: str
    requester: str
    status: RunStatus = RunStatus.QUEUED
    epoch: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    steps: int = 0
    spent: int = 0
    reserved: int = 0
    waiting_on: int = 0
    in_flight: int = 0
    seq: int = 0
    head: bytes = GENESIS
    answer_blob: str = ""
    summary: str = ""


@dataclass(slots=True)
class ActionRow:
    """A row of `actions`; a seq of 0 means that there is no such event yet."""

    id: str
    step: int
    tool: str
    tier: str | None
    phase: str
    outcome: str | None
    digest: str
    approval: str = ""
    takeover: str = ""
    attempt: int = 0
    resumed: int = 0
    lease_token: str = ""
    proposed_seq: int = 0
    rated_seq: int = 0
    ended_seq: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    is_new: bool = False


@dataclass(slots=True)
class Working:
    """What one append to one run works on."""

    tx: Tx
    id: str
    run: RunRow | None
    actions: dict[str, ActionRow] = field(default_factory=dict[str, ActionRow])
    messages: dict[str, int] = field(default_factory=dict[str, int])
    """Outbox keys to bump, with their lanes."""
    by_driver: bool = False
    budget: int | None = None
    """What the run may have spent and reserved when a call is reserved, micro-USD; None: the append says nothing."""
    budgets: Budgets | None = None
    """What everybody may spend on a day, when the append is to keep to it."""
    room: Room | None = None
    """How many runs may be at work at once, when the append is to keep to it."""
    status_before: RunStatus = RunStatus.QUEUED
    asked: dict[str, Asked] = field(default_factory=dict[str, Asked])
    """Approvals that were looked at."""
    receipts: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    """Rows to be kept with the events."""
    _new_run: tuple[object, ...] = ()
    """What stands in a new run's row from the start and never changes; empty once it is written."""
    _absent: str = ""
    """An action that was looked for, and is not there."""

    @classmethod
    def load(cls, tx: Tx, run: str, action: str = "") -> Working:
        """The run as it stands, without a row when it is new; with an action that will be asked for, if known."""
        row = tx.conn.execute(*((_RUN_AND_ACTION, (action, run)) if action else (_RUN, (run,)))).fetchone()
        if row is None:
            return cls(tx, run, None)
        values = list(row[:_RUN_WIDTH])
        status = values[5] = RunStatus(values[5])
        work = cls(tx, run, RunRow(*values), status_before=status)
        if action:
            work._found(action, row[_RUN_WIDTH:])
        return work

    @property
    def live(self) -> RunRow:
        """The run's row; raises UnknownRun."""
        if self.run is None:
            raise UnknownRun
        return self.run

    def action(self, action: str) -> ActionRow:
        """One action of the run; raises JournalError."""
        item = self.find_action(action)
        if item is None:
            raise JournalError(f"Run {self.id} has no action {action}.")
        return item

    def find_action(self, action: str) -> ActionRow | None:
        """One action of the run, or None."""
        item = self.actions.get(action)
        if item is None and action != self._absent:
            self._found(action, self.tx.conn.execute(_ACTION, (self.id, action)).fetchone() or (None,))
            item = self.actions.get(action)
        return item

    def _found(self, action: str, columns: tuple[Any, ...]) -> None:
        if columns[0] is None:
            self._absent = action
        else:
            self.actions[action] = ActionRow(*columns)

    def approval(self, approval: str) -> Asked:
        """One approval of the run; raises JournalError."""
        item = self.find_approval(approval)
        if item is None:
            raise JournalError(f"Run {self.id} has no approval {approval}.")
        return item

    def find_approval(self, approval: str) -> Asked | None:
        """One approval of the run, or None. What is changed of it is written by who changes it."""
        item = self.asked.get(approval)
        if item is None:
            found = find_asked(self.tx.conn, self.id, approval)
            if found is None:
                return None
            item, columns = found
            self.asked[approval] = item
            if item.action not in self.actions:
                self._found(item.action, columns)
        return item

    def move(self, item: ActionRow, phase: str) -> None:
        """Put an action into a phase and keep the count of what is in flight."""
        self.live.in_flight += (phase == "started") - (item.phase == "started")
        item.phase = phase

    def end_action(self, item: ActionRow, outcome: Outcome, seq: int) -> None:
        """The action came to this, by the event of this seq."""
        self.move(item, "finished")
        item.outcome, item.ended_seq, item.ended_at = outcome, seq, self.tx.now

    def reopen(self, item: ActionRow, phase: str) -> None:
        """Rate or ask again, but not of an action whose effect may have happened: raises AlreadyStarted (invariant 2).

        Refused means that the tool changed nothing; withdrawn after a start, that a person looked and handed it back.
        """
        unharmed = item.outcome in {Outcome.REFUSED, Outcome.WITHDRAWN}
        ran = item.started_at is not None and not item.resumed and not unharmed
        if ran or item.phase == "started" or item.outcome == Outcome.DONE_BY_HUMAN:
            raise AlreadyStarted
        self.move(item, phase)
        item.outcome, item.ended_seq, item.ended_at, item.started_at, item.resumed = None, 0, None, None, 0

    def bump(self, key: str, lane: int) -> None:
        """Want one more revision of a message; once an append, in the most urgent lane asked for."""
        self.messages[key] = min(lane, self.messages.get(key, lane))

    def must_not_be_over(self, what: str) -> None:
        """Raise RunStopped when the run is final."""
        if self.live.status.is_final:
            raise RunStopped(f"The run is over ({self.live.status.value}), so {what} is too late.")

    def flush(self) -> None:
        """Write everything back, bump the messages, and signal."""
        tx, conn, run = self.tx, self.tx.conn, self.live
        if run.status in {RunStatus.RUNNING, RunStatus.WAITING}:
            run.status = RunStatus.WAITING if run.waiting_on and not run.in_flight else RunStatus.RUNNING
        changing = (
            run.epoch, run.started_at, run.ended_at, run.steps, run.spent, run.reserved, run.waiting_on,
            run.in_flight, run.seq, run.head, run.answer_blob, run.summary,
        )  # fmt: skip
        if self._new_run:
            self._insert_run(changing)
        elif run.status != self.status_before:
            conn.execute(_WRITE_STATUS, (run.status, *changing, run.id))
        else:
            conn.execute(_WRITE_RUN, (*changing, run.id))
        if run.status != self.status_before:
            tx.signal("queue")
        if self.receipts:
            insert_many(conn, _KEEP_RECEIPT, _RECEIPT_ROW, self.receipts)
        for item in self.actions.values():
            _write_action(conn, run.id, item)
        if run.channel:  # a terminal is told by its own command, and has no place for messages
            at = tx.transport
            rows: list[tuple[object, ...]] = []
            for key, lane in self.messages.items():
                channel, thread = self._place(key)
                if channel is None:
                    continue
                rows.append((key, run.id, lane, run.team, channel, thread, at, at))
            insert_many(conn, _BUMP, _BUMP_ROW, rows)
            if self.messages:
                tx.signal("outbox")
        if not self.by_driver:  # the driver knows what it wrote; everybody else's writing wakes it
            tx.signal("run", run.id)

    def _place(self, key: str) -> tuple[str | None, str]:
        """Channel and thread of a message; no channel when there is nowhere for it to stand."""
        kind, _, subject = key.partition(":")
        if kind in {"progress", "answer"}:
            return self.live.channel, self.live.thread_ts
        if kind in {"reminder", "escalation"}:
            parent = f"card:{subject}"
        elif kind in {"note", "said"}:
            parent = f"takeover:{subject.partition('/')[0]}"
        else:
            return "", ""  # the configuration's, when it is sent
        card = self.tx.conn.execute(
            "SELECT channel, ts FROM outbox WHERE message_key = ? AND ts <> '' AND instr(ts, ',') = 0", (parent,)
        ).fetchone()
        return card or (None, "")

    def add_run(self, row: RunRow, *, task: str, parent: str, title: str, trace_id: str, span_id: str) -> None:
        """The run's row; what stands in it from the start never changes."""
        self.run = row
        self.tx.signal("queue")  # it may go before others who wait
        self._new_run = (
            row.id, task, row.team, row.channel, row.thread_ts, row.requester, parent, title, self.tx.now,
            trace_id, span_id,
        )  # fmt: skip

    def _insert_run(self, changing: tuple[object, ...]) -> None:
        self.tx.conn.execute(_ADD_RUN, (*self._new_run, self.live.status, *changing))
        self._new_run = ()


def _write_action(conn: sqlite3.Connection, run: str, item: ActionRow) -> None:
    if item.is_new:
        conn.execute(_ADD_ACTION, (
            run, item.id, item.step, item.tool, item.tier, item.phase, item.outcome, item.digest, item.approval,
            item.takeover, item.attempt, item.resumed, item.lease_token, item.proposed_seq, item.rated_seq,
            item.ended_seq, item.started_at, item.ended_at,
        ))  # fmt: skip
    else:
        conn.execute(_WRITE_ACTION, (
            item.tier, item.phase, item.outcome, item.approval, item.takeover, item.attempt, item.resumed,
            item.lease_token, item.rated_seq, item.ended_seq, item.started_at, item.ended_at, run, item.id,
        ))  # fmt: skip


def is_co_requester(conn: sqlite3.Connection, run: str, principal: Principal) -> bool:
    """Whether this person's words are part of the run's context (invariant 5)."""
    row = conn.execute(
        "SELECT 1 FROM runs WHERE id = ? AND requester = ? "
        "UNION ALL SELECT 1 FROM co_requesters WHERE run = ? AND principal = ?",
        (run, principal.key, run, principal.key),
    ).fetchone()
    return row is not None

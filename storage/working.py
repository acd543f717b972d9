"""The rows that one append changes, loaded once, changed in memory, written back together."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from agent.domain import Outcome, Principal, RunStatus
from agent.errors import AlreadyStarted, JournalError, RunStopped, UnknownRun
from storage.database import Tx, insert_many
from storage.ledger import Budgets
from storage.turns import Room

LANE_DECISION, LANE_CARD, LANE_TAKEOVER, LANE_PROGRESS = range(4)
GENESIS = bytes(32)

_RUN = """SELECT id, team, channel, thread_ts, requester, status, epoch, started_at, ended_at, steps, spent_micro_usd,
  reserved_micro_usd, waiting_on, in_flight, seq, head_hash, answer_blob, summary FROM runs WHERE id = ?"""
_WRITE_RUN = """UPDATE runs SET epoch = ?, started_at = ?, ended_at = ?, steps = ?, spent_micro_usd = ?,
  reserved_micro_usd = ?, waiting_on = ?, in_flight = ?, seq = ?, head_hash = ?, answer_blob = ?, summary = ?
  WHERE id = ?"""
# Apart: naming the column makes SQLite go through the indexes that ask for it.
_WRITE_STATUS = "UPDATE runs SET status = ? WHERE id = ?"
_ACTION = """SELECT id, step, tool, tier, phase, outcome, digest, approval, takeover, attempt, resumed, lease_token,
  proposed_seq, rated_seq, ended_seq, started_at, ended_at FROM actions WHERE run = ? AND id = ?"""
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

    @classmethod
    def load(cls, tx: Tx, run: str) -> Working:
        """The run as it stands; without a row when it is new."""
        row = tx.conn.execute(_RUN, (run,)).fetchone()
        if row is None:
            return cls(tx, run, None)
        values = list(row)
        values[5] = RunStatus(row[5])
        return cls(tx, run, RunRow(*values), status_before=values[5])

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
        if item is None:
            row = self.tx.conn.execute(_ACTION, (self.id, action)).fetchone()
            if row is None:
                return None
            item = self.actions[action] = ActionRow(*row)
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
        if run.status != self.status_before:
            conn.execute(_WRITE_STATUS, (run.status, run.id))
            tx.signal("queue")
        conn.execute(_WRITE_RUN, (
            run.epoch, run.started_at, run.ended_at, run.steps, run.spent, run.reserved, run.waiting_on,
            run.in_flight, run.seq, run.head, run.answer_blob, run.summary, run.id,
        ))  # fmt: skip
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
        """Insert the run's row; what stands in it from the start never changes."""
        self.run = row
        self.tx.signal("queue")  # it may go before others who wait
        self.tx.conn.execute(
            "INSERT INTO runs VALUES "
            "(?, ?, ?, ?, ?, ?, 'queued', 0, ?, ?, ?, NULL, NULL, 0, 0, 0, 0, 0, 0, x'', ?, ?, '', '')",
            (row.id, task, row.team, row.channel, row.thread_ts, row.requester, parent, title, self.tx.now,
             trace_id, span_id),
        )  # fmt: skip


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

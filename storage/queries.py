"""Questions about the store: what a card, a thread, a command or a page shows, each read from one snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from agent.domain import RunStatus
from agent.events import Event, decode
from storage.blobs import read_blob
from storage.database import Database
from storage.questions import Question, find_question
from storage.quotas import Quotas, check_quotas
from storage.rows import ApprovalRow, TakeoverRow, approval_rows, fetch_approval, takeover_rows
from storage.views import (
    RUN,
    ApprovalView,
    RunLine,
    RunView,
    TakeoverView,
    approval_view,
    as_line,
    co_requesters,
    find_line,
    run_view,
    takeover_view,
)


class Queries:
    """Reads for the bot; synchronous, in the loop's thread. A view is None when its subject is unknown."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def run(self, run: str) -> RunLine | None:
        """One run's row."""
        return self._db.read(lambda conn: find_line(conn, run))

    def run_view(self, run: str) -> RunView | None:
        """One run with everything in it."""
        return self._db.read(lambda conn: run_view(conn, run))

    def runs(
        self,
        *,
        requester: str = "",
        channel: str = "",
        statuses: Sequence[RunStatus] = (),
        before: float = float("inf"),
        limit: int = 20,
    ) -> tuple[RunLine, ...]:
        """Runs, the newest first; each filter counts when it is given."""
        where, values = ["created_at < ?"], [before]
        wanted: list[object] = [*values]
        if requester:
            where.append("requester = ?")
            wanted.append(requester)
        if channel:
            where.append("channel = ?")
            wanted.append(channel)
        if statuses:
            where.append(f"status IN ({','.join('?' * len(statuses))})")
            wanted.extend(statuses)
        query = f"{RUN} WHERE {' AND '.join(where)} ORDER BY created_at DESC, id DESC LIMIT ?"
        return self._db.read(lambda conn: tuple(as_line(row) for row in conn.execute(query, (*wanted, limit))))

    def to_drive(self) -> tuple[str, ...]:
        """Ids of the runs that a process takes up when it starts: not over, and with something to do.

        A run that waits for people can have it too: one action was approved while another still waits.
        """
        query = (
            "SELECT id FROM runs WHERE status IN ('queued', 'running') UNION SELECT a.run FROM actions a "
            "JOIN runs r ON r.id = a.run WHERE a.phase IN ('proposed', 'allowed', 'approved') AND r.status = 'waiting'"
        )
        return self._db.read(lambda conn: tuple(run for (run,) in conn.execute(query)))

    def approval(self, approval: str) -> ApprovalRow | None:
        """One approval's row."""
        return fetch_approval(self._db.fetch, approval)

    def approval_view(self, approval: str) -> ApprovalView | None:
        """One approval with its action, votes and preview."""
        return self._db.read(lambda conn: approval_view(conn, approval))

    def takeover_view(self, takeover: str) -> TakeoverView | None:
        """One takeover with its action and run."""
        return self._db.read(lambda conn: takeover_view(conn, takeover))

    def event(self, run: str, seq: int) -> Event | None:
        """One event of a run; None when there is none, or retention dropped it."""
        query = "SELECT payload FROM events WHERE run = ? AND seq = ?"
        row = self._db.read(lambda conn: conn.execute(query, (run, seq)).fetchone())
        return decode(row[0]) if row and row[0] else None

    def body(self, digest: str) -> str:
        """A stored body; empty when there is none."""

        def read(conn: sqlite3.Connection) -> str:
            try:
                return read_blob(conn, digest) if digest else ""
            except KeyError:
                return ""

        return self._db.read(read)

    def question(self, run: str, seq: int) -> Question | None:
        """A question in a takeover's thread, with its answer."""
        return self._db.read(lambda conn: find_question(conn, run, seq))

    def find_run(self, prefix: str) -> RunLine | None:
        """The run with this id, or the only one whose id starts so; None when there is none or more than one."""

        def read(conn: sqlite3.Connection) -> RunLine | None:
            exact = find_line(conn, prefix)
            if exact or not prefix:
                return exact
            query = f"{RUN} WHERE id >= ? AND id < ? LIMIT 2"
            rows = conn.execute(query, (prefix, prefix + "\U0010ffff")).fetchall()
            return as_line(rows[0]) if len(rows) == 1 else None

        return self._db.read(read)

    def find_run_by_thread(self, team: str, channel: str, thread_ts: str) -> RunLine | None:
        """The newest run of a thread."""
        where = "team = ? AND channel = ? AND thread_ts = ? AND thread_ts <> '' ORDER BY created_at DESC LIMIT 1"
        query = f"{RUN} WHERE {where}"
        row = self._db.read(lambda conn: conn.execute(query, (team, channel, thread_ts)).fetchone())
        return as_line(row) if row else None

    def pending_approvals(self, limit: int = 100) -> tuple[ApprovalRow, ...]:
        """Approvals that wait for people, the next to expire first."""
        where = "WHERE a.state = 'pending' ORDER BY a.expires_at LIMIT ?"
        return self._db.read(lambda conn: approval_rows(conn, where, (limit,)))

    def open_takeovers(self, limit: int = 100) -> tuple[TakeoverRow, ...]:
        """Takeovers that are open or claimed, the oldest first."""
        where = "WHERE t.next_at IS NOT NULL ORDER BY t.opened_at LIMIT ?"
        return self._db.read(lambda conn: takeover_rows(conn, where, (limit,)))

    def may_start(self, requester: str, now: float, quotas: Quotas) -> None:
        """Raise QuotaExceeded when one more run of this person would break a quota at this business time."""
        exceeded = self._db.read(lambda conn: check_quotas(conn, requester, now, quotas))
        if exceeded:
            raise exceeded

    def co_requesters(self, run: str) -> tuple[str, ...]:
        """Principal keys of those whose words are in the run's context, the requester first."""
        return self._db.read(lambda conn: co_requesters(conn, run))

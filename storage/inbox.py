"""The inbox: what Slack delivers is accepted once, with its task and run, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain import Principal, Task, content_hash
from agent.errors import QuotaExceeded
from agent.events import FollowUpReceived, RunCreated
from agent.ports import Ids
from storage.database import Database, Tx
from storage.journal import append, keep_blobs
from storage.quotas import Quotas, check_quotas
from storage.working import Working


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run was created for the task."""

    run: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The delivery or its message was accepted before; `run` is empty when none is known for it."""

    run: str


class Inbox:
    """Accepts deliveries (invariant 11): nothing acked is lost, nothing delivered twice is done twice."""

    def __init__(self, db: Database, ids: Ids) -> None:
        self._db = db
        self._ids = ids

    async def accept(
        self,
        key: str,
        task: Task,
        *,
        quota: Quotas | None = None,
        parent_run: str = "",
        trace_id: str = "",
        span_id: str = "",
    ) -> Accepted | Duplicate:
        """Write inbox key, task and run; an empty key (a terminal) is no delivery and never a duplicate.

        Raises QuotaExceeded (the key is kept: the person was told, so a redelivery is not told again) or
        StorageUnavailable.
        """
        run = self._ids.new("run")
        created = RunCreated(task=task, parent_run=parent_run, trace_id=trace_id, span_id=span_id)

        def write(tx: Tx) -> Accepted | Duplicate | QuotaExceeded:
            place = task.place
            if place.message_ts:
                known = tx.conn.execute(_RUN_OF_MESSAGE, (place.team, place.channel, place.message_ts)).fetchone()
                if known:
                    first_time(tx, key)
                    return Duplicate(known[0])
            if not first_time(tx, key):
                return Duplicate("")
            exceeded = check_quotas(tx.conn, task.principal.key, tx.now, quota) if quota else None
            if exceeded:
                return exceeded
            append(tx, run, (created,))
            return Accepted(run)

        result = await self._db.write(write)
        if isinstance(result, QuotaExceeded):
            raise result
        return result

    async def seen(self, key: str) -> bool:
        """Whether this key came before; from now on it has. For commands and clicks, which carry no task."""
        return await self._db.write(lambda tx: not first_time(tx, key))

    async def follow_up(self, run: str, principal: Principal, text: str, *, key: str = "") -> bool:
        """Add a person's words to a running task; they cannot decide on it from then on.

        False when the run is over (a new run takes the words) or the delivery came before. `text` is already redacted.
        Raises UnknownRun or StorageUnavailable.
        """
        digest = content_hash(text)

        def write(tx: Tx) -> bool:
            work = Working.load(tx, run)
            if work.live.status.is_final or not first_time(tx, key):
                return False
            keep_blobs(tx, {digest: text})
            append(tx, run, (FollowUpReceived(principal=principal, text_blob=digest),), work=work)
            return True

        return await self._db.write(write)

    async def forget(self, before: float) -> int:
        """Drop keys older than a business time, which Slack cannot deliver again; returns how many."""
        return await self._db.write(lambda tx: tx.conn.execute("DELETE FROM inbox WHERE at < ?", (before,)).rowcount)


_RUN_OF_MESSAGE = """SELECT run FROM tasks WHERE team = ? AND channel = ? AND message_ts = ? AND message_ts <> ''"""


def first_time(tx: Tx, key: str) -> bool:
    """Whether this key is new; from now on it is not. An empty one is always new."""
    if not key:
        return True
    return tx.conn.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (key, tx.now)).rowcount == 1

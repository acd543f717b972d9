"""The inbox: what Slack delivers is accepted once, with its task and run, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.domain import Principal, Task, content_hash
from agent.errors import QuotaExceeded
from agent.events import CoRequesterAdded, Event, FollowUpReceived, RunCreated
from agent.ports import Ids
from storage.attachments import Offered, owe
from storage.database import Database, Tx
from storage.journal import append, keep_blobs
from storage.parentage import context_of, inherited
from storage.quotas import Quotas, check_follow_ups, check_quotas
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

    def __init__(self, db: Database, ids: Ids, *, limited: Callable[[str], object] = str) -> None:
        """`limited` hears the scope of each quota that turned somebody away."""
        self._db = db
        self._ids = ids
        self._limited = limited

    async def accept(
        self,
        key: str,
        task: Task,
        *,
        quota: Quotas | None = None,
        parent_run: str = "",
        files: Sequence[Offered] = (),
        trace_id: str = "",
        span_id: str = "",
        quoted: Principal | None = None,
    ) -> Accepted | Duplicate:
        """Write inbox key, task, run and the files that it is owed.

        An empty key (a terminal) is no delivery and never a duplicate.

        `quoted` wrote words that the task quotes, and is a co-requester from the start (invariant 5).

        Raises QuotaExceeded (the key is kept: the person was told, so a redelivery is not told again) or
        StorageUnavailable.
        """
        run = self._ids.new("run")

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
            context = context_of(tx, parent_run) if parent_run else ""
            digest = content_hash(context) if context else ""
            keep_blobs(tx, {digest: context} if context else {})
            created = RunCreated(
                task=task,
                parent_run=parent_run,
                context_blob=digest,
                trace_id=trace_id,
                span_id=span_id,
                files=len(files),
            )
            owe(tx, run, key, files)
            others = inherited(tx, parent_run, task.principal) if context else ()
            events = [created, *others, *_uploaders(task.principal, files)]
            if quoted is not None and quoted.key != task.principal.key:
                events.append(CoRequesterAdded(principal=quoted, cause="quote"))
            append(tx, run, events)
            return Accepted(run)

        result = await self._db.write(write, first=True)
        if isinstance(result, QuotaExceeded):
            self._limited(result.scope)
            raise result
        return result

    async def seen(self, key: str) -> bool:
        """Whether this key came before; from now on it has. For commands and clicks, which carry no task."""
        return await self._db.write(lambda tx: not first_time(tx, key), first=True)

    async def follow_up(
        self,
        run: str,
        principal: Principal,
        text: str,
        *,
        key: str = "",
        quota: Quotas | None = None,
        files: Sequence[Offered] = (),
    ) -> bool:
        """Add a person's words to a running task; they cannot decide on it from then on.

        False when the run is over (a new run takes the words) or the delivery came before. `text` is already redacted.
        Raises QuotaExceeded (the key is kept, as in `accept`), UnknownRun or StorageUnavailable.
        """
        digest = content_hash(text)

        def write(tx: Tx) -> bool | QuotaExceeded:
            work = Working.load(tx, run)
            if work.live.status.is_final or not first_time(tx, key):
                return False
            if quota and (exceeded := check_follow_ups(tx, run, principal.key, quota)):
                return exceeded
            keep_blobs(tx, {digest: text})
            owe(tx, run, key, files)
            said = FollowUpReceived(principal=principal, text_blob=digest)
            append(tx, run, (said, *_uploaders(principal, files)), work=work)
            return True

        result = await self._db.write(write, first=True)
        if isinstance(result, QuotaExceeded):
            self._limited(result.scope)
            raise result
        return result

    async def forget(self, before: float) -> int:
        """Drop keys older than a business time, which Slack cannot deliver again; returns how many."""
        return await self._db.write(lambda tx: tx.conn.execute("DELETE FROM inbox WHERE at < ?", (before,)).rowcount)


def _uploaders(author: Principal, files: Sequence[Offered]) -> tuple[Event, ...]:
    """Whose files come in are co-requesters from then on (invariant 5); the author is one already."""
    users = dict.fromkeys(item.uploader for item in files if item.uploader and item.uploader != author.user)
    return tuple(CoRequesterAdded(principal=Principal(team=author.team, user=user), cause="file") for user in users)


_RUN_OF_MESSAGE = """SELECT run FROM tasks WHERE team = ? AND channel = ? AND message_ts = ? AND message_ts <> ''"""


def first_time(tx: Tx, key: str) -> bool:
    """Whether this key is new; from now on it is not. An empty one is always new."""
    if not key:
        return True
    return tx.conn.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (key, tx.now)).rowcount == 1

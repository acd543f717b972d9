"""Many runs that wait for a yes, written through the journal itself, faster than running them one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent import events as ev
from agent.clock import RandomIds
from agent.domain import Json, Task, digest_of
from storage.database import Database, Tx
from storage.journal import append, read_events

BATCH = 200


@dataclass(frozen=True, slots=True)
class Pending:
    """An approval that waits, and the digest that its card shows."""

    approval: str
    digest: str


@dataclass(frozen=True, slots=True)
class Copies:
    """How copies of a waiting run differ from it, by their number."""

    schema_hash: str
    task: Callable[[int], Task]
    arguments: Callable[[int], Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class _New:
    action: str
    approval: str
    digest: str
    number: int
    at: float


async def add_pending(db: Database, template: str, copies: Copies, numbers: range) -> list[Pending]:
    """Copy the events of the run `template`, which waits, into one new run a number.

    Only ids, task, arguments and digests differ: each row is what the engine would have written.
    """
    events = [stored.event for stored in db.read(lambda conn: read_events(conn, template))]
    (tool,) = (event.action.tool for event in events if isinstance(event, ev.ActionProposed))
    ids = RandomIds()

    def write(tx: Tx, part: range) -> list[Pending]:
        made: list[Pending] = []
        for number in part:
            run, action, approval = ids.new("run"), ids.new("action"), ids.new("p")
            digest = digest_of(
                run=run,
                action=action,
                principal=copies.task(number).principal,
                tool=tool,
                schema_hash=copies.schema_hash,
                arguments=dict(copies.arguments(number)),
            )
            new = _New(action, approval, digest, number, tx.now)
            append(tx, run, [_copy(event, new, copies) for event in events])
            made.append(Pending(approval, digest))
        tx.signals.clear()  # they wait: nobody has to be woken for them
        return made

    pending: list[Pending] = []
    for low in range(0, len(numbers), BATCH):
        pending += await db.write(lambda tx, part=numbers[low : low + BATCH]: write(tx, part))
    return pending


def _copy(event: ev.Event, new: _New, copies: Copies) -> ev.Event:
    match event:
        case ev.RunCreated():
            return event.model_copy(update={"task": copies.task(new.number)})
        case ev.ActionProposed():
            changes = {"id": new.action, "arguments": dict(copies.arguments(new.number)), "digest": new.digest}
            return event.model_copy(update={"action": event.action.model_copy(update=changes)})
        case ev.ActionRated():
            return event.model_copy(update={"action": new.action})
        case ev.ApprovalRequested():
            changes = {
                "approval": new.approval,
                "action": new.action,
                "digest": new.digest,
                "created_at": new.at,
                "expires_at": new.at + event.timeout_s,
            }
            return event.model_copy(update=changes)
        case _:
            return event

"""What a follow-up inherits from the run before it: a text for the models, and those whose words are in it."""

from __future__ import annotations

from collections.abc import Sequence

from agent import events as ev
from agent.domain import Outcome, Principal, RunStatus
from agent.events import Event
from storage.blobs import read_blob
from storage.database import Tx
from storage.views import RunView, run_view

TASK, ANSWER, EARLIER, LINES = 4_000, 6_000, 4_000, 20
"""Characters of the parent's task, its answer and what it knew itself, and lines of what it did."""
_STATUS = {
    RunStatus.COMPLETED: "completed",
    RunStatus.PARTIAL: "ended partly done",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "was stopped",
}


def context_of(tx: Tx, parent: str) -> str:
    """The parent's task, outcomes and answer, newest last; empty when it is unknown or its payloads were dropped."""
    view = run_view(tx.conn, parent)
    if view is None or not view.run.status.is_final:
        return ""
    parts = [_earlier(tx, parent), f"An earlier task in this conversation, {_STATUS[view.run.status]}:"]
    parts += [_cut(view.task.text, TASK), _outcomes(view), "Its answer:", _cut(view.answer or view.run.summary, ANSWER)]
    return "\n\n".join(part for part in parts if part)


def inherited(tx: Tx, parent: str, requester: Principal) -> Sequence[Event]:
    """Those whose words come along are co-requesters of the new run as well (invariant 5)."""
    view = run_view(tx.conn, parent)
    people = [key for key in (view.co_requesters if view else ()) if key != requester.key]
    return [ev.CoRequesterAdded(principal=Principal.parse(key), cause="parent") for key in dict.fromkeys(people)]


def _earlier(tx: Tx, parent: str) -> str:
    """What the parent itself was told of its own parent; its end, where the newest of it stands."""
    query = "SELECT payload FROM events WHERE run = ? AND seq = 1"
    row = tx.conn.execute(query, (parent,)).fetchone()
    created = ev.decode(row[0]) if row and row[0] else None
    if not isinstance(created, ev.RunCreated) or not created.context_blob:
        return ""
    try:
        text = read_blob(tx.conn, created.context_blob)
    except KeyError:
        return ""
    return text if len(text) <= EARLIER else f"…{text[-EARLIER:]}"


def _outcomes(view: RunView) -> str:
    lines = [
        f"- {item.headline or item.action.tool}: {item.outcome}" for item in view.actions if item.outcome is not None
    ]
    said_no = any(item.outcome in {Outcome.DENIED, Outcome.EXPIRED} for item in view.actions)
    note = "\nWhat people denied is not asked for again unless they say so." if said_no else ""
    more = f"\n- and {len(lines) - LINES} earlier ones" if len(lines) > LINES else ""
    return "What it did:\n" + "\n".join(lines[-LINES:]) + more + note if lines else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters left out)"

"""Receipts of takeovers' endings: signed as they are written, over what was done and in whose words, and checked."""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent import events as ev
from agent.ports import Stored

if TYPE_CHECKING:  # costs 40 ms to import, and is needed at the first decision only
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from storage.verification import Walk
    from storage.working import Working

_VERSION = 1
_SUBJECT = "SELECT action, epoch FROM takeovers WHERE id = ? AND run = ?"
_PAYLOAD = "SELECT payload FROM events WHERE run = ? AND seq = ?"
_KEEP = "INSERT OR REPLACE INTO takeover_receipts VALUES (?, ?, ?, ?)"
_EVENTS = "SELECT run, seq, at, payload FROM events WHERE type = 'takeover_closed' ORDER BY run, seq"
_ROWS = """SELECT t.run, t.id, t.action, coalesce(a.digest, ''), t.epoch, t.state, t.closed_by, t.closed_at, t.what,
  t.reference, t.evidence, coalesce(r.again, 0), coalesce(r.policy_version, ''), r.signature FROM takeovers t
  LEFT JOIN actions a ON a.run = t.run AND a.id = t.action LEFT JOIN takeover_receipts r ON r.takeover = t.id
  WHERE t.closed_at IS NOT NULL OR r.takeover IS NOT NULL"""
_THERE = "SELECT 1 FROM sqlite_master WHERE name = 'takeover_receipts'"
_SINCE = "SELECT applied_at FROM _sqlite_migrations WHERE migration_set = 'secondkey' AND name = 'm015_endings'"


@dataclass(frozen=True, slots=True)
class Ending:
    """What a signature stands for. Business seconds."""

    run: str
    takeover: str
    action: str
    digest: str
    epoch: int
    """The run's when it was opened."""
    ending: str
    principal: str
    """Principal key; empty when time or the system ended it."""
    at: float
    what: str
    reference: str
    evidence: str
    again: bool
    policy: str

    @property
    def message(self) -> bytes:
        """The canonical JSON that is signed; nothing else that is signed has its `takeover_receipt`."""
        named = asdict(self) | {"at": float(self.at), "takeover_receipt": _VERSION}
        return json.dumps(named, sort_keys=True, separators=(",", ":")).encode()


def seal_ending(work: Working, event: ev.TakeoverClosed, earlier: Sequence[Stored]) -> ev.TakeoverClosed:
    """The event with its receipt; what a caller wrote there is overwritten. Raises ConfigurationError for the key."""
    if work.tx.keyring is None:
        return event
    subject = work.tx.conn.execute(_SUBJECT, (event.takeover, work.id)).fetchone()
    if subject is None or (item := work.find_action(subject[0])) is None:
        return event  # the projection refuses it
    policy = _policy_of(work, item.rated_seq, earlier)
    signature = work.tx.keyring.sign(_of_event(work.id, event, (item.id, item.digest, subject[1]), policy))
    work.tx.conn.execute(_KEEP, (event.takeover, int(event.again), policy, signature))
    return event.model_copy(update={"policy_version": policy, "receipt": signature})


@dataclass(frozen=True, slots=True)
class _Written:
    """What the journal has of one ending."""

    run: str
    seq: int
    at: float
    event: ev.TakeoverClosed


def check_endings(walk: Walk, key: Ed25519PublicKey) -> tuple[int, int]:
    """How many endings' receipts hold, and how many endings are older than they; tells the walk of what is wrong."""
    if walk.conn.execute(_THERE).fetchone() is None:
        return 0, 0
    journal, dropped = _journal(walk)
    since = _since(walk.conn)
    held = unsigned = 0
    for row in walk.conn.execute(_ROWS):
        run, takeover, signature, what = str(row[0]), str(row[1]), row[-1], f"the ending of the takeover {row[1]}"
        written = journal.pop(takeover, None)
        if written is None and run not in dropped:
            walk.found(run, 0, "added", f"{what} stands in its row, and nobody wrote it")
            continue
        seq = written.seq if written is not None else 0
        journalled = written.event.receipt if written is not None else ""
        if not signature and not journalled and (written is None or written.at < since):
            unsigned += 1
        elif not signature or (written is not None and not journalled):
            walk.found(run, seq, "not signed", f"{what} has no receipt")
        elif (written is not None and journalled != signature) or not _hold(key, row, written):
            walk.found(run, seq, "edited", f"{what} is not the one that its receipt was given for")
        else:
            held += 1
    for takeover, written in journal.items():
        walk.found(written.run, written.seq, "removed", f"the ending of the takeover {takeover} is in no row")
    return held, unsigned


def _journal(walk: Walk) -> tuple[dict[str, _Written], set[str]]:
    """Takeover → its ending as journalled, and the runs of which retention dropped one."""
    found: dict[str, _Written] = {}
    dropped: set[str] = set()
    for run, seq, at, payload in walk.conn.execute(_EVENTS):
        if payload is None:
            dropped.add(run)
            continue
        try:
            event = ev.decode(payload)
        except ValueError:
            continue  # the walk over the journal's chain complains of it
        if isinstance(event, ev.TakeoverClosed):
            found[event.takeover] = _Written(run, seq, at, event)
    return found, dropped


def _hold(key: Ed25519PublicKey, row: Sequence[Any], written: _Written | None) -> bool:
    from storage.keys import is_signed_by  # noqa: PLC0415  # as at the top

    *said, again, policy, signature = row
    try:
        endings = [Ending(*said, again=bool(again), policy=str(policy))]
        if written is not None:
            endings.append(
                _of_event(written.run, written.event, (row[2], row[3], row[4]), written.event.policy_version)
            )
        made = base64.b64decode(signature, validate=True)
        return all(is_signed_by(key, made, ending.message) for ending in endings)
    except (binascii.Error, ValueError, TypeError):
        return False  # such a row was never written by us


def _of_event(run: str, event: ev.TakeoverClosed, subject: tuple[str, str, int], policy: str) -> Ending:
    action, digest, epoch = subject
    return Ending(
        run, event.takeover, action, digest, epoch, event.state, event.by, event.at, event.what, event.reference,
        event.evidence, event.again, policy,
    )  # fmt: skip


def _policy_of(work: Working, seq: int, earlier: Sequence[Stored]) -> str:
    """The policy version of the rating with this seq; empty when it was never rated."""
    for stored in earlier:
        if stored.seq == seq:
            return stored.event.policy_version if isinstance(stored.event, ev.ActionRated) else ""
    row = work.tx.conn.execute(_PAYLOAD, (work.id, seq)).fetchone()
    rated = ev.decode(row[0]) if row is not None and row[0] is not None else None
    return rated.policy_version if isinstance(rated, ev.ActionRated) else ""


def _since(conn: sqlite3.Connection) -> float:
    """From when on each ending has a receipt, seconds; 0 when somebody removed the note: then nothing is excused."""
    row = conn.execute(_SINCE).fetchone()
    try:
        moment = datetime.fromisoformat(row[0])
    except (TypeError, ValueError):
        return 0.0
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()

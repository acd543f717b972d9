"""What stands at one moment, for whoever watches the process: who is waited for, what is queued, what was refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.ledger import booked, day_of
from storage.outbox import LANES

_APPROVALS = "SELECT count(*), min(created_at) FROM approvals WHERE state = 'pending'"
_TAKEOVERS = """SELECT count(*), min(CASE WHEN state = 'open' THEN opened_at END) FROM takeovers
  WHERE next_at IS NOT NULL"""
_RUNS = """SELECT status, count(*), min(created_at), max(spent_micro_usd + reserved_micro_usd) FROM runs
  WHERE status IN ('queued', 'running', 'waiting') GROUP BY status"""
_OUTBOX = "SELECT lane, count(*), min(wanted_at) FROM outbox WHERE sent < wanted GROUP BY lane"
_DEAREST = """SELECT max(spent_micro_usd + reserved_micro_usd) FROM ledger WHERE day = ? AND scope = 'person'"""
_REFUSED = "SELECT kind, count(*), max(id) FROM audit WHERE id > ? GROUP BY kind"


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts, and ages in seconds (0 when there is nothing)."""

    approvals: int = 0
    oldest_approval_s: float = 0.0
    takeovers: int = 0
    oldest_takeover_s: float = 0.0
    """Of one that nobody has claimed."""
    runs: Mapping[str, int] = field(default_factory=dict[str, int])
    """Unfinished ones, by status."""
    oldest_queued_s: float = 0.0
    most_spent_micro_usd: int = 0
    """Of one unfinished run, reservations included."""
    person_day_micro_usd: int = 0
    """Of the person who has most booked on this UTC day, reservations included."""
    everybody_day_micro_usd: int = 0
    """Of everybody."""
    outbox: Mapping[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    """Lane → messages that wait, and how long the oldest does (real time)."""


def read_standing(conn: sqlite3.Connection, now: float, transport: float) -> Standing:
    """Look at everything once; each query is answered by an index over what is open."""
    approvals, asked = conn.execute(_APPROVALS).fetchone()
    takeovers, opened = conn.execute(_TAKEOVERS).fetchone()
    runs = {status: (count, since, spent) for status, count, since, spent in conn.execute(_RUNS)}
    queued = runs.get("queued")
    lanes: dict[str, tuple[int, float]] = {
        LANES[lane]: (count, _age(transport, since)) for lane, count, since in conn.execute(_OUTBOX)
    }
    return Standing(
        approvals=approvals,
        oldest_approval_s=_age(now, asked),
        takeovers=takeovers,
        oldest_takeover_s=_age(now, opened),
        runs={status: count for status, (count, _, _) in runs.items()},
        oldest_queued_s=_age(now, queued[1]) if queued else 0.0,
        most_spent_micro_usd=max((spent for _, _, spent in runs.values()), default=0),
        person_day_micro_usd=conn.execute(_DEAREST, (day_of(now),)).fetchone()[0] or 0,
        everybody_day_micro_usd=booked(conn, day_of(now), "everybody").taken,
        outbox=lanes,
    )


def refused_since(conn: sqlite3.Connection, last: int) -> tuple[dict[str, int], int]:
    """How many attempts of each kind were refused after an audit row, and the newest row."""
    rows = conn.execute(_REFUSED, (last,)).fetchall()
    return {kind: count for kind, count, _ in rows}, max((newest for _, _, newest in rows), default=last)


def _age(now: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now - since)

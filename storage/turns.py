"""Turns: runs beyond what may be at work at once wait in a queue that is fair between people.

The queue is the runs that stand as queued, so a restart keeps it. Who has the fewest runs at work goes first, then who
waited longest for a turn of theirs, then who asked first.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass

from agent.errors import RunQueued

_AT_WORK = "SELECT requester, count(*) FROM runs WHERE status = 'running' GROUP BY requester"
# A run whose files are still on their way could not begin, so it stands in nobody's way.
_QUEUED = """SELECT id, requester FROM runs r WHERE status = 'queued'
    AND NOT EXISTS (SELECT 1 FROM attachments a WHERE a.run = r.id AND a.state = 'owed')
  ORDER BY created_at, id"""
_LAST_TURN = "SELECT coalesce(max(started_at), 0.0) FROM runs WHERE requester = ?"


@dataclass(frozen=True, slots=True)
class Room:
    """Runs that may be at work at once; 0 means no limit. One that waits for people is not at work."""

    person: int = 0
    everybody: int = 0


def queue(conn: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
    """Ids of the runs that have not begun and their requesters, in the order of their turns."""
    waiting = conn.execute(_QUEUED).fetchall()
    if len(waiting) < 2:  # noqa: PLR2004  # one alone is in order
        return tuple(waiting)
    busy = dict(conn.execute(_AT_WORK).fetchall())
    last = {person: conn.execute(_LAST_TURN, (person,)).fetchone()[0] for person in {row[1] for row in waiting}}
    rank = Counter[str]()
    order: list[tuple[int, float, int, tuple[str, str]]] = []
    for number, (run, person) in enumerate(waiting):
        rank[person] += 1
        order.append((busy.get(person, 0) + rank[person], last[person], number, (run, person)))
    return tuple(item for *_, item in sorted(order))


def whose_turn(conn: sqlite3.Connection, room: Room) -> tuple[str, ...]:
    """Runs that may begin now, in their order."""
    busy = Counter[str](dict(conn.execute(_AT_WORK).fetchall()))
    free = room.everybody - busy.total() if room.everybody else None
    if free is not None and free <= 0:
        return ()  # the usual case while many wait, and the queue need not be put in order for it
    found: list[str] = []
    for run, person in queue(conn):
        if free is not None and len(found) >= free:
            break
        if room.person and busy[person] >= room.person:
            continue
        busy[person] += 1
        found.append(run)
    return tuple(found)


def place_of(conn: sqlite3.Connection, run: str) -> int:
    """Where a run stands in the queue, from 1; 0 when it does not wait there."""
    return next((number for number, (item, _) in enumerate(queue(conn), 1) if item == run), 0)


def refuse_before_turn(conn: sqlite3.Connection, run: str, person: str, room: Room) -> None:
    """Raise RunQueued when others go first."""
    at_work, mine = _count(conn, "running", person)
    queued, mine_queued = _count(conn, "queued", person)
    all_fit = not room.everybody or at_work + queued <= room.everybody
    mine_fit = not room.person or mine + mine_queued <= room.person
    if not (all_fit and mine_fit) and run not in whose_turn(conn, room):
        raise RunQueued


def _count(conn: sqlite3.Connection, status: str, person: str) -> tuple[int, int]:
    query = "SELECT count(*), coalesce(sum(requester = ?), 0) FROM runs WHERE status = ?"
    found = conn.execute(query, (person, status)).fetchone()
    return int(found[0]), int(found[1])

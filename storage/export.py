"""The journal as a stream of records for auditors: JSON Lines or CSV, by time, run and person."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TextIO

from agent.domain import Principal

_RUNS = """SELECT id, requester FROM runs r WHERE created_at < :until AND (:run = '' OR id = :run)
  AND coalesce((SELECT at FROM events WHERE run = r.id AND seq = r.seq), :since) >= :since ORDER BY created_at, id"""
_EVENTS = """SELECT run, seq, at, type, version, epoch, payload, payload_hash, prev_hash, hash FROM events
  WHERE run = ? AND at >= ? AND at < ? ORDER BY seq"""
_REFUSALS = "SELECT id, at, kind, principal, subject, detail FROM audit WHERE at >= ? AND at < ? ORDER BY id"
COLUMNS = (
    "record", "run", "seq", "at", "type", "version", "epoch", "requester", "principal", "payload_hash", "prev_hash",
    "hash", "payload",
)  # fmt: skip
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # spreadsheets take the full-width forms for the plain ones


@dataclass(frozen=True, slots=True)
class Selection:
    """What to export; an empty text selects everything. Business seconds; `until` itself is not in it."""

    since: float = float("-inf")
    until: float = float("inf")
    run: str = ""
    principal: str = ""
    """A principal's key, or only the user in it."""

    def takes(self, *people: str) -> bool:
        """Whether something that concerns these people is wanted."""
        return not self.principal or any(self.principal in {key, key.rpartition(":")[2]} for key in people)


def export_jsonl(conn: sqlite3.Connection, selection: Selection, out: TextIO) -> int:
    """Write one JSON object a line; a payload stands last, byte for byte as it was hashed. Returns the records."""
    count = 0
    for record in records(conn, selection):
        payload: str | None = record.pop("payload")
        head = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        out.write(f'{head[:-1]},"payload":{_as_json(payload)}}}\n')
        count += 1
    return count


def export_csv(conn: sqlite3.Connection, selection: Selection, out: TextIO) -> int:
    """Write a table with a header; no cell can begin a formula in a spreadsheet. Returns the records."""
    count = 0
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for record in records(conn, selection):
        writer.writerow([_cell(record[name]) for name in COLUMNS])
        count += 1
    return count


def records(conn: sqlite3.Connection, selection: Selection) -> Iterator[dict[str, Any]]:
    """Events, run by run in the order of their creation, then what was refused.

    `requester` asked for the run; `principal` did what the event tells, and is empty when the agent or time did.
    A selection by person takes what they did and everything in the runs that they asked for.
    """
    values = {"since": selection.since, "until": selection.until, "run": selection.run}
    for run, requester in conn.execute(_RUNS, values):
        for row in conn.execute(_EVENTS, (run, selection.since, selection.until)):
            principal = _actor(row[6])
            if selection.takes(principal, requester):
                yield {
                    "record": "event",
                    "run": row[0],
                    "seq": row[1],
                    "at": _moment(row[2]),
                    "type": row[3],
                    "version": row[4],
                    "epoch": row[5],
                    "requester": requester,
                    "principal": principal,
                    "payload_hash": _hash_of(row[6], row[7]).hex(),
                    "prev_hash": row[8].hex(),
                    "hash": row[9].hex(),
                    "payload": row[6],
                }
    if selection.run:
        return
    for number, at, kind, principal, subject, detail in conn.execute(_REFUSALS, (selection.since, selection.until)):
        if selection.takes(principal):
            payload = json.dumps({"subject": subject, "detail": detail}, ensure_ascii=False, separators=(",", ":"))
            empty = dict.fromkeys(("payload_hash", "prev_hash", "hash"), "")
            about = {"record": "refusal", "run": "", "seq": number, "at": _moment(at), "type": kind, "version": 0}
            yield {**about, "epoch": 0, "requester": "", "principal": principal, **empty, "payload": payload}


def _hash_of(payload: str | None, kept: bytes) -> bytes:
    """A row keeps its payload's hash only once the payload was dropped."""
    return kept if payload is None else sha256(payload.encode("utf-8", "surrogateescape")).digest()


def _actor(payload: str | None) -> str:
    """Key of the person whose doing the event is; empty when it is the agent's, or the payload was dropped."""
    if payload is None:
        return ""
    try:
        event = json.loads(payload)
        said = event.get("task", {}).get("principal") or event.get("principal") or event.get("by") or ""
        return said if isinstance(said, str) else Principal.model_validate(said).key
    except (ValueError, AttributeError):
        return ""


def _moment(seconds: float) -> str:
    """Business time as ISO 8601 in UTC, to the microsecond; as it is when somebody made it no moment at all."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _as_json(payload: str | None) -> str:
    if payload is None:
        return "null"
    try:
        json.loads(payload)
    except ValueError:
        return json.dumps(payload)  # somebody changed it; the line stays readable
    return payload.replace("\n", " ")  # between tokens only: within a text it would be escaped


def _cell(value: object) -> str:
    """The value as text; an apostrophe goes before what a spreadsheet would take for a formula."""
    text = "" if value is None else str(value)
    bare = text.lstrip()
    is_formula = bare[:1] in _FORMULA if bare else False
    return f"'{text}" if is_formula or text[:1] in {"\t", "\r", "\n"} else text

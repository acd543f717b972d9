"""The registry of approvers: who may decide on what and until when, kept by the operator; rows are never deleted."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from storage.audit import refused
from storage.database import Tx

_PERSON = re.compile(r"[UW][A-Z0-9]{1,20}|slack:\w+:\w+|local:\w+", re.ASCII)
_COLUMNS = "id, principal, tool, channel, tier, valid_until, note, added_by, added_at"


@dataclass(frozen=True, slots=True)
class Approver:
    """One entry. An empty scope field stands for everything; `valid_until` is business time, 0 for ever."""

    id: int
    principal: str
    tool: str
    """A glob over tools' names."""
    channel: str
    """Id of the channel in which a task was asked."""
    tier: str
    """`medium`, `high`, or empty for both."""
    valid_until: float
    note: str
    added_by: str
    added_at: float

    def covers(self, *, tool: str, channel: str, tier: str, now: float) -> bool:
        """Whether it counts for this at this moment; an empty question is about anything at all."""
        if self.valid_until and self.valid_until <= now:
            return False
        return (
            (not self.tool or not tool or fnmatch.fnmatchcase(tool, self.tool))
            and (not self.channel or not tool or self.channel == channel)
            and (not self.tier or not tier or self.tier == tier)
        )


Select = Callable[[str, Sequence[object]], Iterable[tuple[Any, ...]]]
"""One SELECT: `Database.fetch`, or a connection's `execute`."""


def standing(select: Select) -> tuple[Approver, ...]:
    """Entries that were not removed, oldest first; those whose time is over are among them."""
    query = f"SELECT {_COLUMNS} FROM approvers WHERE removed_at IS NULL ORDER BY id"  # noqa: S608  a constant
    return tuple(Approver(*row) for row in select(query, ()))


def covering(
    entries: Iterable[Approver], *, tool: str, channel: str, tier: str, now: float
) -> tuple[str, ...]:  # fmt: skip
    """Principal keys of those whom the registry names for this, each once."""
    found = (item.principal for item in entries if item.covers(tool=tool, channel=channel, tier=tier, now=now))
    return tuple(dict.fromkeys(one for one in found if is_person(one)))


def is_person(text: str) -> bool:
    """Whether an entry names one: a Slack user id or a principal's key. A hole in the registry names nobody."""
    return _PERSON.fullmatch(text) is not None


def add(tx: Tx, principal: str, *, tool: str, channel: str, tier: str, valid_until: float, note: str, by: str) -> int:
    """Enter somebody; returns the entry's number. The audit says who did it."""
    cursor = tx.conn.execute(
        "INSERT INTO approvers(principal, tool, channel, tier, valid_until, note, added_by, added_at, removed_by) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')",
        (principal, tool, channel, tier, valid_until, note, by, tx.now),
    )
    scope = " ".join(part for part in (tool, channel, tier) if part) or "everything"
    refused(tx, kind="approver_added", principal=by, subject=principal, detail=scope)
    return int(cursor.lastrowid or 0)


def remove(tx: Tx, principal: str, entry: int, *, by: str) -> int:
    """Take entries out: one by its number, or (0) all of a person; returns how many there were."""
    where, values = ("id = ?", (entry,)) if entry else ("principal = ?", (principal,))
    rows = tx.conn.execute(
        f"UPDATE approvers SET removed_at = ?, removed_by = ? WHERE removed_at IS NULL AND {where} "  # noqa: S608  constants
        "RETURNING principal",
        (tx.now, by, *values),
    ).fetchall()
    for (key,) in rows:
        refused(tx, kind="approver_removed", principal=by, subject=key, detail=f"entry {entry}" if entry else "all")
    return len(rows)

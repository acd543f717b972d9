"""`secondkey approvals`: what waits for a yes, for how long, and who may give it; beside a server and without one."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.clock import SystemClock
from agent.errors import ConfigurationError
from bot.config import Settings
from bot.words import count, duration
from storage.database import read_only
from storage.rows import ApprovalRow, approval_rows
from storage.views import approval_view, co_requesters

_PENDING = "WHERE a.state = 'pending' ORDER BY a.expires_at, a.id"


@dataclass(frozen=True, slots=True)
class Pending:
    """One approval that waits. Business seconds."""

    id: str
    run: str
    action: str
    tool: str
    headline: str
    requester: str
    created_at: float
    age_s: float
    expires_at: float
    expires_in_s: float
    quorum: int
    yes: tuple[str, ...]
    """Who said yes already."""
    may_decide: tuple[str, ...]
    """Whom the policy named when it was asked, without those whose words are in the run."""


def print_pending(settings: Settings, *, as_json: bool) -> int:
    """Print them, the next to expire first. Raises ConfigurationError."""
    waiting = _read(settings)
    if as_json:
        json.dump([asdict(item) for item in waiting], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    if not waiting:
        sys.stdout.write("Nothing waits for a yes.\n")
        return 0
    table = Table("approval", "run", "waits", "expires", "what", "asked by", "may decide")
    for item in waiting:
        left = f"in {duration(item.expires_in_s)}" if item.expires_in_s > 0 else "at the next sweep"
        deciders = ", ".join(_user(key) for key in item.may_decide) or "nobody"
        votes = f" ({count(len(item.yes), 'yes', 'yes')} of {item.quorum})" if item.quorum > 1 else ""
        what = _plain(item.headline or item.tool)[:80]
        table.add_row(
            item.id, item.run, duration(item.age_s), left, what, _user(item.requester), deciders + votes
        )  # fmt: skip
    Console().print(table)
    return 0


def _read(settings: Settings) -> tuple[Pending, ...]:
    path = settings.database
    if not path.is_file():
        raise ConfigurationError(f"There is no database at {path}.", fix="Start `secondkey serve` once, or set `data`.")
    now = SystemClock(settings.clock_rate).now()
    try:
        with closing(read_only(path)) as conn:
            conn.execute("BEGIN")
            return tuple(_pending(conn, row, now) for row in approval_rows(conn, _PENDING, ()))
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.", fix="Check the file and its rights.") from error


def _pending(conn: sqlite3.Connection, row: ApprovalRow, now: float) -> Pending:
    view = approval_view(conn, row.id)
    asked = set(co_requesters(conn, row.run))
    return Pending(
        id=row.id,
        run=row.run,
        action=row.action,
        tool=row.tool,
        headline=view.action.headline if view else "",
        requester=row.requester,
        created_at=row.created_at,
        age_s=round(now - row.created_at, 3),
        expires_at=row.expires_at,
        expires_in_s=round(row.expires_at - now, 3),
        quorum=row.quorum,
        yes=tuple(who for who, vote, _ in view.votes if vote == "approve") if view else (),
        may_decide=tuple(key for key in row.deciders if key not in asked),
    )


def _user(key: str) -> str:
    return _plain(key.rpartition(":")[2])


def _plain(text: str) -> str:
    """Words of a model or a person, without what a terminal would obey."""
    return escape("".join(character if character.isprintable() else " " for character in text))

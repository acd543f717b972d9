"""`secondkey approvers list | add | remove`: the registry of who may decide, kept beside a running server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from agent.clock import SystemClock
from agent.errors import ConfigurationError
from bot.config import Settings
from bot.words import count
from storage import approvers
from storage.approvers import Approver, is_person, standing
from storage.database import Database, Tx, read_only

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is entered. `until` is an ISO date or moment (UTC without a zone), empty for ever."""

    person: str
    tool: str = ""
    channel: str = ""
    tier: str = ""
    until: str = ""
    note: str = ""


def list_all(settings: Settings, *, as_json: bool) -> int:
    """Print the registry. Raises ConfigurationError."""
    entries, now = _read(settings), SystemClock(settings.clock_rate).now()
    if as_json:
        rows = [asdict(item) | {"valid": not item.valid_until or item.valid_until > now} for item in entries]
        json.dump(rows, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    if not entries:
        sys.stdout.write("Nobody is registered; the policy's [people] decide.\n")
        return 0
    table = Table("entry", "who", "tool", "channel", "tier", "until", "note")
    for item in entries:
        over = bool(item.valid_until) and item.valid_until <= now
        until = f"{_moment(item.valid_until)}{' (over)' if over else ''}" if item.valid_until else "for ever"
        table.add_row(
            str(item.id), item.principal, item.tool or "any", item.channel or "any", item.tier or "any", until,
            _plain(item.note)[:60],
        )  # fmt: skip
    Console().print(table)
    return 0


def add(settings: Settings, entry: Entry) -> int:
    """Enter somebody. Raises ConfigurationError."""
    check_person(entry.person)
    until = _timestamp(entry.until)
    if until and until <= SystemClock(settings.clock_rate).now():
        raise ConfigurationError(f"{entry.until} is over already.", fix="Name a moment that is still to come.")

    def write(tx: Tx) -> int:
        return approvers.add(
            tx, entry.person, tool=entry.tool, channel=entry.channel, tier=entry.tier, valid_until=until,
            note=entry.note, by=f"local:{os.getuid()}",
        )  # fmt: skip

    number = asyncio.run(_write(settings, write))
    sys.stdout.write(f"{entry.person} is entered as number {number}; it counts from now on.\n")
    return 0


def remove(settings: Settings, who: str) -> int:
    """Take a person, or one entry by its number, out; 1 when there was none. Raises ConfigurationError."""
    entry = int(who) if who.isdecimal() else 0
    if not entry:
        check_person(who)
    gone = asyncio.run(_write(settings, lambda tx: approvers.remove(tx, who, entry, by=f"local:{os.getuid()}")))
    sys.stdout.write(f"{count(gone, 'entry', 'entries')} removed.\n")
    return int(gone == 0)


def check_person(person: str) -> None:
    """Raise ConfigurationError unless it is a Slack user id or a principal's key."""
    if not is_person(person):
        raise ConfigurationError(f"{person!r} is no person.", fix="Write a Slack user id such as U0123, or local:1000.")


def _timestamp(text: str) -> float:
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no moment.", fix="Write it like 2026-12-31 or 2026-12-31T18:00."
        ) from error
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _read(settings: Settings) -> tuple[Approver, ...]:
    if not settings.database.is_file():
        raise ConfigurationError(f"There is no database at {settings.database}.", fix="Start `secondkey serve` once.")
    with closing(read_only(settings.database)) as conn:
        return standing(conn.execute)


async def _write(settings: Settings, work: Callable[[Tx], T]) -> T:
    if not settings.database.is_file():
        raise ConfigurationError(f"There is no database at {settings.database}.", fix="Start `secondkey serve` once.")
    db = await Database.join(settings.database, clock=SystemClock(settings.clock_rate))
    try:
        return await db.write(work)
    finally:
        await db.close()


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text).replace("[", "(")

"""`secondkey grants list` and `revoke`: what people allowed beforehand; beside a server and without one."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.clock import SystemClock
from agent.errors import UnknownSubject
from bot.cli_control import await_effect, beside, who
from bot.config import Settings
from bot.words import duration
from storage.control import Control
from storage.grants import GrantRow, Grants


def print_grants(settings: Settings, *, as_json: bool) -> int:
    """Print them, the newest first. Raises ConfigurationError."""
    return asyncio.run(_print(settings, as_json=as_json))


def revoke(settings: Settings, prefix: str) -> int:
    """Take one back; it covers nothing from this commit on. Raises UnknownSubject or ConfigurationError."""
    return asyncio.run(_revoke(settings, prefix))


async def _print(settings: Settings, *, as_json: bool) -> int:
    async with beside(settings) as db:
        rows, now = Grants(db).rows(limit=1000), SystemClock(settings.clock_rate).now()
    if as_json:
        json.dump([_plain(row, now) for row in rows], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    if not rows:
        sys.stdout.write("Nothing is allowed beforehand.\n")
        return 0
    table = Table("grant", "by", "for", "tool", "may only", "any value", "used", "state")
    for row in rows:
        grant = row.grant
        whose = f"run {grant.run}" if grant.run else f"runs of {grant.requester}"
        does = ", ".join(f"{item.effect.value} {item.target}" for item in grant.intents[:5]) or "the exact call"
        cells = (row.id, row.by, whose, grant.tool, does, ", ".join(grant.free), f"{row.uses} of {grant.max_uses}")
        table.add_row(*(_safe(cell) for cell in cells), _state(row, now))
    Console().print(table)
    return 0


async def _revoke(settings: Settings, prefix: str) -> int:
    async with beside(settings) as db:
        row = Grants(db).find(prefix)
        if row is None:
            raise UnknownSubject(f"There is no grant {prefix}, or more than one begins so; `secondkey grants list`.")
        if row.revoked_at:
            sys.stdout.write(f"{row.id} was taken back already.\n")
            return 0
        control, begun = Control(db, kill_file=settings.kill_file), time.perf_counter()
        flag = await control.write("revoke", by=who(), grant=row.id)
        # It counts from that commit on, server or not; what is waited for is its entry in the journal.
        return await await_effect(
            db, f"Taking back {row.id}", f"{row.id} taken back", begun, lambda: control.is_taken(flag)
        )  # fmt: skip


def _state(row: GrantRow, now: float) -> str:
    if row.revoked_at:
        return _safe(f"taken back by {row.revoked_by}")
    if row.stands(now):
        return f"ends in {duration(row.expires_at - now)}"
    return "has run out" if now >= row.expires_at else "used up"


def _plain(row: GrantRow, now: float) -> dict[str, object]:
    return {
        **row.grant.model_dump(mode="json"),
        "given_in": row.run,
        "given_at": row.given_at,
        "uses": row.uses,
        "spent_micro_usd": row.spent_micro_usd,
        "revoked_at": row.revoked_at,
        "revoked_by": row.revoked_by,
        "stands": row.stands(now),
    }


def _safe(text: str) -> str:
    """Words of a model or a person, without what a terminal would obey."""
    return escape("".join(character if character.isprintable() else " " for character in text))

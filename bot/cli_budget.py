"""`secondkey budget`: what model calls cost on this day, for everybody, for people and for models."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.clock import SystemClock
from bot.cli_control import beside
from bot.config import Settings
from bot.words import money
from storage.ledger import Booked
from storage.spending import Spending


def print_budget(settings: Settings, *, as_json: bool) -> int:
    """Print the day's ledger beside its limits; works beside a server and without one. Raises ConfigurationError."""
    return asyncio.run(_print(settings, as_json=as_json))


async def _print(settings: Settings, *, as_json: bool) -> int:
    async with beside(settings) as db:
        now = SystemClock(settings.clock_rate).now()
        spending = Spending(db)
        day, people = spending.days("", now, settings.budgets), spending.people(now)
    anew = datetime.fromtimestamp(day.anew_at, UTC)
    run = int(settings.budget_usd * 1_000_000)
    if as_json:
        found = {
            "run_micro_usd": run,
            "person_day_micro_usd": settings.budgets.person_day,
            "everybody_day_micro_usd": settings.budgets.everybody_day,
            "anew_at": anew.isoformat(),
            "everybody": _plain(day.everybody),
            "people": [_plain(item) for item in people],
            "models": [_plain(item) for item in day.models],
        }
        json.dump(found, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    console = Console()
    console.print(
        f"A run: at most {money(run)}. The day ends at {anew:%Y-%m-%d %H:%M} UTC. 0 in the settings: no limit."
    )
    table = Table("whose", "spent", "on the way", "calls", "left")
    table.add_row("everybody", *_cells(day.everybody, settings.budgets.everybody_day))
    for item in people:
        table.add_row(escape(item.name), *_cells(item, settings.budgets.person_day))
    for item in day.models:
        table.add_row(escape(f"model {item.name}"), *_cells(item, 0)[:-1], "")
    console.print(table)
    return 0


def _cells(item: Booked, limit: int) -> tuple[str, str, str, str]:
    left = f"{money(max(0, limit - item.taken))} of {money(limit)}" if limit else "no limit"
    return (money(item.spent), money(item.reserved), str(item.calls), left)


def _plain(item: Booked) -> dict[str, object]:
    return {
        "name": item.name,
        "spent_micro_usd": item.spent,
        "reserved_micro_usd": item.reserved,
        "calls": item.calls,
    }

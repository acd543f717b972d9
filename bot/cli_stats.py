"""`secondkey approvals --stats`: how fast and how often each person says yes, so that rubber stamps are seen."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from statistics import median, quantiles

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.errors import ConfigurationError
from bot.config import Settings
from bot.words import duration
from storage.database import read_only

# A grant's yes is no vote: nobody pressed a button for it. Latency counts from when the card was first seen standing.
_VOTES = """SELECT v.principal, v.vote, v.at - CASE WHEN a.delivered_at IS NOT NULL AND a.delivered_at <= v.at
  THEN a.delivered_at ELSE a.created_at END, r.requester
  FROM votes v JOIN approvals a ON a.id = v.approval JOIN runs r ON r.id = a.run WHERE v.at >= ?"""
_TOO_SOON = "SELECT principal, count(*) FROM audit WHERE kind = 'too_soon' AND at >= ? GROUP BY principal"
_EXPIRED = "SELECT count(*) FROM approvals WHERE state = 'expired' AND decided_at >= ?"
QUICK_S = 5.0
"""A vote within this many real seconds was hardly read."""
_MANY, _ALWAYS = 20, 0.98


@dataclass(frozen=True, slots=True)
class Stats:
    """One person's votes. Real seconds."""

    who: str
    """Principal key."""
    approved: int
    denied: int
    approval_rate: float
    latency_p50_s: float
    latency_p10_s: float
    quick: int
    """Yeses within `QUICK_S` of the card."""
    too_soon: int
    """Yeses to what cannot be undone that came before they counted."""
    is_rubber_stamp: bool
    """Many votes, and next to none against, or most of them hardly read."""


def print_stats(settings: Settings, *, since: float, as_json: bool) -> int:
    """Print them, who votes most first. Raises ConfigurationError."""
    stats, expired = _read(settings, since)
    if as_json:
        json.dump({"deciders": [asdict(item) for item in stats], "expired": expired}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    if not stats:
        sys.stdout.write(f"Nobody has voted yet; {expired} expired.\n")
        return 0
    table = Table("who", "yes", "no", "yes rate", "median", "fastest 10%", f"in {QUICK_S:g} s", "too soon")
    for item in stats:
        table.add_row(
            escape(item.who), str(item.approved), str(item.denied), f"{item.approval_rate:.0%}",
            duration(item.latency_p50_s), duration(item.latency_p10_s), str(item.quick), str(item.too_soon),
        )  # fmt: skip
    Console().print(table)
    for item in stats:
        if item.is_rubber_stamp:
            what = f"says yes to {item.approval_rate:.0%}, {item.quick} of {item.approved} within {QUICK_S:g} s"
            sys.stdout.write(f"{item.who} {what}: is it read?\n")
    sys.stdout.write(f"{expired} expired without a decision.\n")
    return 0


def _read(settings: Settings, since: float) -> tuple[tuple[Stats, ...], int]:
    path = settings.database
    if not path.is_file():
        raise ConfigurationError(f"There is no database at {path}.", fix="Start `secondkey serve` once, or set `data`.")
    try:
        with closing(read_only(path)) as conn:
            conn.execute("BEGIN")
            votes = conn.execute(_VOTES, (since,)).fetchall()
            too_soon: dict[str, int] = dict(conn.execute(_TOO_SOON, (since,)).fetchall())
            (expired,) = conn.execute(_EXPIRED, (since,)).fetchone()
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.", fix="Check the file and its rights.") from error
    return stats_of(votes, too_soon, settings.clock_rate), expired


def stats_of(
    votes: Iterable[tuple[str, str, float, str]], too_soon: dict[str, int], rate: float = 1.0
) -> tuple[Stats, ...]:
    """The figures of each person; `votes` are person, vote, latency (business seconds) and requester.

    A yes to one's own request, as a terminal may give, says nothing of how others' requests are read.
    """
    by_person: dict[str, list[tuple[str, float]]] = {who: [] for who in too_soon}
    for who, vote, latency, requester in votes:
        if who != requester:
            by_person.setdefault(who, []).append((vote, max(0.0, latency) / rate))
    found = [_one(who, given, too_soon.get(who, 0)) for who, given in by_person.items()]
    return tuple(sorted(found, key=lambda item: (-item.approved - item.denied, item.who)))


def _one(who: str, given: Sequence[tuple[str, float]], too_soon: int) -> Stats:
    times = [latency for _, latency in given]
    yes = [latency for vote, latency in given if vote == "approve"]
    quick = sum(latency < QUICK_S for latency in yes)
    share = len(yes) / len(given) if given else 0.0
    fast = quantiles(times, n=10, method="inclusive")[0] if len(times) > 1 else min(times, default=0.0)
    stamps = len(given) >= _MANY and (share >= _ALWAYS or quick * 2 > len(yes))
    return Stats(
        who=who,
        approved=len(yes),
        denied=len(given) - len(yes),
        approval_rate=round(share, 4),
        latency_p50_s=round(median(times), 3) if times else 0.0,
        latency_p10_s=round(fast, 3),
        quick=quick,
        too_soon=too_soon,
        is_rubber_stamp=stamps,
    )  # fmt: skip

"""Clicks on cards that stand in Slack: one a second while others wait, then many at once.

A sample begins when the simulator sends the click to the app and ends when it has taken the first `chat.update` of that
card that shows the decision, both read off its log. Clicks are due by the clock, whatever the earlier ones came to.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.table import Table

from bench._app import House
from bench._report import percentile, table

TARGET_P95_MS = 250.0
EVERY_S = 1.0
"""Seconds between two clicks."""
OMAR, CARDS = "U0OMAR", "C0ACTIONS"
DECIDED = "Approved"
"""How the text of a card begins that shows the decision; what came of the action follows it."""
PATIENCE_S = 180.0
LOOK_S = 0.05
TOO_MANY = 429
STAGES = ("decision in its transaction", "acked, so durable", "card shows the decision", "card shows the outcome")
"""Marks of a click, each measured from its sending."""
_BUSY = """SELECT EXISTS (SELECT 1 FROM outbox WHERE sent < wanted AND message_key NOT LIKE 'progress:%')
  OR EXISTS (SELECT 1 FROM runs WHERE status IN ('queued', 'running'))"""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A card that stands in Slack and can be clicked."""

    approval: str
    ts: str


@dataclass(frozen=True, slots=True)
class Clicked:
    """What became of one click; all times are seconds since the epoch, by the same machine's clock."""

    sent: float
    decided: float
    """Written by the app into its journal when the decision's transaction began."""
    acked: float
    """The listener returns after its commit, so the ack says that the decision is durable."""
    shown: float
    over: float
    """When the card said what came of the action."""

    @property
    def ms(self) -> float:
        """From the click to the updated card, milliseconds."""
        return (self.shown - self.sent) * 1000

    def stages(self) -> tuple[float, ...]:
        """Milliseconds from the click's sending to each of `STAGES`."""
        return tuple((at - self.sent) * 1000 for at in (self.decided, self.acked, self.shown, self.over))


@dataclass(slots=True)
class Found:
    """All that the clicks of one run found."""

    clicks: list[Clicked] = field(default_factory=list[Clicked])
    late: list[float] = field(default_factory=list[float])
    """Milliseconds by which clicks were sent later than they were due."""
    refused: dict[str, int] = field(default_factory=dict[str, int])
    """Calls that Slack's rates turned away meanwhile, by method."""
    burst: list[Clicked] = field(default_factory=list[Clicked])
    """The clicks that came all at once."""
    burst_refused: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def drain_s(self) -> float:
        """From the first of the clicks at once until every one of their cards showed its decision, seconds."""
        return max(one.shown for one in self.burst) - min(one.sent for one in self.burst)

    def figures(self) -> dict[str, float]:
        """What goes into the last line."""
        times = [one.ms for one in self.clicks]
        return {
            "click_to_card_p50_ms": round(percentile(times, 0.5), 1),
            "click_to_card_p95_ms": round(percentile(times, 0.95), 1),
            "burst_drain_s": round(self.drain_s, 2),
        }

    def tables(self, at_once: int, *, judged: bool) -> list[Table]:
        """The figures and where the time goes, for people."""
        times, figures = [one.ms for one in self.clicks], self.figures()
        first = [
            ("p50", f"{figures['click_to_card_p50_ms']:.1f} ms", ""),
            (
                "p95",
                f"{figures['click_to_card_p95_ms']:.1f} ms",
                f"target {TARGET_P95_MS:g} ms" if judged else "no target judged",
            ),
            ("slowest", f"{max(times):.1f} ms", ""),
            ("clicks", f"{len(times)}", f"one every {EVERY_S:g} s, {at_once} runs waiting before each round"),
            ("sent later than due, p95", f"{percentile(self.late, 0.95):.1f} ms", "the clicker's own"),
            ("refused by Slack's rates", _said(self.refused), ""),
        ]
        shown = sorted(one.shown for one in self.burst)
        began = min(one.sent for one in self.burst)
        second = [
            ("every card shows its decision", f"{self.drain_s:.2f} s"),
            ("half of the cards do", f"{percentile(shown, 0.5) - began:.2f} s"),
            ("every click is acked", f"{max(one.acked for one in self.burst) - began:.2f} s"),
            ("every card shows its outcome", f"{max(one.over for one in self.burst) - began:.2f} s"),
            ("refused by Slack's rates", _said(self.burst_refused)),
        ]
        return [
            table("click → updated card", ("figure", "value", ""), first),
            _stages("where the time goes, from the click's sending", self.clicks),
            table(f"{len(self.burst)} clicks at once", ("until", "value"), second),
            _stages("where their time goes, from each click's sending", self.burst),
        ]


def _stages(title: str, clicks: Sequence[Clicked]) -> Table:
    columns = zip(STAGES, zip(*(one.stages() for one in clicks), strict=True), strict=True)
    rows = [
        (name, f"{percentile(values, 0.5):.1f} ms", f"{percentile(values, 0.95):.1f} ms", f"{max(values):.1f} ms")
        for name, values in columns
    ]
    return table(title, ("until", "p50", "p95", "slowest"), rows)


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def waiting(database: Path) -> list[Waiting]:
    """Approvals that nobody has decided and whose cards stand, the oldest first."""
    with _reading(database) as connection:
        rows = connection.execute(
            "SELECT a.id, o.ts FROM approvals a JOIN outbox o ON o.message_key = 'card:' || a.id "
            "WHERE a.state = 'pending' AND o.ts <> '' ORDER BY a.created_at"
        ).fetchall()
    return [Waiting(*row) for row in rows]


async def quiet(database: Path) -> None:
    """Wait until no run goes on and nothing is left to be said but progress, which yields to all else.

    Runs that wait for people stay. Raises TimeoutError.
    """
    with _reading(database) as connection:
        async with asyncio.timeout(PATIENCE_S):
            while connection.execute(_BUSY).fetchone()[0]:
                await asyncio.sleep(LOOK_S)


async def one_by_one(here: House, cards: Sequence[Waiting], found: Found) -> None:
    """Click each card, one every `EVERY_S`, and add what came of it to `found`."""
    clicks, late, counts = await _click_all(here, cards, EVERY_S)
    found.clicks += clicks
    found.late += late
    for name, count in counts.items():
        found.refused[name] = found.refused.get(name, 0) + count


async def at_once(here: House, cards: Sequence[Waiting], found: Found) -> None:
    """Click all cards at once, and set down in `found` what came of it."""
    found.burst, _, found.burst_refused = await _click_all(here, cards, 0.0)


async def _click_all(
    here: House, cards: Sequence[Waiting], every_s: float
) -> tuple[list[Clicked], list[float], dict[str, int]]:
    """Click Approve on each card and wait until all of them say what came of it.

    Returns the clicks, by how many milliseconds each was sent too late, and the calls refused by Slack's rates.
    Raises TimeoutError when the app does not come to rest, and RuntimeError when a click is refused or has no effect.
    """
    loop = asyncio.get_running_loop()
    seen = here.simulator.services.log.after(0)["next"]
    began, started = loop.time(), here.simulator.services.clock.now()
    acks: list[asyncio.Task[float]] = []
    for index, card in enumerate(cards):
        await asyncio.sleep(max(0.0, began + index * every_s - loop.time()))
        acks.append(asyncio.create_task(_click(here, card)))
    acked = await asyncio.gather(*acks)
    await quiet(here.database)
    entries: list[Json] = here.simulator.services.log.after(seen)["entries"]
    decided = _decisions(here.database)
    if missed := [card.approval for card in cards if card.approval not in decided]:
        raise RuntimeError(f"Clicked, and not decided: {', '.join(missed)}.")
    clicks = [
        clicked_of(entries, card, decided=decided[card.approval], acked=at)
        for card, at in zip(cards, acked, strict=True)
    ]
    late = [(one.sent - started - index * every_s) * 1000 for index, one in enumerate(clicks)]
    return clicks, late, refused(entries)


async def _click(here: House, card: Waiting) -> float:
    answer = await here.driver.click(OMAR, CARDS, card.ts, "approve")
    if not answer["ok"]:
        raise RuntimeError(f"The click on {card.approval} was refused: {answer.get('error')}.")
    return here.simulator.services.clock.now()


def clicked_of(entries: Sequence[Json], card: Waiting, *, decided: float, acked: float) -> Clicked:
    """One click, as the simulator's log and the app's journal tell it. Raises RuntimeError when a mark is missing."""
    sent = (entry["at"] for entry in entries if _is_click(entry, card))
    shown = [entry for entry in entries if _shows(entry, card)]
    over = (entry["at"] for entry in shown if "about to start" not in _text(entry) and "running" not in _text(entry))
    marks = [*islice(sent, 1), *(entry["at"] for entry in shown[:1]), *islice(over, 1)]
    if len(marks) != 3:  # noqa: PLR2004  # sent, shown, over
        raise RuntimeError(f"The log does not tell the whole story of the click on {card.approval}.")
    return Clicked(sent=marks[0], decided=decided, acked=acked, shown=marks[1], over=marks[2])


def _is_click(entry: Json, card: Waiting) -> bool:
    args = entry["args"]
    is_click = entry["direction"] == "event" and entry["method"] == "block_actions"
    return is_click and args.get("message", {}).get("ts") == card.ts


def _shows(entry: Json, card: Waiting) -> bool:
    args = entry["args"]
    is_update = entry["method"] == "chat.update" and entry["ok"] and args.get("channel") == CARDS
    return is_update and args.get("ts") == card.ts and _text(entry).startswith(DECIDED)


def _text(entry: Json) -> str:
    return str(entry["args"].get("text") or "")


def refused(entries: Sequence[Json]) -> dict[str, int]:
    """Calls that Slack's rates turned away, by method."""
    counts: dict[str, int] = {}
    for entry in entries:
        if entry["status"] == TOO_MANY:
            counts[entry["method"]] = counts.get(entry["method"], 0) + 1
    return counts


def _decisions(database: Path) -> dict[str, float]:
    """When the decision of each approval was written into the journal."""
    with _reading(database) as connection:
        return dict(connection.execute("SELECT id, decided_at FROM approvals WHERE decided_at IS NOT NULL").fetchall())


def _reading(database: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True))

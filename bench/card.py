"""From a person's message to the approval card that stands in Slack, and from a click on it to the updated card.

The simulator and the people are in this process, the app in another; the planner needs no model. Slack's rates are
enforced; the tasks are spread over time, so that they are not reached. A task's sample begins when the simulator sends
the message's first event and ends when it has taken the card's `chat.postMessage`, both read off its log. Whenever
enough runs wait, their cards are clicked one a second (`bench/_clicks_on_cards.py`), and the last ones all at once.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from bench import _clicks_on_cards as clicks
from bench._app import House, house
from bench._report import is_quick, judge, percentile, table, tell
from bot.shop import make_shop

TARGET_P95_MS = 150.0
MANY, FEW = 120, 6
"""Samples of a whole run, and of a quick one: of tasks, and of clicks."""
WAITING, FEW_WAITING = 50, 3
"""Runs that wait when a round of clicks begins, and so as many clicks at once."""
REST_S, FEW_REST_S = 60.0, 0.0
"""Seconds without a click before those at once: Slack counts calls by the minute."""
WARM_UP = 3
"""The first cards and clicks pay for what is loaded on first use; they are left out."""
EVERY_S = 1.3
"""Seconds between two tasks: fewer than 50 a minute, so that no method's and no channel's rate is reached."""
PATIENCE_S = 20.0
PROBES, PROBE_BYTES = 7, 8192
CHANNEL, CARDS, MAYA = "C0DATA", "C0ACTIONS", "U0MAYA"
STAGES = (
    ("event sent → run stored", "run_created"),
    ("→ plan stored", "plan_made"),
    ("→ first read proposed", "action_proposed"),
    ("→ first read done", "action_finished"),
    ("→ approval stored", "approval_requested"),
)
"""Where the time goes: the journal's first event of each kind ends a stage."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One task; all times are seconds since the epoch."""

    sent: float
    posted: float
    message_ts: str

    @property
    def ms(self) -> float:
        """From the event to the card, milliseconds."""
        return (self.posted - self.sent) * 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    quick = is_quick("From a person's message to the approval card, and from a click to the updated card.", argv)
    at_once = FEW_WAITING if quick else WAITING
    wanted, rest_s = (FEW, FEW_REST_S) if quick else (MANY, REST_S)
    measured = asyncio.run(_measure(wanted, at_once, rest_s))
    samples, found = measured.samples, measured.clicks
    times = [sample.ms for sample in samples]
    p50, p95 = percentile(times, 0.5), percentile(times, 0.95)
    rows = [
        ("p50", f"{p50:.1f} ms", ""),
        ("p95", f"{p95:.1f} ms", "no target judged" if quick else f"target {TARGET_P95_MS:g} ms"),
        ("slowest", f"{max(times):.1f} ms", ""),
        ("samples", f"{len(times)}", f"one every {EVERY_S:g} s"),
    ]
    notes = [
        "Socket Mode; the app in its own process; synchronous=FULL; the demo's runbook: one SELECT, then an UPDATE.",
        _disk_words(measured.disk),
        f"Slack's rates enforced; calls refused for being too many in the whole run: {measured.refused}.",
        f"The clicks at once come after {rest_s:g} s without one; outcomes leave Slack's rates to decisions.",
        f"Load of the machine over the last minute: {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores.",
    ]
    figures = {
        "event_to_card_p50_ms": round(p50, 1),
        "event_to_card_p95_ms": round(p95, 1),
        **found.figures(),
        "n": len(times),
    }
    tables = [table("event → approval card", ("figure", "value", ""), rows), _stages(measured.stages)]
    tell([*tables, *found.tables(at_once, judged=not quick)], notes, figures)
    if quick:
        return 0
    met = [
        judge("event_to_card_p95_ms", p95, TARGET_P95_MS, "ms"),
        judge("click_to_card_p95_ms", found.figures()["click_to_card_p95_ms"], clicks.TARGET_P95_MS, "ms"),
    ]
    return 0 if all(met) else 1


def _disk_words(times: Sequence[float]) -> str:
    p50, p95 = percentile(times, 0.5), percentile(times, 0.95)
    return (
        f"The disk alone, in the same minutes: one synced write of {PROBE_BYTES // 1024} KiB takes {p50:.1f} ms (p50), "
        f"{p95:.1f} ms (p95), {max(times):.1f} ms (slowest of {len(times)}). "
        "A new card waits for five commits, an updated one for two."
    )


def _stages(stages: dict[str, list[float]]) -> Any:  # noqa: ANN401  # rich's table
    rows = [
        (name, f"{percentile(values, 0.5):.1f} ms", f"{percentile(values, 0.95):.1f} ms")
        for name, values in stages.items()
    ]
    return table("where the time goes", ("stage", "p50", "p95"), rows)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that one run found."""

    samples: Sequence[Sample]
    stages: dict[str, list[float]]
    refused: int
    """Calls that Slack's rates turned away."""
    clicks: clicks.Found
    disk: Sequence[float]
    """Milliseconds of single synced writes, made between the samples."""


def _probe(file: Path) -> list[float]:
    """How long this disk takes for a few synced writes: what each commit pays at least."""
    times: list[float] = []
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(PROBES):
            os.write(descriptor, b"x" * PROBE_BYTES)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
    return times


async def _measure(wanted: int, at_once: int, rest_s: float) -> Measured:
    """Ask and click in turns, as many clicks as tasks; at the end all that wait are clicked at once."""
    with tempfile.TemporaryDirectory(prefix="secondkey-bench-") as name:
        folder = Path(name)
        project = folder / "project"
        project.mkdir()
        shop = make_shop(folder / "shop.db")
        async with house(folder, shop=shop, project=project, rates=True) as here:
            samples: list[Sample] = []
            disk: list[float] = []
            found = clicks.Found()
            orders = iter(_orders(shop, WARM_UP + wanted + at_once))

            async def ask(count: int) -> None:
                for order in islice(orders, count):
                    samples.append(await _sample(here, order))
                    disk.extend(_probe(folder / "probe"))
                await clicks.quiet(here.database)

            await ask(WARM_UP)
            await clicks.one_by_one(here, clicks.waiting(here.database), clicks.Found())
            while (left := wanted - len(found.clicks)) > 0:
                await ask(at_once - len(clicks.waiting(here.database)))
                await clicks.one_by_one(here, clicks.waiting(here.database)[:left], found)
            await ask(at_once - len(clicks.waiting(here.database)))
            await asyncio.sleep(rest_s)
            await clicks.at_once(here, clicks.waiting(here.database), found)
            log = await here.driver.log()
            refused = sum(clicks.refused(log).values())
            measured = samples[WARM_UP : WARM_UP + wanted]
            stages = _where(here.database, measured)
    return Measured(measured, stages, refused, found, disk)


def _orders(shop: Path, count: int) -> list[int]:
    """Orders that can be marked as shipped, since they are not."""
    with closing(sqlite3.connect(shop)) as connection:
        rows = connection.execute(
            "SELECT id FROM orders WHERE status <> 'shipped' ORDER BY id DESC LIMIT ?", (count,)
        ).fetchall()
    return [row[0] for row in rows]


async def _sample(here: House, order: int) -> Sample:
    """One person asks; the next one does not before Slack's rates allow it."""
    loop = asyncio.get_running_loop()
    next_at = loop.time() + EVERY_S
    before = len(here.driver.pushes)
    seen = here.simulator.services.log.after(0)["next"]
    text = f"<@U0SECONDKEY> Mark order {order} as shipped"
    ts = await here.driver.post(MAYA, CHANNEL, text)
    await here.driver.wait_for_push(_is_card(order), after=before, timeout=PATIENCE_S)
    entries: list[Json] = here.simulator.services.log.after(seen)["entries"]
    sent = next(entry["at"] for entry in entries if _is_sent(entry, ts))
    posted = next(entry["at"] for entry in entries if _is_posted(entry, order))
    await asyncio.sleep(max(0.0, next_at - loop.time()))
    return Sample(sent, posted, ts)


def _is_card(order: int) -> Any:  # noqa: ANN401  # a predicate of the driver
    def is_it(push: Json) -> bool:
        message: Json = push.get("message") or {}
        return push["type"] == "message" and message.get("channel") == CARDS and f"id = {order}" in str(message)

    return is_it


def _is_sent(entry: Json, ts: str) -> bool:
    return entry["direction"] == "event" and entry["args"].get("event", {}).get("ts") == ts


def _is_posted(entry: Json, order: int) -> bool:
    args = entry["args"]
    is_card = entry["method"] == "chat.postMessage" and args.get("channel") == CARDS
    return is_card and entry["ok"] and f"id = {order}" in str(args.get("blocks"))


def _where(database: Path, samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Split each sample by what the app's journal says of its run, milliseconds."""
    stages: dict[str, list[float]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for sample in samples:
            times = dict(
                connection.execute(
                    "SELECT type, min(at) FROM events WHERE run = (SELECT run FROM tasks WHERE message_ts = ?) "
                    "GROUP BY type",
                    (sample.message_ts,),
                ).fetchall()
            )
            marks = [sample.sent, *(times[event] for _, event in STAGES), sample.posted]
            names = [*(name for name, _ in STAGES), "→ card taken by Slack"]
            for name, (began, ended) in zip(names, pairwise(marks), strict=True):
                stages.setdefault(name, []).append((ended - began) * 1000)
    return stages


if __name__ == "__main__":
    sys.exit(main())

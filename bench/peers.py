"""Start a run, wait durably for a yes, decide, resume, run the tool once, store the result: this and what others take.

Every contender has the same driver (`peers_env/harness.py`), its own process and its own packages, WAL and
synchronous=FULL. Rounds are interleaved, and each begins with another contender; figures are medians over the rounds.
Latency is measured one run at a time, from the decision's call to the tool's result on the disk; runs/s with all runs
waiting at once in between.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.table import Table

from bench._environments import FOLDER, NotBuilt, interpreter
from bench._report import is_quick, judge, table, tell

ROUNDS = 3
LIMIT_S = 600.0
"""How long one contender may take for one round."""
KEYS = ("decision_p50_ms", "runs_per_s", "db_bytes_pending", "rss_bytes_pending")
TARGET_FLOOR, TARGET_PEER, TARGET_DB, TARGET_RSS = 3.0, 10.0, 4096.0, 1024.0

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much one round measures."""

    latency: int
    runs: int
    warm: int


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table."""

    key: str
    label: str
    worker: str
    arguments: tuple[str, ...] = ()
    environment: str = ""
    """Whose packages it needs; empty for our own."""
    sizes: Sizes = Sizes(100, 500, 40)
    quick: Sizes = Sizes(10, 20, 4)
    is_peer: bool = False


_OURS = Sizes(200, 1_000, 600)
_OURS_QUICK = Sizes(20, 80, 20)
CONTENDERS = (
    Contender("floor", "hand-written sqlite3", "with_sqlite3", sizes=_OURS, quick=_OURS_QUICK),
    Contender("floor_group_commit", "the same, group commit", "with_group_commit", sizes=_OURS, quick=_OURS_QUICK),
    Contender("ours", "Second Key, runbook", "with_ours", ("--planner=runbook",), sizes=_OURS, quick=_OURS_QUICK),
    Contender(
        "ours_scripted", "Second Key, scripted ChatModel", "with_ours", ("--planner=scripted",),
        sizes=_OURS, quick=_OURS_QUICK,
    ),
    Contender(
        "ours_function_model", "Second Key, FunctionModel", "with_ours", ("--planner=function",),
        sizes=Sizes(100, 500, 100), quick=Sizes(10, 20, 4),
    ),
    Contender(
        "ours_telemetry", "Second Key, runbook, spans", "with_ours", ("--planner=runbook", "--telemetry"),
        sizes=_OURS, quick=_OURS_QUICK,
    ),
    Contender("langgraph", "LangGraph", "with_langgraph", environment="langgraph", is_peer=True),
    Contender(
        "langgraph_exit", "LangGraph, durability=exit", "with_langgraph", ("--exit",), environment="langgraph",
        is_peer=True,
    ),
    Contender("pydantic_ai", "pydantic-ai", "with_pydantic_ai", environment="pydantic_ai", is_peer=True),
    Contender("openai_agents", "OpenAI Agents SDK", "with_openai_agents", environment="openai_agents", is_peer=True),
    Contender("dbos", "DBOS", "with_dbos", environment="dbos", is_peer=True),
)  # fmt: skip
ONLY_IN_THE_TABLE = ("ours_scripted", "ours_telemetry", "langgraph_exit")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed or a contender broke."""
    quick = is_quick("This runtime beside what people would pick instead.", argv)
    pythons, missing = _pythons()
    rounds: dict[str, list[Figures]] = {item.key: [] for item in CONTENDERS}
    for number in range(1 if quick else ROUNDS):
        for item in rotated(CONTENDERS, number):
            if item.environment in missing:
                continue
            print(f"round {number + 1}: {item.label} …", file=sys.stderr, flush=True)
            rounds[item.key].append(_measure(item, pythons.get(item.environment, sys.executable), quick=quick))
    medians = {key: median_of(values) for key, values in rounds.items() if values}
    figures = summary(medians)
    tell([_table(medians)], _notes(medians, missing, quick=quick), figures)
    return 1 if broken(medians) or missing or not (quick or _judged(figures)) else 0


def rotated(items: Sequence[Contender], number: int) -> list[Contender]:
    """The order of a round: each begins elsewhere, so that a drift of the machine meets everybody."""
    offset = (number * 4) % len(items)
    return [*items[offset:], *items[:offset]]


def median_of(rounds: Sequence[Figures]) -> dict[str, float]:
    """The median of each figure; of what must never happen the worst."""
    made = {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}
    made["not_once"] = max(figures["not_once"] for figures in rounds)
    return made


def summary(medians: Mapping[str, Figures]) -> dict[str, object]:
    """What is printed as JSON; a contender that could not be measured is null."""
    figures: dict[str, object] = {}
    for item in CONTENDERS:
        if item.key not in ONLY_IN_THE_TABLE:
            measured = medians.get(item.key)
            figures[item.key] = {key: round(measured[key], 3) for key in KEYS} if measured else None
    best = best_peer(medians)
    ours, floor = medians["ours"], medians["floor"]
    figures["best_peer_runs_per_s"] = round(best, 1)
    figures["ratio_to_best_peer"] = round(ours["runs_per_s"] / best, 2) if best else None
    figures["ratio_to_floor_p50"] = round(ours["decision_p50_ms"] / floor["decision_p50_ms"], 2)
    return figures


def broken(medians: Mapping[str, Figures]) -> list[str]:
    """Contenders whose tool did not run exactly once; said on stderr."""
    found = [key for key, values in medians.items() if values["not_once"]]
    for key in found:
        sys.stderr.write(f"{key}: a tool did not run exactly once.\n")
    return found


def best_peer(medians: Mapping[str, Figures]) -> float:
    """Runs a second of the fastest peer; 0 when there is none."""
    rates = [medians[item.key]["runs_per_s"] for item in CONTENDERS if item.is_peer and item.key in medians]
    return max(rates, default=0.0)


def _pythons() -> tuple[dict[str, str], dict[str, str]]:
    """The peers' interpreters, and why some are missing."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(item.environment for item in CONTENDERS if item.environment):
        try:
            found[name] = str(interpreter(name))
        except NotBuilt as error:
            missing[name] = str(error)
            sys.stderr.write(f"{name} is left out, its environment could not be made: {error}\n")
    return found, missing


def _measure(item: Contender, python: str, *, quick: bool) -> Figures:
    sizes = item.quick if quick else item.sizes
    command = [
        python, str(FOLDER / f"{item.worker}.py"), *item.arguments,
        f"--latency={sizes.latency}", f"--runs={sizes.runs}", f"--warm={sizes.warm}",
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    if not item.environment:
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(  # noqa: S603  # our own worker
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=environment
    )
    last = done.stdout.rstrip("\n").rpartition("\n")[2]
    if done.returncode or not last.startswith("{"):
        raise RuntimeError(f"{item.label} broke:\n{done.stderr[-2000:]}")
    return json.loads(last)


def _table(medians: Mapping[str, Figures]) -> Table:
    floor = medians["floor"]["decision_p50_ms"]
    best = best_peer(medians)
    rows = [
        (
            item.label,
            f"{figures['decision_p50_ms']:.2f}",
            f"{figures['decision_p50_ms'] / floor:.1f}",
            f"{figures['over_p50_ms']:.2f}",
            f"{figures['runs_per_s']:,.0f}",
            f"{figures['runs_per_s'] / best:.1f}" if best else "",
            f"{figures['db_bytes_pending']:,.0f}",
            f"{figures['rss_bytes_pending']:,.0f}",
        )
        for item in CONTENDERS
        if (figures := medians.get(item.key))
    ]
    columns = ("", "result ms", "÷ floor", "over ms", "runs/s", "÷ best", "DB B", "memory B")
    return table("one run, side by side", columns, rows)


def _notes(medians: Mapping[str, Figures], missing: Mapping[str, str], *, quick: bool) -> list[str]:
    ours, peer = CONTENDERS[2], CONTENDERS[-1]
    mine, theirs = (ours.quick, peer.quick) if quick else (ours.sizes, peer.sizes)
    return [
        "result: decision → the tool's result is durable, p50; over: → the whole run is. DB, memory: a pending run.",
        f"{1 if quick else ROUNDS} interleaved rounds. In flight: {mine.runs:,}; FunctionModel, peers {theirs.runs:,}.",
        "WAL and synchronous=FULL everywhere.",
        "`ours` is planned by a runbook, no model is called. Scripted: our ChatModel port, four calls a run, each",
        "reserved before and settled after: plan, work, hand back, answer. FunctionModel: the same by pydantic-ai.",
        "Ours has policy, gate, journal, lease, deadlines and the rows owed to Slack; nothing delivers them.",
        f"Database without blobs; a pending run of ours has {medians['ours']['blob_bytes_pending']:,.0f} B of them.",
        "LangGraph: durability=sync. With exit it promises less: nothing says that the tool was begun, and a crash",
        "runs it again. It counts as a peer all the same.",
        "OpenAI Agents SDK stops at the tool's result, LangGraph and DBOS call no model after it; pydantic-ai does.",
        *(f"Left out: {name}." for name in missing),
    ]


def _judged(figures: Mapping[str, object]) -> bool:
    ours = cast("dict[str, float]", figures["ours"])
    verdicts = [
        judge("ratio_to_floor_p50", _number(figures["ratio_to_floor_p50"]), TARGET_FLOOR, "times"),
        judge("db_bytes_pending", ours["db_bytes_pending"], TARGET_DB, "B"),
        judge("rss_bytes_pending", ours["rss_bytes_pending"], TARGET_RSS, "B"),
    ]
    ratio = _number(figures["ratio_to_best_peer"])
    if ratio < TARGET_PEER:
        sys.stderr.write(f"ratio_to_best_peer is {ratio:g}; the target is at least {TARGET_PEER:g}.\n")
        verdicts.append(False)
    return all(verdicts)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


if __name__ == "__main__":
    sys.exit(main())

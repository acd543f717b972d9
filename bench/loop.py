"""What the loop itself costs: model and tool answer at once, so all that is left is ours.

A step is handed to a worker, whose model asks for a tool; the call is proposed, rated, started and finished, and the
model gives the step back: two model calls (each reserved before and settled after) and one tool call. Everything is
journalled with synchronous=FULL. CPU is that of the whole process, the writer thread included. Each process is held to
one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._engine import Engine, task
from bench._models import FunctionChat, ScriptedChat, script
from bench._report import is_quick, judge, percentile, table, tell
from storage.inbox import Accepted

AT_ONCE, STEPS, ROUNDS = 200, 5, 3
QUICK_AT_ONCE, QUICK_ROUNDS = 20, 1
WARM = 20
TICK_S = 0.005
TARGET_CPU_MS, TARGET_LAG_MS = 2.0, 50.0
LIMIT_S = 600.0
_PLAN: dict[str, Any] = {
    "steps": [
        {"worker": "code", "instruction": f"Touch it ({n}).", "expected": "It was touched."} for n in range(STEPS)
    ]
}

Figures = dict[str, float]


def stepping(messages: tuple[Any, ...], tools: tuple[str, ...]) -> tuple[str, tuple[str, dict[str, Any]] | None]:
    """The usual script with a plan of several steps."""
    return ("", ("submit_plan", _PLAN)) if "submit_plan" in tools else script(messages, tools)


class ScriptedSteps(ScriptedChat):
    """Our ChatModel port."""

    script = staticmethod(stepping)


class FunctionSteps(FunctionChat):
    """The same behind pydantic-ai's FunctionModel."""

    script = staticmethod(stepping)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    quick = is_quick("What the loop costs when model and tools take no time.", argv)
    scripted, function = _child("scripted", quick=quick), _child("function", quick=quick)
    figures = {
        "cpu_ms_per_step": round(scripted["cpu_ms_per_step"], 3),
        "cpu_ms_per_step_function_model": round(function["cpu_ms_per_step"], 3),
        "lag_p99_ms": round(scripted["lag_p99_ms"], 2),
    }
    runs = QUICK_AT_ONCE if quick else AT_ONCE
    rows = [
        (
            name,
            f"{one['cpu_ms_per_step']:.2f}",
            f"{one['alone_ms_per_step']:.2f}",
            f"{one['lag_p50_ms']:.1f}",
            f"{one['lag_p99_ms']:.1f}",
            f"{one['lag_max_ms']:.1f}",
            f"{one['steps_per_s']:,.0f}",
        )
        for name, one in (("scripted ChatModel", scripted), ("FunctionModel", function))
    ]
    columns = ("", "CPU ms a step", "one run: ms a step", "lag p50 ms", "p99 ms", "max ms", "steps/s")
    notes = [
        f"{runs} runs of {STEPS} steps at once on one core. Medians of {QUICK_ROUNDS if quick else ROUNDS} rounds.",
        "CPU: user and system of the process, writer thread and SQLite included.",
        f"Lag: how late a tick of {TICK_S * 1000:g} ms is, over all rounds.",
        f"Targets: CPU ≤ {TARGET_CPU_MS:g} ms a step, lag p99 ≤ {TARGET_LAG_MS:g} ms, with our own ChatModel.",
    ]
    tell([table("the loop itself", columns, rows)], notes, figures)
    if quick:
        return 0
    verdicts = [
        judge("cpu_ms_per_step", figures["cpu_ms_per_step"], TARGET_CPU_MS, "ms"),
        judge("lag_p99_ms", figures["lag_p99_ms"], TARGET_LAG_MS, "ms"),
    ]
    return 0 if all(verdicts) else 1


def _child(model: str, *, quick: bool) -> Figures:
    sizes = (QUICK_AT_ONCE, QUICK_ROUNDS) if quick else (AT_ONCE, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="secondkey-bench-") as folder:
        words = [sys.executable, "-m", "bench.loop", "--child", model, folder, *(str(size) for size in sizes)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True)  # noqa: S603  # ourselves
    return json.loads(done.stdout.splitlines()[-1])


async def _measure(model: str, folder: Path, at_once: int, rounds: int) -> Figures:
    engine = await Engine.open(
        folder / "bench.db", model=FunctionSteps() if model == "function" else ScriptedSteps(), tier="low"
    )
    numbers = iter(range(10_000_000))
    try:
        await _runs(engine, numbers, WARM)
        began = time.perf_counter()
        for _ in range(WARM):
            await _runs(engine, numbers, 1)
        alone_s = time.perf_counter() - began
        cpu: list[float] = []
        rate: list[float] = []
        late: list[float] = []
        for _ in range(rounds):
            ticking = asyncio.create_task(_tick(late))
            used, began = time.process_time(), time.perf_counter()
            await _runs(engine, numbers, at_once)
            used, took = time.process_time() - used, time.perf_counter() - began
            ticking.cancel()
            cpu.append(used / (at_once * STEPS))
            rate.append(at_once * STEPS / took)
        if max(engine.touch.effects.values()) != STEPS or len(engine.touch.effects) != 2 * WARM + at_once * rounds:
            raise RuntimeError("Not every step was done once.")
    finally:
        await engine.close()
    return {
        "cpu_ms_per_step": percentile(cpu, 0.5) * 1000,
        "alone_ms_per_step": alone_s / (WARM * STEPS) * 1000,
        "steps_per_s": percentile(rate, 0.5),
        "lag_p50_ms": percentile(late, 0.5) * 1000,
        "lag_p99_ms": percentile(late, 0.99) * 1000,
        "lag_max_ms": max(late) * 1000,
    }


async def _runs(engine: Engine, numbers: Any, count: int) -> None:  # noqa: ANN401  # an iterator of numbers
    """Accept so many tasks and wait until all of them are over."""
    loop = asyncio.get_running_loop()
    over: list[asyncio.Future[float]] = []
    for _ in range(count):
        number = next(numbers)
        accepted = await engine.inbox.accept(f"Ev{number}", task(number))
        assert isinstance(accepted, Accepted)  # noqa: S101  # every number is a new task
        future = engine.milestones.over[accepted.run] = loop.create_future()
        over.append(future)
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*over)


async def _tick(late: list[float]) -> None:
    """How late the loop comes to what is due, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        late.append(max(0.0, loop.time() - due))


def _as_child() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", choices=("scripted", "function"), required=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("at_once", type=int)
    parser.add_argument("rounds", type=int)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(json.dumps(asyncio.run(_measure(given.child, given.folder, given.at_once, given.rounds))), flush=True)


if __name__ == "__main__":
    if "--child" in sys.argv:
        _as_child()
    else:
        sys.exit(main())

"""What a sandboxed call costs over the bare process: one alone, and twenty at once; and runaways at their limit.

The command is `true`. Each way is tried in turn, so that a busy machine touches all alike.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agent.ports import Sandbox, SandboxCall
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.census import processes, usage
from agent.sandbox.landlock import Landlock
from bench._report import is_quick, judge, percentile, table, tell

ROUNDS, QUICK_ROUNDS = 60, 10
AT_ONCE = 20
RUNAWAY_S = 2.0
TARGET_OVER_MS, TARGET_TWENTY_MS, TARGET_GONE_S, TARGET_STALL_MS = 20.0, 500.0, 1.5, 100.0
_TICK_S = 0.005


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when a target is missed."""
    quick = is_quick(__doc__ or "", argv)
    figures = asyncio.run(_measure(QUICK_ROUNDS if quick else ROUNDS))
    rows = [(name, f"{value:,.1f}") for name, value in figures.items()]
    tell([table("One sandboxed call", ("what", "figure"), rows)], [], figures)
    if quick:
        return 0
    met = (
        *(
            judge(f"{way}_over_bare_ms", round(figures[f"{way}_ms"] - figures["bare_ms"], 1), TARGET_OVER_MS, "ms")
            for way in ("bubblewrap", "landlock")
        ),
        judge("twenty_at_once_ms", figures["twenty_at_once_ms"], TARGET_TWENTY_MS, "ms"),
        judge("landlock_twenty_at_once_ms", figures["landlock_twenty_at_once_ms"], TARGET_TWENTY_MS, "ms"),
        judge("runaways_gone_s", figures["runaways_gone_s"], TARGET_GONE_S, "s"),
        judge("max_stall_ms", figures["max_stall_ms"], TARGET_STALL_MS, "ms"),
    )
    return 0 if all(met) else 1


async def _measure(rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call = SandboxCall(("/usr/bin/true",), folder)
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "bare_ms": _bare,
            "bubblewrap_ms": _of(Bubblewrap(), call),
            "landlock_ms": _of(Landlock(), call),
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        for run in ways.values():
            await run()
        for _ in range(rounds):
            for way, run in ways.items():
                took[way].append(await _timed(run))
        figures = {way: round(percentile(found, 0.5), 2) for way, found in took.items()}
        sandbox = Bubblewrap()
        for key, one in (("twenty_at_once_ms", sandbox), ("landlock_twenty_at_once_ms", Landlock())):
            twenty = _of_twenty(one, call)
            many = [await _timed(twenty) for _ in range(max(3, rounds // 6))]
            figures[key] = round(percentile(many, 0.5), 1)
        stall = _Stall()
        looking = asyncio.create_task(stall.look())
        before = _tasks()
        runaway = ("/bin/sh", "-c", "while :; do :; done & while :; do :; done")
        all_ms = await _timed(_of_twenty(sandbox, SandboxCall(runaway, folder, timeout_s=RUNAWAY_S)))
        looking.cancel()
        figures["runaways_gone_s"] = round(all_ms / 1000 - RUNAWAY_S, 2)
        figures["orphans"] = float(max(0, _tasks() - before))
        figures["max_stall_ms"] = round(stall.worst_ms, 1)
        return figures


class _Stall:
    """The longest time for which the loop did nothing else, milliseconds."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def look(self) -> None:
        """Look until cancelled."""
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.perf_counter()
            self.worst_ms, last = max(self.worst_ms, (now - last - _TICK_S) * 1000), now


def _tasks() -> int:
    return usage(os.getpid(), processes()).tasks


async def _bare() -> None:
    process = await asyncio.create_subprocess_exec("/usr/bin/true", stdin=-3, stdout=-3, stderr=-3)
    await process.wait()


def _of(sandbox: Sandbox, call: SandboxCall) -> Callable[[], Awaitable[object]]:
    return lambda: sandbox.run(call)


async def _timed(run: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await run()
    return (time.perf_counter() - began) * 1000


def _of_twenty(sandbox: Sandbox, call: SandboxCall) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        await asyncio.gather(*(sandbox.run(call) for _ in range(AT_ONCE)))

    return run


if __name__ == "__main__":
    raise SystemExit(main())

"""From exec to ready with an empty database, and from SIGTERM to the end: idle, and with a command still running.

Each start is a process of its own beside a simulated Slack, and ready when /readyz says so.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp

from bench._report import is_quick, judge, percentile, table, tell
from simulator.driver import Driver
from simulator.server import Simulator

STARTS, QUICK_STARTS = 10, 2
TARGET_READY_S, TARGET_END_S = 3.0, 10.0
_GIVE_UP_S = 60.0
_ASK_EVERY_S = 0.02
_TASK = "Sleep for long"
_RUNBOOK = """
[[runbook]]
name = "sleep"
title = "Sleep"
example = "Sleep for long"
pattern = "^sleep for long$"
answer = "Awake."
[[runbook.step]]
worker = "code"
instruction = "Sleep."
[[runbook.step.call]]
id = "slept"
tool = "run_shell"
arguments = { command = "sleep 25" }
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when a target is missed."""
    quick = is_quick(__doc__ or "", argv)
    figures = asyncio.run(_measure(QUICK_STARTS if quick else STARTS))
    rows = [(name, f"{value:,.2f}") for name, value in figures.items()]
    tell([table("Coming and going", ("what", "seconds"), rows)], [], figures)
    if quick:
        return 0
    met = (
        judge("ready_max_s", figures["ready_max_s"], TARGET_READY_S, "s"),
        judge("ends_idle_s", figures["ends_idle_s"], TARGET_END_S, "s"),
        judge("ends_busy_s", figures["ends_busy_s"], TARGET_END_S, "s"),
    )
    return 0 if all(met) else 1


async def _measure(starts: int) -> dict[str, float]:
    ready: list[float] = []
    idle: list[float] = []
    async with await Simulator.start(rates=False) as simulator:
        for _ in range(starts):
            async with _server(simulator) as (process, took, _):
                ready.append(took)
                idle.append(await _end(process))
        async with _server(simulator) as (process, _, folder), Driver(simulator.url) as driver:
            await driver.post("U0MAYA", "C0DATA", f"<@U0SECONDKEY> {_TASK}")
            async with asyncio.timeout(_GIVE_UP_S):
                while not _is_started(folder):
                    await asyncio.sleep(_ASK_EVERY_S)
            busy = await _end(process)
    return {
        "ready_p50_s": round(percentile(ready, 0.5), 3),
        "ready_max_s": round(max(ready), 3),
        "ends_idle_s": round(max(idle), 3),
        "ends_busy_s": round(busy, 3),
    }


@asynccontextmanager
async def _server(simulator: Simulator) -> AsyncGenerator[tuple[asyncio.subprocess.Process, float, Path]]:
    """A server with an empty database, how long it took from exec to ready, seconds, and its folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "books.toml").write_text(_RUNBOOK, encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        (folder / "secondkey.toml").write_text(
            f'approvers = ["U0OMAR", "U0INES"]\nrunbooks = ["books.toml"]\nport = {port}\n'
            f'slack_api_url = "{simulator.api_url}"\n',
            encoding="utf-8",
        )
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
        tokens = {"SLACK_BOT_TOKEN": "xoxb-simulator", "SLACK_APP_TOKEN": "xapp-simulator"}
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "serve", cwd=folder,
            env=kept | tokens | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                await _until_ready(f"http://127.0.0.1:{port}/readyz")
            yield process, time.perf_counter() - began, folder
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _is_started(folder: Path) -> bool:
    """Whether the command runs."""
    with closing(sqlite3.connect(f"file:{folder / '.secondkey' / 'secondkey.db'}?mode=ro", uri=True)) as conn:
        return conn.execute("SELECT 1 FROM events WHERE type = 'action_started'").fetchone() is not None


async def _until_ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:  # noqa: PLR2004  # ready
                        return
            except aiohttp.ClientError:
                pass  # nobody listens yet
            await asyncio.sleep(_ASK_EVERY_S)


async def _end(process: asyncio.subprocess.Process) -> float:
    began = time.perf_counter()
    process.terminate()
    async with asyncio.timeout(_GIVE_UP_S):
        await process.wait()
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())

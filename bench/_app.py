"""The real app in a process of its own, working in a simulated workspace."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import bot
from simulator.driver import Driver
from simulator.server import Simulator

READY_S = 60.0
"""How long the app may take until it listens, seconds."""
UNLIMITED = 1_000_000
"""Quotas are not what is measured."""
RUNBOOKS = Path(bot.__file__).with_name("demo_runbooks.toml")


@dataclass(frozen=True, slots=True)
class House:
    """A workspace with people in it, and the app that works there."""

    simulator: Simulator
    driver: Driver
    database: Path
    """The app's own state."""


@asynccontextmanager
async def house(folder: Path, *, shop: Path, project: Path, rates: bool) -> AsyncGenerator[House]:
    """Serve Slack in this process and `secondkey serve` in another; raises RuntimeError when the app does not come up.

    `rates` says whether Slack's posting rates are enforced.
    """
    async with await Simulator.start(rates=rates) as simulator, Driver(simulator.url) as driver:
        configuration = folder / "secondkey.toml"
        configuration.write_text(_configuration(folder / "data", shop, project), encoding="utf-8")
        with (folder / "app.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "serve", "--config", str(configuration), "--port", "0",
                env=_environment(simulator), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                await _ready(driver, process, folder / "app.log")
                yield House(simulator, driver, folder / "data" / "secondkey.db")
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


async def _ready(driver: Driver, process: asyncio.subprocess.Process, log: Path) -> None:
    up = asyncio.ensure_future(
        driver.wait_for_push(lambda push: push["type"] == "link" and push["link"] == "socket", timeout=READY_S)
    )
    ended = asyncio.ensure_future(process.wait())
    await asyncio.wait({up, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not up.done() or up.exception() is not None:
        up.cancel()
        said = await asyncio.to_thread(log.read_text, encoding="utf-8")
        raise RuntimeError(f"The app did not come up:\n{said[-2000:]}")


def _configuration(data: Path, shop: Path, project: Path) -> str:
    values = {
        "data": str(data),
        "project": str(project),
        "runbooks": [str(RUNBOOKS)],
        "approvers": ["U0OMAR", "U0INES"],
        "admins": ["U0OMAR"],
        "runs_an_hour": UNLIMITED,
        "runs_an_hour_global": UNLIMITED,
        "runs_at_once": UNLIMITED,
        "runs_at_once_global": 0,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([*lines, "[databases]", f"shop = {json.dumps(str(shop))}", ""])


def _environment(simulator: Simulator) -> dict[str, str]:
    """Of this process's environment only what any program needs, so that no key or setting changes what is measured."""
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR"}}
    slack = simulator.workspace.app
    return kept | {
        "SECONDKEY_SLACK_API_URL": simulator.api_url,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
    }

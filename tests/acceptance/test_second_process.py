"""Processes beside a server and without one: a stand-by that takes over, and the commands of an operator."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from simulator.driver import Driver

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("git")]

ROOT = Path(__file__).parents[2]
TAKEN_OVER_S = 15.0
TASK = "<@U0SECONDKEY> Receive one piece of product 25"
COMMAND_S = 30.0

Start = Callable[..., Awaitable[Any]]


async def secondkey(*words: str, cwd: Path = ROOT) -> tuple[int, str, str]:
    """Run a command of the command line to its end: its code, what it printed, what it complained of."""
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", *words, cwd=cwd, env=kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(COMMAND_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def link(driver: Driver, state: str, seconds: float, after: int = 0) -> None:
    def has_come(push: Any) -> bool:
        return bool(push["type"] == "link" and push["link"] == state)

    await driver.wait_for_push(has_come, after=after, timeout=seconds)


async def card(driver: Driver, known: set[str]) -> str:
    """The newest card's time stamp, when it stands there."""
    message = await driver.wait_for_message(
        "C0ACTIONS", lambda item: item["ts"] not in known and "Needs a yes" in json.dumps(item), timeout=20
    )
    known.add(message["ts"])
    return str(message["ts"])


def latency_ms(said: str) -> float:
    found = re.search(r"in (\d+) ms", said)
    assert found is not None, said
    return float(found[1])


@dataclass
class Scene:
    """A simulated workspace, the way to start servers in it, and what an operator types."""

    driver: Driver
    serve: Callable[[], Awaitable[Any]]
    workplace: Any
    known: set[str] = field(default_factory=set[str])

    async def ask(self) -> str:
        """Give the task, and wait for its card."""
        await self.driver.post("U0MAYA", "C0DATA", TASK)
        return await card(self.driver, self.known)

    async def operator(self, *words: str) -> tuple[int, str]:
        """Type a command."""
        code, said, complaint = await secondkey(*words, "--config", str(self.workplace.config))
        return code, said + complaint


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(start: Start, workplace: Any) -> AsyncIterator[Scene]:
    slack = await start("simulator", "--port", "0", until=r"http://127\.0\.0\.1:\d+")
    environment = {
        "SECONDKEY_SLACK_API_URL": f"{slack.said}/api/",
        "SLACK_BOT_TOKEN": "xoxb-simulator",
        "SLACK_APP_TOKEN": "xapp-simulator",
    }

    async def serve() -> Any:
        return await start("bot", "serve", "--config", str(workplace.config), "--port", "0", **environment)

    async with Driver(slack.said) as driver:
        yield Scene(driver, serve, workplace)


async def test_a_stand_by_takes_over_and_an_operator_commands_from_another_process(scene: Scene) -> None:
    first = await scene.serve()
    await link(scene.driver, "socket", 30)
    stand_by = await scene.serve()
    await takes_over_a_killed_server(scene, first, stand_by)
    await stops_and_pauses_beside_a_server(scene)
    await stops_without_a_server(scene, stand_by)
    code, said = await scene.operator("audit", "verify")  # all of it, while a server runs
    assert (code, "The journal verifies" in said, "Signed heads: " in said) == (0, True, True), said


async def takes_over_a_killed_server(scene: Scene, first: Any, stand_by: Any) -> None:
    """A run that waits outlives the process that asked for it."""
    waiting = await scene.ask()
    before, seen = scene.workplace.stock(), len(scene.driver.pushes)
    await first.kill()
    killed = time.monotonic()
    await link(scene.driver, "socket", TAKEN_OVER_S, after=seen)
    assert time.monotonic() - killed < TAKEN_OVER_S
    assert stand_by.process.returncode is None
    assert (await scene.driver.click("U0OMAR", "C0ACTIONS", waiting, "approve"))["ok"]
    await scene.driver.wait_for_message(
        "C0ACTIONS", lambda item: item["ts"] == waiting and "1 row changed" in json.dumps(item), timeout=10
    )
    assert scene.workplace.stock() == before + 1


async def stops_and_pauses_beside_a_server(scene: Scene) -> None:
    await scene.ask()
    code, said = await scene.operator("approvals", "--json")
    (pending,) = json.loads(said)
    assert (code, pending["tool"], pending["requester"][-6:]) == (0, "query_sql", "U0MAYA")
    assert 0 <= pending["age_s"] < 60
    assert sorted(key.rpartition(":")[2] for key in pending["may_decide"]) == ["U0INES", "U0OMAR"]
    run = pending["run"]
    code, said = await scene.operator("stop", run, "--reason", "enough")
    assert (code, said.startswith(f"Run {run} stopped in ")) == (0, True), said
    assert latency_ms(said) < 1000
    code, said = await scene.operator("stop", run)
    assert (code, "is over already" in said) == (0, True)
    assert await scene.operator("approvals") == (0, "Nothing waits for a yes.\n")

    code, said = await scene.operator("pause")
    assert (code, said.startswith("Paused in ")) == (0, True), said
    assert "paused already" in (await scene.operator("pause"))[1]
    code, said = await scene.operator("resume")
    assert (code, said.startswith("Resumed in ")) == (0, True), said
    assert await scene.operator("resume") == (0, "Nothing was paused.\n")


async def stops_without_a_server(scene: Scene, server: Any) -> None:
    """Stored, and obeyed when one starts."""
    card = await scene.ask()
    stock = scene.workplace.stock()
    assert await server.end() == 0
    assert await scene.operator("stop", "--all") == (0, "Stop of 1 run: stored; honoured at the next start.\n")
    await scene.serve()
    await scene.driver.wait_for_message(
        "C0ACTIONS", lambda item: item["ts"] == card and "Needs a yes" not in json.dumps(item), timeout=20
    )
    assert scene.workplace.stock() == stock


async def test_a_command_says_where_it_looked_for_a_database_and_unknown_runs_are_errors(
    workplace: Any, tmp_path: Path
) -> None:
    code, _, err = await secondkey("stop", "--all", cwd=tmp_path)
    assert (code, "There is no database at .secondkey/secondkey.db." in err) == (2, True)
    code, _, err = await secondkey("stop", "nobody", "--config", str(workplace.config))
    assert (code, "There is no run nobody" in err) == (1, True)
    assert (await secondkey("stop", cwd=tmp_path))[0] == 2

"""A server as its platform sees it: soon ready, each part named, and gone soon after SIGTERM, whatever waits."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from simulator.driver import Driver

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("git")]

Start = Callable[..., Awaitable[Any]]
READY_CPU_S = 3.0
"""Processor time, so that a busy machine does not fail it; `python -m bench.start` has the seconds on the clock."""
STARTED_S, ENDED_S = 30.0, 10.0
PARTS = {"database", "stand_by", "slack", "delivery", "deadlines", "sandbox"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slack(start: Start) -> AsyncIterator[Driver]:
    simulator = await start("simulator", "--port", "0", until=r"http://127\.0\.0\.1:\d+")
    async with Driver(simulator.said) as driver:
        yield driver


async def serve(start: Start, slack: Driver, workplace: Any, data: Path, *, until: int = 200) -> tuple[Any, str]:
    """A server on this data folder which answers its probe with this status, and its address."""
    port = unused()
    environment = {
        "SECONDKEY_SLACK_API_URL": f"{slack._url}/api/",
        "SLACK_BOT_TOKEN": "xoxb-simulator",
        "SLACK_APP_TOKEN": "xapp-simulator",
        "SECONDKEY_DATA": str(data),
        "PORT": str(port),
    }
    server = await start("bot", "serve", "--config", str(workplace.config), **environment)
    url = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(STARTED_S):
        while await probe(f"{url}/readyz") != until:  # noqa: ASYNC110  # as a platform asks, from outside
            await asyncio.sleep(0.02)
    return server, url


async def probe(url: str) -> int:
    try:
        return (await asked(url))[0]
    except aiohttp.ClientError:
        return 0  # nobody listens yet


def unused() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def asked(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


async def test_it_is_ready_soon_names_each_part_and_ends_soon_while_a_card_waits(
    start: Start, slack: Driver, workplace: Any, tmp_path: Path
) -> None:
    server, url = await serve(start, slack, workplace, tmp_path / "data")
    used = cpu_s(server.process.pid)
    assert used <= READY_CPU_S
    assert await asked(f"{url}/healthz") == (200, {"alive": True})
    status, body = await asked(f"{url}/readyz")
    assert (status, set(body["parts"])) == (200, PARTS), body

    await slack.post("U0MAYA", "C0DATA", "<@U0SECONDKEY> Receive one piece of product 25")
    card = await slack.wait_for_message("C0ACTIONS", lambda item: "Needs a yes" in json.dumps(item), timeout=20)
    began = time.monotonic()
    assert await server.end() == 0
    assert time.monotonic() - began < ENDED_S

    stock = workplace.stock()
    again, _ = await serve(start, slack, workplace, tmp_path / "data")
    assert (await slack.click("U0OMAR", "C0ACTIONS", card["ts"], "approve"))["ok"]
    await slack.wait_for_message(
        "C0ACTIONS", lambda item: item["ts"] == card["ts"] and "1 row changed" in json.dumps(item), timeout=20
    )
    assert workplace.stock() == stock + 1
    assert await again.end() == 0


async def test_a_platform_that_gives_a_port_reaches_it_and_a_stand_by_says_that_it_is_one(
    start: Start, slack: Driver, workplace: Any, tmp_path: Path
) -> None:
    first, url = await serve(start, slack, workplace, tmp_path / "data")
    assert (await asked(f"{url}/readyz"))[0] == 200
    second, url = await serve(start, slack, workplace, tmp_path / "data", until=503)
    status, body = await asked(f"{url}/readyz")
    assert status == 503
    assert "stand_by" in body["parts"], body
    assert (await asked(f"{url}/healthz"))[0] == 200
    assert await second.end() == 0
    assert await first.end() == 0

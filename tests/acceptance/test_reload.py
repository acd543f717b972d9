"""A policy that is read anew: SIGHUP to a running server, a broken file first, a good one then."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.driver import Driver
from tests.acceptance.conftest import rows

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("git")]

Start = Callable[..., Awaitable[Any]]
TASK = "<@U0SECONDKEY> Receive one piece of product 25"
GOOD = "version = 1\n[people]\napprovers = ['U0OMAR', 'U0INES']\n"
TWO = GOOD + "[limits]\nquorum = 2\n"


async def loaded(data: Path, count: int) -> list[tuple[str, str]]:
    """Version and problem of each policy that the server has noted down, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = rows(data / "secondkey.db", "SELECT version, problem FROM policies ORDER BY id")
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)  # another process writes; nothing here can be waited on


async def test_sighup_reads_the_policy_again_and_a_broken_one_keeps_the_old(start: Start, workplace: Any) -> None:
    policy = workplace.config.with_name("policy.toml")
    policy.write_text(GOOD, encoding="utf-8")
    slack = await start("simulator", "--port", "0", until=r"http://127\.0\.0\.1:\d+")
    environment = {
        "SECONDKEY_SLACK_API_URL": f"{slack.said}/api/",
        "SLACK_BOT_TOKEN": "xoxb-simulator",
        "SLACK_APP_TOKEN": "xapp-simulator",
        "SECONDKEY_POLICY": str(policy),
    }
    async with Driver(slack.said) as driver:
        server = await start("bot", "serve", "--config", str(workplace.config), "--port", "0", **environment)
        await driver.wait_for_push(lambda push: push["type"] == "link" and push["link"] == "socket", timeout=30)
        ((first, problem),) = await loaded(workplace.data, 1)
        assert problem == ""

        policy.write_text("version = 1\n[[rule]]\nname = 'broken'\n", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        version, problem = (await loaded(workplace.data, 2))[-1]
        assert (version, "broken" in problem) == (first, True)

        policy.write_text(TWO, encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        version, problem = (await loaded(workplace.data, 3))[-1]
        assert (version != first, problem) == (True, "")
        await driver.post("U0MAYA", "C0DATA", TASK)
        await driver.wait_for_message("C0ACTIONS", lambda item: "Needs 2 yeses" in json.dumps(item), timeout=20)

"""A real Prometheus scrapes a run and answers every query of the dashboard; promtool likes the page."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import MAYA, OMAR

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRAPES = 4


def queries() -> list[tuple[str, str]]:
    """Each panel's title and query, with Grafana's own variables filled in."""
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h"))
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


async def worked(open_house: Opened) -> House:
    """A house in which a model planned, a tool ran, and somebody decided."""
    model = ScriptedModel([script.plan(), script.use(("touch", {"name": "one"})), script.end(), script.say("Done.")])
    house = await open_house(model=model, tools=(Touch("touch"),))
    ts = await house.ask("touch it")
    card = await house.card("Touch one")
    await house.click(MAYA, card, "approve")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    async with asyncio.timeout(30):
        while not house.app.traces.is_idle:  # noqa: ASYNC110  # a thread's work has no event in the loop
            await asyncio.sleep(0.02)
        while "agent_event_loop_lag" not in (await page(house))[1]:  # noqa: ASYNC110  # measured after a quarter second
            await asyncio.sleep(0.02)
    return house


async def page(house: House) -> tuple[str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{house.app.url}/metrics") as answer:
        return answer.headers["Content-Type"], await answer.text()


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """A Prometheus that scrapes the target ten times a second; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 100ms, evaluation_interval: 1s}\n"
        f"rule_files: ['{DEPLOY / 'prometheus' / 'rules.yml'}']\n"
        f"scrape_configs: [{{job_name: secondkey, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    process = await asyncio.create_subprocess_exec(
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"ready to receive web requests" not in (said := await process.stderr.readline()):
                assert said, "it ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.communicate()


async def ask(session: aiohttp.ClientSession, url: str, query: str) -> list[dict[str, Any]]:
    async with session.get(f"{url}/api/v1/query", params={"query": query}) as answer:
        said = await answer.json()
    assert said["status"] == "success", f"{query}: {said}"
    return list(said["data"]["result"])


@pytest.mark.needs("prometheus")
async def test_every_panel_of_the_dashboard_shows_something_of_a_real_run(open_house: Opened, tmp_path: Path) -> None:
    house = await worked(open_house)
    async with prometheus(tmp_path, house.app.url.removeprefix("http://")) as url, aiohttp.ClientSession() as session:
        decided = 'agent_approval_decisions_total{decision="approved",tool="touch"} > 0'
        async with asyncio.timeout(30):
            # What the journal says is counted by a thread of its own, and another process asks for it now and then.
            for query in (decided, f"sum_over_time(up[1m]) >= {SCRAPES}"):
                while not await ask(session, url, query):  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.1)
        empty = [f"{title}: {query}" for title, query in queries() if not await ask(session, url, query)]
        assert empty == []
        (approved,) = await ask(session, url, decided)
        assert approved["value"][1] == "1"
        async with session.get(f"{url}/api/v1/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
        assert [rule.get("lastError") for group in groups for rule in group["rules"] if rule.get("lastError")] == []


@pytest.mark.needs("promtool")
async def test_promtool_finds_nothing_wrong_with_the_metrics_page(open_house: Opened) -> None:
    kind, text = await page(await worked(open_house))
    call = ("promtool", "check", "metrics")
    checked = await asyncio.to_thread(
        subprocess.run, call, input=text.encode(), capture_output=True, check=False, timeout=60
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    assert kind.startswith("text/plain")


async def test_every_metric_of_the_alerts_and_the_dashboard_is_on_the_page(open_house: Opened) -> None:
    _, text = await page(await worked(open_house))
    there = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    wanted = {
        word
        for source in (DEPLOY / "prometheus" / "rules.yml", DEPLOY / "grafana" / "dashboard.json")
        for word in source.read_text().replace("(", " ").replace("{", " ").replace("[", " ").replace('"', " ").split()
        if word.startswith(("agent_", "gen_ai_client_"))
    }
    bare = {word.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum").rstrip(",)") for word in wanted}
    assert {name for name in bare if name not in there} == set()

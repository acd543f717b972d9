"""Behaviours 8, 9, 12 and 15: acks in time, nothing twice, Slack's rates honoured, and an end that drains."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from simulator.clock import Timing
from simulator.driver import Driver
from simulator.server import Simulator
from storage.feedback import opinions
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, DATA, INES, MAYA, OMAR, Json, buttons, words

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def locked(house: House) -> AsyncIterator[None]:
    """A database that takes no write."""
    lock = sqlite3.connect(house.app.db.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def count(house: House, kind: str) -> Counter[str]:
    """How often an event of this kind stands in each run's journal."""
    query = "SELECT run FROM events WHERE type = ?"
    return Counter(run for (run,) in house.app.db.read(lambda conn: conn.execute(query, (kind,)).fetchall()))


async def test_behaviour_8_every_listener_acks_in_three_seconds_with_a_slow_database_and_none_fires_twice(
    open_house: Opened,
) -> None:
    touch, other = Touch("touch_low", "low"), Touch("touch_medium", "low")
    house = await open_house(
        tools=(touch, other), timing=Timing(redeliver=0.05, redeliveries=100), settings={"runs_at_once": 9}
    )
    finished = await house.ask("add 1 and 1")
    await house.answer(finished)
    answer = await house.slack.wait_for_message(DATA, lambda m: "Written " in words(m), thread_ts=finished)
    drinks = {"Tea": "260", "Mocha": "460", "Oat flat": "410"}
    asked = {name: await house.ask(f"price of {name} to {price}") for name, price in drinks.items()}
    cards = {name: await house.card(name) for name in drinks}
    progress = await house.slack.wait_for_message(DATA, lambda m: "stop_run" in buttons(m), thread_ts=asked["Oat flat"])
    await house.click(INES, cards["Mocha"], "deny")
    view = await house.slack.wait_for_view(INES)
    touch.hold()
    other.hold()
    held, more = await house.ask("use touch_low on x"), await house.ask("use touch_medium on x")
    await house.slack.wait_for_session(DATA, held, "processing")
    threads = {**asked, "held": held, "more": more, "done": finished}
    runs = {name: (await house.run_at(ts)).id for name, ts in threads.items()}
    loop = asyncio.get_running_loop()

    async def timed(call: asyncio.Future[object]) -> tuple[object, float]:
        began = loop.time()
        return await call, loop.time() - began

    calls = {
        "click": house.click(OMAR, cards["Tea"], "approve"),
        "form": house.slack.submit(INES, view["id"], {"reason": {"value": {"value": "too dear"}}}),
        "stop": house.click(MAYA, progress, "stop_run"),
        "vote": house.slack.click(MAYA, DATA, answer["ts"], "feedback", value=f"{runs['done']}|good"),
        "command": house.slack.command(MAYA, DATA, "/agent", f"stop {runs['more']}"),
        "shortcut": house.slack.shortcut(MAYA, "give_task"),
    }
    async with locked(house):
        late = asyncio.create_task(house.slack.post(INES, DATA, f"<@{BOT}> add 2 and 2"))
        native = asyncio.create_task(house.slack.stop_session(MAYA, DATA, held))
        outcomes = await asyncio.gather(*(timed(asyncio.ensure_future(call)) for call in calls.values()))
        await asyncio.gather(late, native)
    for name, (outcome, seconds) in zip(calls, outcomes, strict=True):
        assert isinstance(outcome, dict), name
        assert outcome["ok"], f"{name}: {outcome}"
        assert seconds < 3, name
    await house.answer(late.result())
    for ts in (held, more, asked["Oat flat"]):
        await house.run_at(ts, RunStatus.CANCELLED)
    await house.run_at(asked["Tea"], RunStatus.COMPLETED)
    await house.until(lambda: house.app.db.read(lambda conn: opinions(conn, runs["done"])))
    await house.until(lambda: count(house, "denial_explained")[runs["Mocha"]])
    assert set(count(house, "approval_decided").values()) == {1}
    assert set(count(house, "denial_explained").values()) == {1}
    assert set(count(house, "stop_requested").values()) == {1}
    assert len(count(house, "stop_requested")) == 3
    assert house.prices()["Tea"] == 260
    assert len([run for run in house.queries.runs() if run.title == "add 2 and 2"]) == 1
    assert len(house.app.db.read(lambda conn: opinions(conn, runs["done"]))) == 1
    assert (touch.done, other.done) == ({}, {})


@pytest.mark.parametrize("times", [2, 4])
async def test_behaviour_9_the_same_event_twice_is_one_run_one_reaction_and_one_thread(
    house: House, times: int
) -> None:
    await house.slack.fault("events", "duplicate", times=times)
    ts = await house.ask("add 1 and 1")
    await house.answer(ts)
    await house.slack.wait_for_message(DATA, lambda m: "Status: *completed*" in words(m), thread_ts=ts)
    assert len(house.queries.runs()) == 1
    keys = [
        m["metadata"]["event_payload"]["key"].partition(":")[0]
        for m in await house.slack.history(DATA, thread_ts=ts)
        if m["user"] == BOT
    ]
    assert sorted(keys) == ["answer", "progress"]


async def _api(house: House, *methods: str) -> list[Json]:
    return [entry for entry in await house.slack.log() if entry["direction"] == "api" and entry["method"] in methods]


async def test_behaviour_12_a_429_is_honoured_and_the_message_posted_once(house: House) -> None:
    await house.slack.fault("chat.postMessage", "rate_limit", retry_after=2)
    ts = await house.ask("add 1 and 1")
    assert "It is 2" in await house.answer(ts)
    posts = await _api(house, "chat.postMessage")
    assert [entry["ok"] for entry in posts].count(False) == 1
    refused = next(index for index, entry in enumerate(posts) if not entry["ok"])
    assert posts[refused + 1]["at"] - posts[refused]["at"] >= 2
    keys = [entry["args"]["metadata"]["event_payload"]["key"] for entry in posts if entry["ok"]]
    assert len(keys) == len(set(keys))


async def test_behaviour_12_with_slacks_own_rates_everything_stands_once_and_nothing_is_refused_twice_in_a_row(
    open_house: Opened,
) -> None:
    house = await open_house(settings={"runs_an_hour": 50, "runs_at_once": 50})
    await house.slack.rates(enabled=True)
    asked = [await house.ask(f"add {number} and 1") for number in range(5)]
    for number, ts in enumerate(asked):
        found = await house.slack.wait_for_message(
            DATA, lambda m, text=f"It is {number + 1}": text in words(m), thread_ts=ts, timeout=60
        )
        assert found["metadata"]["event_payload"]["key"].startswith("answer:")
    posts = await _api(house, "chat.postMessage")
    keys = [entry["args"]["metadata"]["event_payload"]["key"] for entry in posts if entry["ok"]]
    assert len(keys) == len(set(keys))
    assert all(first["ok"] or second["ok"] for first, second in pairwise(posts))


async def test_behaviour_12_many_changes_of_a_run_are_few_updates_of_its_message(open_house: Opened) -> None:
    touches = [Touch(f"touch_{number}", "low") for number in range(8)]
    calls = [script.use((touch.name, {"name": "x"})) for touch in touches[:6]]
    gate = Touch("touch_gate", "medium")
    model = ScriptedModel(
        [script.plan("Do it."), *calls, script.use(("touch_gate", {"name": "y"})), script.end(), script.say("All.")]
    )
    house = await open_house(model=model, tools=(*touches, gate))
    ts = await house.ask("go")
    card = await house.card("touch_gate")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    await house.slack.wait_for_message(DATA, lambda m: "Status: *completed*" in words(m), thread_ts=ts)
    run = await house.run_at(ts)
    row = house.app.db.read(
        lambda conn: conn.execute("SELECT wanted, ts FROM outbox WHERE message_key = ?", (f"progress:{run.id}",))
        .fetchone()
    )  # fmt: skip
    writes = await _api(house, "chat.update", "chat.appendStream")
    mine = [entry for entry in writes if entry["args"].get("ts") == row[1]]
    assert row[0] > 20
    assert len(mine) < row[0] / 3


async def test_behaviour_15_sigterm_lets_what_runs_end_tells_people_and_ends_with_0(tmp_path: Path) -> None:
    async with await Simulator.start(rates=False) as sim, Driver(sim.url) as slack:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLACK_", "SECONDKEY_", "PORT"))}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "serve",
            cwd=tmp_path,
            env={
                **kept, "PYTHONPATH": str(ROOT), "SLACK_BOT_TOKEN": "xoxb-simulator",
                "SLACK_APP_TOKEN": "xapp-simulator", "SECONDKEY_SLACK_API_URL": sim.api_url,
                "SECONDKEY_APPROVERS": '["U0OMAR"]', "SECONDKEY_PORT": "0",
            },
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await slack.wait_for_push(lambda push: push["type"] == "link" and push["link"] == "socket", after=0)
            ts = await slack.post(MAYA, DATA, f'<@{BOT}> Search the project for "timeout"')
            await slack.wait_for_message(DATA, lambda m: bool(m.get("reactions")) and m["ts"] == ts)
            began = asyncio.get_running_loop().time()
            child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(child.wait(), 15) == 0
            assert asyncio.get_running_loop().time() - began < 11
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        conn = sqlite3.connect(f"file:{tmp_path / '.secondkey' / 'secondkey.db'}?mode=ro", uri=True)
        ((status,),) = conn.execute("SELECT status FROM runs").fetchall()
        ((waiting,),) = conn.execute("SELECT count(*) FROM actions WHERE phase = 'started'").fetchall()
        conn.close()
    assert waiting == 0
    assert status in {"queued", "running", "completed"}

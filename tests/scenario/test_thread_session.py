"""The status that Slack itself shows of a thread, and its own stop button: behaviour 13."""

from __future__ import annotations

import asyncio

import pytest

from agent.domain import RunStatus
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import DATA, INES, MAYA, OMAR, THEO


async def shows(house: House, ts: str, *statuses: str) -> None:
    """Wait until Slack shows this status of the thread."""
    await house.slack.wait_for_session(DATA, ts, *statuses)


async def test_a_thread_is_processing_then_suspended_while_people_are_asked_and_active_at_the_end(
    house: House,
) -> None:
    ts = await house.ask("price of Oat flat to 410")
    card = await house.card("Oat flat")
    await shows(house, ts, "suspended")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    await shows(house, ts, "active")
    session = (await house.slack.session(DATA, ts))["session"]
    assert (session["title"], session["initiator"]) == ("price of Oat flat to 410", MAYA)


async def test_while_a_tool_runs_the_thread_is_processing(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch,))
    touch.hold()
    ts = await house.ask("use touch_low on x")
    await touch.running.wait()
    await shows(house, ts, "processing")
    touch.release()
    await shows(house, ts, "active")


async def test_slacks_own_stop_button_cancels_the_run_and_the_status_leaves_processing(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch,))
    touch.hold()
    ts = await house.ask("use touch_low on x")
    await touch.running.wait()
    await shows(house, ts, "processing")
    await house.slack.stop_session(MAYA, DATA, ts)
    await house.run_at(ts, RunStatus.CANCELLED)
    await shows(house, ts, "active")
    assert "It was stopped" in await house.answer(ts)
    assert touch.done == {}


@pytest.mark.parametrize(("user", "said"), [(MAYA, "Only who asked for it"), (THEO, "Guests can neither")])
async def test_slacks_own_stop_button_is_for_those_in_charge(open_house: Opened, user: str, said: str) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch,))
    touch.hold()
    ts = await house.ask("use touch_low on x", user=INES)
    await shows(house, ts, "processing")
    await house.slack.stop_session(user, DATA, ts)
    await house.told(user, said)
    touch.release()
    await house.answer(ts)
    assert (await house.run_at(ts)).status is RunStatus.COMPLETED
    assert [row.kind for row in house.audit()] == ["not_entitled"]


async def test_without_sessions_the_older_status_is_used(house: House) -> None:
    await house.slack.fault("agents.sessions.setStatus", "error", error="unknown_method", times=100)
    ts = await house.ask("price of Oat flat to 410")
    card = await house.card("Oat flat")

    await house.logged(
        lambda entry: (
            entry["method"] == "assistant.threads.setStatus" and entry["args"].get("status") == "is waiting for people"
        )
    )
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    await house.logged(
        lambda entry: entry["method"] == "assistant.threads.setStatus" and entry["args"].get("status") == ""
    )


async def test_a_status_that_hangs_or_fails_keeps_nothing_waiting(house: House) -> None:
    await house.slack.fault("agents.sessions.setStatus", "hang", seconds=30, times=100)
    async with asyncio.timeout(20):
        assert "It is 2" in await house.answer(await house.ask("add 1 and 1"))


async def test_a_final_status_that_failed_is_tried_once_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.sessions.AGAIN_S", 1.0)
    await house.slack.fault("chat.startStream", "error", error="unknown_method", times=100)  # its end sets it as well
    ts = await house.ask("price of Oat flat to 410")
    card = await house.card("Oat flat")
    await shows(house, ts, "suspended")
    await house.slack.fault("agents.sessions.setStatus", "status", status=503, times=100)
    assert card
    await house.command(f"stop {(await house.run_at(ts)).id}")
    await house.logged(
        lambda entry: (
            entry["method"] == "agents.sessions.setStatus"
            and entry["args"].get("status") == "active"
            and not entry["ok"]
        )
    )
    await house.slack.clear_faults()
    await shows(house, ts, "active")

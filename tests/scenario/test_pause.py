"""Pause and kill per run, tool, person and everything: nothing of it starts, the rest goes on, resuming wakes it."""

from __future__ import annotations

import pytest

from agent.domain import RunStatus
from agent.errors import NotEntitled, UnknownRun
from bot.listeners import pausing
from bot.listeners.payload import Who
from storage.scopes import BadScope, Scope
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import DATA, INES, MAYA, OMAR, TEAM


def who(user: str) -> Who:
    return Who(user=user, team=TEAM, channel=DATA)


async def low(open_house: Opened) -> tuple[House, Touch]:
    tool = Touch("touch_low", "low")
    return await open_house(tools=[tool]), tool


async def halted(house: House, ts: str) -> None:
    """The run stands before its first start."""
    run = await house.run_at(ts, RunStatus.RUNNING)
    assert house.app.runtime is not None
    await house.until(lambda: "action_rated" in [item.type for item in house.events(run.id)])
    await house.app.runtime.settled(run.id)


async def test_a_paused_tool_waits_while_others_run_and_goes_on_when_it_is_resumed(open_house: Opened) -> None:
    house, tool = await low(open_house)
    await house.control.pause(Scope("tool", "touch_low"), by="local:0")
    ts = await house.ask("use touch_low on x")
    await halted(house, ts)
    assert "5" in await house.answer(await house.ask("add 2 and 3"))
    assert not tool.done
    await house.control.resume(Scope("tool", "touch_low"), by="local:0")
    await house.answer(ts)
    assert tool.done == {"x": 1}


async def test_a_paused_person_waits_while_others_run(open_house: Opened) -> None:
    house, tool = await low(open_house)
    await house.control.pause(Scope("person", MAYA), by="local:0")
    ts = await house.ask("use touch_low on hers", user=MAYA)
    await halted(house, ts)
    await house.answer(await house.ask("use touch_low on his", user=OMAR))
    assert tool.done == {"his": 1}
    await house.control.resume(by="local:0")
    await house.answer(ts)
    assert tool.done == {"his": 1, "hers": 1}


async def test_an_approved_action_of_a_paused_tool_does_not_start_until_it_is_resumed(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(tools=[tool])
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    await house.control.pause(Scope("tool", "touch_medium"), by="local:0")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "About to start")
    assert house.app.runtime is not None
    await house.app.runtime.settled(house.approvals()[0].run)
    assert not tool.done
    await house.control.resume(Scope("tool", "touch_medium"), by="local:0")
    await house.answer(ts)
    assert tool.done == {"x": 1}


async def test_the_kill_file_ends_the_runs_that_it_names_and_when_it_goes_the_rest_starts(open_house: Opened) -> None:
    house, tool = await low(open_house)
    tool.hold()
    running = await house.ask("use touch_low on x")
    await tool.running.wait()
    kill = house.folder / "data" / "KILL"
    kill.write_text("tool:touch_low\n")
    await house.run_at(running, RunStatus.CANCELLED)
    tool.release()
    later = await house.ask("use touch_low on y")
    await halted(house, later)
    assert "5" in await house.answer(await house.ask("add 2 and 3"))
    kill.unlink()
    await house.answer(later)
    assert tool.done == {"y": 1}


async def test_an_admin_pauses_and_resumes_from_slack_and_nobody_else(open_house: Opened) -> None:
    house, tool = await low(open_house)
    services = house.app.services
    assert services is not None
    for user in (MAYA, INES):
        with pytest.raises(NotEntitled):
            await pausing.pause(services, who(user), ["all"])
    assert [row.detail for row in house.audit()] == ["pause", "pause"]
    assert house.control.standing() == ()
    said = await pausing.pause(services, who(OMAR), ["tool", "touch_low"])
    assert "`tool touch_low` is paused" in said
    ts = await house.ask("use touch_low on x")
    await halted(house, ts)
    run = await house.run_at(ts)
    await pausing.pause(services, who(OMAR), ["run", run.id[:4]])
    assert "Still paused" in await pausing.resume(services, who(OMAR), ["tool", "touch_low"])
    await house.app.runtime.settled(run.id)
    assert not tool.done
    assert "Everything goes on." in await pausing.resume(services, who(OMAR), [])
    await house.answer(ts)
    assert tool.done == {"x": 1}
    with pytest.raises(UnknownRun):
        await pausing.pause(services, who(OMAR), ["run", "nothing"])
    with pytest.raises(BadScope):
        await pausing.pause(services, who(OMAR), ["person", "a b", "c"])


async def test_a_paused_run_stays_paused_after_a_restart(open_house: Opened) -> None:
    house, tool = await low(open_house)
    await house.control.pause(Scope("tool", "touch_low"), by="local:0")
    ts = await house.ask("use touch_low on x")
    await halted(house, ts)
    await house.restart()
    await halted(house, ts)
    assert not tool.done
    await house.control.resume(by="local:0")
    await house.answer(ts)
    assert tool.done == {"x": 1}

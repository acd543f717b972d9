"""SIGTERM while something is on its way: the end comes in time, and what was on its way is taken up or asked about."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from agent.ports import ModelReply, ModelRequest
from bot import running
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import buttons

ENDED_S = 10.0
REPLIES = (script.plan(), script.use(("touch", {"name": "one"})), script.end(), script.say("Done."))


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs may finish for, so that the tests need not wait for it; the rest of the ten seconds is as it is."""
    assert running.GRACE_S <= ENDED_S / 2
    monkeypatch.setattr(running, "GRACE_S", 0.2)


async def ended(house: House) -> float:
    """Seconds that the end took."""
    began = time.monotonic()
    await house.app.stop()
    return time.monotonic() - began


async def test_a_tool_that_does_not_end_is_cut_off_and_a_person_is_asked_after_the_start(open_house: Opened) -> None:
    touch = Touch("touch", "low")
    touch.hold()
    house = await open_house(model=ScriptedModel(list(REPLIES)), tools=(touch,))
    await house.ask("touch it")
    await touch.running.wait()
    assert await ended(house) < ENDED_S
    assert touch.done["one"] == 0
    touch.release()
    await house.start()
    question = await house.card("Touch one")
    assert {"unknown_happened", "unknown_run_again", "unknown_stop"} <= set(buttons(question))
    assert touch.done["one"] == 0


async def test_a_tool_that_ends_within_the_grace_is_kept_and_the_run_goes_on_after_the_start(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "GRACE_S", 5.0)
    touch = Touch("touch", "low")
    touch.hold()
    house = await open_house(model=ScriptedModel(list(REPLIES)), tools=(touch,))
    ts = await house.ask("touch it")
    await touch.running.wait()
    stopping = asyncio.create_task(ended(house))
    await asyncio.sleep(0)
    touch.release()
    assert await stopping < ENDED_S
    await house.start()
    await house.run_at(ts, RunStatus.COMPLETED)
    assert touch.done["one"] == 1


class Endless(ScriptedModel):
    """A model whose first call does not come back."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        if not self.requests:
            self.requests.append(request)
            asked.set()
            await asyncio.Event().wait()
        return await super().complete(request)


asked = asyncio.Event()


async def test_a_model_that_does_not_answer_holds_nothing_up_and_is_called_again_after_the_start(
    open_house: Opened,
) -> None:
    asked.clear()
    touch = Touch("touch", "low")
    house = await open_house(model=Endless(list(REPLIES)), tools=(touch,))
    ts = await house.ask("touch it")
    await asyncio.wait_for(asked.wait(), 30)
    assert await ended(house) < ENDED_S
    await house.start()
    await house.run_at(ts, RunStatus.COMPLETED)
    assert touch.done["one"] == 1

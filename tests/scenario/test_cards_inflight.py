"""Somebody asks again at the very moment when the model gives a step back, or writes the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from agent.ports import ModelReply, ModelRequest
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import MAYA, OMAR


@dataclass
class HeldModel(ScriptedModel):
    """Waits before the reply of this number until it is let go."""

    hold_at: int = -1
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: ModelRequest) -> ModelReply:
        number = len(self.requests)
        reply = await super().complete(request)
        if number == self.hold_at:
            self.asked.set()
            await self.free.wait()
        return reply


async def asked_again_in_flight(open_house: Opened, model: HeldModel, lamp: Touch) -> tuple[House, str]:
    """Withdraw the first call, wait for the held request, ask again, and let the model go."""
    house = await open_house(model=model, tools=[lamp])
    ts = await house.ask("touch it")
    one = await house.card("Touch a")
    await house.click(MAYA, one, "withdraw")
    gone = await house.shows(one, "Withdrawn by")
    await model.asked.wait()
    await house.click(MAYA, gone, "ask_again")
    again = await house.card("Touch a", "Asked again by", without=(one,))
    model.free.set()
    await house.click(OMAR, again, "approve")
    return house, ts


async def test_a_step_that_is_given_back_meanwhile_hears_first_what_came_of_the_second_asking(
    open_house: Opened,
) -> None:
    lamp = Touch("lamp")
    replies = [
        script.plan(),
        script.use(("lamp", {"name": "a"})),
        script.end("Nobody wanted it."),
        script.end("It is touched."),
        script.say("It is touched."),
    ]
    model = HeldModel(replies, hold_at=2)
    house, ts = await asked_again_in_flight(open_house, model, lamp)
    await house.answer(ts)
    assert lamp.done == {"a": 1}
    assert "touched a" in script.heard(model.requests[3])
    await house.run_at(ts, RunStatus.COMPLETED)


async def test_an_answer_that_is_written_meanwhile_is_written_anew_with_what_came_of_it(open_house: Opened) -> None:
    lamp = Touch("lamp")
    replies = [
        script.plan(),
        script.use(("lamp", {"name": "a"})),
        script.end("Nobody wanted it."),
        script.say("Nothing was done."),
        script.say("It is touched after all."),
    ]
    model = HeldModel(replies, hold_at=3)
    house, ts = await asked_again_in_flight(open_house, model, lamp)
    assert "It is touched after all." in await house.answer(ts)
    assert lamp.done == {"a": 1}
    assert "Touched a" in script.heard(model.requests[4])

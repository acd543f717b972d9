"""The floor before a yes to what cannot be undone counts, as a person in Slack sees it."""

from __future__ import annotations

from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.world import OMAR

DELETE = "delete drink 3"


async def test_a_yes_that_comes_too_fast_to_what_cannot_be_undone_is_told_so_and_counts_the_second_time(
    open_house: Opened,
) -> None:
    deletion = script.sql("DELETE FROM drinks WHERE id = 3")
    model = ScriptedModel([script.plan(), deletion, script.end(), script.say()])
    house = await open_house(model=model, policy="[limits]\napprove_floor_s = 300\n")
    ts = await house.ask(DELETE)
    card = await house.card("DELETE FROM drinks", "Approve counts 300 s after this was posted")
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "This cannot be undone")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)
    house.clock.ahead += 301
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert "Tea" not in house.prices()

"""Details: everything in full, page by page, for those alone who may see the run."""

from __future__ import annotations

import json
import re

import pytest

from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import EVE, INES, MAYA, OMAR, THEO, Json, words

TASK = "price of Oat flat to 410"
LONG = "".join(f"{number:06} " for number in range(40_000))


def code(view: Json) -> str:
    """What stands in code blocks, put together."""
    sections = [block["text"]["text"] for block in view["blocks"] if block["type"] == "section"]
    return "".join(part for text in sections for part in re.findall(r"```\n(.*?)\n```", text, re.DOTALL))


async def test_the_longest_argument_is_read_page_by_page_and_loses_nothing(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.use(("lamp", {"name": LONG}))])
    house = await open_house(model=model, tools=[Touch("lamp")])
    await house.ask("touch it")
    card = await house.card("full text under Details")
    await house.click(OMAR, card, "details")
    view = await house.slack.wait_for_view(OMAR, lambda view: "Page 1 of" in words(view))
    shown = code(view)
    number = 1
    while "Next page" in json.dumps(view):
        number += 1
        await house.slack.click_in_view(OMAR, view["id"], "details_next")
        view = await house.slack.wait_for_view(OMAR, lambda view, at=number: f"Page {at} of" in words(view))
        shown += code(view)
    assert LONG in shown
    await house.slack.click_in_view(OMAR, view["id"], "details_before")
    await house.slack.wait_for_view(OMAR, lambda view: f"Page {number - 1} of" in words(view))


async def test_members_of_the_tasks_channel_deciders_and_the_requester_see_details(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    for person in (MAYA, OMAR, INES):
        await house.click(person, card, "details")
        assert "UPDATE drinks" in words(await house.slack.wait_for_view(person))


async def test_who_only_sees_the_card_is_refused_the_details_and_a_row_is_kept(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    ts = await house.slack.post(MAYA, await house.dm(MAYA), TASK)
    card = await house.card("Oat flat")
    assert ts
    await house.click(INES, card, "details")
    await house.told(INES, "may see all of it")
    assert not house.slack.views.get(INES)
    (row,) = house.audit()
    assert (row.kind, row.principal.rpartition(":")[2], row.subject) == ("not_entitled", INES, house.approvals()[0].id)
    await house.click(MAYA, card, "details")
    await house.slack.wait_for_view(MAYA)


async def test_guests_and_strangers_are_refused_the_details(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    for person in (THEO, EVE):
        await house.forge(person, card, "details")
        await house.forge(person, card, "details", action_id="details_next")
        assert not house.slack.views.get(person)
    await house.told(THEO, "Guests")
    assert {row.kind for row in house.audit()} == {"not_entitled"}


@pytest.mark.parametrize(("button", "method"), [("details", "views.open"), ("edit", "views.open")])
async def test_a_window_that_slack_does_not_open_is_not_silence(house: House, button: str, method: str) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.slack.fault(method, "error", error="internal_error")
    await house.click(OMAR, card, button)
    await house.told(OMAR, "Please press the button once more")
    await house.click(OMAR, card, button)
    await house.slack.wait_for_view(OMAR)


async def test_a_page_that_slack_does_not_turn_is_not_silence(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.use(("lamp", {"name": LONG}))])
    house = await open_house(model=model, tools=[Touch("lamp")])
    await house.ask("touch it")
    await house.click(OMAR, await house.card("full text under Details"), "details")
    view = await house.slack.wait_for_view(OMAR, lambda view: "Page 1 of" in words(view))
    await house.slack.fault("views.update", "error", error="internal_error")
    await house.slack.click_in_view(OMAR, view["id"], "details_next")
    await house.told(OMAR, "The page could not be turned")

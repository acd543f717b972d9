"""Who may decide changes while a card stands: it counts at the next click, and the card is drawn anew."""

from __future__ import annotations

import asyncio

from bot.cli_approvers import Entry, add, remove
from tests.scenario.conftest import Opened
from tests.scenario.world import INES, MAYA, OMAR, THEO

TASK = "price of Oat flat to 410"


async def test_who_is_registered_after_it_was_asked_decides_at_their_next_click(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await asyncio.to_thread(add, house.settings(), Entry(person=INES, tool="query_*", tier="medium"))
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert (house.approvals()[0].decided_by, house.prices()["Oat flat"]) == (f"slack:T0SECONDKEY:{INES}", 410)


async def test_a_click_has_the_card_drawn_anew_with_who_may_decide_now(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    await asyncio.to_thread(add, house.settings(), Entry(person=INES))
    assert house.app.services is not None
    house.app.services.identity.on_decision()  # as every click does
    await house.ask(TASK)
    card = await house.card("Oat flat", f"<@{INES}>")
    await asyncio.to_thread(remove, house.settings(), INES)
    await asyncio.to_thread(add, house.settings(), Entry(person=THEO))
    await house.click(INES, card, "approve")
    await house.told(INES, "You are not among")
    drawn = await house.shows(card, THEO)
    assert INES not in str(drawn["blocks"])
    assert "Ines" not in str(drawn["blocks"])
    assert house.approvals()[0].deciders == (f"slack:T0SECONDKEY:{OMAR}", f"slack:T0SECONDKEY:{THEO}")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_whose_request_it_is_decides_nothing_by_being_registered_later(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await asyncio.to_thread(add, house.settings(), Entry(person=MAYA))
    await house.forge(MAYA, card, "approve")
    await house.told(MAYA, "Nobody decides on their own request")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)

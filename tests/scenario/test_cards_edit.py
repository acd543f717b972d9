"""Edit: a person changes the arguments, and somebody else must approve what came of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import EVE, GENERAL, INES, MAYA, OMAR, THEO, Json, words

TASK = "price of Oat flat to 410"
SQL = "argument.1.0"
BETTER = "UPDATE drinks SET price = 405 WHERE name = 'Oat flat'"


async def form(house: House, person: str, card: Json) -> Json:
    """Open the form."""
    await house.click(person, card, "edit")
    return await house.slack.wait_for_view(person, lambda view: view["callback_id"] == "approval_edit_form")


async def send(house: House, person: str, view: Json, text: str = BETTER, block: str = SQL) -> Json:
    return await house.slack.submit(person, view["id"], {block: {"value": text}})


def inputs(view: Json) -> dict[str, str]:
    return {
        block["block_id"]: block["element"].get("initial_value", "")
        for block in view["blocks"]
        if block["type"] == "input"
    }


async def test_an_edited_call_runs_as_changed_once_somebody_else_approves_it(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    view = await form(house, OMAR, card)
    assert inputs(view)["argument.0.0"] == "shop"
    assert "price = 410" in inputs(view)[SQL]
    assert "somebody else must approve" in words(view)
    assert (await send(house, OMAR, view))["ok"]
    told = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "notice")
    assert "You changed it, so somebody else must approve." in words(told)
    old = await house.shows(card, "Replaced by a newer request", f"Changed by <@{OMAR}>", "|the new request>")
    new = await house.card("price = 405", "Changed by", without=(card,))
    assert f"p{new['ts'].replace('.', '')}|the new request" in words(old)
    assert "somebody else must approve" in words(new)
    await house.click(OMAR, new, "approve")
    await house.told(OMAR, "Nobody decides on their own request")
    await house.click(INES, new, "approve")
    await house.shows(new, f"Approved by <@{INES}>", "Done")
    await house.answer(ts)
    await house.run_at(ts, RunStatus.COMPLETED)
    assert house.prices()["Oat flat"] == 405
    assert [row.state for row in house.approvals()] == ["superseded", "approved"]


async def test_the_agent_is_told_that_a_person_changed_its_call_and_what_came_of_it(open_house: Opened) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.sql("UPDATE drinks SET price = 410 WHERE name = 'Oat flat'"),
            script.end(),
            script.say("It is set."),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("raise the price")
    await send(house, OMAR, await form(house, OMAR, await house.card("price = 410")))
    await house.click(INES, await house.card("price = 405"), "approve")
    await house.answer(ts)
    heard = script.heard(model.requests[2])
    assert "A person changed the arguments of this call" in heard
    assert "price = 405" in heard
    assert "must not be proposed again" in heard
    assert "Withdrawn" not in await house.answer(ts)
    assert (house.prices()["Oat flat"], house.started()) == (405, 1)


async def test_an_edited_low_call_still_asks_and_an_edited_high_one_goes_to_a_person(open_house: Opened) -> None:
    house = await open_house()
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await send(house, OMAR, await form(house, OMAR, card), "SELECT name FROM drinks")
    new = await house.card("SELECT name FROM drinks", without=(card,))
    assert "A person changed it" in words(new)
    await send(house, INES, await form(house, INES, new), "DELETE FROM drinks")
    await house.until(lambda: house.app.db.read(lambda conn: conn.execute("SELECT 1 FROM takeovers").fetchone()))
    await house.shows(new, "Changed by", "rated high", "|a person has to do it>")
    assert (len(house.prices()), house.started()) == (3, 0)


async def test_what_does_not_fit_the_tool_is_said_at_its_field_and_changes_nothing(open_house: Opened) -> None:
    count = Touch("touch")
    house = await open_house(
        model=ScriptedModel([script.plan(), script.use(("touch", {"name": "lamp"}))]), tools=[count]
    )
    await house.ask("touch it")
    card = await house.card("lamp")
    view = await form(house, OMAR, card)
    for text, why in (
        ("lamp", "changed nothing"),
        ("xoxb-" + "1234567890-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", "looks like"),
    ):
        answer = await send(house, OMAR, view, text, "argument.0.0")
        assert why in json.dumps(answer), answer
    assert [row.state for row in house.approvals()] == ["pending"]
    stored = house.app.db.read(lambda conn: conn.execute("SELECT group_concat(payload) FROM events").fetchone()[0])
    assert "xoxb-1234567890" not in stored
    assert (await send(house, OMAR, view, "torch", "argument.0.0"))["ok"]
    await house.card("torch", without=(card,))


@pytest.mark.parametrize("winner", ["edit", "approve"])
async def test_an_edit_that_races_a_yes_has_one_winner_and_the_loser_is_told(house: House, winner: str) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    view = await form(house, OMAR, card)
    if winner == "edit":
        await send(house, OMAR, view)
        await house.forge(INES, card, "approve")
        await house.told(INES, f"already replaced by a newer request by <@{OMAR}>")
        await house.click(INES, await house.card("price = 405", without=(card,)), "approve")
    else:
        await house.click(INES, card, "approve")
        await house.answer(ts)
        await send(house, OMAR, view)
        lost = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "notice")
        assert "already approved" in words(lost)
        assert "Nothing was changed" in words(lost) or "Nothing was changed" in lost["title"]["text"]
    await house.answer(ts)
    assert house.prices()["Oat flat"] == (405 if winner == "edit" else 410)
    assert house.started() == 1


async def test_edits_and_votes_at_the_same_moment_are_one_decision(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    omar, maya = await form(house, OMAR, card), await form(house, MAYA, card)
    await asyncio.gather(
        send(house, OMAR, omar),
        send(house, MAYA, maya, BETTER.replace("405", "406")),
        house.click(INES, card, "approve"),
        send(house, OMAR, omar),
    )
    first = house.approvals()[0]
    assert first.state in {"superseded", "approved"}
    assert sum(row.state == "superseded" for row in house.approvals()) <= 1
    if first.state == "superseded":
        await house.click(INES, await house.card("Changed by", without=(card,)), "approve")
    await house.answer(ts)
    assert house.started() == 1


async def test_only_those_in_charge_may_edit_and_a_form_that_is_sent_later_is_checked_afresh(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    for person in (THEO, EVE):
        await house.forge(person, card, "edit")
    await house.told(THEO, "Guests can neither")
    view = await form(house, OMAR, card)
    await house.slack.call("person", {"id": OMAR, "role": "guest"})
    house.forget(OMAR)
    await send(house, OMAR, view)
    refused = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "notice")
    assert "Guests can neither" in words(refused)
    assert [row.state for row in house.approvals()] == ["pending"]
    assert {row.kind for row in house.audit()} == {"not_entitled"}


async def test_the_requester_may_edit_too_and_still_cannot_approve(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await send(house, MAYA, await form(house, MAYA, card))
    new = await house.card("price = 405", f"Changed by <@{MAYA}>", without=(card,))
    await house.forge(MAYA, new, "approve")
    await house.told(MAYA, "Nobody decides on their own request")
    await house.click(OMAR, new, "approve")
    await house.shows(new, "Done")


async def test_the_form_warns_when_nobody_else_could_approve_and_the_new_card_says_so_at_once(
    open_house: Opened,
) -> None:
    house = await open_house(approvers=(OMAR,))
    await house.ask(TASK)
    card = await house.card("Oat flat")
    view = await form(house, OMAR, card)
    assert "Nobody else may decide on it" in words(view)
    await send(house, OMAR, view)
    await house.card("Nobody but the people whose request this is could decide", without=(card,))


async def test_a_call_that_has_nothing_to_change_says_so(house: House) -> None:
    await house.ask("note we close at six")
    card = await house.card("+we close at six")
    await house.click(OMAR, card, "edit")
    await house.told(OMAR, "Nothing in this call can be changed by hand")
    assert house.approvals()[0].state == "pending"


async def test_an_edit_survives_a_restart_before_it_is_rated(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    view = await form(house, OMAR, card)
    assert house.app.runtime is not None
    await house.app.runtime.close()
    await send(house, OMAR, view)
    await house.until(lambda: house.approvals()[0].state == "superseded")
    await house.restart()
    await house.click(INES, await house.card("price = 405", without=(card,)), "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 405


async def test_a_stranger_to_the_channel_sees_no_arguments_in_a_form(house: House) -> None:
    await house.ask(TASK, channel=GENERAL)
    card = await house.card("Oat flat")
    await house.forge(EVE, card, "edit")
    await house.told(EVE, "Only members of the workspace")
    assert not house.slack.views.get(EVE)

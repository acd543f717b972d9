"""The app's Home: what waits, decided there; kept fresh; the kill switch for admins."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import EVE, INES, MAYA, OMAR, THEO

PRICE = "price of Oat flat to 410"


async def look(house: House, user: str, *contains: str, without: str = "") -> dict[str, Any]:
    """Open the Home and wait until it shows these words."""
    await house.slack.call("home", {"as": user, "tab": "home"})
    return await shows(house, user, *contains, without=without)


async def shows(house: House, user: str, *contains: str, without: str = "") -> dict[str, Any]:
    """The person's Home once its newest version shows these words."""

    def newest() -> dict[str, Any] | None:
        pushes = [p for p in house.slack.pushes if p["type"] == "home_published" and user in p.get("to", ())]
        return pushes[-1]["view"] if pushes else None

    def fits() -> bool:
        view = newest()
        text = json.dumps(view, ensure_ascii=False)
        return view is not None and all(part in text for part in contains) and (not without or without not in text)

    await house.slack.wait_for_push(lambda _: fits())
    view = newest()
    assert view is not None
    return view


def ids(view: dict[str, Any]) -> list[str]:
    """Action ids of all its buttons."""
    rows = [block for block in view["blocks"] if block["type"] == "actions"]
    return [item["action_id"] for row in rows for item in row["elements"]]


async def test_an_approver_approves_from_home_and_the_card_says_so(house: House) -> None:
    await house.ask(PRICE)
    card = await house.card("Oat flat")
    view = await look(house, OMAR, "Oat flat", "410", "What waits for you")
    assert ids(view)[:3] == ["approve", "deny", "details"]
    assert (await house.slack.click_in_view(OMAR, view["id"], "approve"))["ok"]
    await house.shows(card, f"Approved by <@{OMAR}>", "Done")
    assert "approve" not in ids(await shows(house, OMAR, "Nothing waits for you"))


async def test_details_open_from_home(house: House) -> None:
    await house.ask(PRICE)
    await house.card("Oat flat")
    view = await look(house, OMAR, "Oat flat")
    await house.slack.click_in_view(OMAR, view["id"], "details")
    modal = await house.slack.wait_for_view(OMAR)
    assert "UPDATE drinks SET price" in json.dumps(modal)


async def test_the_loser_is_told_in_their_home_who_decided(house: House) -> None:
    await house.ask(PRICE)
    card = await house.card("Oat flat")
    view = await look(house, INES, "Oat flat")
    stale = json.loads(json.dumps(view))
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Done")
    await shows(house, INES, "Nothing waits for you")
    house.sim.services.views.homes[INES] = stale  # the click was on its way already
    await house.slack.click_in_view(INES, stale["id"], "deny")
    await shows(house, INES, "already approved", f"<@{OMAR}>")
    assert house.prices()["Oat flat"] == 410


async def test_a_private_word_goes_by_direct_message_when_the_home_cannot_be_shown(house: House) -> None:
    await house.ask(PRICE)
    card = await house.card("Oat flat")
    view = await look(house, INES, "Oat flat")
    await house.slack.fault("views.publish", "error", error="internal_error", times=50)
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Done")
    await house.slack.click_in_view(INES, view["id"], "deny")
    assert "already approved" in await house.told(INES, "already approved")


async def test_the_requester_sees_their_run_but_no_button_for_it(house: House) -> None:
    await house.ask(PRICE, user=OMAR)
    await house.card("Oat flat")
    view = await look(house, OMAR, "waiting for people", "Nothing waits for you")
    assert "approve" not in ids(view)


async def test_a_home_button_of_who_is_no_decider_any_more_changes_nothing(house: House) -> None:
    await house.ask(PRICE)
    await house.card("Oat flat")
    view = await look(house, INES, "Oat flat")
    await house.slack.call("person", {"id": INES, "role": "guest"})
    house.forget(INES)
    await house.slack.click_in_view(INES, view["id"], "approve")
    await shows(house, INES, "Guests can neither")
    assert house.approvals()[0].state == "pending"
    assert {row.kind for row in house.audit()} == {"not_entitled"}


async def test_home_follows_a_run_from_its_beginning_to_its_end(house: House) -> None:
    await look(house, MAYA, "You have not asked for anything yet")
    ts = await house.ask(PRICE)
    await shows(house, MAYA, "waiting for people", "Oat flat")
    await house.click(OMAR, await house.card("Oat flat"), "approve")
    await house.run_at(ts, RunStatus.COMPLETED)
    await shows(house, MAYA, "*completed*", "$0.00", "in 1 run")


async def test_what_expires_leaves_home_by_itself(house: House) -> None:
    await house.ask(PRICE)
    await house.card("Oat flat")
    await look(house, OMAR, "Oat flat")
    await house.advance(1801)
    await shows(house, OMAR, "Nothing waits for you")


async def test_homes_are_published_at_most_once_a_second_a_person(open_house: Opened) -> None:
    house = await open_house(tools=(Touch("touch_low", "low"), Touch("touch_medium")))
    await look(house, OMAR, "Nothing waits for you")
    for number in range(6):
        await house.ask(f"add {number} and 1", user=(MAYA, OMAR, INES)[number % 3])
    await shows(house, OMAR, "*completed*")
    calls = [e for e in await house.slack.log() if e["method"] == "views.publish" and e["direction"] == "api"]
    times = [e["at"] for e in calls]
    assert all(later - earlier >= 0.8 for earlier, later in itertools.pairwise(times)), times


async def test_a_takeover_is_claimed_and_done_from_home(house: House) -> None:
    ts = await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this")
    view = await look(house, INES, "A person has to do this")
    await house.slack.click_in_view(INES, view["id"], "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")
    view = await shows(house, INES, "You have it until", "takeover_done")
    await house.slack.click_in_view(INES, view["id"], "takeover_done")
    modal = await house.slack.wait_for_view(INES)
    values = {name: {"value": "I did it by hand"} for name in ("what", "reference", "evidence")}
    assert (await house.slack.submit(INES, modal["id"], values))["ok"]
    await house.shows(packet, f"Done by <@{INES}>")
    await house.answer(ts)
    await shows(house, INES, "Nothing waits for you")


async def test_an_admin_pauses_and_resumes_everything_from_home(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(Touch("touch_low", "low"), touch))
    view = await look(house, OMAR, "home_pause")
    pause = next(item for b in view["blocks"] if b["type"] == "actions" for item in b["elements"] if "confirm" in item)
    assert pause["action_id"] == "home_pause"
    await house.slack.click_in_view(OMAR, view["id"], "home_pause")
    view = await shows(house, OMAR, "Everything is paused", "home_resume")
    assert [flag.kind for flag in house.control.standing()] == ["pause"]
    await house.slack.click_in_view(OMAR, view["id"], "home_resume")
    await shows(house, OMAR, "Everything goes on", "home_pause")
    assert house.control.standing() == ()


async def test_nobody_else_has_the_switch_nor_can_press_it(house: House) -> None:
    admins = await look(house, OMAR, "home_pause")
    view = await look(house, MAYA, "Health")
    assert "home_pause" not in ids(view)
    switch = next(block for block in admins["blocks"] if block["block_id"] == "home:switch")
    row = next(block for block in house.sim.services.views.homes[MAYA]["blocks"] if block["block_id"] == "home:switch")
    row["elements"] = switch["elements"]  # a forged button
    await house.slack.click_in_view(MAYA, view["id"], "home_pause")
    await shows(house, MAYA, "Only admins")
    assert house.control.standing() == ()
    assert house.audit()[0].kind == "not_entitled"


@pytest.mark.parametrize("person", [THEO, EVE])
async def test_guests_and_strangers_see_only_why_not(house: House, person: str) -> None:
    await house.ask(PRICE)
    await house.card("Oat flat")
    view = await look(house, person)
    assert len(view["blocks"]) == 1
    assert "Oat" not in json.dumps(view)


async def test_a_run_of_a_channel_that_one_is_not_in_is_not_in_ones_home(house: House) -> None:
    await house.slack.call("channel", {"name": "secret", "private": True, "members": [OMAR], "bot_member": True})
    channel = next(c.id for c in house.sim.workspace.channels.values() if c.name == "secret")
    await house.ask(PRICE, user=OMAR, channel=channel)
    await house.card("Oat flat")
    view = await look(house, MAYA, "Health")
    assert "Oat" not in json.dumps(view)


async def test_health_says_what_is_wrong(house: House) -> None:
    await look(house, MAYA, "All parts work")
    assert house.app.delivery is not None
    house.app.delivery.problem = "C0ACTIONS cannot be written to."
    await look(house, MAYA, "Not all is well", "C0ACTIONS cannot be written to")


async def test_hostile_arguments_do_not_break_home(open_house: Opened) -> None:
    sql = "UPDATE drinks SET name = '<!channel> ``` *bold* <https://x.example|y> \u202e" + "x" * 9000 + "' WHERE id = 1"
    house = await open_house(model=ScriptedModel([script.plan(), script.sql(sql, why="<!here>")]))
    await house.ask("rename it")
    await house.until(house.approvals)
    view = await look(house, OMAR, "approve")
    text = json.dumps(view, ensure_ascii=False)
    assert "<!" not in text.replace("<!date", "")
    assert "|y>" not in text
    assert "\u202e" not in text


async def test_refresh_publishes_anew_even_when_nothing_changed(house: House) -> None:
    view = await look(house, MAYA, "Health")
    count = len([p for p in house.slack.pushes if p["type"] == "home_published"])
    await house.slack.click_in_view(MAYA, view["id"], "home_refresh")
    await house.slack.wait_for_push(
        lambda _: len([p for p in house.slack.pushes if p["type"] == "home_published"]) > count
    )


async def test_a_click_after_a_restart_is_answered_in_the_home_that_is_still_open(house: House) -> None:
    await house.ask(PRICE)
    await house.card("Oat flat")
    view = await look(house, OMAR, "Oat flat")
    await house.restart()
    before = len(house.slack.pushes)
    await house.slack.click_in_view(OMAR, view["id"], "approve")
    await house.slack.wait_for_push(
        lambda p: p["type"] == "home_published" and "Nothing waits for you" in json.dumps(p["view"]), after=before
    )
    assert house.approvals()[0].state == "approved"


async def test_every_argument_of_a_request_can_be_read_or_is_named_in_home(open_house: Opened) -> None:
    wide = script.use(("write_file", {"path": "a.txt", "content": "x" * 20_000}))
    sql = script.sql("UPDATE drinks SET price = 1 WHERE id = 1 /*" + "y" * 8000 + "*/")
    house = await open_house(model=ScriptedModel([script.plan(), wide, sql, script.end(), script.say()]))
    await house.ask("do it")
    await house.until(house.approvals)
    view = await look(house, OMAR, "approve")
    text = json.dumps(view)
    assert "*database*" in text
    assert "*sql*" in text


async def test_double_approve_from_home_and_card_is_one_decision(house: House) -> None:
    ts = await house.ask(PRICE)
    card = await house.card("Oat flat")
    view = await look(house, OMAR, "Oat flat")
    await asyncio.gather(
        house.slack.click_in_view(OMAR, view["id"], "approve"), house.click(INES, card, "deny"),
        house.slack.click_in_view(OMAR, view["id"], "approve"),
    )  # fmt: skip
    await house.until(lambda: house.approvals()[0].state != "pending")
    run = await house.run_at(ts)
    assert [event.type for event in house.events(run.id)].count("approval_decided") == 1

"""Several actions of one run that wait at once: a card each, and one window in which they are decided item by item."""

from __future__ import annotations

import asyncio

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import INES, MAYA, OMAR, THEO, Json, buttons, words

NAMES = ("a", "b", "c")


async def three(open_house: Opened) -> tuple[House, Touch, dict[str, Json], str]:
    lamp = Touch("lamp")
    calls = script.use(*(("lamp", {"name": name}) for name in NAMES))
    model = ScriptedModel([script.plan(), calls, script.end(), script.say("That is all.")])
    house = await open_house(model=model, tools=[lamp])
    ts = await house.ask("touch them")
    cards = {name: await house.card(f"Touch {name}", "Decide all (3)") for name in NAMES}
    return house, lamp, cards, ts


async def window(house: House, person: str, card: Json) -> tuple[Json, dict[str, str]]:
    """The window, and the block of each item by the name of what would be touched."""
    await house.click(person, card, "decide_all")
    view = await house.slack.wait_for_view(person, lambda view: view["callback_id"] == "approvals_together_form")
    blocks, titles = dict[str, str](), [block for block in view["blocks"] if "Touch " in words({"blocks": [block]})]
    inputs = [block for block in view["blocks"] if block["block_id"].startswith("together|")]
    for title, item in zip(titles, inputs, strict=True):
        blocks[next(name for name in NAMES if f"Touch {name}" in words({"blocks": [title]}))] = item["block_id"]
    return view, blocks


def choice(value: str) -> Json:
    return {"value": {"selected_option": {"value": value}}}


async def test_each_item_is_decided_for_itself_and_what_is_left_open_goes_on_waiting(open_house: Opened) -> None:
    house, lamp, cards, ts = await three(open_house)
    view, blocks = await window(house, OMAR, cards["a"])
    assert all(
        block["element"]["initial_option"]["value"] == "leave"
        for block in view["blocks"]
        if block["type"] == "input" and block["block_id"] in blocks.values()
    )
    answers = {blocks["a"]: choice("approve"), blocks["b"]: choice("deny"), "reason": {"value": "Not that one."}}
    assert (await house.slack.submit(OMAR, view["id"], answers))["ok"]
    told = words(await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "notice"))
    assert "Touch a*: approved" in told
    assert "Touch b*: denied" in told
    assert "Touch c" not in told
    await house.shows(cards["b"], f"Denied by <@{OMAR}>", "Not that one.")
    last = await house.shows(cards["c"], "Needs a yes")
    await house.until(lambda: lamp.done == {"a": 1})
    assert (await house.run_at(ts)).status in {RunStatus.WAITING, RunStatus.RUNNING}
    await house.slack.wait_for_message(
        last["channel"], lambda m: m["ts"] == last["ts"] and "decide_all" not in buttons(m)
    )
    await house.click(INES, last, "approve")
    await house.answer(ts)
    assert lamp.done == {"a": 1, "c": 1}


async def test_what_was_decided_meanwhile_is_reported_to_who_sends_the_form(open_house: Opened) -> None:
    house, lamp, cards, ts = await three(open_house)
    view, blocks = await window(house, OMAR, cards["a"])
    await house.click(INES, cards["a"], "deny")
    await house.shows(cards["a"], "Denied by")
    await house.slack.submit(OMAR, view["id"], {blocks[name]: choice("approve") for name in NAMES})
    told = words(await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "notice"))
    assert f"Touch a*: This was already denied by <@{INES}>" in told
    assert told.count("approved") == 2
    await house.slack.close_view(INES, (await house.slack.wait_for_view(INES))["id"])
    await house.answer(ts)
    assert lamp.done == {"b": 1, "c": 1}


async def test_two_windows_and_single_clicks_at_once_decide_each_item_once(open_house: Opened) -> None:
    house, lamp, cards, ts = await three(open_house)
    (one, mine), (other, theirs) = await window(house, OMAR, cards["a"]), await window(house, INES, cards["b"])
    await asyncio.gather(
        house.slack.submit(OMAR, one["id"], {mine[name]: choice("approve") for name in NAMES}),
        house.slack.submit(INES, other["id"], {theirs[name]: choice("approve") for name in NAMES}),
        house.click(OMAR, cards["c"], "approve"),
    )
    await house.answer(ts)
    assert lamp.done == dict.fromkeys(NAMES, 1)
    assert house.started() == 3


async def test_the_requester_and_a_guest_decide_nothing_together(open_house: Opened) -> None:
    house, lamp, cards, _ = await three(open_house)
    view, blocks = await window(house, MAYA, cards["a"])
    await house.slack.submit(MAYA, view["id"], {blocks[name]: choice("approve") for name in NAMES})
    told = words(await house.slack.wait_for_view(MAYA, lambda view: view["callback_id"] == "notice"))
    assert told.count("Nobody decides on their own request") == 3
    await house.forge(THEO, cards["a"], "decide_all")
    await house.told(THEO, "Guests")
    assert not house.slack.views.get(THEO)
    assert ({row.state for row in house.approvals()}, lamp.done) == ({"pending"}, {})
    assert {row.kind for row in house.audit()} == {"own_request", "not_entitled"}


async def test_an_answer_to_another_call_than_was_shown_decides_nothing(open_house: Opened) -> None:
    house, lamp, cards, _ = await three(open_house)
    view, blocks = await window(house, OMAR, cards["a"])
    _, held = house.sim.services.views.find(view["id"])
    item = next(block for block in held["blocks"] if block["block_id"] == blocks["a"])
    stale = f"{blocks['a'].rpartition('|')[0]}|000000000000"
    item["block_id"] = stale
    held["state"]["values"][stale] = held["state"]["values"].pop(blocks["a"])
    await house.slack.submit(OMAR, view["id"], {stale: choice("approve")})
    told = words(await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "notice"))
    assert "older than the request behind it" in told
    assert ({row.state for row in house.approvals()}, lamp.done) == ({"pending"}, {})

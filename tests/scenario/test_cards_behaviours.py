"""What people may count on with a card, one behaviour a test; races and invariants have tests of their own."""

from __future__ import annotations

import asyncio

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, EVE, INES, MAYA, OMAR, TEAM, THEO, buttons, words

TASK = "price of Oat flat to 410"


async def test_behaviour_1_a_double_click_is_one_decision(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await asyncio.gather(*(house.forge(OMAR, card, "approve") for _ in range(4)))
    await house.answer(ts)
    assert (house.started(), house.prices()["Oat flat"]) == (1, 410)
    events = [event.type for event in house.events(house.approvals()[0].run)]
    assert events.count("approval_decided") == 1


async def test_behaviour_1_of_an_approve_and_a_deny_at_once_one_wins_and_the_other_is_told_privately_who(
    house: House,
) -> None:
    for number, drink in enumerate(("Oat flat", "Tea", "Mocha")):
        ts = await house.ask(f"price of {drink} to 410")
        card = await house.card(drink)
        racers = [(OMAR, "approve"), (INES, "deny")][:: 1 if number % 2 else -1]
        await asyncio.gather(*(house.forge(person, card, action) for person, action in racers))
        row = house.approvals()[number]
        loser, winner = (INES, OMAR) if row.state == "approved" else (OMAR, INES)
        assert row.decided_by == f"slack:{TEAM}:{winner}"
        assert f"<@{winner}>" in await house.told(loser, f"This was already {row.state} by")
        if row.state == "denied":
            view = await house.slack.wait_for_view(INES)
            await house.slack.close_view(INES, view["id"])
        await house.answer(ts)
        assert (house.prices()[drink] == 410) is (row.state == "approved")
        house.slack.ephemerals.clear()


KINDS = ("unentitled", "self", "co-requester", "guest", "external", "deactivated", "bot")
STRANGERS = ("unentitled", "guest", "external", "deactivated", "bot")
"""Who asked may also edit and ask again: that makes nobody's decision."""


@pytest.mark.parametrize(
    ("kind", "button"),
    [(kind, button) for button in ("approve", "deny") for kind in KINDS]
    + [(kind, button) for button in ("edit", "ask_again", "decide_all") for kind in STRANGERS],
)
async def test_behaviour_2_who_is_not_entitled_is_refused_privately_and_the_card_still_waits(
    open_house: Opened, kind: str, button: str
) -> None:
    who, why = {
        "unentitled": (INES, "You are not among the people"),
        "self": (MAYA, "Nobody decides on their own request"),
        "co-requester": (INES, "Nobody decides on their own request"),
        "guest": (THEO, "Guests can neither"),
        "external": (EVE, "Only members of the workspace"),
        "deactivated": (INES, ""),
        "bot": (BOT, ""),
    }[kind]
    house = await open_house(approvers=(OMAR, INES) if kind in {"co-requester", "deactivated"} else (OMAR,))
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    if kind == "co-requester":
        await house.ask("and hurry", user=INES, thread_ts=ts)
        await house.until(lambda: house.queries.co_requesters(house.approvals()[0].run)[1:])
    if kind == "deactivated":
        await house.slack.call("person", {"id": INES, "deleted": True})
        house.forget(INES)
    await house.forge(who, card, "approve", action_id=button)
    if why:
        await house.told(who, why)
    await house.until(house.audit)
    (row, *_) = house.audit()
    assert row.kind in {"not_entitled", "own_request"}
    assert row.principal.rpartition(":")[2] == who
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)
    assert "approve" in buttons(await house.shows(card))
    assert [row.state for row in house.approvals()] == ["pending"]


async def test_behaviour_3_after_a_restart_the_old_cards_buttons_work(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.restart()
    await house.click(OMAR, card, "details")
    assert "UPDATE drinks" in words(await house.slack.wait_for_view(OMAR))
    await house.click(OMAR, card, "approve")
    await house.shows(card, f"Approved by <@{OMAR}>", "Done")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_behaviour_3_after_a_restart_the_old_cards_deadline_fires(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.app.stop()
    house.clock.ahead += 1801
    await house.start()
    await house.shows(card, "Expired, nobody answered: not run")
    await house.answer(ts)
    assert house.started() == 0


async def test_behaviour_4_at_thirty_minutes_it_expires_by_an_update_and_a_later_click_is_answered_and_runs_nothing(
    house: House,
) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    row = house.approvals()[0]
    assert row.expires_at - row.delivered_at == pytest.approx(1800, abs=2)
    house.clock.ahead += row.expires_at - house.clock.now() - 1
    await house.advance(0)
    assert house.approvals()[0].state == "pending"
    await house.advance(1.1)
    gone = await house.shows(card, "Expired, nobody answered: not run")
    assert gone["ts"] == card["ts"]
    assert not {"approve", "deny", "edit", "withdraw"} & set(buttons(gone))
    await house.answer(ts)
    for action in ("approve", "deny", "withdraw", "edit"):
        house.slack.ephemerals.clear()
        await house.forge(OMAR if action != "withdraw" else MAYA, card, action)
        await house.told(OMAR if action != "withdraw" else MAYA, "expired before anybody answered")
    assert (house.approvals()[0].state, house.started(), house.prices()["Oat flat"]) == ("expired", 0, 400)


@pytest.mark.parametrize("breath_s", [-0.001, 0.0, 0.001])
@pytest.mark.parametrize("action", ["approve", "deny"])
async def test_behaviour_5_clicks_a_millisecond_either_side_of_the_deadline_agree_with_the_database(
    open_house: Opened, action: str, breath_s: float
) -> None:
    lamp = Touch("lamp")
    house = await open_house(
        model=ScriptedModel([script.plan(), script.use(("lamp", {"name": "a"})), script.end(), script.say()]),
        tools=[lamp],
    )
    await house.ask("touch it")
    card = await house.card("Touch a")
    await house.until(lambda: house.approvals()[0].delivered_at)
    due = house.approvals()[0].expires_at
    house.patch.setattr(type(house.clock), "now", lambda _: due + breath_s)
    await house.forge(OMAR, card, action)
    if breath_s < 0:
        said = {"approve": "Approved by", "deny": "Denied by"}[action]
        state = {"approve": "approved", "deny": "denied"}[action]
    else:
        said, state = "Expired, nobody answered", "expired"
        await house.told(OMAR, "expired before anybody answered")
    await house.shows(card, said)
    assert house.approvals()[0].state == state
    if state == "approved":
        await house.until(lambda: lamp.done)
    assert lamp.done == ({"a": 1} if state == "approved" else {})


async def test_behaviour_6_a_click_on_a_card_that_showed_other_arguments_is_void(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "edit")
    view = await house.slack.wait_for_view(OMAR)
    text = "UPDATE drinks SET price = 1 WHERE name = 'Oat flat'"
    await house.slack.submit(OMAR, view["id"], {"argument.1.0": {"value": text}})
    new = await house.card("price = 1 ", "Changed by", without=(card,))
    row = house.approvals()[-1]
    old_value = next(
        item["value"] for block in card["blocks"] if block["type"] == "actions" for item in block["elements"]
    )
    await house.forge(INES, card, "approve")
    await house.told(INES, "already replaced by a newer request")
    await house.forge(INES, new, "approve", value=f"{row.id}|{old_value.partition('|')[2]}")
    await house.told(INES, "This card is older than the request behind it")
    assert (house.approvals()[-1].state, house.started()) == ("pending", 0)


async def test_behaviour_7_each_value_is_cut_for_itself_and_marks_in_it_are_neutral(open_house: Opened) -> None:
    hostile = "<!channel> *bold* <https://evil.example|harbour.slack.com> ```" + "x" * 100_000
    lamp, wall = Touch("lamp"), Touch("wall")
    calls = script.use(("lamp", {"name": hostile}), ("wall", {"name": "short"}))
    house = await open_house(model=ScriptedModel([script.plan(), calls]), tools=[lamp, wall])
    await house.ask("touch both")
    card = await house.card("full text under Details")
    marked = "".join(block["text"]["text"] for block in card["blocks"] if block["type"] == "section")
    assert "&lt;!channel" in marked
    assert "<!channel" not in marked
    assert "<https://evil" not in marked
    assert "Why it asks" in marked
    assert "approve" in buttons(card)


async def test_the_tasks_run_is_waiting_while_its_card_waits(house: House) -> None:
    ts = await house.ask(TASK)
    await house.card("Oat flat", "Until <!date^")
    await house.run_at(ts, RunStatus.WAITING)

"""A tired person and Slack on a bad day: each thing that goes wrong ends in a sentence and a sane state."""

from __future__ import annotations

import asyncio

from agent import events as ev
from agent.domain import RunStatus
from simulator import payloads
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import BOT, DATA, INES, MAYA, OMAR, words

TASK = "price of Tea to 260"


async def test_the_bot_removed_from_the_tasks_channel_answers_directly(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    house.sim.workspace.channel(DATA).members.remove(BOT)
    await house.click(OMAR, card, "approve")
    await house.slack.wait_for_message(await house.dm(MAYA), lambda m: "Written " in words(m))
    await house.run_at(ts, RunStatus.COMPLETED)
    assert house.prices()["Tea"] == 260


async def test_a_task_whose_message_was_deleted_is_done_and_answered_all_the_same(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    house.sim.services.posting.delete(MAYA, house.sim.workspace.channel(DATA), ts)
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Done")
    await house.run_at(ts, RunStatus.COMPLETED)


async def test_a_requester_who_is_deactivated_midway_leaves_a_run_that_others_decide_on(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    await house.slack.call("person", {"id": MAYA, "deleted": True})
    house.forget(MAYA)
    await house.forge(MAYA, card, "withdraw")
    await house.click(OMAR, card, "approve")
    await house.shows(card, f"Approved by <@{OMAR}>")
    await house.run_at(ts, RunStatus.COMPLETED)
    assert house.started() == 1


async def test_a_form_that_is_sent_twice_counts_once(open_house: Opened) -> None:
    house = await open_house(over_http=True)
    await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this")
    await house.click(OMAR, packet, "takeover_claim")
    await house.shows(packet, "has it")
    await house.click(OMAR, packet, "takeover_abort")
    view = await house.slack.wait_for_view(OMAR)
    _, held = house.sim.services.views.find(view["id"])
    held["state"]["values"] = {"reason": {"value": {"type": "plain_text_input", "value": "because"}}}
    form = payloads.view_submission(house.sim.services, house.sim.workspace.person(OMAR), held)
    answers = await asyncio.gather(*(house.interaction(form) for _ in range(4)))
    assert {status for status, _ in answers} == {200}
    await house.until(lambda: house.takeover().state == "aborted")
    closed = [event for event in house.events(house.takeover().run) if isinstance(event, ev.TakeoverClosed)]
    assert len(closed) == 1


async def test_four_clicks_on_each_of_two_buttons_are_one_decision(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Tea")
    clicks = [house.click(who, card, what) for what in ("approve", "deny") for who in (OMAR, INES) * 2]
    await asyncio.gather(*clicks, return_exceptions=True)
    await house.until(lambda: house.approvals()[0].state in {"approved", "denied"})
    assert house.started() <= 1

"""Slack at its worst: slow, refusing, losing answers, gone. Nothing is lost and nothing stands twice."""

from __future__ import annotations

import sqlite3

import pytest

from agent.domain import RunStatus
from simulator.clock import Timing
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import ACTIONS, BOT, DATA, INES, MAYA, OMAR, Json, buttons, words

TASK = "price of Tea to 260"
FAULTS: dict[str, Json] = {
    "too fast": {"kind": "rate_limit", "retry_after": 1},
    "a server error": {"kind": "status", "status": 500},
    "an outage": {"kind": "status", "status": 503, "times": 3},
    "an internal error": {"kind": "error", "error": "internal_error"},
    "a lost answer": {"kind": "drop_response"},
    "a hang": {"kind": "hang", "seconds": 0.2},
    "a delay": {"kind": "delay", "seconds": 0.2},
}


async def _own(house: House, channel: str) -> list[Json]:
    """What stands in a channel of the app's."""
    return [message for message in await house.slack.history(channel) if message["user"] == BOT]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_card_stands_once_whatever_happens_to_its_post(house: House, fault: str) -> None:
    ts = await house.ask(TASK)
    await house.slack.wait_for_message(DATA, lambda m: m["user"] == BOT, thread_ts=ts)
    first = await house.card("Tea")
    await house.slack.fault("chat.postMessage", **FAULTS[fault])
    other = await house.ask("price of Mocha to 460")
    card = await house.card("Mocha", without=(first,))
    await house.click(OMAR, card, "approve")
    await house.answer(other)
    await house.shows(card, "Done")
    assert len(await _own(house, ACTIONS)) == 2
    # A stream has no key before it has ended.
    await house.slack.wait_for_message(DATA, lambda m: "Status: *completed*" in words(m), thread_ts=other)
    replies = [m for m in await house.slack.history(DATA, thread_ts=other) if m["user"] == BOT]
    keys = [message["metadata"]["event_payload"]["key"] for message in replies]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_decision_is_shown_whatever_happens_to_its_update(house: House, fault: str) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    await house.slack.fault("chat.update", **FAULTS[fault])
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    await house.shows(card, "Approved by", "Done")
    assert len(await _own(house, ACTIONS)) == 1


async def test_a_card_that_was_posted_before_a_crash_is_found_and_not_posted_again(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Tea")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.app.stop()
    conn = sqlite3.connect(house.app.db.path)
    conn.execute("UPDATE outbox SET sent = 0, ts = '', channel = '' WHERE message_key LIKE 'card:%'")
    conn.commit()
    conn.close()
    await house.start()
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by", "Done")
    assert len(await _own(house, ACTIONS)) == 1


async def test_a_card_that_somebody_deleted_is_posted_anew(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    house.sim.services.posting.delete(BOT, house.sim.workspace.channel(ACTIONS), card["ts"])
    run = await house.run_at(ts)
    await house.command(f"stop {run.id}")
    await house.slack.wait_for_message(ACTIONS, lambda m: m["ts"] != card["ts"] and "Withdrawn" in words(m))


async def test_without_the_approvals_channel_approvers_are_asked_directly_and_readiness_says_so(house: House) -> None:
    await house.slack.call("channel", {"name": "ai-actions", "archived": True})
    ts = await house.ask(TASK)
    direct = {user: await house.dm(user) for user in (OMAR, INES)}
    cards = {user: await house.card("Tea", channel=channel) for user, channel in direct.items()}
    assert "cannot be written to" in house.app.problems()["delivery"]
    await house.click(INES, cards[INES], "approve")
    await house.answer(ts)
    for card in cards.values():
        assert buttons(await house.shows(card, f"Approved by <@{INES}>")) == []
    assert house.prices()["Tea"] == 260
    await house.slack.call("channel", {"name": "ai-actions", "archived": False})
    await house.ask("price of Mocha to 460")
    await house.card("Mocha")
    assert house.app.problems()["delivery"] == ""


async def test_a_takeover_reaches_people_directly_as_well(house: House) -> None:
    await house.slack.call("channel", {"name": "ai-actions", "archived": True})
    await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this", channel=await house.dm(OMAR))
    await house.click(OMAR, packet, "takeover_claim")
    await house.shows(packet, "has it")


async def test_a_requester_whose_channel_is_gone_is_answered_directly(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    await house.slack.call("channel", {"name": "data-team", "archived": True})
    await house.click(OMAR, card, "approve")
    channel = await house.dm(MAYA)
    await house.slack.wait_for_message(channel, lambda m: "Written " in words(m))
    await house.run_at(ts, RunStatus.COMPLETED)


async def test_the_link_comes_back_after_slack_cut_it_and_what_was_said_meanwhile_is_done(open_house: Opened) -> None:
    house = await open_house(timing=Timing(redeliver=0.1, redeliveries=100))
    await house.slack.fault("socket", "disconnect")
    ts = await house.ask("add 1 and 1")
    assert "It is 2" in await house.answer(ts)
    assert house.app.problems()["slack"] == ""
    assert len(house.queries.runs()) == 1


async def test_when_no_window_opens_after_a_denial_the_agent_does_not_wait_for_a_reason(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    await house.slack.fault("views.open", "error", error="expired_trigger_id")
    await house.click(OMAR, card, "deny")
    await house.shows(card, "Denied by")
    assert "enied" in await house.answer(ts)


async def test_a_private_word_finds_another_way_when_the_first_one_fails(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Tea")
    await house.slack.fault("chat.postEphemeral", "status", status=503)
    await house.click(MAYA, card, "approve")
    await house.told(MAYA, "Nobody decides on their own request")


async def test_an_outage_of_minutes_loses_no_decision_and_no_message(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    await house.slack.fault("chat.update", "status", times=2)
    await house.slack.fault("chat.postMessage", "status", times=2)
    await house.click(OMAR, card, "approve")
    await house.run_at(ts, RunStatus.COMPLETED)
    assert house.prices()["Tea"] == 260  # work does not wait for Slack
    await house.answer(ts)
    await house.shows(card, "Done")

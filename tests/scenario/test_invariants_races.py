"""DESIGN.md §5, invariants 3 and 4: one decision, one winner; silence is never a yes."""

from __future__ import annotations

import asyncio

from agent.domain import RunStatus
from agent.events import ApprovalDecided, TakeoverClaimed
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import INES, MAYA, OMAR, buttons, words

WORDS = {
    "approved": "Approved by",
    "denied": "Denied by",
    "withdrawn": "Withdrawn by",
    "expired": "Expired, nobody answered",
}
ROUNDS = 8


async def test_invariant_3_approve_deny_withdraw_and_expiry_race_to_one_winner(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,), settings={"runs_an_hour": 100})
    old: list[dict[str, object]] = []
    winners: list[str] = []
    for number in range(ROUNDS):
        ts = await house.ask(f"use touch_medium on thing{number}")
        card = await house.card(f"Touch thing{number}", without=old)
        old.append(card)
        await house.until(lambda at=number: house.approvals()[at].delivered_at)
        row = house.approvals()[number]
        racers = [(OMAR, "approve"), (INES, "deny"), (MAYA, "withdraw")]
        turned = racers[number % 3 :] + racers[: number % 3]
        if number % 2:  # business time stands a breath before the deadline, and then behind it
            house.clock.ahead += row.expires_at - house.clock.now() - 0.002 * number
        before = len(house.slack.ephemerals)
        await asyncio.gather(*(house.forge(user, card, action) for user, action in turned), house.advance(0))
        await house.until(lambda at=number: house.approvals()[at].state != "pending")
        won = house.approvals()[number]
        winners.append(won.state)
        shown = await house.shows(card, WORDS[won.state])
        assert buttons(shown) == (["ask_again"] if won.state in {"expired", "withdrawn"} else [])
        assert sum(text in words(shown) for text in WORDS.values()) == 1
        decided = [event for event in house.events(won.run) if isinstance(event, ApprovalDecided)]
        assert [event.state.value for event in decided] == [won.state]
        losers = 3 if won.state == "expired" else 2
        seen = before + losers
        async with asyncio.timeout(30), house.slack._changed:
            await house.slack._changed.wait_for(lambda at=seen: len(house.slack.ephemerals) >= at)
        if won.state == "denied":
            view = await house.slack.wait_for_view(INES)
            await house.slack.close_view(INES, view["id"])
        await house.answer(ts)
        assert touch.done[f"thing{number}"] == (won.state == "approved")
    assert len(set(winners)) > 1, winners


async def test_invariant_3_two_who_claim_at_once_are_one_claim_and_the_other_is_told(house: House) -> None:
    ts = await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this")
    await asyncio.gather(*(house.forge(user, packet, "takeover_claim") for user in (OMAR, INES, OMAR, INES)))
    await house.until(lambda: house.takeover().state == "claimed")
    row = house.takeover()
    winner, loser = (OMAR, INES) if row.claimed_by.endswith(OMAR) else (INES, OMAR)
    await house.told(loser, "Your click changed nothing")
    await house.shows(packet, f"<@{winner}> has it")
    claims = [event for event in house.events((await house.run_at(ts)).id) if isinstance(event, TakeoverClaimed)]
    assert len(claims) == 1


async def test_invariant_3_a_decision_stays_whatever_is_clicked_later(house: House) -> None:
    ts = await house.ask("price of Tea to 1")
    card = await house.card("Tea")
    await house.click(OMAR, card, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    for user, action in ((OMAR, "approve"), (INES, "approve"), (MAYA, "withdraw"), (INES, "deny")):
        await house.forge(user, card, action)
    await house.told(MAYA, "already denied")
    assert (house.approvals()[0].state, house.prices()["Tea"]) == ("denied", 250)


async def test_invariant_4_silence_never_approves_however_long_it_lasts(house: House) -> None:
    ts = await house.ask("price of Tea to 1")
    card = await house.card("Tea")
    for _ in range(5):
        await house.advance(30 * 86_400)
    shown = await house.shows(card, "Expired, nobody answered: not run")
    assert "Denied" not in words(shown)
    await house.run_at(ts, RunStatus.PARTIAL)
    assert (house.approvals()[0].state, house.started(), house.prices()["Tea"]) == ("expired", 0, 250)


async def test_invariant_4_half_a_quorum_expires_and_does_not_run(open_house: Opened) -> None:
    house = await open_house(policy="[limits]\nquorum = 2\n")
    ts = await house.ask("price of Tea to 1")
    card = await house.card("Tea")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "has 1")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.advance(1801)
    await house.shows(card, "Expired, nobody answered: not run")
    await house.run_at(ts, RunStatus.PARTIAL)
    assert (house.started(), house.prices()["Tea"]) == (0, 250)


async def test_invariant_4_what_fell_due_while_nobody_served_expires_at_the_start(house: House) -> None:
    ts = await house.ask("price of Tea to 1")
    card = await house.card("Tea")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.app.stop()
    house.clock.ahead += 7200
    await house.start()
    await house.shows(card, "Expired, nobody answered: not run")
    await house.run_at(ts, RunStatus.PARTIAL)
    assert house.started() == 0

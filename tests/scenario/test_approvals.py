"""A medium action and the people who are asked: yes, no, silence, second thoughts, and what is no decision at all."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import EVE, INES, MAYA, OMAR, THEO, buttons, words

TASK = "price of Oat flat to 410"


async def test_approve_really_changes_the_row_and_the_card_says_who(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat", "UPDATE drinks SET price = 410")
    assert buttons(card) == ["approve", "deny", "edit", "details", "withdraw", "allow"]
    assert house.prices()["Oat flat"] == 400
    assert (await house.click(OMAR, card, "approve"))["ok"]
    decided = await house.shows(card, f"Approved by <@{OMAR}>", "Done")
    assert buttons(decided) == []
    await house.answer(ts)
    assert house.prices() == {"Oat flat": 410, "Mocha": 450, "Tea": 250}
    await house.run_at(ts, RunStatus.COMPLETED)


async def test_approve_really_puts_the_diff_into_the_project(house: House) -> None:
    ts = await house.ask("note we close at six")
    card = await house.card("+we close at six")
    assert not (house.project / "notes.txt").exists()
    await house.click(INES, card, "approve")
    assert "Noted in 1 file" in await house.answer(ts)
    assert (house.project / "notes.txt").read_text() == "we close at six\n"


async def test_deny_changes_nothing_and_the_reason_reaches_agent_and_card(open_house: Opened) -> None:
    model = ScriptedModel(
        [script.plan(), script.sql("UPDATE drinks SET price = 1 WHERE id = 1"), script.end(), script.say("Not done.")]
    )
    house = await open_house(model=model)
    ts = await house.ask("make it cheap")
    card = await house.card("price = 1")
    await house.click(OMAR, card, "deny")
    await house.shows(card, f"Denied by <@{OMAR}>", "not run")
    view = await house.slack.wait_for_view(OMAR)
    assert len(model.requests) == 2
    sent = await house.slack.submit(OMAR, view["id"], {"reason": {"value": "We would lose money."}})
    assert sent["ok"], sent
    await house.shows(card, "We would lose money.")
    assert "Not done." in await house.answer(ts)
    assert "We would lose money." in script.heard(model.requests[2])
    assert house.prices()["Oat flat"] == 400
    assert house.started() == 0


async def test_closing_the_reasons_window_lets_the_agent_go_on_at_once(house: House) -> None:
    ts = await house.ask(TASK)
    await house.click(OMAR, await house.card("Oat flat"), "deny")
    view = await house.slack.wait_for_view(OMAR)
    assert (await house.run_at(ts)).status is RunStatus.WAITING
    await house.slack.close_view(OMAR, view["id"])
    assert "denied" in (await house.answer(ts)).lower()


async def test_without_a_reason_the_agent_waits_a_minute_and_a_late_reason_still_stands_on_the_card(
    house: House,
) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "deny")
    view = await house.slack.wait_for_view(OMAR)
    await house.advance(59)
    assert (await house.run_at(ts)).status is RunStatus.WAITING
    await house.advance(1.5)
    await house.run_at(ts, RunStatus.PARTIAL)
    assert (await house.slack.submit(OMAR, view["id"], {"reason": {"value": "Too late?"}}))["ok"]
    await house.shows(card, "Too late?")


async def test_silence_expires_and_is_worded_otherwise_than_a_denial(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.advance(1795)
    assert house.approvals()[0].state == "pending"
    await house.advance(10)
    gone = await house.shows(card, "Expired, nobody answered: not run")
    assert buttons(gone) == ["ask_again"]
    assert "Denied" not in words(gone)
    answer = (await house.answer(ts)).lower()
    assert "expired" in answer
    assert "denied" not in answer
    assert house.prices()["Oat flat"] == 400


async def test_a_click_after_expiry_is_told_so_and_changes_nothing(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    house.clock.ahead += 1801  # no sweep yet: the click itself finds that the time is over
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "expired before anybody answered")
    await house.shows(card, "Expired, nobody answered")
    await house.answer(ts)
    assert (house.approvals()[0].state, house.started()) == ("expired", 0)


async def test_the_requester_withdraws_and_others_cannot(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(INES, card, "withdraw")
    await house.told(INES, "Only who asked for it can withdraw it")
    await house.click(MAYA, card, "withdraw")
    await house.shows(card, f"Withdrawn by <@{MAYA}>", "not run")
    assert "withdrawn" in (await house.answer(ts)).lower()
    assert [row.kind for row in house.audit()] == ["not_entitled"]


async def test_details_show_the_whole_call_to_who_asks(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(MAYA, card, "details")
    view = await house.slack.wait_for_view(MAYA)
    shown = json.dumps(view["blocks"])
    assert "UPDATE drinks SET price = 410 WHERE name = 'Oat flat'" in shown
    assert house.approvals()[0].digest in shown


async def test_the_second_click_is_told_who_decided(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    await house.forge(INES, card, "deny")
    assert f"<@{OMAR}>" in await house.told(INES, "This was already approved")
    assert house.approvals()[0].state == "approved"


@pytest.mark.parametrize(("person", "why"), [(THEO, "Guests can neither"), (EVE, "Only members of the workspace")])
async def test_a_click_that_is_forged_for_somebody_without_rights_is_refused(
    house: House, person: str, why: str
) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.forge(person, card, "approve")
    await house.told(person, why)
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)
    assert "not_entitled" in [row.kind for row in house.audit()]


@pytest.mark.parametrize(
    "value",
    ["", "|", "nonsense", "p000000000|000000000000", "{subject}|", "{subject}|000000000000", "{subject}", "x" * 5000],
)
async def test_a_forged_value_of_a_button_decides_nothing(house: House, value: str) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    approval = house.approvals()[0]
    for action in ("approve", "deny", "withdraw", "takeover_claim", "takeover_done"):
        await house.forge(OMAR, card, "approve", action_id=action, value=value.format(subject=approval.id))
    await house.slack.wait_for_ephemeral(OMAR)
    assert house.approvals()[0].state == "pending"
    assert (await house.click(OMAR, card, "approve"))["ok"]
    await house.shows(card, "Approved")


async def test_a_card_of_another_call_decides_nothing(house: House) -> None:
    await house.ask(TASK)
    first = await house.card("Oat flat")
    await house.ask("price of Tea to 9999")
    second = await house.card("Tea", without=(first,))
    one, other = house.approvals()
    await house.forge(OMAR, second, "approve", value=f"{one.id}|{other.digest[:12]}")
    await house.told(OMAR, "This card is older than the request behind it")
    assert [row.state for row in house.approvals()] == ["pending", "pending"]


async def test_two_questions_are_answered_each_for_itself(house: House) -> None:
    one = await house.ask(TASK)
    first = await house.card("Oat flat")
    other = await house.ask("price of Tea to 260")
    second = await house.card("Tea", without=(first,))
    await asyncio.gather(house.click(OMAR, first, "approve"), house.click(INES, second, "deny"))
    await house.answer(one)
    await house.slack.close_view(INES, (await house.slack.wait_for_view(INES))["id"])
    await house.answer(other)
    assert house.prices() == {"Oat flat": 410, "Mocha": 450, "Tea": 250}


async def test_what_changed_meanwhile_is_asked_again_with_what_it_would_change_now(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    _set_price(house, "Oat flat", 999)
    await house.click(OMAR, card, "approve")
    again = await house.card("999", without=(card,))
    assert house.prices()["Oat flat"] == 999
    await house.click(OMAR, again, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_a_quorum_of_two_needs_two_people(open_house: Opened) -> None:
    house = await open_house(policy="[limits]\nquorum = 2\n")
    ts = await house.ask(TASK)
    card = await house.card("Needs 2 yeses")
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "Your yes is counted")
    await house.click(OMAR, await house.shows(card, "has 1"), "approve")
    assert house.started() == 0
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_a_yes_that_was_not_used_in_time_lapses(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.control.write("pause", by="local:0")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by")
    assert house.prices()["Oat flat"] == 400
    await house.advance(1801)
    await house.control.write("resume", by="local:0")
    again = await house.card("The yes lapsed before it could start", without=(card,))
    await house.click(INES, again, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


def _set_price(house: House, name: str, price: int) -> None:
    conn = sqlite3.connect(house.shop)
    conn.execute("UPDATE drinks SET price = ? WHERE name = ?", (price, name))
    conn.commit()
    conn.close()


async def test_a_card_that_nobody_answers_calls_its_deciders_again_in_its_thread(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.queries.pending_approvals()[0].delivered_at)
    await house.advance(460)
    called = await house.slack.wait_for_message(
        card["channel"], lambda m: "a quarter of its time" in words(m), thread_ts=card["ts"]
    )
    assert f"<@{OMAR}>" in words(called)
    await house.advance(460)
    late = await house.slack.wait_for_message(
        card["channel"], lambda m: "half of its time" in words(m), thread_ts=card["ts"]
    )
    assert late["ts"] != called["ts"]
    assert buttons(card) == ["approve", "deny", "edit", "details", "withdraw", "allow"]

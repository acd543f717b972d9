"""A high action is never run by the agent: a person does it, hands it back, gives it up, or lets it lie."""

from __future__ import annotations

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import INES, MAYA, OMAR, Json, buttons, words

WIPE = "wipe the drinks"
DAY = 86_400.0


async def _claimed(house: House) -> tuple[str, Json]:
    ts = await house.ask(WIPE)
    packet = await house.card("A person has to do this", "DELETE FROM drinks")
    await house.click(OMAR, packet, "takeover_claim")
    await house.shows(packet, f"<@{OMAR}> has it")
    return ts, packet


async def test_nothing_runs_until_a_person_acts_and_the_packet_says_what_is_asked(house: House) -> None:
    ts = await house.ask(WIPE)
    packet = await house.card("A person has to do this", "DELETE FROM drinks", WIPE, "changes every row")
    assert buttons(packet) == ["takeover_claim", "details"]
    await house.run_at(ts, RunStatus.WAITING)
    assert (house.started(), len(house.prices())) == (0, 3)


async def test_done_asks_for_all_three_fields_and_is_the_result_that_the_agent_goes_on_with(house: House) -> None:
    ts, packet = await _claimed(house)
    await house.click(OMAR, packet, "takeover_done")
    view = await house.slack.wait_for_view(OMAR)
    bare = await house.slack.submit(OMAR, view["id"], {"what": {"value": "Archived them"}})
    assert sorted(bare["errors"]) == ["evidence", "reference"]
    blank = {"what": {"value": "  "}, "reference": {"value": " "}, "evidence": {"value": " "}}
    assert (await house.slack.submit(OMAR, view["id"], blank))["errors"] == {
        "what": "Please say what you did.",
        "reference": "Please say where it can be looked up.",
        "evidence": "Please say what shows that it is done.",
    }
    filled = {"what": {"value": "Archived them"}, "reference": {"value": "OPS-7"}, "evidence": {"value": "0 rows"}}
    assert (await house.slack.submit(OMAR, view["id"], filled))["ok"]
    shown = await house.shows(packet, f"Done by <@{OMAR}>", "Archived them", "OPS-7", "0 rows")
    assert buttons(shown) == []
    assert "Archived them" in await house.answer(ts)
    await house.run_at(ts, RunStatus.COMPLETED)
    assert (house.started(), len(house.prices())) == (0, 3)


async def test_handing_back_moves_the_epoch_and_its_author_becomes_a_co_requester(open_house: Opened) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.sql("DELETE FROM drinks"),
            script.sql("DELETE FROM drinks WHERE id = 3"),
            script.end(),
            script.say("Only the tea is gone."),
        ]
    )
    house = await open_house(model=model)
    ts, packet = await _claimed(house)
    await house.click(OMAR, packet, "takeover_hand_back")
    view = await house.slack.wait_for_view(OMAR)
    assert (await house.slack.submit(OMAR, view["id"], {"instruction": {"value": ""}}))["errors"]
    assert (await house.slack.submit(OMAR, view["id"], {"instruction": {"value": "Only the tea."}}))["ok"]
    await house.shows(packet, f"Handed back by <@{OMAR}>", "Only the tea.")
    card = await house.card("DELETE FROM drinks WHERE id = 3")
    run = await house.run_at(ts)
    assert (run.epoch, house.approvals()[0].epoch) == (1, 1)
    assert f"slack:T0SECONDKEY:{OMAR}" in house.queries.co_requesters(run.id)
    assert "Only the tea." in script.heard(model.requests[2])
    assert f"<@{INES}>" in words(card)
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "Nobody decides on their own request")
    await house.click(INES, card, "approve")
    assert "Only the tea is gone." in await house.answer(ts)
    assert sorted(house.prices()) == ["Mocha", "Oat flat"]


async def test_giving_up_ends_the_run_with_the_reason_and_nothing_is_run(house: House) -> None:
    ts, packet = await _claimed(house)
    await house.click(OMAR, packet, "takeover_abort")
    view = await house.slack.wait_for_view(OMAR)
    assert (await house.slack.submit(OMAR, view["id"], {"reason": {"value": "Never on a Friday."}}))["ok"]
    await house.shows(packet, f"Given up by <@{OMAR}>", "Never on a Friday.")
    assert "A person ended this run" in await house.answer(ts)
    await house.run_at(ts, RunStatus.PARTIAL)
    assert (house.started(), len(house.prices())) == (0, 3)


async def test_the_second_who_claims_is_told_who_has_it(house: House) -> None:
    _, packet = await _claimed(house)
    token = house.takeover().claim_token
    await house.forge(INES, packet, "takeover_claim")
    await house.told(INES, "a person has it")
    assert (house.takeover().claimed_by, house.takeover().claim_token) == (f"slack:T0SECONDKEY:{OMAR}", token)


@pytest.mark.parametrize("action", ["takeover_done", "takeover_hand_back", "takeover_abort", "takeover_release"])
async def test_who_has_not_claimed_it_cannot_end_it(house: House, action: str) -> None:
    _, packet = await _claimed(house)
    await house.click(INES, packet, action)
    await house.told(INES, "Somebody else has this takeover")
    assert house.takeover().state == "claimed"


async def test_the_requester_cannot_claim_their_own_request(house: House) -> None:
    await house.ask(WIPE)
    packet = await house.card("A person has to do this")
    await house.click(MAYA, packet, "takeover_claim")
    await house.told(MAYA, "Nobody decides on their own request")
    assert house.takeover().state == "open"


async def test_a_released_claim_is_free_for_another(house: House) -> None:
    _, packet = await _claimed(house)
    await house.click(OMAR, packet, "takeover_release")
    free = await house.shows(packet, "Nothing runs until a person acts")
    await house.click(INES, free, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")


async def test_a_claim_lapses_and_its_form_then_changes_nothing(house: House) -> None:
    _, packet = await _claimed(house)
    await house.click(OMAR, packet, "takeover_done")
    view = await house.slack.wait_for_view(OMAR)
    await house.advance(1801)
    free = await house.shows(packet, "Nothing runs until a person acts")
    await house.click(INES, free, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")
    filled = {"what": {"value": "I did"}, "reference": {"value": "x"}, "evidence": {"value": "y"}}
    assert (await house.slack.submit(OMAR, view["id"], filled))["ok"]
    notice = await house.slack.wait_for_view(OMAR, lambda v: v["callback_id"] == "notice")
    assert "Somebody else has this takeover" in str(notice["blocks"])
    assert house.takeover().claimed_by == f"slack:T0SECONDKEY:{INES}"


async def test_an_open_one_is_reminded_of_escalated_and_given_up_after_a_week_never_run(house: House) -> None:
    ts = await house.ask(WIPE)
    packet = await house.card("A person has to do this")
    await house.advance(0.26 * DAY)
    await house.until(lambda: house.takeover().reminded_at)
    assert not house.takeover().escalated_at
    await house.advance(0.26 * DAY)
    await house.shows(packet, "It has waited for long")
    await house.advance(6.5 * DAY)
    await house.shows(packet, "Nobody took it over in time.")
    await house.run_at(ts, RunStatus.PARTIAL)
    assert (house.started(), len(house.prices())) == (0, 3)


async def test_while_a_person_has_it_the_runs_other_questions_are_withdrawn_and_say_so(open_house: Opened) -> None:
    both = script.use(
        ("query_sql", {"database": "shop", "sql": "UPDATE drinks SET price = 1 WHERE id = 1"}),
        ("query_sql", {"database": "shop", "sql": "DELETE FROM drinks"}),
    )
    house = await open_house(model=ScriptedModel([script.plan(), both, script.end(), script.say()]))
    await house.ask("both at once")
    await house.card("A person has to do this")
    for row in house.approvals():
        await house.slack.wait_for_message(
            "C0ACTIONS", lambda m, key=row.id: key in words(m) and buttons(m) == ["ask_again"]
        )
    assert {row.state for row in house.approvals()} <= {"withdrawn"}
    assert house.started() == 0


async def test_stopping_the_run_closes_its_takeover(house: House) -> None:
    ts = await house.ask(WIPE)
    packet = await house.card("A person has to do this")
    run = await house.run_at(ts)
    await house.command(f"stop {run.id}")
    shown = await house.shows(packet, "Given up")
    assert buttons(shown) == []
    assert "The run was stopped." in words(shown)
    await house.run_at(ts, RunStatus.CANCELLED)

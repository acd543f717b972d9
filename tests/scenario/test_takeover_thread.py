"""A takeover's thread: one owner, nothing runs meanwhile, the outcome reaches the run; reassigning and questions."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from agent.domain import RunStatus
from agent.errors import NotClaimed
from agent.fakes import ScriptedModel
from storage.takeovers import CLAIM_S
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import ACTIONS, BOT, EVE, INES, MAYA, OMAR, TEAM, THEO, Json, buttons, words

WIPE = "wipe the drinks"
DAY = 86_400.0


def key(user: str) -> str:
    return f"slack:{TEAM}:{user}"


async def packet_of(house: House) -> Json:
    """The packet, once it is also known here where it stands: people are not as fast as that."""
    packet = await house.card("A person has to do this")
    assert house.app.delivery is not None
    await house.app.delivery.drained()
    return packet


async def opened(house: House) -> tuple[str, Json]:
    ts = await house.ask(WIPE)
    return ts, await packet_of(house)


async def claimed(house: House, user: str = OMAR) -> tuple[str, Json]:
    ts, packet = await opened(house)
    await house.click(user, packet, "takeover_claim")
    await house.shows(packet, f"<@{user}> has it")
    return ts, packet


async def noted(house: House, packet: Json, *contains: str) -> str:
    """A word in the packet's thread."""
    found = await house.slack.wait_for_message(
        ACTIONS, lambda m: all(part in words(m) for part in contains), thread_ts=packet["ts"]
    )
    return words(found)


async def reassign(house: House, by: str, packet: Json, to: str) -> Json:
    await house.click(by, packet, "takeover_reassign")
    view = await house.slack.wait_for_view(by, lambda v: v["callback_id"] == "takeover_reassign_form")
    return await house.slack.submit(by, view["id"], {"person": {"value": {"selected_user": to}}})


async def test_one_owner_of_a_takeover_nothing_runs_while_it_is_owned_and_its_outcome_reaches_the_run(
    open_house: Opened,
) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.use(
                ("query_sql", {"database": "shop", "sql": "DELETE FROM drinks"}),
                ("query_sql", {"database": "shop", "sql": "SELECT name FROM drinks"}),
            ),
            script.end(),
            script.say("A person archived them."),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("archive the drinks")
    packet = await packet_of(house)
    await asyncio.gather(*(house.click(who, packet, "takeover_claim") for who in (OMAR, INES)))
    await house.until(lambda: house.takeover().claimed_by)
    owner, loser = (OMAR, INES) if house.takeover().claimed_by == key(OMAR) else (INES, OMAR)
    await house.told(loser, f"<@{owner}>")
    await house.shows(packet, f"<@{owner}> has it")
    begun, asked = house.started(), len(model.requests)
    await house.advance(600)
    await house.app.runtime.settled(house.takeover().run)  # whatever could go on has done so
    assert (house.started(), len(model.requests), len(house.prices())) == (begun, asked, 3)
    await house.click(owner, packet, "takeover_done")
    view = await house.slack.wait_for_view(owner)
    filled = {"what": {"value": "Archived them"}, "reference": {"value": "OPS-7"}, "evidence": {"value": "0 rows"}}
    assert (await house.slack.submit(owner, view["id"], filled))["ok"]
    assert "A person archived them." in await house.answer(ts)
    told = script.heard(model.requests[asked])
    for part in ("Archived them", "OPS-7", "0 rows"):
        assert part in told
    assert [item for item in house.events(house.takeover().run) if item.type == "takeover_closed"]
    assert len(house.prices()) == 3


async def test_the_packet_holds_five_rows_of_a_preview_and_the_rest_stands_under_details(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.sql("DELETE FROM many"), script.end(), script.say()])
    house = await open_house(model=model)
    with sqlite3.connect(house.shop) as conn:
        conn.execute("CREATE TABLE many (id INTEGER PRIMARY KEY, name TEXT)")
        conn.executemany("INSERT INTO many VALUES (?, ?)", [(n, f"row-{n:02}") for n in range(20)])
    conn.close()
    await house.ask("clear the table")
    packet = await house.card("A person has to do this", "DELETE FROM many")
    tables = [block for block in packet["blocks"] if block["type"] == "table"]
    assert [len(block["rows"]) for block in tables] == [1 + 5]
    await house.click(OMAR, packet, "details")
    view = await house.slack.wait_for_view(OMAR)
    assert "row-09" in str(view["blocks"])


async def test_the_packet_says_what_is_left_of_the_runs_own_budget(open_house: Opened) -> None:
    house = await open_house(settings={"budget_usd": 2.0})
    _, packet = await opened(house)
    assert "$2.00 of the run's money left" in words(packet)


async def test_reassigning_gives_another_person_a_claim_of_their_own_and_the_old_one_is_dead(house: House) -> None:
    _, packet = await claimed(house)
    before = house.takeover()
    assert (await reassign(house, OMAR, packet, INES))["ok"]
    await house.shows(packet, f"<@{INES}> has it", f"<@{OMAR}> handed it on")
    note = await noted(house, packet, f"<@{INES}>", "gave you this")
    assert f"<@{OMAR}>" in note
    after = house.takeover()
    assert after.claimed_by == key(INES)
    assert after.claim_token != before.claim_token
    services = house.app.services
    assert services is not None
    for person in (OMAR, INES):
        holder = services.identity.principal(person)
        with pytest.raises(NotClaimed):
            await services.decisions.close_takeover(before.id, holder, "done", token=before.claim_token, what="x")
    assert house.takeover().state == "claimed"


@pytest.mark.parametrize(
    ("to", "why"),
    [
        (MAYA, "their words are part of this run"),
        (INES, "not among the people"),
        (THEO, "only full members"),
        (EVE, "only full members"),
    ],
)
async def test_a_takeover_is_reassigned_only_to_who_could_take_it(open_house: Opened, to: str, why: str) -> None:
    house = await open_house(approvers=(OMAR,))
    _, packet = await claimed(house)
    await reassign(house, OMAR, packet, to)
    notice = await house.slack.wait_for_view(OMAR, lambda v: v["callback_id"] == "notice")
    assert why in str(notice["blocks"])
    assert house.takeover().claimed_by == key(OMAR)
    assert any(row.subject == house.takeover().id for row in house.audit())


async def test_who_neither_has_it_nor_is_an_admin_reassigns_nothing(house: House) -> None:
    _, packet = await claimed(house)
    await house.click(INES, packet, "takeover_reassign")
    await house.told(INES, "Somebody else has this takeover")
    assert house.takeover().claimed_by == key(OMAR)


async def test_an_admin_reassigns_what_somebody_else_has(house: House) -> None:
    _, packet = await claimed(house, INES)
    assert (await reassign(house, OMAR, packet, OMAR))["ok"]
    await house.shows(packet, f"<@{OMAR}> has it")


async def test_a_lapsed_claim_is_open_again_and_its_thread_says_so(open_house: Opened) -> None:
    house = await open_house(settings={"on_call": "S0ONCALL"})
    _, packet = await claimed(house)
    await house.advance(CLAIM_S + 1)
    note = await noted(house, packet, "so it is open again")
    assert f"<@{OMAR}>" in note
    assert "<!subteam^S0ONCALL>" in note
    assert "takeover_claim" in buttons(await house.shows(packet, "Nothing runs until a person acts"))


async def test_who_is_on_call_is_mentioned_at_the_opening_and_again_when_nobody_takes_it(open_house: Opened) -> None:
    house = await open_house(settings={"on_call": INES})
    _, packet = await opened(house)
    assert f"On call: <@{INES}>" in words(packet)
    await house.advance(0.26 * DAY)
    assert f"On call: <@{INES}>" in await noted(house, packet, "It has been open since")
    await house.advance(0.26 * DAY)
    assert f"On call: <@{INES}>" in await noted(house, packet, "Nobody takes this.")


async def test_without_anybody_on_call_a_reminder_calls_those_who_may_take_it(house: House) -> None:
    _, packet = await opened(house)
    await house.advance(0.26 * DAY)
    note = await noted(house, packet, "It has been open since")
    assert f"<@{OMAR}>" in note
    assert f"<@{INES}>" in note
    assert f"<@{MAYA}>" not in note


async def test_a_question_is_answered_from_the_record_by_a_model_without_tools_and_reaches_nobody_else(
    open_house: Opened,
) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.sql("DELETE FROM drinks"),
            script.say("It would remove every drink, since the statement has no WHERE."),
            script.end(),
            script.say("All done."),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("clear the drinks")
    packet = await packet_of(house)
    await house.ask("why is that needed? zebra-7", user=INES, channel=ACTIONS, thread_ts=packet["ts"])
    answer = await noted(house, packet, "It would remove every drink", f"<@{INES}>")
    assert "An AI answers from the run's record" in answer
    request = model.requests[2]
    assert (request.tools, "zebra-7" in script.heard(request)) == ((), True)
    run = house.takeover().run
    assert key(INES) not in house.queries.co_requesters(run)
    calls = [item for item in house.events(run) if item.type == "model_call_started"]
    assert [call.purpose for call in calls] == ["plan", "work", "question"]
    await house.click(INES, packet, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")
    await house.click(INES, packet, "takeover_done")
    view = await house.slack.wait_for_view(INES)
    filled = {"what": {"value": "Cleared"}, "reference": {"value": "OPS-8"}, "evidence": {"value": "0 rows"}}
    assert (await house.slack.submit(INES, view["id"], filled))["ok"]
    assert "All done." in await house.answer(ts)
    assert not [request for request in model.requests[3:] if "zebra-7" in script.heard(request)]
    assert house.run(ts).spent_micro_usd == 5_000


async def test_without_a_model_a_question_is_answered_by_what_the_record_says(house: House) -> None:
    _, packet = await opened(house)
    await house.ask("what is this about?", user=OMAR, channel=ACTIONS, thread_ts=packet["ts"])
    answer = await noted(house, packet, "No model answers here")
    assert "changes every row" in answer
    assert "Nothing was done yet." in answer
    assert house.started() == 0


async def test_a_question_that_the_share_of_the_budget_does_not_allow_gets_the_record(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.sql("DELETE FROM drinks")], cost=60_000)
    house = await open_house(model=model)
    await house.ask("clear the drinks")
    packet = await packet_of(house)
    await house.ask("why?", user=INES, channel=ACTIONS, thread_ts=packet["ts"])
    await noted(house, packet, "No model answers here")
    assert len(model.requests) == 2


async def test_while_somebody_has_it_the_agent_keeps_quiet_and_the_words_are_kept(house: House) -> None:
    _, packet = await claimed(house)
    await house.ask("is it <!here> safe?", user=INES, channel=ACTIONS, thread_ts=packet["ts"])
    await house.told(INES, "so I keep quiet")
    run = house.takeover().run
    (asked,) = [item for item in house.events(run) if item.type == "takeover_asked"]
    assert (asked.by.key, asked.quiet) == (key(INES), True)
    assert not [item for item in house.events(run) if item.type == "takeover_answered"]
    assert key(INES) not in house.queries.co_requesters(run)


async def test_who_may_not_see_the_run_gets_no_answer_about_it(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    ts = await house.slack.post(MAYA, await house.dm(MAYA), WIPE)
    packet = await packet_of(house)
    await house.ask("what is this?", user=INES, channel=ACTIONS, thread_ts=packet["ts"])
    await house.told(INES, "Only people who may see this run")
    assert any(row.kind == "not_entitled" and row.detail == "question" for row in house.audit())
    assert not [item for item in house.events(house.takeover().run) if item.type == "takeover_asked"]
    assert house.run(ts, await house.dm(MAYA)).status is RunStatus.WAITING


async def test_the_same_question_delivered_twice_is_answered_once(house: House) -> None:
    _, packet = await opened(house)
    await house.ask("what is this?", user=OMAR, channel=ACTIONS, thread_ts=packet["ts"])
    await noted(house, packet, "No model answers here")
    run = house.takeover().run
    assert [item.type for item in house.events(run)].count("takeover_asked") == 1  # one mention comes as two events


async def test_after_the_takeover_its_thread_answers_nothing_and_starts_no_run(house: House) -> None:
    ts, packet = await claimed(house)
    await house.click(OMAR, packet, "takeover_abort")
    view = await house.slack.wait_for_view(OMAR)
    await house.slack.submit(OMAR, view["id"], {"reason": {"value": "No."}})
    await house.run_at(ts, RunStatus.PARTIAL)
    await house.ask("add 2 and 3", user=OMAR, channel=ACTIONS, thread_ts=packet["ts"])
    await house.told(OMAR, "This takeover is over")
    assert len(house.queries.runs()) == 1


async def test_a_question_that_a_dead_process_owes_is_answered_at_the_next_start(open_house: Opened) -> None:
    house = await open_house()
    _, packet = await opened(house)
    services = house.app.services
    assert services is not None
    principal = services.identity.principal(OMAR)
    owed = await services.questions.ask("k", house.takeover().id, principal, "what is this?")
    assert owed is not None
    await house.restart()
    await noted(house, packet, "No model answers here")
    assert BOT


async def test_a_mention_in_a_question_notifies_nobody(open_house: Opened) -> None:
    model = ScriptedModel(
        [script.plan(), script.sql("DELETE FROM drinks"), script.say("Ask <!channel> or <@U0MAYA|me> *now*.")]
    )
    house = await open_house(model=model)
    await house.ask("clear the drinks")
    packet = await packet_of(house)
    await house.ask("who knows?", user=INES, channel=ACTIONS, thread_ts=packet["ts"])
    answer = await noted(house, packet, "Ask &lt;!channel&gt;")
    assert "<!channel>" not in answer
    assert f"<@{MAYA}" not in answer

"""Ask again: what expired or was withdrawn is asked once more, freshly rated; within its run, or in a new one."""

from __future__ import annotations

import asyncio

from agent import events as ev
from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import DATA, INES, MAYA, OMAR, TEAM, THEO, Json, buttons, words

TASK = "price of Oat flat to 410"


async def expire(house: House, card: Json) -> Json:
    await house.until(lambda: all(row.delivered_at for row in house.queries.pending_approvals()))
    await house.advance(1801)
    return await house.shows(card, "Expired, nobody answered: not run")


async def test_asking_again_after_the_run_is_over_starts_a_new_run_and_the_old_card_says_so(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    gone = await expire(house, card)
    assert buttons(gone) == ["ask_again"]
    await house.answer(ts)
    first = await house.run_at(ts, RunStatus.PARTIAL)
    await house.click(MAYA, gone, "ask_again")
    new = await house.card("Oat flat", "UPDATE drinks", without=(card,))
    old = await house.shows(card, f"Asked again by <@{MAYA}>", f"p{new['ts'].replace('.', '')}|the new request")
    assert buttons(old) == []
    await house.told(MAYA, "somebody else must approve")
    await house.click(OMAR, new, "approve")
    await house.until(lambda: house.prices()["Oat flat"] == 410)
    runs = house.queries.runs()
    assert {run.parent_run for run in runs} == {"", first.id}
    assert {(run.team, run.channel, run.thread_ts) for run in runs} == {(TEAM, DATA, ts)}


async def test_asking_again_while_the_run_goes_on_asks_within_it_and_the_agent_hears_what_came_of_it(
    open_house: Opened,
) -> None:
    lamp, wall = Touch("lamp"), Touch("wall")
    calls = script.use(("lamp", {"name": "a"}), ("wall", {"name": "b"}))
    model = ScriptedModel([script.plan(), calls, script.end(), script.say("Both are done.")])
    house = await open_house(model=model, tools=[lamp, wall])
    ts = await house.ask("touch both")
    one, other = await house.card("Touch a"), await house.card("Touch b")
    await house.click(MAYA, one, "withdraw")
    gone = await house.shows(one, "Withdrawn by")
    assert buttons(gone) == ["ask_again"]
    await house.click(INES, gone, "ask_again")
    again = await house.card("Touch a", f"Asked again by <@{INES}>", without=(one,))
    await house.click(INES, again, "approve")
    await house.told(INES, "Nobody decides on their own request")
    await house.click(OMAR, again, "approve")
    await house.click(OMAR, other, "approve")
    await house.answer(ts)
    assert (lamp.done, wall.done) == ({"a": 1}, {"b": 1})
    assert "asked for this call again" in script.heard(model.requests[2])
    assert "touched a" in script.heard(model.requests[2])
    assert len(house.queries.runs()) == 1


async def test_what_expired_is_no_longer_refused_in_its_run_once_people_ask_for_it_again(open_house: Opened) -> None:
    lamp, wall = Touch("lamp"), Touch("wall")
    calls = script.use(("lamp", {"name": "a"}), ("wall", {"name": "b"}))
    house = await open_house(
        model=ScriptedModel([script.plan(), calls, script.end(), script.say()]), tools=[lamp, wall]
    )
    await house.ask("touch both")
    one, other = await house.card("Touch a"), await house.card("Touch b")
    await house.until(lambda: all(row.delivered_at for row in house.queries.pending_approvals()))
    await house.app.db.write(
        lambda tx: tx.conn.execute(
            "UPDATE approvals SET expires_at = expires_at + 3600 WHERE action = "
            "(SELECT id FROM actions WHERE tool = 'wall')"
        )
    )
    gone = await expire(house, one)
    await house.click(MAYA, gone, "ask_again")
    again = await house.card("Touch a", "Asked again by", without=(one,))
    await house.click(OMAR, again, "approve")
    await house.shows(again, "Done")
    await house.click(OMAR, other, "approve")
    await house.until(lambda: wall.done)
    assert lamp.done == {"a": 1}


async def test_a_double_click_and_two_people_ask_again_once(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    gone = await expire(house, card)
    await house.answer(ts)
    await asyncio.gather(*(house.forge(who, gone, "ask_again") for who in (MAYA, OMAR, MAYA, INES)))
    await house.card("Oat flat", without=(card,))
    asked = [run for run in house.queries.runs() if run.parent_run]
    assert len(asked) == 1
    loser = MAYA if asked[0].requester != f"slack:{TEAM}:{MAYA}" else OMAR
    await house.told(loser, "This was already asked again by")
    assert len(house.approvals()) == 2


async def test_who_may_not_ask_cannot_ask_again(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    gone = await expire(house, card)
    await house.answer(ts)
    await house.forge(THEO, gone, "ask_again")
    await house.told(THEO, "Guests can neither")
    assert len(house.queries.runs()) == 1
    assert {row.kind for row in house.audit()} == {"not_entitled"}


async def test_a_decider_who_asks_again_for_another_makes_both_of_them_requesters(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    gone = await expire(house, card)
    await house.answer(ts)
    await house.click(OMAR, gone, "ask_again")
    new = await house.card("Oat flat", without=(card,))
    for person in (OMAR, MAYA):
        await house.forge(person, new, "approve")
        await house.told(person, "Nobody decides on their own request")
    await house.click(INES, new, "approve")
    await house.shows(new, "Done")


async def test_what_was_added_to_the_task_is_asked_again_with_it(open_house: Opened) -> None:
    model = ScriptedModel(
        [script.plan(), script.use(("lamp", {"name": "a"})), script.end("no", "blocked"), script.say("Not done.")]
    )
    house = await open_house(model=model, tools=[Touch("lamp")])
    ts = await house.ask("touch it")
    card = await house.card("Touch a")
    await house.ask("but gently", user=INES, thread_ts=ts)
    await house.until(lambda: house.queries.co_requesters(house.queries.runs()[0].id)[1:])
    await house.click(MAYA, card, "withdraw")
    await house.answer(ts)
    await house.click(MAYA, await house.shows(card, "Withdrawn by"), "ask_again")
    await house.until(lambda: len(house.queries.runs()) == 2)
    new = next(run for run in house.queries.runs() if run.parent_run)
    view = house.queries.run_view(new.id)
    assert view is not None
    assert (view.task.text, len(view.co_requesters)) == ("touch it\n\nbut gently", 2)
    created = house.events(new.id)[0]
    assert isinstance(created, ev.RunCreated)
    assert created.asks_again == house.approvals()[0].id


async def test_a_denied_card_and_one_that_was_replaced_offer_no_second_asking(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "deny")
    denied = await house.shows(card, "Denied by")
    assert buttons(denied) == []
    await house.forge(MAYA, card, "approve", action_id="ask_again")
    await house.told(MAYA, "This was already denied by")
    assert len(house.queries.runs()) == 1


async def test_asking_again_survives_a_restart_before_it_is_rated(open_house: Opened) -> None:
    lamp, wall = Touch("lamp"), Touch("wall")
    calls = script.use(("lamp", {"name": "a"}), ("wall", {"name": "b"}))
    house = await open_house(
        model=ScriptedModel([script.plan(), calls, script.end(), script.say()]), tools=[lamp, wall]
    )
    await house.ask("touch both")
    one, _ = await house.card("Touch a"), await house.card("Touch b")
    await house.click(MAYA, one, "withdraw")
    gone = await house.shows(one, "Withdrawn by")
    assert house.app.runtime is not None
    await house.app.runtime.close()
    await house.click(MAYA, gone, "ask_again")
    await house.shows(one, "The call is being rated")
    await house.restart()
    again = await house.card("Touch a", "Asked again by", without=(one,))
    assert "Withdrawn by" not in words(again)


async def test_a_call_of_a_step_that_is_over_is_asked_again_and_the_run_does_not_end_before_it(
    open_house: Opened,
) -> None:
    lamp, wall = Touch("lamp"), Touch("wall")
    model = ScriptedModel(
        [
            script.plan("One", "Two"),
            script.use(("lamp", {"name": "a"})),
            script.end("Nobody wanted it."),
            script.use(("wall", {"name": "b"})),
            script.end(),
            script.say("That is all."),
        ]
    )
    house = await open_house(model=model, tools=[lamp, wall])
    ts = await house.ask("touch both")
    one = await house.card("Touch a")
    await house.click(MAYA, one, "withdraw")
    gone = await house.shows(one, "Withdrawn by")
    other = await house.card("Touch b")
    await house.click(MAYA, gone, "ask_again")
    again = await house.card("Touch a", "Asked again by", without=(one,))
    await house.click(OMAR, other, "approve")
    await house.shows(other, "Done")
    assert (await house.run_at(ts, RunStatus.WAITING)).id == house.approvals()[0].run
    await house.click(OMAR, again, "approve")
    await house.answer(ts)
    assert (lamp.done, wall.done) == ({"a": 1}, {"b": 1})
    assert "touched a" in script.heard(model.requests[-1]).lower()


async def test_asking_again_while_a_person_has_another_call_waits_until_they_are_through(open_house: Opened) -> None:
    lamp, wall = Touch("lamp"), Touch("wall", "high")
    calls = script.use(("lamp", {"name": "a"}), ("wall", {"name": "b"}))
    house = await open_house(
        model=ScriptedModel([script.plan(), calls, script.end(), script.say()]), tools=[lamp, wall]
    )
    ts = await house.ask("touch both")
    packet = await house.card("A person has to do this")
    gone = await house.slack.wait_for_message(
        packet["channel"], lambda m: "Touch a" in words(m) and "ask_again" in buttons(m)
    )
    await house.click(MAYA, gone, "ask_again")
    await house.shows(gone, "The call is being rated")
    assert len(house.approvals()) == 1
    await house.click(OMAR, packet, "takeover_claim")
    await house.click(OMAR, await house.shows(packet, "has it"), "takeover_done")
    view = await house.slack.wait_for_view(OMAR)
    values = {key: {"value": "By hand."} for key in ("what", "reference", "evidence")}
    await house.slack.submit(OMAR, view["id"], values)
    again = await house.card("Touch a", "Asked again by", without=(gone,))
    await house.click(INES, again, "approve")
    await house.answer(ts)
    assert (lamp.done, wall.done) == ({"a": 1}, {})

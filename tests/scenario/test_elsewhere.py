"""What went wrong in other projects, one test each: their failure is the name, our outcome the assertion."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from agent.domain import Outcome
from agent.errors import ApprovalNotValid
from agent.events import ActionRated, ActionStarted
from agent.fakes import ScriptedModel
from agent.ports import Intention
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, INES, MAYA, OMAR

ASK = "use touch_medium on x"


async def asked(open_house: Opened, **plan: object) -> tuple[House, Touch, str, dict[str, object]]:
    touch = Touch("touch_medium")
    house: House = await open_house(tools=(touch,), **plan)
    ts = await house.ask(ASK)
    return house, touch, ts, await house.card("Touch x")


async def test_a_rejected_call_that_ran_anyway_because_something_jumped_to_the_tools(open_house: Opened) -> None:
    house, touch, _, card = await asked(open_house)
    await house.click(OMAR, card, "deny")
    await house.until(lambda: house.approvals()[0].state == "denied")
    row = house.approvals()[0]
    jump = ActionStarted(action=row.action, digest=row.digest, lease_token=house.journal.lease_token, approval=row.id)
    wanted = Intention(epoch=0, starts=row.action, digest=row.digest, consumes=row.id, effect_s=1.0)
    with pytest.raises(Exception, match=r"decision|started"):
        await house.journal.commit(row.run, [jump], wanted)
    assert touch.done["x"] == 0


async def test_a_predicate_that_was_evaluated_again_on_resume_and_flipped(open_house: Opened) -> None:
    """Rated again to high, its yes is worth nothing."""
    house, touch, ts, card = await asked(open_house)
    touch.undecidable = ("Nobody can tell any more.",)
    policy = house.folder / "policy.toml"
    text = policy.read_text() + (
        "[[rule]]\nname='now'\nwhen=\"tool == 'touch_medium' && facts.undecidable\"\ntier='high'\nsay='Now.'\n"
    )
    policy.write_text(text)
    house.app.reload_policy()
    await house.click(OMAR, card, "approve")
    await house.card("Now.")
    assert (touch.done["x"], house.started()) == (0, 0)
    assert (await house.run_at(ts)).status != "completed"


async def test_the_same_saved_approval_resumed_twice_ran_the_tool_twice(open_house: Opened) -> None:
    house, touch, ts, card = await asked(open_house)
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    for _ in range(2):
        await house.restart()
        await house.forge(INES, card, "approve")
    await house.told(INES, "This was already approved")
    assert (touch.done["x"], house.started()) == (1, 1)


async def test_an_approval_that_hit_the_wrong_sibling(open_house: Opened) -> None:
    low, medium = Touch("touch_low", "medium", exclusive=False), Touch("touch_medium", exclusive=False)
    house = await open_house(tools=(low, medium))
    ts = await house.ask("touch both")
    one, other = await house.card("Touch a"), await house.card("Touch b")
    await house.click(OMAR, other, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.click(OMAR, one, "approve")
    await house.answer(ts)
    assert (low.done["a"], medium.done["b"]) == (1, 0)


async def test_a_denied_action_that_was_approved_again_on_a_finished_run(open_house: Opened) -> None:
    house, touch, ts, card = await asked(open_house)
    await house.click(OMAR, card, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    await house.forge(INES, card, "approve")
    assert f"<@{OMAR}>" in await house.told(INES, "This was already denied")
    assert (touch.done["x"], house.approvals()[0].state) == (0, "denied")


async def test_an_approval_that_was_consumed_by_a_call_that_failed_leaves_an_answer(open_house: Opened) -> None:
    house, touch, ts, card = await asked(open_house)

    async def fails(*_: object) -> None:
        raise OSError("no")

    touch.run = fails  # type: ignore[method-assign,assignment]  # as a tool that breaks
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert [item.outcome for item in view.actions] == [Outcome.FAILED]
    assert house.started() == 1  # and no retry took the effect, or the yes, a second time


async def test_a_client_that_forged_an_approval(open_house: Opened) -> None:
    house, touch, _, card = await asked(open_house)
    row = house.approvals()[0]
    for value in (f"{row.id}|{'0' * 12}", f"p0|{row.digest[:12]}", row.id, "approved"):
        await house.forge(OMAR, card, "approve", value=value)
    await house.forge(MAYA, card, "approve")
    await house.told(MAYA, "Nobody decides on their own request")
    assert (touch.done["x"], house.approvals()[0].state) == (0, "pending")


async def test_a_timeout_that_ran_the_tool(open_house: Opened) -> None:
    house, touch, ts, _ = await asked(open_house)
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.advance(1_801)
    await house.answer(ts)
    assert (touch.done["x"], house.approvals()[0].state) == (0, "expired")


async def test_a_self_approval_through_the_bot(open_house: Opened) -> None:
    house, touch, _, card = await asked(open_house, approvers=(MAYA, OMAR))
    await house.forge(MAYA, card, "approve")
    await house.told(MAYA, "Nobody decides on their own request")
    await house.forge(BOT, card, "approve")
    await house.slack.call("person", {"id": MAYA, "name": "omar", "display_name": "Omar"})
    house.forget(MAYA)
    await house.forge(MAYA, card, "approve")  # another name is still the same person
    await house.click(OMAR, card, "details")
    await house.slack.wait_for_view(OMAR)
    assert (touch.done["x"], house.approvals()[0].state) == (0, "pending")


async def test_two_writers_that_overwrote_who_decided(open_house: Opened) -> None:
    house, _, ts, card = await asked(open_house)
    await asyncio.gather(*(house.forge(user, card, "approve") for user in (OMAR, INES, OMAR, INES)))
    await house.answer(ts)
    by = house.approvals()[0].decided_by.rpartition(":")[2]
    shown = await house.shows(card, f"Approved by <@{by}>")
    other = INES if by == OMAR else OMAR
    assert f"Approved by <@{other}>" not in str(shown)


async def test_a_hook_that_failed_open_when_it_timed_out_or_broke(open_house: Opened) -> None:
    touch = Touch("touch_low", "low", analyser=TimeoutError())
    model = ScriptedModel([script.plan(), script.use(("touch_low", {"name": "x"})), script.end(), script.say()])
    house = await open_house(tools=(touch,), model=model)
    await house.ask("touch x")
    await house.card("could not be analysed")
    assert (touch.done["x"], house.started()) == (0, 0)


async def test_invariant_10_a_denied_change_is_not_reached_by_another_statement_or_spelling(open_house: Opened) -> None:
    roads = (
        "UPDATE drinks SET price = 2 WHERE name = 'Oat flat'",
        'update "Drinks" set price = 3 where id in (1)',
        "UPDATE main.drinks SET price = price - 1 WHERE id = 1",
    )
    calls = [script.sql("UPDATE drinks SET price = 1 WHERE id = 1"), *(script.sql(road) for road in roads)]
    model = ScriptedModel([script.plan(), *calls, script.end(), script.say("No.")])
    house = await open_house(model=model)
    ts = await house.ask("make it cheap")
    await house.click(OMAR, await house.card("price = 1"), "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert [item.outcome for item in view.actions] == [Outcome.DENIED, *[Outcome.REFUSED] * 3]
    assert house.prices()["Oat flat"] == 400


@pytest.mark.needs("bwrap")
@pytest.mark.needs("git")
async def test_invariant_10_a_denied_file_is_not_reached_by_python_and_what_cannot_be_told_is_asked(
    open_house: Opened,
) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.use(("run_python", {"code": "import os; os.remove('prices.txt')"})),
            script.use(("run_python", {"code": "from pathlib import Path; Path('./prices.txt').unlink()"})),
            script.use(("run_python", {"code": "import os; getattr(os, 'rem' + 'ove')('prices.txt')"})),
            script.end(),
            script.say("No."),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("remove the prices")
    first = await house.card("deletes or moves files")
    await house.click(OMAR, first, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    again = await house.card("computes the name", without=(first,))
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert [item.outcome for item in view.actions] == [Outcome.DENIED, Outcome.REFUSED, None]
    await house.click(OMAR, again, "deny")


async def test_many_small_changes_of_one_run_end_at_a_person(open_house: Opened) -> None:
    changes = [script.sql(f"UPDATE drinks SET price = price + {step} WHERE id = {step}") for step in (1, 2, 3)]  # noqa: S608  constants
    model = ScriptedModel([script.plan(), *changes, script.end(), script.say()])
    house = await open_house(model=model, policy="[limits]\nrun_rows = 2\n")
    ts = await house.ask("raise the prices")
    cards: list[dict[str, object]] = []
    for _ in range(2):
        cards.append(await house.card("UPDATE drinks", without=cards))
        await house.click(OMAR, cards[-1], "approve")
    packet = await house.card("changed more rows than the policy lets one run change", without=cards)
    assert "takeover_claim" in str(packet["blocks"])
    run = (await house.run_at(ts)).id
    assert [event.rows for event in house.events(run) if isinstance(event, ActionRated)][-1] == 1
    assert house.prices() == {"Oat flat": 401, "Mocha": 452, "Tea": 250}


async def test_an_approvals_row_that_was_edited_by_hand_starts_nothing(open_house: Opened) -> None:
    house, touch, _, _ = await asked(open_house)
    row = house.approvals()[0]
    with sqlite3.connect(house.app.db.path) as conn:
        conn.execute("UPDATE approvals SET state = 'approved', start_before = 9e9 WHERE id = ?", (row.id,))
    conn.close()
    begun = ActionStarted(action=row.action, digest=row.digest, lease_token=house.journal.lease_token, approval=row.id)
    wanted = Intention(epoch=0, starts=row.action, digest=row.digest, consumes=row.id, effect_s=1.0)
    with pytest.raises(ApprovalNotValid):
        await house.journal.commit(row.run, [begun], wanted)
    assert touch.done["x"] == 0

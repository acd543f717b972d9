"""A rule that wants reasons: the click asks for one, and what is sent is the vote, checked as any other."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from storage.grants import Grants
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import INES, MAYA, OMAR, Json, buttons, words

TASK = "price of Oat flat to 410"
FORM = "required_reason_form"
WHY = "The shop asked for it."


def rule(more: str, tool: str = "query_sql") -> str:
    return f"[[rule]]\nname = 'own'\nwhen = \"tool == '{tool}'\"\ntier = 'medium'\nsay = 'Ours.'\n{more}\n"


BOTH = rule("reason = ['approve', 'deny']")


async def asked(open_house: Opened, policy: str = BOTH) -> tuple[House, str, Json]:
    house = await open_house(policy=policy)
    ts = await house.ask(TASK)
    return house, ts, await house.card("Oat flat")


async def window(house: House, person: str, card: Json, action: str) -> Json:
    """The window that a click opens."""
    await house.click(person, card, action)
    title = action.capitalize()
    return await house.slack.wait_for_view(
        person, lambda view: view["callback_id"] == FORM and view["title"]["text"] == title
    )


async def notice(house: House, person: str) -> str:
    return words(await house.slack.wait_for_view(person, lambda view: view["callback_id"] == "notice"))


def reason(text: str) -> Json:
    return {"reason": {"value": text}}


async def test_the_click_asks_for_the_reason_says_what_is_decided_and_decides_nothing_yet(open_house: Opened) -> None:
    house, _, card = await asked(open_house)
    assert "Approve and Deny ask for a reason" in words(card)
    assert "allow" not in buttons(card)
    view = await window(house, OMAR, card, "approve")
    shown = words(view)
    for part in ("You are about to approve this", "UPDATE drinks SET price", "query_sql", "The policy wants a reason"):
        assert part in shown
    row = house.approvals()[0]
    kept = {"subject": row.id, "digest": row.digest, "vote": "approve"}
    assert json.loads(view["private_metadata"]) == kept
    field = next(block for block in view["blocks"] if block["type"] == "input")
    assert field["optional"] is False
    assert (row.state, house.started()) == ("pending", 0)


async def test_a_yes_with_its_reason_runs_and_the_card_says_why(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    assert (await house.slack.submit(OMAR, view["id"], reason(f" {WHY} ")))["ok"]
    await house.shows(card, f"Approved by <@{OMAR}>", f"*Reason:* {WHY}")
    await house.answer(ts)
    assert house.approvals()[0].reason == WHY
    assert house.prices()["Oat flat"] == 410


async def test_a_no_with_its_reason_reaches_the_agent_and_nobody_is_asked_a_second_time(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "deny")
    assert (await house.slack.submit(OMAR, view["id"], reason("Not on a Monday.")))["ok"]
    await house.shows(card, f"Denied by <@{OMAR}>", "Not on a Monday.")
    run = await house.run_at(ts, RunStatus.PARTIAL)
    assert f"slack:T0SECONDKEY:{OMAR}" in house.queries.co_requesters(run.id)
    assert [view for view in house.slack.views.get(OMAR, ()) if view.get("callback_id") == "deny_reason"] == []
    assert house.started() == 0


async def test_where_only_a_no_needs_a_reason_a_yes_is_taken_at_once(open_house: Opened) -> None:
    house, ts, card = await asked(open_house, rule("reason = ['deny']"))
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_where_only_a_yes_needs_a_reason_a_no_is_taken_at_once_and_asks_afterwards(open_house: Opened) -> None:
    house, _, card = await asked(open_house, rule("reason = ['approve']"))
    await house.click(OMAR, card, "deny")
    view = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "deny_reason")
    await house.shows(card, f"Denied by <@{OMAR}>")
    assert (await house.slack.submit(OMAR, view["id"], reason("Not today.")))["ok"]
    await house.shows(card, "Not today.")


@pytest.mark.parametrize("empty", ["", "  \n ", "\u200b\u2060", "\u200d"])
async def test_a_reason_that_nobody_can_see_is_none(open_house: Opened, empty: str) -> None:
    house, _, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    assert (await house.slack.submit(OMAR, view["id"], reason(empty)))["errors"]["reason"]
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_a_reason_of_100000_characters_is_refused_and_a_hostile_one_breaks_no_card(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    _, held = house.sim.services.views.find(view["id"])
    field = next(block for block in held["blocks"] if block["type"] == "input")
    field["element"].pop("max_length")  # as somebody who writes to Slack without its window
    assert (await house.slack.submit(OMAR, view["id"], reason("x" * 100_000)))["errors"]["reason"]
    hostile = "grant:abc <!channel> <https://x.example|y> ``` \u202e"
    assert (await house.slack.submit(OMAR, view["id"], reason(hostile)))["ok"]
    shown = words(await house.shows(card, "*Reason:* grant:abc"))
    assert f"Approved by <@{OMAR}>" in shown
    for part in ("<!channel>", "|y>", "```", "\u202e", "Allowed beforehand"):
        assert part not in shown
    await house.answer(ts)


async def test_a_window_sent_twice_decides_once(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    both = await asyncio.gather(*(house.slack.submit(OMAR, view["id"], reason(WHY)) for _ in range(2)))
    assert any(answer["ok"] for answer in both)
    await house.answer(ts)
    run = await house.run_at(ts)
    assert [event.type for event in house.events(run.id)].count("approval_decided") == 1
    assert house.started() == 1


async def test_who_sends_a_window_too_late_is_told_who_decided(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    mine, theirs = await window(house, OMAR, card, "approve"), await window(house, INES, card, "deny")
    await house.slack.submit(OMAR, mine["id"], reason(WHY))
    await house.answer(ts)
    assert (await house.slack.submit(INES, theirs["id"], reason("No.")))["ok"]
    assert f"already approved by <@{OMAR}>" in await notice(house, INES)
    assert house.approvals()[0].reason == WHY
    await house.forge(INES, card, "deny")
    await house.told(INES, f"already approved by <@{OMAR}>")


async def test_ones_own_other_answer_is_not_taken_for_the_same_sent_twice(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    services = house.app.services
    assert services is not None
    await services.decisions.vote(house.approvals()[0].id, services.identity.principal(OMAR), "deny", reason=WHY)
    await house.slack.submit(OMAR, view["id"], reason(WHY))
    assert f"already denied by <@{OMAR}>" in await notice(house, OMAR)
    await house.run_at(ts, RunStatus.PARTIAL)
    assert house.started() == 0


async def test_who_may_not_decide_is_told_at_the_click_and_gets_no_window(open_house: Opened) -> None:
    house = await open_house(policy=rule(f"deciders = ['{OMAR}']\nreason = ['approve', 'deny']"))
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.forge(MAYA, card, "approve")
    await house.told(MAYA, "Nobody decides on their own request")
    await house.forge(INES, card, "deny")
    await house.told(INES, "You are not among")
    assert not house.slack.views.get(MAYA)
    assert not house.slack.views.get(INES)
    assert {row.kind for row in house.audit()} == {"own_request", "not_entitled"}


async def test_invariant_6_who_is_no_full_member_any_more_when_the_window_is_sent_decides_nothing(
    open_house: Opened,
) -> None:
    house, _, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    await house.slack.call("person", {"id": OMAR, "role": "guest"})
    house.forget(OMAR)
    answer = await house.slack.submit(OMAR, view["id"], reason(WHY))
    assert answer["ok"], answer
    assert await notice(house, OMAR)
    assert {row.kind for row in house.audit()} == {"not_entitled"}
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_invariant_6_whom_the_policy_names_no_more_when_the_window_is_sent_decides_nothing(
    open_house: Opened,
) -> None:
    house, _, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    path = house.folder / "policy.toml"
    path.write_text(f"version = 1\n[people]\napprovers = ['{INES}']\n{BOTH}")
    house.app.reload_policy()
    await house.slack.submit(OMAR, view["id"], reason(WHY))
    assert "You are not among" in await notice(house, OMAR)
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_a_window_about_another_call_than_the_one_that_waits_decides_nothing(open_house: Opened) -> None:
    house, _, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    _, held = house.sim.services.views.find(view["id"])
    kept = json.loads(held["private_metadata"])
    held["private_metadata"] = json.dumps(kept | {"digest": "0" * 64})
    await house.slack.submit(OMAR, view["id"], reason(WHY))
    assert "not known here" in await notice(house, OMAR)
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_a_window_that_outlives_the_deadline_is_answered_and_runs_nothing(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    await house.advance(1801)
    await house.slack.submit(OMAR, view["id"], reason(WHY))
    assert "expired before anybody answered" in await notice(house, OMAR)
    await house.run_at(ts, RunStatus.PARTIAL)
    assert house.started() == 0


async def test_a_window_that_was_open_over_a_restart_decides(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    view = await window(house, OMAR, card, "approve")
    await house.restart()
    assert (await house.slack.submit(OMAR, view["id"], reason(WHY)))["ok"]
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_when_slack_opens_no_window_the_person_is_told_and_it_goes_on_waiting(open_house: Opened) -> None:
    house, _, card = await asked(open_house)
    await house.slack.fault("views.open", "error", error="internal_error", times=1)
    await house.click(OMAR, card, "deny")
    await house.told(OMAR, "window for your reason could not be opened")
    assert house.approvals()[0].state == "pending"
    await window(house, OMAR, card, "deny")


async def test_from_home_the_same_window_opens_and_decides(open_house: Opened) -> None:
    house, ts, card = await asked(open_house)
    await house.slack.call("home", {"as": OMAR, "tab": "home"})
    await house.slack.wait_for_push(lambda push: push["type"] == "home_published" and "Oat flat" in json.dumps(push))
    await house.slack.click_in_home(OMAR, "approve")
    view = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == FORM)
    assert (await house.slack.submit(OMAR, view["id"], reason(WHY)))["ok"]
    await house.shows(card, f"*Reason:* {WHY}")
    await house.answer(ts)


async def test_where_two_must_say_yes_each_says_why_and_the_card_tells_both(open_house: Opened) -> None:
    house, ts, card = await asked(open_house, rule("quorum = 2\nreason = ['approve']"))
    first = await window(house, OMAR, card, "approve")
    await house.slack.submit(OMAR, first["id"], reason(WHY))
    assert "It needs 2 in all" in await notice(house, OMAR)
    await house.shows(card, "has 1", WHY)
    second = await window(house, INES, card, "approve")
    await house.slack.submit(INES, second["id"], reason("I looked it up."))
    await house.shows(card, f"*Reason of <@{OMAR}>:* {WHY}", f"*Reason of <@{INES}>:* I looked it up.")
    await house.answer(ts)


async def test_deciding_all_says_which_need_a_reason_of_their_own_and_leaves_them(open_house: Opened) -> None:
    lamp, door = Touch("lamp"), Touch("door")
    calls = script.use(("lamp", {"name": "a"}), ("door", {"name": "b"}))
    model = ScriptedModel([script.plan(), calls, script.end(), script.say("That is all.")])
    house = await open_house(model=model, tools=[lamp, door], policy=rule("reason = ['approve', 'deny']", "door"))
    ts = await house.ask("touch them")
    card = await house.card("Touch a", "Decide all (2)")
    other = await house.card("Touch b", "Decide all (2)")
    await house.click(OMAR, card, "decide_all")
    view = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "approvals_together_form")
    assert "Approve and Deny need a reason of its own" in words(view)
    (item,) = [block["block_id"] for block in view["blocks"] if block["block_id"].startswith("together|")]
    yes = {"value": {"selected_option": {"value": "approve"}}}
    await house.slack.submit(OMAR, view["id"], {item: yes})
    assert "Touch a*: approved" in await notice(house, OMAR)
    await house.shows(other, "Needs a yes")
    await house.until(lambda: lamp.done["a"] == 1)
    assert door.done["b"] == 0
    form = await window(house, OMAR, other, "approve")
    await house.slack.submit(OMAR, form["id"], reason(WHY))
    await house.answer(ts)
    assert (lamp.done["a"], door.done["b"]) == (1, 1)


async def test_an_answer_that_needs_a_reason_is_left_open_also_when_the_form_is_forged(open_house: Opened) -> None:
    door = Touch("door")
    calls = script.use(("door", {"name": "a"}), ("door", {"name": "b"}))
    model = ScriptedModel([script.plan(), calls, script.end(), script.say("That is all.")])
    house = await open_house(model=model, tools=[door], policy=rule("reason = ['approve']", "door"))
    await house.ask("touch them")
    card = await house.card("Touch a", "Decide all (2)")
    await house.click(OMAR, card, "decide_all")
    view = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "approvals_together_form")
    choices = [block for block in view["blocks"] if block["block_id"].startswith("together|")]
    assert [[option["value"] for option in block["element"]["options"]] for block in choices] == [["leave", "deny"]] * 2
    _, held = house.sim.services.views.find(view["id"])
    key = choices[0]["block_id"]
    forged = next(block for block in held["blocks"] if block["block_id"] == key)
    forged["element"]["options"].append({"text": {"type": "plain_text", "text": "Approve"}, "value": "approve"})
    await house.slack.submit(OMAR, view["id"], {key: {"value": {"selected_option": {"value": "approve"}}}})
    assert "Approve needs a reason of its own, so it is left open" in await notice(house, OMAR)
    assert ({row.state for row in house.approvals()}, door.done) == ({"pending"}, {})


async def test_what_needs_a_reason_each_time_cannot_be_allowed_beforehand(open_house: Opened) -> None:
    house = await open_house(tools=[Touch("touch_medium")], policy=rule("reason = ['approve']", "touch_medium"))
    await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    row = next(block for block in card["blocks"] if block["type"] == "actions")
    row["elements"].append({**row["elements"][0], "action_id": "allow"})
    await house.forge(OMAR, card, "allow")
    await house.told(OMAR, "needs a reason of its own")
    assert Grants(house.app.db).rows() == ()
    assert house.approvals()[0].state == "pending"

"""Who decides: user groups, escalation, the registry, earlier votes, required reasons, a policy that is read anew."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from agent.domain import RunStatus
from agent.errors import NotEntitled, ReasonRequired
from bot.cli_approvers import Entry, add, remove
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import INES, MAYA, OMAR, words

TASK = "price of Oat flat to 410"
GROUP = "S0APPROVERS"


def rule(more: str, when: str = "tool == 'query_sql'") -> str:
    return f"[[rule]]\nname = 'own'\nwhen = \"{when}\"\ntier = 'medium'\nsay = 'Ours.'\n{more}\n"


def who(user: str) -> str:
    return f"slack:T0SECONDKEY:{user}"


async def members(house: House, *users: str) -> None:
    """Change who is in the user group, as an administrator of Slack does, and tell the app."""
    house.sim.services.workspace.usergroups[GROUP]["users"] = list(users)
    assert house.app.groups is not None
    house.app.groups.changed()
    await house.app.groups.refresh([GROUP])
    assert house.app.groups.members(GROUP) == frozenset(users)


async def test_a_rules_user_group_decides_and_the_policys_other_people_do_not(open_house: Opened) -> None:
    house = await open_house(approvers=(MAYA,), policy=rule(f"deciders = ['{GROUP}']\ntimeout_s = 600"))
    ts = await house.ask(TASK, user=INES)
    card = await house.card("Oat flat")
    row = house.approvals()[0]
    assert (row.deciders, row.timeout_s, row.rules) == ((who(INES), who(OMAR)), 600.0, ("own",))
    await house.click(MAYA, card, "approve")
    await house.told(MAYA, "You are not among")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_invariant_6_who_left_the_group_since_it_was_asked_does_not_decide(open_house: Opened) -> None:
    house = await open_house(policy=rule(f"deciders = ['{GROUP}']"))
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await members(house, INES)
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "You are not among")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)
    assert "not_entitled" in [row.kind for row in house.audit()]


async def test_invariant_6_when_slack_tells_nothing_of_a_group_nobody_in_it_decides(open_house: Opened) -> None:
    house = await open_house(policy=rule(f"deciders = ['{GROUP}']"))
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.slack.fault("usergroups.users.list", "error", error="internal_error", times=100)
    assert house.app.groups is not None
    house.app.groups.changed()
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "You are not among")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_an_event_of_slack_makes_a_group_be_read_again(open_house: Opened) -> None:
    house = await open_house(policy=rule(f"deciders = ['{GROUP}']"))
    house.sim.services.workspace.usergroups[GROUP]["users"] = [INES]
    seen = max(entry["n"] for entry in await house.slack.log())
    house.sim.services.events.subscriptions |= {"subteam_members_changed"}
    house.sim.services.events.emit({"type": "subteam_members_changed", "subteam_id": GROUP})
    assert house.app.groups is not None
    await house.logged(lambda entry: entry["direction"] == "api" and "usergroups.users.list" in str(entry), after=seen)
    await house.app.groups.refresh([GROUP])
    assert house.app.groups.members(GROUP) == {INES}


async def test_at_half_of_the_time_the_next_group_is_called_and_may_decide(open_house: Opened) -> None:
    house = await open_house(policy=rule(f"deciders = ['{OMAR}']\nescalate_to = ['{GROUP}']\ntimeout_s = 1200"))
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.forge(INES, card, "approve")
    await house.told(INES, "You are not among")
    await house.advance(310)
    await house.slack.wait_for_message(
        card["channel"], lambda m: "a quarter of its time" in words(m), thread_ts=card["ts"]
    )
    assert house.approvals()[0].deciders == (who(OMAR),)
    await house.advance(300)
    late = await house.slack.wait_for_message(
        card["channel"], lambda m: "half of its time" in words(m), thread_ts=card["ts"]
    )
    assert f"<@{INES}>" in words(late)
    await house.restart()
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_a_rules_own_time_expires_it(open_house: Opened) -> None:
    house = await open_house(policy=rule("timeout_s = 300"))
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.advance(295)
    assert house.approvals()[0].state == "pending"
    await house.advance(10)
    await house.shows(card, "Expired, nobody answered")
    await house.answer(ts)
    assert house.started() == 0


async def test_two_of_three_must_say_yes_when_the_rule_says_so(open_house: Opened) -> None:
    house = await open_house(policy=rule("quorum = 2"))
    ts = await house.ask(TASK)
    card = await house.card("Needs 2 yeses")
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "Your yes is counted")
    assert house.started() == 0
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_invariant_6_an_earlier_yes_does_not_count_once_its_voter_is_deactivated(open_house: Opened) -> None:
    house = await open_house(policy=rule("quorum = 2"))
    await house.ask(TASK)
    card = await house.card("Needs 2 yeses")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "has 1")
    await house.slack.call("person", {"id": OMAR, "deleted": True})
    house.forget(OMAR)
    await house.click(INES, card, "approve")
    await house.told(INES, "Your yes is counted")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_invariant_6_an_earlier_yes_does_not_start_what_its_voter_may_not_decide_any_more(
    open_house: Opened,
) -> None:
    house = await open_house(policy=rule("quorum = 2"))
    await house.ask(TASK)
    card = await house.card("Needs 2 yeses")
    await house.control.write("pause", by="local:0")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "has 1")
    await house.click(INES, card, "approve")
    await house.shows(card, "Approved by")
    await house.slack.call("person", {"id": OMAR, "deleted": True})
    house.forget(OMAR)
    await house.control.write("resume", by="local:0")
    await house.card("may not decide any more", without=(card,))
    assert house.started() == 0
    assert house.prices()["Oat flat"] == 400


async def test_a_decision_that_needs_a_reason_is_not_taken_without_one(open_house: Opened) -> None:
    house = await open_house(policy=rule("reason = ['approve', 'deny']"))
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    for action in ("approve", "deny"):
        await house.click(OMAR, card, action)  # asks for one; test_required_reasons.py goes on from there
        await house.slack.wait_for_view(OMAR, lambda view, title=action: view["title"]["text"] == title.capitalize())
    row = house.approvals()[0]
    assert (row.state, row.reason_for, house.started()) == ("pending", ("approve", "deny"), 0)
    assert house.app.services is not None
    decisions, omar = house.app.services.decisions, house.app.services.identity.principal(OMAR)
    with pytest.raises(ReasonRequired):
        await decisions.vote(row.id, omar, "approve", reason="  ")
    await decisions.vote(row.id, omar, "approve", reason="The shop asked for it.")
    await house.answer(ts)
    assert house.approvals()[0].reason == "The shop asked for it."
    assert house.prices()["Oat flat"] == 410


async def test_a_denial_with_its_reason_reaches_the_agent_at_once(open_house: Opened) -> None:
    house = await open_house(policy=rule("reason = ['deny']"))
    ts = await house.ask(TASK)
    await house.card("Oat flat")
    assert house.app.services is not None
    row = house.approvals()[0]
    omar = house.app.services.identity.principal(OMAR)
    await house.app.services.decisions.vote(row.id, omar, "deny", reason="Not on a Monday.")
    await house.run_at(ts, RunStatus.PARTIAL)  # nobody is waited for
    assert house.approvals()[0].reason == "Not on a Monday."
    assert who(OMAR) in house.queries.co_requesters(row.run)


async def test_somebody_who_is_registered_beside_the_server_decides_at_once_and_no_longer_than_entered(
    open_house: Opened,
) -> None:
    house = await open_house(approvers=(OMAR,))
    await asyncio.to_thread(add, house.settings(), Entry(person=INES, tool="query_*", tier="medium"))
    await house.ask("say x")  # nothing that is asked; the registry is read with the next card
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await asyncio.to_thread(remove, house.settings(), INES)
    await house.click(INES, card, "approve")
    await house.told(INES, "You are not among")
    await asyncio.to_thread(add, house.settings(), Entry(person=INES, tool="apply_*"))
    await house.click(INES, card, "approve")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert [row.kind for row in house.audit()].count("approver_added") == 2


async def test_a_registered_approver_decides_within_scope(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    await asyncio.to_thread(add, house.settings(), Entry(person=INES, tool="query_sql"))
    assert house.app.services is not None
    house.app.services.identity.on_decision()  # as every click does
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    assert who(INES) in house.approvals()[0].deciders
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_a_policy_that_is_read_anew_counts_from_then_on_and_voids_nothing(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,), approvers=(OMAR, INES))
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    path = house.folder / "policy.toml"
    path.write_text(f"version = 1\n[people]\napprovers = ['{INES}']\n")
    house.app.reload_policy()
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "You are not among")
    assert touch.done["x"] == 0
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert touch.done["x"] == 1


async def test_a_broken_policy_keeps_the_old_one_and_the_probe_says_so(open_house: Opened) -> None:
    house = await open_house()
    (house.folder / "policy.toml").write_text("version = 1\n[[rule]]\nname = 'broken'\n")
    house.app.reload_policy()
    async with aiohttp.ClientSession() as session, session.get(f"{house.app.url}/readyz") as answer:
        body = json.loads(await answer.text())
    assert (answer.status, "broken" in body["warnings"]["policy"]) == (200, True)
    ts = await house.ask(TASK)
    await house.click(OMAR, await house.card("Oat flat"), "approve")
    await house.answer(ts)
    assert house.prices()["Oat flat"] == 410


async def test_nobody_who_may_decide_at_the_start_is_told_with_the_fix(open_house: Opened) -> None:
    house = await open_house()
    assert house.app.services is not None
    with pytest.raises(NotEntitled):
        await house.app.services.decisions.vote(
            await _asked(house), house.app.services.identity.principal(MAYA, "T0OTHER"), "approve"
        )


async def _asked(house: House) -> str:
    await house.ask(TASK)
    await house.card("Oat flat")
    return house.approvals()[0].id

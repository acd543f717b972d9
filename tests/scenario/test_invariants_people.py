"""DESIGN.md §5, invariants 5, 6 and 15: who may ask, decide and see."""

from __future__ import annotations

import asyncio

import pytest

from agent.domain import Principal, RunStatus, Tier
from agent.fakes import ScriptedModel
from agent.policy import load_policy
from bot.deciders import PolicyEntitlement
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import ACTIONS, BOT, DATA, EVE, INES, MAYA, OMAR, TEAM, THEO, words

TASK = "price of Tea to 260"


@pytest.mark.parametrize("action", ["approve", "deny"])
async def test_invariant_5_the_requester_does_not_decide_even_when_they_are_an_approver(
    house: House, action: str
) -> None:
    await house.ask(TASK, user=OMAR)
    card = await house.card("Tea")
    assert f"<@{INES}>: please decide" in words(card)
    await house.click(OMAR, card, action)
    await house.told(OMAR, "Nobody decides on their own request")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)
    assert [row.kind for row in house.audit()] == ["own_request"]
    await house.click(INES, card, "approve")
    await house.shows(card, f"Approved by <@{INES}>")


async def test_invariant_5_whoever_adds_words_to_the_thread_is_a_co_requester_from_then_on(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Tea")
    await house.ask("yes, do that", user=OMAR, thread_ts=ts)
    run = await house.run_at(ts)
    await house.until(lambda: f"slack:{TEAM}:{OMAR}" in house.queries.co_requesters(run.id))
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "your words are part of this run")
    assert house.approvals()[0].state == "pending"
    await house.click(INES, card, "approve")
    await house.answer(ts)
    assert house.prices()["Tea"] == 260


async def test_invariant_5_whose_words_stand_in_a_run_neither_claims_its_takeover(house: House) -> None:
    ts = await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this")
    await house.ask("go on, wipe them", user=OMAR, thread_ts=ts)
    run = await house.run_at(ts)
    await house.until(lambda: len(house.queries.co_requesters(run.id)) == 2)
    await house.click(OMAR, packet, "takeover_claim")
    await house.told(OMAR, "Nobody decides on their own request")
    assert house.takeover().state == "open"


async def test_invariant_5_the_author_of_an_instruction_cannot_approve_what_follows_from_it(
    open_house: Opened,
) -> None:
    replies = [script.plan(), script.sql("DELETE FROM drinks"), script.sql("DELETE FROM drinks WHERE id = 1")]
    house = await open_house(model=ScriptedModel(replies))
    await house.ask("tidy up")
    packet = await house.card("A person has to do this")
    await house.click(INES, packet, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")
    await house.click(INES, packet, "takeover_hand_back")
    view = await house.slack.wait_for_view(INES)
    await house.slack.submit(INES, view["id"], {"instruction": {"value": "Only number one"}})
    card = await house.card("DELETE FROM drinks WHERE id = 1", without=(packet,))
    await house.click(INES, card, "approve")
    await house.told(INES, "your words are part of this run")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


async def test_invariant_5_when_nobody_else_could_decide_the_card_says_so_at_once(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    await house.ask(TASK, user=OMAR)
    await house.card("Nobody but the people whose request this is could decide")


def test_invariant_5_only_a_terminals_medium_actions_may_be_approved_by_who_asked() -> None:
    entitlement = PolicyEntitlement(load_policy, None)  # type: ignore[arg-type]  # what it says here needs no identity
    local, slack = Principal(kind="local", user="1000"), Principal(team=TEAM, user=OMAR)
    allowed = {
        (who.kind, tier): entitlement.self_approval_allowed(who, "query_sql", tier)
        for who in (local, slack)
        for tier in (Tier.MEDIUM, Tier.HIGH)
    }
    assert [key for key, value in allowed.items() if value] == [("local", Tier.MEDIUM)]


@pytest.mark.parametrize(("person", "why"), [(THEO, "Guests can neither"), (EVE, "Only members of the workspace")])
async def test_invariant_6_guests_and_strangers_do_not_ask(house: House, person: str, why: str) -> None:
    await house.ask("add 1 and 1", user=person)
    await house.told(person, why)
    row = house.audit()[0]
    assert (row.kind, row.principal.rpartition(":")[2]) == ("may_not_ask", person)
    assert house.queries.runs() == ()
    shown = [message for message in await house.slack.history(DATA, user=MAYA) if message["user"] == BOT]
    assert shown == []  # the refusal is private


@pytest.mark.parametrize("kind", ["a member", "a guest", "a stranger", "the bot", "deactivated"])
async def test_invariant_6_who_is_not_entitled_at_that_moment_does_not_decide(open_house: Opened, kind: str) -> None:
    house = await open_house(approvers=(OMAR,) if kind != "deactivated" else (OMAR, INES))
    await house.ask(TASK)
    card = await house.card("Tea")
    who = {"a member": INES, "a guest": THEO, "a stranger": EVE, "the bot": BOT, "deactivated": INES}[kind]
    if kind == "deactivated":
        await house.slack.call("person", {"id": INES, "deleted": True})
        house.forget(INES)  # as five minutes do
    for action in ("approve", "deny"):
        await house.forge(who, card, action)
    if kind not in {"the bot", "deactivated"}:
        await house.told(who, {INES: "You are not among", THEO: "Guests", EVE: "Only members"}[who])
    await house.click(OMAR, card, "details")  # comes after both, and is through when its window is there
    await house.slack.wait_for_view(OMAR)
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)
    assert {(row.kind, row.principal.rpartition(":")[2]) for row in house.audit()} == {("not_entitled", who)}
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by")


async def test_invariant_6_a_decider_that_the_policy_no_longer_names_does_not_decide(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Tea")
    await house.app.stop()
    policy = house.folder / "policy.toml"
    policy.write_text(policy.read_text().replace(OMAR, "U0NOBODY"))
    await house.start()
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "You are not among")
    assert house.approvals()[0].state == "pending"


async def test_invariant_6_bots_edits_and_messages_without_a_mention_never_reach_the_agent(house: House) -> None:
    emit = house.sim.services.events.emit
    channel = house.sim.workspace.channel(DATA)
    plain = {"type": "message", "channel": DATA, "channel_type": "channel", "user": MAYA, "text": "add 1 and 1"}
    mention = plain | {"type": "app_mention", "text": f"<@{BOT}> add 1 and 1"}
    for number, event in enumerate(
        [
            plain,
            mention | {"bot_id": "B0OTHER", "user": "U0OTHERBOT"},
            mention | {"user": BOT},
            mention | {"edited": {"user": MAYA, "ts": "1.2"}},
            mention | {"subtype": "message_changed"},
        ]
    ):
        emit(event | {"ts": f"1800000000.00000{number}", "event_ts": "1"}, channel)
    await house.answer(await house.ask("add 2 and 2"))
    assert [run.title for run in house.queries.runs()] == ["add 2 and 2"]


async def test_invariant_6_when_slack_does_not_say_who_somebody_is_nothing_is_changed(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Tea")
    house.forget(OMAR)
    await house.slack.fault("users.info", "status", times=5)
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "did not tell us who you are")
    assert house.approvals()[0].state == "pending"
    await house.slack.clear_faults()
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by")


async def test_invariant_15_a_run_is_seen_by_its_requester_deciders_admins_and_its_channel_alone(
    open_house: Opened,
) -> None:
    house = await open_house(approvers=(OMAR,))
    made = await house.slack.call("channel", {"name": "secret-plan", "private": True, "members": [MAYA, BOT]})
    channel = str(made["channel"])
    await house.slack.call("channel", {"name": "secret-plan", "private": True, "bot_member": True})
    ts = await house.slack.post(MAYA, channel, f"<@{BOT}> add 7 and 8")
    await house.answer(ts, channel)
    run = await house.run_at(ts, RunStatus.COMPLETED, channel=channel)
    for user in (MAYA, OMAR):
        assert "add 7 and 8" in await house.command(f"status {run.id}", user=user, channel=ACTIONS)
    assert "There is no such run" in await house.command(f"status {run.id}", user=INES)
    assert "There is no such run" in await house.command(f"stop {run.id}", user=INES)
    assert run.id[:6] not in await house.command("runs all", user=INES)
    await house.slack.call("home", {"as": INES, "tab": "home"})
    open_run = await house.ask("add 9 and 9")
    await house.answer(open_run)
    seen = await house.command("runs all", user=INES)
    assert ((await house.run_at(open_run)).id[:6] in seen, run.id[:6] in seen) == (True, False)


async def test_invariant_15_a_task_from_a_direct_message_says_before_its_card_where_that_will_stand(
    house: House,
) -> None:
    channel = await house.dm(MAYA)
    ts = await house.slack.post(MAYA, channel, TASK)
    first = await house.slack.wait_for_message(channel, lambda m: m["user"] == BOT, thread_ts=ts)
    card = await house.card("Tea")
    assert float(first["ts"]) < float(card["ts"])
    ways = {"chat.postMessage", "chat.startStream"}
    posts = [entry["args"] for entry in await house.slack.log() if entry["method"] in ways]
    assert posts[0]["channel"] == channel
    assert f"will stand in <#{ACTIONS}>" in str(posts[0].get("blocks") or posts[0]["chunks"])
    run = await house.run_at(ts, channel=channel)
    assert "There is no such run" not in await house.command(f"status {run.id}", user=INES)  # a decider


async def test_invariant_15_another_persons_direct_message_is_seen_by_nobody_else(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    channel = await house.dm(MAYA)
    ts = await house.slack.post(MAYA, channel, "add 7 and 8")
    await house.answer(ts, channel)
    run = await house.run_at(ts, RunStatus.COMPLETED, channel=channel)
    answers = await asyncio.gather(house.command(f"status {run.id}", user=INES))
    assert "There is no such run" in answers[0]

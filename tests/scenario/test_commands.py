"""What the slash command takes and answers, to one person alone."""

from __future__ import annotations

import asyncio
import re

import pytest

from agent.domain import Principal, RunStatus
from bot.blocks.usage import USAGE
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, DATA, EVE, GENERAL, INES, MAYA, OMAR, TEAM, THEO, words

PRICE = "price of Oat flat to 410"


async def anchor(house: House, contains: str, channel: str = DATA) -> dict[str, object]:
    return await house.slack.wait_for_message(
        channel, lambda m: m["user"] == BOT and "gives me a task" in words(m) and contains in words(m)
    )


async def test_run_posts_who_asked_and_the_run_lives_in_that_thread(house: House) -> None:
    said = await house.command("run add 20 and 22")
    first = await anchor(house, "add 20 and 22")
    assert f"<@{MAYA}>" in words(first)
    assert "It is 42" in await house.answer(str(first["ts"]))
    run = await house.run_at(str(first["ts"]), RunStatus.COMPLETED)
    assert run.requester == Principal(team=TEAM, user=MAYA).key
    assert f"Taken: run `{run.id[:6]}`" in said
    assert str(first["ts"]).replace(".", "") in said  # the link to its thread


async def test_words_in_the_thread_of_such_a_run_go_on_with_it(house: House) -> None:
    await house.command("run add 1 and 1")
    first = await anchor(house, "add 1 and 1")
    await house.answer(str(first["ts"]))
    await house.ask("add 2 and 2", thread_ts=str(first["ts"]))
    await house.slack.wait_for_message(DATA, lambda m: "It is 4" in words(m), thread_ts=str(first["ts"]))
    new, old = house.queries.runs()
    assert new.parent_run == old.id


async def test_whoever_asked_by_command_cannot_approve_it_and_another_can(house: House) -> None:
    await house.command(f"run {PRICE}", user=OMAR)
    card = await house.card("Oat flat", "UPDATE drinks")
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "your words are part of this run")
    await house.click(INES, card, "approve")
    await house.shows(card, f"Approved by <@{INES}>", "Done")


async def test_run_without_words_says_how_it_is_typed(house: House) -> None:
    assert "run &lt;task&gt;" in await house.command("run")
    assert house.queries.runs() == ()


async def test_run_takes_many_lines_but_not_more_than_a_message_may_have(house: House) -> None:
    assert "100,000 characters long" in await house.command("run " + "x" * 100_000)
    await house.command("run add 1\nand 2")
    await anchor(house, "add 1\\nand 2")


async def test_where_the_bot_is_no_member_run_says_how_to_invite_it(house: House) -> None:
    await house.slack.call("channel", {"name": "elsewhere", "members": [MAYA], "bot_member": False})
    channel = next(c.id for c in house.sim.workspace.channels.values() if c.name == "elsewhere")
    said = await house.command("run add 1 and 1", channel=channel)
    assert "/invite" in said
    assert house.queries.runs() == ()


async def test_a_quota_is_told_before_anything_is_posted(open_house: Opened) -> None:
    house = await open_house(settings={"runs_an_hour": 1})
    await house.command("run add 1 and 1")
    await anchor(house, "add 1 and 1")
    said = await house.command("run add 2 and 2")
    assert "limit for one person" in said
    assert "try again at" in said
    assert len(house.queries.runs()) == 1
    posts = [e for e in await house.slack.log() if e["method"] == "chat.postMessage"]
    assert "add 1 and 1" in str(posts)
    assert "add 2 and 2" not in str(posts)


async def test_of_two_tasks_at_once_the_one_beyond_the_quota_loses_its_message_again(open_house: Opened) -> None:
    house = await open_house(settings={"runs_an_hour": 1})
    await asyncio.gather(*(house.slack.command(MAYA, DATA, "/agent", f"run add {n} and 1") for n in (1, 2)))
    await house.slack.wait_for_ephemeral(MAYA, lambda m: "limit for one person" in words(m))
    assert len(house.queries.runs()) == 1
    assert len([m for m in house.slack.messages.values() if "gives me a task" in words(m)]) == 1


async def test_when_slack_is_slow_the_task_is_kept_and_comes_later(house: House) -> None:
    await house.slack.fault("chat.postMessage", "error", error="internal_error", times=2)
    said = await house.command("run add 4 and 4")
    assert "Taken" in said
    first = await anchor(house, "add 4 and 4")
    assert "It is 8" in await house.answer(str(first["ts"]))
    assert len(house.queries.runs()) == 1


async def test_a_post_whose_answer_was_lost_is_found_again_and_there_is_one_run(house: House) -> None:
    await house.slack.fault("chat.postMessage", "drop_response", times=1)
    await house.command("run add 5 and 5")
    first = await anchor(house, "add 5 and 5")
    assert "It is 10" in await house.answer(str(first["ts"]))
    assert len([m for m in house.slack.messages.values() if "gives me a task" in words(m)]) == 1
    assert len(house.queries.runs()) == 1


async def test_a_restart_between_the_command_and_its_run_loses_nothing(house: House) -> None:
    await house.slack.fault("chat.postMessage", "error", error="internal_error", times=50)
    assert "in a moment" in await house.command("run add 6 and 6")
    await house.app.stop()
    await house.slack.clear_faults()
    await house.start()
    first = await anchor(house, "add 6 and 6")
    assert "It is 12" in await house.answer(str(first["ts"]))


async def test_the_text_of_a_task_cannot_mention_anybody_in_its_message(house: House) -> None:
    await house.command("run &lt;!channel&gt; *add* &lt;https://evil.example|1 and 1&gt; <!here> @everyone")
    first = await anchor(house, "add")
    assert "<!channel>" not in words(first)
    assert "<http" not in words(first)


async def test_in_a_direct_message_run_works_as_well(house: House) -> None:
    channel = await house.dm(MAYA)
    await house.command("run add 7 and 7", channel=channel)
    first = await anchor(house, "add 7 and 7", channel)
    assert "It is 14" in await house.answer(str(first["ts"]), channel)


@pytest.mark.parametrize(("person", "why"), [(THEO, "Guests can neither"), (EVE, "Only members")])
async def test_guests_and_strangers_run_nothing(house: House, person: str, why: str) -> None:
    assert why in await house.command("run add 1 and 1", user=person)
    assert house.queries.runs() == ()
    assert person in house.audit()[0].principal


async def test_a_short_id_is_enough_and_one_that_means_several_names_them(house: House) -> None:
    first = await house.run_at(await house.ask("add 1 and 1"), RunStatus.COMPLETED)
    second = await house.run_at(await house.ask("add 2 and 2"), RunStatus.COMPLETED)
    listed = await house.command("runs")
    assert f"`{first.id[:6]}`" in listed
    assert "add 1 and 1" in await house.command(f"status {first.id[:6]}")
    several = await house.command("status r")
    assert first.id in several
    assert second.id in several
    assert "one more letter" in several


async def test_a_run_that_one_may_not_see_is_as_if_it_were_not_there(house: House) -> None:
    await house.slack.call("channel", {"name": "secret", "private": True, "members": [OMAR], "bot_member": True})
    channel = next(c.id for c in house.sim.workspace.channels.values() if c.name == "secret")
    ts = await house.ask(PRICE, user=OMAR, channel=channel)
    await house.card("Oat flat")
    run = await house.run_at(ts, channel=channel)
    approval = house.approvals()[0].id
    for text in (f"status {run.id}", f"stop {run.id}", f"pause {run.id}"):
        assert "no such run" in await house.command(text)
    assert "no such action" in await house.command(f"why {approval}")
    assert "Nothing waits" in await house.command("approvals")


async def test_approvals_names_who_may_decide_how_long_is_left_and_where_the_card_is(house: House) -> None:
    await house.ask(PRICE)
    card = await house.card("Oat flat")
    row = house.approvals()[0]
    assert house.app.delivery is not None
    await house.app.delivery.drained()
    mine = await house.command("approvals", user=OMAR)
    assert "For you" in mine
    assert f"`{row.id[:6]}`" in mine
    assert f"<@{INES}>" in mine
    assert card["ts"].replace(".", "") in mine
    assert re.search(r"in \d+ min", mine)
    others = await house.command("approvals", user=MAYA)
    assert "For others" in others
    assert "For you" not in others


async def test_why_says_the_rules_the_facts_who_decided_and_what_came_of_it(house: House) -> None:
    await house.ask(PRICE)
    card = await house.card("Oat flat")
    row = house.approvals()[0]
    before = await house.command(f"why {row.id[:6]}")
    assert "risk: *medium*" in before
    assert "db:shop/drinks" in before
    assert "waits for an answer" in before
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Done")
    after = await house.command(f"why {row.action}")
    assert f"approved by <@{OMAR}>" in after
    assert "*Outcome*" in after
    assert "done" in after


async def test_why_of_a_call_that_nobody_was_asked_about(house: House) -> None:
    run = await house.run_at(await house.ask("add 1 and 1"), RunStatus.COMPLETED)
    status = await house.command(f"status {run.id}")
    found = re.search(r"`(a\w{5})`", status)
    assert found, status
    said = await house.command(f"why {found[1]}")
    assert "risk: *low*" in said
    assert "No person was asked" in said


async def test_why_of_a_takeover_says_that_it_is_high_and_who_has_it(house: House) -> None:
    await house.ask("wipe the drinks")
    packet = await house.card("A person has to do this")
    await house.click(INES, packet, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")
    said = await house.command(f"why {house.takeover().id}", user=OMAR)
    assert "risk: *high*" in said
    assert f"<@{INES}>" in said


async def test_budget_says_what_was_spent_and_when_the_next_run_is_possible(open_house: Opened) -> None:
    house = await open_house(settings={"runs_an_hour": 2})
    await house.run_at(await house.ask("add 1 and 1"), RunStatus.COMPLETED)
    said = await house.command("budget")
    assert "1 of 2 left" in said
    assert "You can start a run now" in said
    assert "at most $0.50" in said
    await house.run_at(await house.ask("add 2 and 2"), RunStatus.COMPLETED)
    said = await house.command("budget")
    assert "0 of 2 left" in said
    assert "The next run is possible at <!date" in said
    assert "in 2 runs" in said


async def test_yesterdays_runs_do_not_count_today(house: House) -> None:
    await house.run_at(await house.ask("add 1 and 1"), RunStatus.COMPLETED)
    await house.advance(86_400)
    assert "in 0 runs" in await house.command("budget")


async def test_only_admins_pause_everything_and_nothing_starts_until_they_resume(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch, Touch("touch_medium")))
    assert "Only admins" in await house.command("pause", user=MAYA)
    assert house.audit()[0].kind == "not_entitled"
    assert "nothing new starts" in await house.command("pause", user=OMAR)
    assert "paused already" in await house.command("pause all", user=OMAR)
    said = await house.command("run touch both")
    assert "Everything is paused" in said
    run = house.queries.runs()[0]
    assert not touch.done
    assert "Only admins" in await house.command("resume", user=INES)
    assert "goes on" in await house.command("resume", user=OMAR)
    await house.until(lambda: touch.done)
    assert "Nothing was paused" in await house.command("resume", user=OMAR)
    assert run.requester.endswith(MAYA)


async def test_one_run_is_paused_and_resumed_by_who_asked_for_it(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(Touch("touch_low", "low"), touch))
    ts = await house.ask("touch both")
    card = await house.card("Touch b")
    run = await house.run_at(ts)
    assert "in charge" not in await house.command(f"pause {run.id[:6]}")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by")
    assert touch.done["b"] == 0
    assert "goes on" in await house.command(f"resume {run.id[:6]}")
    await house.run_at(ts, RunStatus.COMPLETED)
    assert touch.done["b"] == 1


async def test_a_member_of_the_channel_who_is_not_in_charge_neither_stops_nor_pauses(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    ts = await house.ask(PRICE)
    await house.card("Oat flat")
    run = await house.run_at(ts)
    for order in ("stop", "pause", "resume"):
        assert "Only who asked for it" in await house.command(f"{order} {run.id}", user=INES)
    assert len(house.audit()) == 3
    assert (await house.run_at(ts)).status is RunStatus.WAITING


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("rnu add 1", "run"), ("statsu", "status"), ("aprovals", "approvals"), ("pauze", "pause"), ("budgte", "budget")],
)
async def test_a_misspelt_word_gets_the_right_one_with_how_it_is_typed(house: House, typed: str, meant: str) -> None:
    said = await house.command(typed)
    assert f"Did you mean `/agent {meant}`" in said
    assert USAGE[meant].form.replace("<", "&lt;").replace(">", "&gt;") in said
    assert house.queries.runs() == ()


async def test_hostile_words_are_shown_harmlessly(house: House) -> None:
    for text in ("<!channel>", "status <!here>*`", "why `<https://x.example|y>`", "runs <@U0OMAR>"):
        said = await house.command(text)
        assert "<!" not in said
        assert "|y>" not in said


async def test_help_lists_every_word(house: House) -> None:
    said = await house.command("help")
    for usage in USAGE.values():
        assert usage.form.replace("<", "&lt;").replace(">", "&gt;") in said
    assert await house.command("", channel=GENERAL)


async def test_a_refusal_that_comes_too_late_for_the_answer_is_told_directly(house: House) -> None:
    await house.slack.fault("chat.postMessage", "rate_limit", times=1, retry_after=3)
    await house.slack.fault("chat.postMessage", "error", error="is_archived", times=1)
    assert "in a moment" in await house.command("run add 8 and 8")
    assert "/invite" in await house.told(MAYA, "Your task was not taken")
    assert house.queries.runs() == ()

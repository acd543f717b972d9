"""What people can say to the bot, and what comes of it."""

from __future__ import annotations

import re

import pytest

from agent.domain import RunStatus
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import ACTIONS, BOT, DATA, EVE, INES, MAYA, OMAR, THEO, words


async def test_a_mention_ends_with_a_true_answer_in_its_thread(house: House) -> None:
    ts = await house.ask("add 20 and 22")
    first = await house.slack.wait_for_message(DATA, lambda m: m["user"] == BOT, thread_ts=ts)
    assert "It is 42" in await house.answer(ts)
    assert "An AI works here" in words(first)
    run = await house.run_at(ts, RunStatus.COMPLETED)
    progress = await house.shows(first, "completed", run.id)
    assert f"{run.id}` stops it" not in words(progress)


async def test_a_direct_message_needs_no_mention_and_is_answered_in_its_thread(house: House) -> None:
    channel = await house.dm(MAYA)
    ts = await house.slack.post(MAYA, channel, "add 1 and 2")
    assert "It is 3" in await house.answer(ts, channel)


async def test_a_message_in_a_channel_without_a_mention_is_none_of_the_bots_business(house: House) -> None:
    await house.slack.post(MAYA, DATA, "add 1 and 2")
    await house.answer(await house.ask("add 3 and 4"))
    assert [run.title for run in house.queries.runs()] == ["add 3 and 4"]


async def test_words_in_the_thread_of_a_waiting_run_become_part_of_it(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410")
    await house.card("Oat flat")
    await house.ask("and please hurry", user=INES, thread_ts=ts)
    run = await house.run_at(ts)
    await house.until(lambda: "follow_up_received" in [event.type for event in house.events(run.id)])
    assert len(house.queries.runs()) == 1


async def test_words_in_the_thread_of_a_finished_run_start_a_new_one_with_it_as_parent(house: House) -> None:
    ts = await house.ask("add 1 and 1")
    await house.answer(ts)
    first = await house.run_at(ts, RunStatus.COMPLETED)
    await house.ask("add 2 and 2", thread_ts=ts)
    await house.slack.wait_for_message(DATA, lambda m: "It is 4" in words(m), thread_ts=ts)
    second = await house.run_at(ts, RunStatus.COMPLETED)
    assert (second.parent_run, second.id != first.id) == (first.id, True)


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("hello", "Hello! I am an AI"),
        ("Good morning!", "Hello! I am an AI"),
        ("thanks a lot :pray:", "You are welcome"),
        ("", "I am here"),
        ("x" * 100_000, "100,000 characters long"),
    ],
)
async def test_small_talk_and_what_is_no_task_get_a_word_and_no_run(house: House, said: str, answered: str) -> None:
    ts = await house.ask(said)
    await house.slack.wait_for_message(DATA, lambda m: answered in words(m), thread_ts=ts)
    assert house.queries.runs() == ()


async def test_a_message_of_a_file_alone_is_asked_for_words(house: House) -> None:
    channel = await house.dm(MAYA)
    await house.slack.attach(MAYA, channel, "plan.pdf", b"%PDF-1.7")
    await house.slack.wait_for_message(channel, lambda m: "I do not know what to do with a file alone" in words(m))
    assert house.queries.runs() == ()


async def test_a_task_that_nobody_can_plan_ends_with_examples_of_what_can_be_done(house: House) -> None:
    ts = await house.ask("compose a symphony in seven movements")
    assert "No model is configured" in await house.answer(ts)
    await house.run_at(ts, RunStatus.FAILED)


async def test_a_task_just_short_enough_is_taken_and_its_end_is_kept(house: House) -> None:
    text = "wonder " * 1_100 + "about the end"
    ts = await house.ask(text)
    await house.answer(ts)
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert view.task.text == text


async def test_the_eleventh_run_in_an_hour_is_refused_with_the_time_when_it_is_free_again(open_house: Opened) -> None:
    house = await open_house(settings={"runs_an_hour": 2})
    for number in (1, 2):
        await house.answer(await house.ask(f"add {number} and 1"))
    await house.ask("add 3 and 1")
    assert "Please try again at" in await house.told(MAYA, "You started 2 runs within the last hour")
    assert len(house.queries.runs()) == 2
    await house.answer(await house.ask("add 5 and 1", user=INES))
    await house.advance(3601)
    await house.answer(await house.ask("add 4 and 1"))


async def test_a_run_too_many_at_once_is_refused_and_one_that_waits_for_people_does_not_count(
    open_house: Opened,
) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch,), settings={"runs_at_once": 1, "runs_waiting": 0})
    await house.ask("price of Oat flat to 410")
    await house.card("Oat flat")
    touch.hold()
    held = await house.ask("use touch_low on x")
    await touch.running.wait()
    await house.ask("add 1 and 1")
    await house.told(MAYA, "at most 1 run at once")
    touch.release()
    await house.answer(held)


async def test_the_quota_of_everybody_counts_everybodys_runs(open_house: Opened) -> None:
    house = await open_house(settings={"runs_an_hour_global": 1})
    await house.answer(await house.ask("add 1 and 1"))
    await house.ask("add 1 and 2", user=INES)
    await house.told(INES, "the limit for everybody together")


async def test_help_names_every_verb(house: House) -> None:
    said = await house.command("help")
    assert all(f"/agent {verb}" in said for verb in ("status", "runs", "stop", "help"))
    assert "/agent help" in await house.command("")


@pytest.mark.parametrize(
    ("typed", "answered"),
    [
        ("statsu", "Did you mean `/agent status`?"),
        ("frobnicate", "`/agent help` lists what I know"),
        ("runs wating", "Did you mean `/agent runs waiting`?"),
        ("status rnope", "There is no such run"),
        ("stop rnope", "There is no such run"),
        ("stop", "Which run?"),
        ("status", "You have asked for nothing yet"),
        ("stop all", "No run of yours was going"),
        ("`<!channel>` " + "x" * 3000, "I do not know"),
    ],
)
async def test_a_command_that_cannot_be_followed_is_answered_with_what_was_meant(
    house: House, typed: str, answered: str
) -> None:
    said = await house.command(typed)
    assert answered in said
    assert "<!channel>" not in said


async def test_status_and_runs_show_a_run_by_the_beginning_of_its_id(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410")
    await house.card("Oat flat")
    run = await house.run_at(ts, RunStatus.WAITING)
    assert "waiting for people" in await house.command(f"status {run.id[:6]}")
    assert run.id[:6] in await house.command("runs waiting")
    assert run.id in await house.command("status")
    assert run.id[:6] not in await house.command("runs", user=INES)


async def test_a_stopped_run_is_cancelled_and_its_card_says_so(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410")
    card = await house.card("Oat flat")
    run = await house.run_at(ts)
    assert "is stopping" in await house.command(f"stop {run.id}")
    await house.run_at(ts, RunStatus.CANCELLED)
    await house.shows(card, "Withdrawn")
    assert "It was stopped" in await house.answer(ts)
    assert "is over already" in await house.command(f"stop {run.id}")
    assert house.prices()["Oat flat"] == 400


async def test_only_who_is_in_charge_stops_a_run(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410", user=INES)
    await house.card("Oat flat")
    run = await house.run_at(ts)
    assert "Only who asked for it" in await house.command(f"stop {run.id}", user=MAYA)
    assert (await house.run_at(ts)).status is RunStatus.WAITING
    assert "is stopping" in await house.command(f"stop {run.id}", user=OMAR)
    await house.run_at(ts, RunStatus.CANCELLED)


async def test_an_admin_stops_everybodys_runs_and_others_only_their_own(house: House) -> None:
    one, other = await house.ask("price of Tea to 260"), await house.ask("price of Mocha to 460", user=INES)
    first = await house.card("Tea")
    await house.card("Mocha", without=(first,))
    assert "1 run of yours stopping" in await house.command("stop all", user=MAYA)
    await house.run_at(one, RunStatus.CANCELLED)
    assert (await house.run_at(other)).status is RunStatus.WAITING
    assert "1 run of everybody stopping" in await house.command("stop all", user=OMAR)
    await house.run_at(other, RunStatus.CANCELLED)


@pytest.mark.parametrize(("person", "why"), [(THEO, "Guests can neither"), (EVE, "Only members of the workspace")])
async def test_a_guest_or_a_stranger_is_refused_by_the_command_as_well(house: House, person: str, why: str) -> None:
    assert why in await house.command("runs all", user=person)
    assert [row.kind for row in house.audit()] == ["may_not_ask"]


async def test_the_suggested_prompts_are_tasks_that_work(house: House) -> None:
    channel = await house.dm(MAYA)
    await house.slack.call("home", {"as": MAYA, "tab": "messages"})
    await house.slack.wait_for_push(lambda push: push["type"] == "channels", after=0)
    await house.answer(await house.slack.post(MAYA, channel, "add 2 and 3"), channel)
    entries = await house.slack.log()
    prompts = [entry for entry in entries if entry["method"] == "assistant.threads.setSuggestedPrompts"]
    assert prompts
    assert re.search(r"add 2 and 3", str(prompts[-1]["args"]))


async def test_nothing_but_cards_stands_in_the_approvals_channel(house: House) -> None:
    await house.answer(await house.ask("add 1 and 1"))
    assert await house.slack.history(ACTIONS) == []

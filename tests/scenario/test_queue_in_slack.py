"""The queue and the day's budget as people see them in Slack."""

from __future__ import annotations

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, DATA, INES, MAYA, words


async def test_a_run_that_waits_for_its_turn_says_so_in_its_thread_and_begins_by_itself(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch,), settings={"runs_at_once": 1})
    touch.hold()
    first = await house.ask("use touch_low on x")
    await touch.running.wait()
    second, third = await house.ask("add 1 and 1"), await house.ask("add 2 and 2")
    for ts, place in ((second, "number 1 in the queue"), (third, "number 2 in the queue")):
        await house.slack.wait_for_message(
            DATA, lambda m, place=place: m["user"] == BOT and place in words(m), thread_ts=ts
        )
    run = house.run(second)
    assert run is not None
    assert "number 1 in the queue" in await house.command(f"status {run.id}")
    assert "It is 9" in await house.answer(await house.ask("add 4 and 5", user=INES))  # nobody else waits for them
    touch.release()
    await house.answer(first)
    assert "It is 2" in await house.answer(second)
    assert "It is 4" in await house.answer(third)
    for ts in (second, third):
        assert (await house.run_at(ts)).status is RunStatus.COMPLETED


async def test_the_budget_of_the_day_is_shown_and_who_passes_it_reads_when_it_begins_anew(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.end(), script.say()], cost=40_000)
    house = await open_house(model=model, settings={"budget_usd_a_day": 0.041, "budget_usd_a_day_global": 7})
    await house.answer(await house.ask("anything"))
    said = await house.command("budget")
    assert "You a day:* $0.04 of $0.04 left" in said
    assert "Everybody a day:* $7.00 of $7.00 left" in said
    assert "Anew at:*" in said
    model.replies[:] = [script.plan()]
    model.cost = 41_001
    ts = await house.ask("anything else", user=MAYA)
    answer = await house.answer(ts)
    assert "Your budget for a day" in answer
    assert "begins anew at" in answer
    assert "no runbook fits" in answer
    assert house.run(ts)

"""Stop, from the progress message and from Slack's own button: behaviour 13."""

from __future__ import annotations

from agent.domain import Outcome, RunStatus
from agent.events import ActionFinished
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, DATA, INES, MAYA, OMAR, THEO, Json, buttons


async def progress(house: House, ts: str) -> Json:
    """The progress message of a thread, once it has its button."""
    return await house.slack.wait_for_message(
        DATA, lambda m: m["user"] == BOT and "stop_run" in buttons(m), thread_ts=ts
    )


async def test_stop_cancels_withdraws_what_waits_and_says_who_stopped(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410")
    card = await house.card("Oat flat")
    message = await progress(house, ts)
    await house.click(MAYA, message, "stop_run")
    await house.run_at(ts, RunStatus.CANCELLED)
    assert buttons(await house.shows(card, "Withdrawn")) == ["ask_again"]
    after = await house.shows(message, f"*stopped* by <@{MAYA}>")
    assert "stop_run" not in buttons(after)
    assert f"It was stopped.* By <@{MAYA}>" in await house.answer(ts)
    assert house.prices()["Oat flat"] == 400


async def test_stop_ends_what_runs(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    house = await open_house(tools=(touch,))
    touch.hold()
    ts = await house.ask("use touch_low on x")
    await touch.running.wait()
    await house.click(MAYA, await progress(house, ts), "stop_run")
    run = await house.run_at(ts, RunStatus.CANCELLED)
    assert touch.done == {}
    ended = [event for event in house.events(run.id) if isinstance(event, ActionFinished)]
    assert [event.outcome for event in ended] in ([Outcome.CANCELLED], [Outcome.UNKNOWN])


async def test_a_guest_is_refused_and_the_run_goes_on(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410")
    await house.card("Oat flat")
    await house.forge(THEO, await progress(house, ts), "stop_run")
    await house.told(THEO, "Guests can neither")
    assert (await house.run_at(ts)).status is RunStatus.WAITING


async def test_a_colleague_who_is_not_in_charge_cannot_stop_and_the_run_goes_on(open_house: Opened) -> None:
    house = await open_house()
    ts = await house.ask("price of Oat flat to 410", user=INES)
    card = await house.card("Oat flat")
    await house.click(MAYA, await progress(house, ts), "stop_run")
    await house.told(MAYA, "Only who asked for it")
    assert [row.kind for row in house.audit()] == ["not_entitled"]
    await house.click(OMAR, card, "approve")
    await house.answer(ts)


async def test_stop_on_a_run_that_is_over_is_answered(house: House) -> None:
    ts = await house.ask("price of Oat flat to 410")
    card = await house.card("Oat flat")
    message = await progress(house, ts)
    await house.click(OMAR, card, "approve")
    await house.run_at(ts, RunStatus.COMPLETED)
    await house.forge(MAYA, message, "stop_run")
    await house.told(MAYA, "is over already: completed")

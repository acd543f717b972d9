"""The reply in the card's thread: what came of it, to whoever asked, once."""

from __future__ import annotations

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import ACTIONS, INES, MAYA, OMAR, Json, words

TASK = "price of Oat flat to 410"


async def reply(house: House, card: Json, *contains: str) -> Json:
    return await house.slack.wait_for_message(
        ACTIONS,
        lambda m: m["ts"] != card["ts"] and all(part in words(m) for part in contains),
        thread_ts=card["ts"],
    )


async def replies(house: House, card: Json) -> list[Json]:
    thread = await house.slack.history(ACTIONS, thread_ts=card["ts"])
    return [message for message in thread if message["ts"] != card["ts"]]


async def quiet(house: House) -> None:
    """Until everything that people should see is in Slack."""
    assert house.app.delivery is not None
    house.app.delivery.wake()
    await house.app.delivery.drained()


async def test_the_result_stands_in_the_cards_thread_and_mentions_who_asked(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "approve")
    said = words(await reply(house, card, f"<@{MAYA}>", "*Done*"))
    assert "approved by omar" in said.lower()
    assert f"<@{OMAR}>" not in said
    assert f"p{ts.replace('.', '')}|The run's thread" in said
    await house.run_at(ts, RunStatus.COMPLETED)
    await quiet(house)
    assert len(await replies(house, card)) == 1


async def test_a_denial_is_told_with_its_reason_in_one_reply(house: House) -> None:
    ts = await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "deny")
    first = await reply(house, card, f"<@{MAYA}>", "Denied, not run")
    view = await house.slack.wait_for_view(OMAR)
    await house.slack.submit(OMAR, view["id"], {"reason": {"value": "Prices are frozen."}})
    later = await reply(house, card, "Prices are frozen.")
    assert later["ts"] == first["ts"]
    await house.answer(ts)
    await quiet(house)
    assert len(await replies(house, card)) == 1


async def test_an_expiry_is_told_and_what_the_requester_withdrew_is_not(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.until(lambda: house.approvals()[0].delivered_at)
    await house.advance(1801)
    await reply(house, card, f"<@{MAYA}>", "Expired, nobody answered: not run")
    ts = await house.ask("price of Tea to 260")
    other = await house.card("Tea")
    await house.click(MAYA, other, "withdraw")
    await house.answer(ts)
    await quiet(house)
    assert await replies(house, other) == []


async def test_a_superseded_card_gets_no_result_but_the_new_one_does(house: House) -> None:
    await house.ask(TASK)
    card = await house.card("Oat flat")
    await house.click(OMAR, card, "edit")
    view = await house.slack.wait_for_view(OMAR)
    text = "UPDATE drinks SET price = 405 WHERE name = 'Oat flat'"
    await house.slack.submit(OMAR, view["id"], {"argument.1.0": {"value": text}})
    new = await house.card("price = 405", without=(card,))
    await house.click(INES, new, "approve")
    await reply(house, new, "*Done*")
    await quiet(house)
    assert await replies(house, card) == []


@pytest.mark.parametrize("moment", ["while it runs", "before it is told"])
async def test_a_restart_neither_loses_nor_doubles_the_result(open_house: Opened, moment: str) -> None:
    lamp = Touch("lamp")
    house = await open_house(
        model=ScriptedModel([script.plan(), script.use(("lamp", {"name": "a"})), script.end(), script.say()]),
        tools=[lamp],
    )
    await house.ask("touch it")
    card = await house.card("Touch a")
    assert house.app.delivery is not None
    if moment == "before it is told":
        await quiet(house)
        house.app.delivery.stop()
        await house.click(OMAR, card, "approve")
        await house.until(lambda: house.approvals()[0].consumed_at and lamp.done)
        await house.restart()
    else:
        lamp.hold()
        await house.click(OMAR, card, "approve")
        await lamp.running.wait()
        await house.shows(card, "Running")
        lamp.release()
    await reply(house, card, f"<@{MAYA}>", "*Done*")
    await house.restart()
    await quiet(house)
    assert len(await replies(house, card)) == 1


async def test_a_result_that_is_known_before_its_card_stands_waits_for_it(house: House) -> None:
    await house.slack.fault("chat.postMessage", "error", error="internal_error", times=2)
    ts = await house.ask(TASK)
    await house.until(house.approvals)
    run = house.run(ts)
    assert run is not None
    await house.control.stop(run.id, by="local:0", reason="test")
    await house.run_at(ts, RunStatus.CANCELLED)
    card = await house.slack.wait_for_message(
        ACTIONS, lambda m: "Withdrawn" in words(m) and not m.get("parent_user_id")
    )
    await reply(house, card, f"<@{MAYA}>", "Withdrawn, not run")

"""The answer in a task's thread: whole however long it is, with its sources, and open to a vote."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from storage.feedback import opinions
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import BOT, DATA, INES, MAYA, THEO, Json, words

LONG = "\n\n".join(f"Paragraph {number} " + f"has word{number} in it. " * 20 for number in range(60))
FENCED = (
    "Here it is:\n```python\n" + "\n".join(f"print({number})  # line {number}" for number in range(900)) + "\n```\nEnd."
)


def read(message: Json) -> str:
    """The text of a message's sections."""
    return "\n\n".join(block["text"]["text"] for block in message["blocks"] if block["type"] == "section")


async def thread(house: House, ts: str) -> list[Json]:
    """The app's messages in a thread, in their order."""
    return [m for m in await house.slack.history(DATA, thread_ts=ts) if m["user"] == BOT]


async def asked(open_house: Opened, answer: str, **plan: Any) -> tuple[House, str, list[Json]]:
    """A house in which a model gave this answer, and the messages of the answer."""
    model = ScriptedModel([script.plan("Look."), script.end(), script.say(answer)])
    house = await open_house(model=model, **plan)
    ts = await house.ask("tell me everything")
    await house.answer(ts)
    await house.run_at(ts, RunStatus.COMPLETED)
    return house, ts, (await thread(house, ts))[1:]


async def test_a_long_answer_stands_whole_in_order_in_as_many_messages_as_it_needs(open_house: Opened) -> None:
    _, _, parts = await asked(open_house, LONG)
    assert len(parts) > 2
    said = "\n\n".join(read(part) for part in parts)
    assert re.findall(r"Paragraph \d+", said) == [f"Paragraph {number}" for number in range(60)]
    for number in range(60):
        assert said.count(f"word{number} ") == 20
    assert [f"part {number} of {len(parts)}" in words(part) for number, part in enumerate(parts, start=1)]
    assert ["Written " in words(part) for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [f"<@{MAYA}>" in words(part) for part in parts] == [True] + [False] * (len(parts) - 1)
    keys = [part["metadata"]["event_payload"]["key"] for part in parts]
    assert [key.partition("#")[2] for key in keys] == ["", *(str(number) for number in range(2, len(parts) + 1))]


async def test_code_that_is_split_is_closed_and_opened_again_and_no_line_is_lost(open_house: Opened) -> None:
    _, _, parts = await asked(open_house, FENCED)
    said = "\n".join(read(part) for part in parts)
    assert [int(number) for number in re.findall(r"print\((\d+)\)", said)] == list(range(900))
    for part in parts:
        for block in part["blocks"]:
            if block["type"] == "section":
                assert block["text"]["text"].count("```") % 2 == 0


async def test_what_is_too_long_for_ten_messages_is_counted_and_said_at_the_start_and_the_end(
    open_house: Opened,
) -> None:
    _, _, parts = await asked(open_house, "word & more <@U0OMAR> " * 10_000)
    assert len(parts) == 10
    assert "more characters are left out" in words(parts[0])
    assert "more characters are left out" in words(parts[-1])
    assert not any("<@U0OMAR>" in words(part) for part in parts)


@pytest.mark.parametrize("fault", [{"kind": "drop_response"}, {"kind": "status", "status": 500}])
async def test_a_part_whose_answer_was_lost_is_neither_lost_nor_doubled(open_house: Opened, fault: Json) -> None:
    model = ScriptedModel([script.plan("Look."), script.sql("UPDATE drinks SET price = 1 WHERE id = 1"), script.end()])
    model.replies.append(script.say(LONG))
    house = await open_house(model=model)
    ts = await house.ask("tell me everything")
    card = await house.card("drinks")
    await house.slack.fault("chat.postMessage", **fault, times=2)
    await house.click(INES, card, "approve")
    await house.answer(ts)
    said = "\n\n".join(read(part) for part in (await thread(house, ts))[1:])
    assert re.findall(r"Paragraph \d+", said) == [f"Paragraph {number}" for number in range(60)]


async def test_a_crash_between_two_parts_goes_on_with_the_next_one_and_doubles_none(open_house: Opened) -> None:
    house, ts, parts = await asked(open_house, LONG)
    await house.app.stop()
    conn = sqlite3.connect(house.app.db.path)  # as if it died after the second was posted and before that was kept
    conn.execute("DELETE FROM outbox WHERE message_key LIKE 'answer:%#%' AND message_key NOT LIKE '%#2'")
    conn.execute("UPDATE outbox SET sent = 0, ts = '' WHERE message_key LIKE 'answer:%#2'")
    conn.commit()
    conn.close()
    for part in parts[2:]:
        house.sim.services.posting.delete(BOT, house.sim.workspace.channel(DATA), part["ts"])
    await house.start()
    old = {part["ts"] for part in parts}
    await house.slack.wait_for_message(DATA, lambda m: m["ts"] not in old and "Written " in words(m), thread_ts=ts)
    keys = [m["metadata"]["event_payload"]["key"].partition("#")[2] for m in (await thread(house, ts))[1:]]
    assert keys == ["", *(str(number) for number in range(2, len(parts) + 1))]


async def test_an_answer_names_what_it_was_read_from(open_house: Opened) -> None:
    reads = script.use(("read_file", {"path": "README.md"}), ("search", {"query": "sea"}))
    model = ScriptedModel([script.plan("Look."), reads, script.end(), script.say("By the sea.")])
    house = await open_house(model=model)
    answer = await house.answer(await house.ask("where is it roasted?"))
    assert "*Read:* README.md · search “sea”" in answer


async def _vote(house: House, user: str, message: Json, how: str) -> None:
    run = message["metadata"]["event_payload"]["key"].partition(":")[2].partition("#")[0]
    await house.slack.click(user, DATA, message["ts"], "feedback", value=f"{run}|{how}")


async def test_a_vote_is_kept_once_a_person_can_be_changed_and_is_thanked_for_privately(open_house: Opened) -> None:
    house, ts, parts = await asked(open_house, "Short.")
    run = await house.run_at(ts)
    await _vote(house, MAYA, parts[-1], "good")
    await house.told(MAYA, "Thank you, noted.")
    await _vote(house, MAYA, parts[-1], "good")
    await house.told(MAYA, "You said so already")
    await _vote(house, MAYA, parts[-1], "bad")
    view = await house.slack.wait_for_view(MAYA)
    assert view["callback_id"] == "feedback_form"
    await house.slack.submit(MAYA, view["id"], {"word": {"value": {"value": "too short <!channel>"}}})
    kept = house.app.db.read(lambda conn: opinions(conn, run.id))
    assert [(item.vote, item.word) for item in kept] == [("bad", "too short <!channel>")]
    assert [row.detail for row in house.audit() if row.kind == "feedback"] == ["with a word", "bad", "good"]


async def test_a_guest_has_no_vote(open_house: Opened) -> None:
    house, ts, parts = await asked(open_house, "Short.")
    run = await house.run_at(ts)
    await _vote(house, THEO, parts[-1], "good")
    await house.told(THEO, "Guests can neither")
    assert house.app.db.read(lambda conn: opinions(conn, run.id)) == ()
    assert [row.kind for row in house.audit()] == ["not_entitled"]

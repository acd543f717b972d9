"""Live progress as a stream, which can be thrown away at any time: behaviour 11."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from bot import streams
from simulator.clock import Timing
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, DATA, MAYA, OMAR, Json, buttons, words


class Held:
    """A house in which a model's first step waits in a tool, so that its progress is streamed."""

    def __init__(self, house: House, touch: Touch, ts: str) -> None:
        self.house, self.touch, self.ts = house, touch, ts

    async def streaming(self, holds: Callable[[Json], object] = lambda _: True) -> Json:
        """The stream, once it shows this."""
        message = await self.house.slack.wait_for_stream(DATA, lambda m: bool(holds(m)), thread_ts=self.ts)
        assert message["streaming_state"] == "in_progress"
        return message

    async def progress(self) -> list[Json]:
        """The progress messages of the thread as they stand: there must be one."""
        found = [m for m in await self.house.slack.history(DATA, thread_ts=self.ts) if m["user"] == BOT]
        return [m for m in found if "An AI works here" in words(m)]

    async def whole(self, *contains: str) -> Json:
        """The one progress message, once it was written whole."""
        await self.house.slack.wait_for_message(
            DATA,
            lambda m: "Status: *" in words(m) and all(part in words(m) for part in contains),
            thread_ts=self.ts,
        )
        (message,) = await self.progress()
        return message


async def hold(open_house: Opened, *steps: str, **plan: object) -> Held:
    touch = Touch("touch_low", "low")
    touch.hold()
    use = script.use(("touch_low", {"name": "x"}))
    more = [reply for _ in steps[1:] for reply in (script.end("More is done."),)]
    model = ScriptedModel([script.plan(*steps), use, script.end("It is done."), *more, script.say("All of it.")])
    house = await open_house(model=model, tools=(touch,), **plan)
    ts = await house.ask("go")
    await touch.running.wait()
    return Held(house, touch, ts)


async def test_progress_is_streamed_as_a_plan_and_ends_as_one_message_with_the_whole(open_house: Opened) -> None:
    held = await hold(open_house, "Fold the <!channel> map", "Say so")
    stream = await held.streaming(lambda m: "Fold the" in words(m) and "in_progress" in words(m))
    assert "<!channel>" not in words(stream)
    assert "stop_run" in buttons(stream)
    (seen,) = await held.house.slack.streams(DATA)
    assert [(task["title"][:8], task["status"]) for task in seen["tasks"]] == [
        ("Made a p", "complete"),
        ("Fold the", "in_progress"),
        ("Say so", "pending"),
    ]
    assert "steps" in seen["plan_title"]
    assert MAYA in str(seen["recipient"])
    held.touch.release()
    await held.house.answer(held.ts)
    message = await held.whole("completed")
    assert message["ts"] == stream["ts"]
    assert message["metadata"]["event_payload"]["key"].startswith("progress:")
    assert [item["state"] for item in await held.house.slack.streams(DATA)] == ["completed"]


async def test_a_stream_is_not_held_while_people_are_waited_for(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    touch.hold()
    calls = [script.use(("touch_low", {"name": "x"})), script.sql("UPDATE drinks SET price = 1 WHERE id = 1")]
    model = ScriptedModel([script.plan("Do it."), *calls, script.end(), script.say("All of it.")])
    house = await open_house(model=model, tools=(touch,))
    ts = await house.ask("go")
    await touch.running.wait()
    held = Held(house, touch, ts)
    stream = await held.streaming()
    touch.release()
    card = await house.card("drinks")
    message = await held.whole("waiting for people", "question 1")
    assert message["ts"] == stream["ts"]
    assert (await house.slack.streams(DATA))[0]["state"] == "completed"
    await house.slack.wait_for_session(DATA, ts, "suspended")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    await held.whole("completed")
    assert len(await house.slack.streams(DATA)) == 1


async def test_before_its_five_minutes_are_over_a_stream_is_ended_and_the_message_goes_on_whole(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST_S", 1.5)
    held = await hold(open_house, "Do it.")
    stream = await held.streaming()
    message = await held.whole("working", "Do it.")  # while the tool still runs
    assert message["ts"] == stream["ts"]
    assert "stop_run" in buttons(message)
    held.touch.release()
    await held.house.answer(held.ts)
    await held.whole("completed")


async def test_a_stream_past_its_five_minutes_loses_no_text(open_house: Opened) -> None:
    held = await hold(open_house, "Do it.", timing=Timing(stream=3600))
    stream = await held.streaming()
    assert await held.house.slack.expire_streams() == [stream["ts"]]
    held.touch.release()
    assert "All of it." in await held.house.answer(held.ts)
    message = await held.whole("completed", "Do it.", "done")
    assert message["ts"] == stream["ts"]


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("chat.appendStream", {"kind": "error", "error": "message_not_in_streaming_state"}),
        ("chat.appendStream", {"kind": "status", "status": 503}),
        ("chat.appendStream", {"kind": "drop_response"}),
        ("chat.stopStream", {"kind": "error", "error": "message_not_in_streaming_state"}),
        ("chat.stopStream", {"kind": "status", "status": 503, "times": 3}),
        ("chat.stopStream", {"kind": "drop_response"}),
        ("chat.update", {"kind": "status", "status": 503}),
    ],
)
async def test_whatever_happens_to_a_stream_the_thread_has_one_progress_message_with_the_whole(
    open_house: Opened, method: str, fault: Json
) -> None:
    held = await hold(open_house, "Do it.", "Do more.")
    stream = await held.streaming()
    await held.house.slack.fault(method, **fault)
    held.touch.release()
    assert "All of it." in await held.house.answer(held.ts)
    message = await held.whole("completed", "Do it.", "Do more.")
    assert message["ts"] == stream["ts"]


@pytest.mark.parametrize("fault", [{"kind": "drop_response"}, {"kind": "status", "status": 503}])
async def test_a_stream_whose_beginning_was_lost_is_found_and_not_begun_twice(open_house: Opened, fault: Json) -> None:
    touch = Touch("touch_low", "low")
    touch.hold()
    use = script.use(("touch_low", {"name": "x"}))
    model = ScriptedModel([script.plan("Do it."), use, script.end(), script.say("All of it.")])
    house = await open_house(model=model, tools=(touch,))
    await house.slack.fault("chat.startStream", **fault)
    ts = await house.ask("go")
    await touch.running.wait()
    held = Held(house, touch, ts)
    await held.whole("working")
    touch.release()
    await house.answer(ts)
    await held.whole("completed")


@pytest.mark.parametrize("error", ["unknown_method", "missing_scope", "channel_type_not_supported"])
async def test_where_nothing_can_be_streamed_progress_is_posted_as_ever(open_house: Opened, error: str) -> None:
    touch = Touch("touch_low", "low")
    touch.hold()
    house = await open_house(tools=(touch,))
    await house.slack.fault("chat.startStream", "error", error=error, times=100)
    ts = await house.ask("use touch_low on x")
    await touch.running.wait()
    held = Held(house, touch, ts)
    await held.whole("working")
    touch.release()
    await house.answer(ts)
    await held.whole("completed")
    assert await house.slack.streams(DATA) == []


async def test_a_restart_in_the_middle_of_a_stream_goes_on_in_the_same_message(open_house: Opened) -> None:
    held = await hold(open_house, "Do it.")
    stream = await held.streaming()
    held.touch.release()
    await held.house.restart()
    await held.house.run_at(held.ts, RunStatus.COMPLETED, RunStatus.PARTIAL, RunStatus.WAITING)
    message = await held.whole()
    assert message["ts"] == stream["ts"]


async def test_a_crash_in_the_middle_of_a_stream_goes_on_in_the_same_message(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(open_house, "Do it.")
    stream = await held.streaming()

    async def nothing(_: object) -> None:
        """A process that dies ends no stream."""

    with monkeypatch.context() as patch:
        patch.setattr(streams.Streams, "close", nothing)
        held.touch.release()
        await held.house.app.stop()
    await held.house.start()
    message = await held.whole()
    assert message["ts"] == stream["ts"]
    assert (await held.house.slack.streams(DATA))[0]["state"] == "completed"


async def test_the_button_on_a_stream_stops_the_run(open_house: Opened) -> None:
    held = await hold(open_house, "Do it.")
    stream = await held.streaming(lambda m: "stop_run" in buttons(m))
    await held.house.click(MAYA, stream, "stop_run")
    await held.house.run_at(held.ts, RunStatus.CANCELLED)
    await held.whole("stopped")
    await held.house.slack.wait_for_session(DATA, held.ts, "active")
    assert held.touch.done == {}


async def test_slacks_own_stop_button_on_a_stream_ends_in_one_message(open_house: Opened) -> None:
    held = await hold(open_house, "Do it.")
    stream = await held.streaming()
    assert await held.house.slack.stop_session(MAYA, DATA, held.ts) == [stream["ts"]]
    await held.house.run_at(held.ts, RunStatus.CANCELLED)
    message = await held.whole("stopped")
    assert message["ts"] == stream["ts"]
    await held.house.slack.wait_for_session(DATA, held.ts, "active")


async def test_a_crash_before_the_place_of_a_stream_was_kept_finds_it_again(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(open_house, "Do it.")
    stream = await held.streaming()

    async def nothing(_: object) -> None:
        """A process that dies ends no stream."""

    with monkeypatch.context() as patch:
        patch.setattr(streams.Streams, "close", nothing)
        held.touch.release()
        await held.house.app.stop()
    conn = sqlite3.connect(held.house.app.db.path)
    conn.execute("UPDATE outbox SET sent = 0, ts = '', error = '' WHERE message_key LIKE 'progress:%'")
    conn.commit()
    conn.close()
    await held.house.start()
    message = await held.whole()
    assert message["ts"] == stream["ts"]

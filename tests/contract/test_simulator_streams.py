"""The real slack_sdk streams into the simulator, and agent sessions live, as they do in Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import SectionBlock
from slack_sdk.models.messages.chunk import BlocksChunk, MarkdownTextChunk, PlanUpdateChunk, TaskUpdateChunk
from slack_sdk.web.async_client import AsyncWebClient

from simulator import Driver, ManualClock, Simulator

Json = dict[str, Any]
TEAM = "T0SECONDKEY"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sim(clock: ManualClock) -> AsyncIterator[Simulator]:
    async with await Simulator.start(clock=clock) as simulator:
        yield simulator


@pytest.fixture
async def driver(sim: Simulator) -> AsyncIterator[Driver]:
    async with Driver(sim.url) as one:
        yield one


@pytest.fixture
def client(sim: Simulator) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)


@pytest.fixture
async def thread(driver: Driver) -> str:
    return await driver.post("U0MAYA", "C0DATA", "<@U0SECONDKEY> count the orders")


async def refusal(call: Any) -> str:
    with pytest.raises(SlackApiError) as refused:
        await call
    return str(refused.value.response["error"])


async def begun(client: AsyncWebClient, thread: str, **more: Any) -> Any:
    return await client.chat_stream(
        channel="C0DATA", thread_ts=thread, recipient_team_id=TEAM, recipient_user_id="U0MAYA", **more
    )


def task(status: str, **more: str) -> TaskUpdateChunk:
    return TaskUpdateChunk(id="t1", title="Read the orders", status=status, **more)


async def test_the_sdks_stream_grows_in_place_and_ends_with_blocks_and_metadata(
    driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    stream = await begun(client, thread, buffer_size=1)
    await stream.append(markdown_text="Hello **wo")
    seen = await driver.wait_for_stream("C0DATA")
    assert (seen["text"], seen["streaming_state"], seen["thread_ts"]) == ("Hello **wo", "in_progress", thread)
    await stream.append(markdown_text="rld**")
    await driver.wait_for_stream("C0DATA", lambda message: message["text"] == "Hello **world**")
    block = SectionBlock(block_id="below", text="Was this good?")
    metadata = {"event_type": "answer", "event_payload": {"key": "run-1"}}
    await stream.stop(markdown_text="!", blocks=[block], metadata=metadata)
    done = await driver.wait_for_stream("C0DATA", lambda message: message["streaming_state"] == "completed")
    assert [b["type"] for b in done["blocks"]] == ["markdown", "section"]
    assert (done["ts"], done["text"], done["blocks"][0]["text"]) == (stream.ts, "Hello **world**!", "Hello **world**!")
    found = await client.conversations_replies(channel="C0DATA", ts=thread, include_all_metadata=True)
    assert found["messages"][1]["metadata"] == metadata


async def test_tasks_change_status_in_place_and_their_details_grow(
    driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    stream = await begun(client, thread)
    await stream.append(chunks=[task("in_progress", details="opening "), MarkdownTextChunk(text="Counting.")])
    await stream.append(chunks=[task("complete", details="the file", output="42")])
    (seen,) = await driver.streams("C0DATA")
    assert [part["type"] for part in seen["tasks"]] == ["task_card"]
    assert seen["tasks"][0]["status"] == "complete"
    assert seen["tasks"][0]["details"]["elements"][0]["elements"][0]["text"] == "opening the file"
    message = driver.messages["C0DATA", stream.ts]
    assert [block["type"] for block in message["blocks"]] == ["task_card", "markdown"]
    assert [chunk["type"] for chunk in seen["chunks"]] == ["task_update", "markdown_text", "task_update"]


async def test_in_plan_mode_all_tasks_stand_in_one_plan(driver: Driver, client: AsyncWebClient, thread: str) -> None:
    stream = await begun(client, thread, task_display_mode="plan")
    await stream.append(chunks=[PlanUpdateChunk(title="Counting orders"), task("pending")])
    await stream.append(chunks=[BlocksChunk(blocks=[SectionBlock(text="An aside")]), MarkdownTextChunk(text="Done")])
    message = await driver.wait_for_stream("C0DATA", lambda seen: len(seen["blocks"]) == 3)
    plan, aside, text = message["blocks"]
    assert (plan["title"], plan["tasks"][0]["status"]) == ("Counting orders", "pending")
    assert (aside["type"], text["text"]) == ("section", "Done")


async def test_a_stream_that_is_stopped_before_it_was_flushed_still_says_its_words(
    driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    stream = await begun(client, thread)
    await stream.append(markdown_text="short")
    await stream.stop()
    done = await driver.wait_for_stream("C0DATA", lambda message: message["streaming_state"] == "completed")
    assert done["text"] == "short"


async def test_a_stream_takes_nothing_more_after_five_minutes_and_is_then_updated(
    clock: ManualClock, driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    stream = await begun(client, thread, buffer_size=1)
    await stream.append(markdown_text="first ")
    clock.advance(299)
    await stream.append(markdown_text="second ")
    clock.advance(1)
    assert await refusal(stream.append(markdown_text="third")) == "message_not_in_streaming_state"
    assert await refusal(stream.stop()) == "message_not_in_streaming_state"
    await driver.wait_for_stream("C0DATA", lambda message: message["streaming_state"] == "expired")
    blocks = [{"type": "markdown", "text": "first second third"}]
    await client.chat_update(channel="C0DATA", ts=stream.ts, text="first second third", blocks=blocks)
    whole = await driver.wait_for_message("C0DATA", lambda message: message["text"] == "first second third")
    assert "streaming_state" not in whole


async def test_a_stream_can_be_ended_at_once_for_a_test(driver: Driver, client: AsyncWebClient, thread: str) -> None:
    stream = await begun(client, thread, buffer_size=1)
    await stream.append(markdown_text="first")
    assert await driver.expire_streams() == [stream.ts]
    assert await refusal(stream.append(markdown_text="second")) == "message_not_in_streaming_state"
    assert (await driver.streams())[0]["state"] == "expired"


async def test_a_running_stream_can_be_neither_updated_nor_deleted(client: AsyncWebClient, thread: str) -> None:
    stream = await begun(client, thread, buffer_size=1)
    await stream.append(markdown_text="first")
    assert await refusal(client.chat_update(channel="C0DATA", ts=stream.ts, text="x")) == "streaming_state_conflict"
    assert await refusal(client.chat_delete(channel="C0DATA", ts=stream.ts)) == "cant_delete_message"
    await stream.stop()
    assert (await client.chat_update(channel="C0DATA", ts=stream.ts, text="x"))["ok"]


@pytest.mark.parametrize(
    ("method", "args", "code"),
    [
        ("chat.startStream", {"recipient_user_id": None}, "missing_recipient_user_id"),
        ("chat.startStream", {"recipient_team_id": None}, "missing_recipient_team_id"),
        ("chat.startStream", {"recipient_user_id": "U0NOBODY"}, "user_not_found"),
        ("chat.startStream", {"task_display_mode": "pretty"}, "invalid_arguments"),
        ("chat.startStream", {"markdown_text": "x" * 12_001}, "msg_too_long"),
        ("chat.startStream", {"markdown_text": "é" * 6_001}, "msg_too_long"),
        ("chat.startStream", {"markdown_text": "x", "chunks": []}, "cannot_provide_both_markdown_text_and_chunks"),
        ("chat.startStream", {"chunks": [{"type": "song"}]}, "invalid_arguments"),
        ("chat.startStream", {"chunks": [{"type": "plan_update", "title": "x" * 257}]}, "invalid_arguments"),
        ("chat.appendStream", {}, "no_text"),
        ("chat.appendStream", {"markdown_text": "x"}, "streaming_mode_mismatch"),
        ("chat.appendStream", {"chunks": [{"type": "markdown_text", "text": "x" * 12_000}]}, "msg_too_long"),
        (
            "chat.appendStream",
            {"chunks": [{"type": "task_update", "id": "1", "title": "x", "status": "late"}]},
            "invalid_arguments",
        ),
        ("chat.appendStream", {"ts": "posted", "markdown_text": "x"}, "message_not_in_streaming_state"),
        ("chat.appendStream", {"ts": "thread", "markdown_text": "x"}, "message_not_owned_by_app"),
        ("chat.stopStream", {"blocks": [{"type": "song"}]}, "invalid_blocks"),
        ("chat.stopStream", {"session_status": "tired"}, "invalid_arguments"),
    ],
)
async def test_a_stream_is_refused_with_slacks_own_code(
    client: AsyncWebClient, thread: str, *, method: str, args: Json, code: str
) -> None:
    stream = await begun(client, thread)
    await stream.append(chunks=[MarkdownTextChunk(text="hello")])
    posted = (await client.chat_postMessage(channel="C0DATA", text="posted"))["ts"]
    start: Json = {"thread_ts": thread, "recipient_user_id": "U0MAYA", "recipient_team_id": TEAM}
    usual = start if method == "chat.startStream" else {"ts": stream.ts}
    names = {"posted": posted, "thread": thread}
    given = {key: names.get(value, value) if key == "ts" else value for key, value in (usual | args).items()}
    assert await refusal(client.api_call(method, json={"channel": "C0DATA"} | given)) == code


async def test_a_stream_in_a_direct_message_needs_no_recipient(driver: Driver, client: AsyncWebClient) -> None:
    ts = await driver.post("U0MAYA", "D0MAYA", "hello")
    stream = await client.chat_stream(channel="D0MAYA", thread_ts=ts, buffer_size=1)
    await stream.append(markdown_text="hello you")
    await driver.wait_for_stream("D0MAYA", lambda message: message["text"] == "hello you")


async def test_a_stream_makes_its_session_process_and_its_end_lets_it_rest(
    driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    stream = await begun(client, thread, buffer_size=1)
    await stream.append(markdown_text="…")
    await driver.wait_for_session("C0DATA", thread, "processing")
    await stream.stop(session_status="suspended")
    await driver.wait_for_session("C0DATA", thread, "suspended")


async def test_the_native_stop_breaks_streams_off_and_leaves_the_status_to_the_app(
    driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    stream = await begun(client, thread, buffer_size=1)
    await stream.append(markdown_text="working")
    assert await driver.stop_session("U0MAYA", "C0DATA", thread) == [stream.ts]
    assert await refusal(stream.append(markdown_text="more")) == "stopped_by_user"
    assert (await driver.session("C0DATA", thread))["session"]["status"] == "processing"
    sent = [e["args"]["event"] for e in await driver.log() if e["method"] == "agent_session_stopped"]
    assert {key: sent[0][key] for key in ("user", "channel", "thread_ts", "streaming_message_ts")} == {
        "user": "U0MAYA",
        "channel": "C0DATA",
        "thread_ts": thread,
        "streaming_message_ts": [stream.ts],
    }
    await stream.stop()
    await driver.wait_for_session("C0DATA", thread, "active")


async def test_there_is_no_stop_button_unless_a_session_is_processing(driver: Driver, client: AsyncWebClient) -> None:
    ts = await driver.post("U0MAYA", "C0DATA", "hello")
    assert (await driver.call("stop_session", {"as": "U0MAYA", "channel": "C0DATA", "thread_ts": ts}))["ok"] is False
    await client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=ts, status="suspended")
    assert (await driver.call("stop_session", {"as": "U0MAYA", "channel": "C0DATA", "thread_ts": ts}))["ok"] is False


async def test_a_session_keeps_its_first_title_until_it_is_renamed(
    driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    for status, title in (("processing", "Orders"), ("suspended", "Other")):
        answer = await client.agents_sessions_setStatus(
            channel_id="C0DATA", thread_ts=thread, status=status, title=title, initiator_user_id="U0MAYA"
        )
        assert (answer["status"], answer["agent_status"], answer["title"]) == (status, status, "Orders")
        assert "warning" not in answer.data
    assert (await driver.session("C0DATA", thread))["status"] == "is waiting for people"
    await client.agents_sessions_rename(channel_id="C0DATA", thread_ts=thread, title="All orders")
    seen = await driver.session("C0DATA", thread)
    assert seen["session"] == {"status": "suspended", "title": "All orders", "initiator": "U0MAYA"}
    await client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=thread, status="closed")
    assert (await driver.session("C0DATA", thread))["status"] == ""


async def test_an_app_that_does_not_listen_for_stops_is_warned() -> None:
    async with await Simulator.start(subscriptions=["message"]) as sim, Driver(sim.url) as driver:
        client = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)
        ts = await driver.post("U0MAYA", "C0DATA", "hello")
        answer = await client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=ts, status="processing")
        assert answer["warning"] == "missing_agent_session_stopped_event_subscription"


async def test_a_status_is_cleared_after_two_minutes_but_a_session_is_not(
    clock: ManualClock, driver: Driver, client: AsyncWebClient, thread: str
) -> None:
    other = await driver.post("U0MAYA", "C0DATA", "another")
    await client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=other, status="processing")
    await client.assistant_threads_setStatus(
        channel_id="C0DATA", thread_ts=thread, status="is thinking…", loading_messages=["Reading", "Counting"]
    )
    assert (await driver.session("C0DATA", thread))["loading_messages"] == ["Reading", "Counting"]
    clock.advance(119)
    assert (await driver.session("C0DATA", thread))["status"] == "is thinking…"
    clock.advance(1)
    assert (await driver.session("C0DATA", thread))["status"] == ""
    assert (await driver.session("C0DATA", other))["status"] == "is working…"
    many = ["x"] * 11
    assert (
        await refusal(
            client.assistant_threads_setStatus(channel_id="C0DATA", thread_ts=thread, status="x", loading_messages=many)
        )
        == "invalid_arguments"
    )


async def test_a_twenty_first_stream_in_a_minute_gets_429(client: AsyncWebClient, thread: str, driver: Driver) -> None:
    async def start() -> Any:
        return await client.chat_startStream(
            channel="C0DATA", thread_ts=thread, recipient_team_id=TEAM, recipient_user_id="U0MAYA"
        )

    await driver.rates(enabled=False)
    await start()
    await driver.rates(enabled=True)
    # The posting rate of the channel is not the streams'; theirs is a tier.
    for _ in range(20):
        await start()
    assert await refusal(start()) == "ratelimited"

"""The real Bolt hears shortcuts, workflow steps, files, groups, Home and feedback from the simulator."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import (
    ContextActionsBlock,
    FeedbackButtonObject,
    FeedbackButtonsElement,
    IconButtonElement,
)
from slack_sdk.web.async_client import AsyncWebClient

from simulator import Driver, Simulator
from simulator.errors import SimulatorError

Json = dict[str, Any]
INPUTS = {"task": "count", "channel": "C0DATA", "user": "U0MAYA"}


@dataclass
class Office:
    """A simulator with a Bolt app in it, and what the app was told."""

    sim: Simulator
    driver: Driver
    client: AsyncWebClient
    heard: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)

    async def hear(self, kind: str) -> Any:
        while True:
            what, payload = await asyncio.wait_for(self.heard.get(), 30)
            if what == kind:
                return payload

    async def posted(self, *elements: Any, block: str = "actions") -> str:
        blocks = [{"type": block, "block_id": "b", "elements": list(elements)}]
        return (await self.client.chat_postMessage(channel="C0DATA", text="card", blocks=blocks))["ts"]


def listen(app: AsyncApp, office: Office) -> None:
    async def hear(kind: str, what: Any) -> None:
        await office.heard.put((kind, what))

    @app.event(re.compile("message|app_.*|subteam_.*"))
    async def on_event(event: Json) -> None:
        await hear(event["type"], event)

    @app.shortcut("give_task")
    async def give(ack: Any, body: Json) -> None:
        await ack()
        await hear("shortcut", body)

    @app.shortcut("ask_about_message")
    async def ask(ack: Any, body: Json) -> None:
        await ack()
        await hear("message_shortcut", body)

    @app.action({"block_id": "b"})
    async def act(ack: Any, body: Json) -> None:
        await ack()
        await hear("action", body)

    @app.function("run_agent_task", auto_acknowledge=True)
    async def run(inputs: Json, complete: Any, fail: Any, event: Json) -> None:
        await hear("function", event)
        if inputs["task"] == "count":
            await complete({"answer": "42", "status": "completed", "run_id": "r1"})
        elif inputs["task"] == "fail":
            await fail("There is nothing to count.")


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with await Simulator.start() as sim, Driver(sim.url) as driver:
        client = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)
        app = AsyncApp(client=client, signing_secret="simulator-signing-secret")
        made = Office(sim, driver, client)
        listen(app, made)
        handler = AsyncSocketModeHandler(app, "xapp-simulator")
        await handler.connect_async()
        yield made
        await handler.close_async()


async def refusal(call: Any) -> str:
    with pytest.raises(SlackApiError) as refused:
        await call
    return str(refused.value.response["error"])


async def test_a_global_shortcut_brings_a_trigger_and_no_channel(office: Office) -> None:
    assert await office.driver.shortcut("U0MAYA", "give_task") == {"ok": True}
    body = await office.hear("shortcut")
    assert (body["type"], body["user"]["id"], body["team"]["id"]) == ("shortcut", "U0MAYA", "T0SECONDKEY")
    assert "channel" not in body
    assert "response_url" not in body
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Task"}, "blocks": [{"type": "divider"}]}
    await office.client.views_open(trigger_id=body["trigger_id"], view=view)
    await office.driver.wait_for_view("U0MAYA")


async def test_a_message_shortcut_brings_the_message_and_where_it_stands(office: Office) -> None:
    ts = await office.driver.post("U0OMAR", "C0DATA", "the order of 7 May is missing")
    assert await office.driver.message_shortcut("U0MAYA", "C0DATA", ts, "ask_about_message") == {"ok": True}
    body = await office.hear("message_shortcut")
    assert (body["type"], body["channel"]["id"], body["message_ts"]) == ("message_action", "C0DATA", ts)
    assert (body["message"]["user"], body["message"]["text"]) == ("U0OMAR", "the order of 7 May is missing")
    async with aiohttp.ClientSession() as session:
        await session.post(body["response_url"], json={"text": "On it"})
    await office.driver.wait_for_ephemeral("U0MAYA", lambda message: message["text"] == "On it")


async def test_a_shortcut_that_the_manifest_lacks_cannot_be_used(office: Office) -> None:
    ts = await office.driver.post("U0OMAR", "C0DATA", "hello")
    assert (await office.driver.shortcut("U0MAYA", "ask_about_message"))["error"] == "invalid_shortcut"
    assert (await office.driver.message_shortcut("U0MAYA", "C0DATA", ts, "give_task"))["error"] == "invalid_shortcut"


async def test_a_workflow_step_is_completed_once_with_its_outputs(office: Office) -> None:
    execution = await office.driver.run_function("U0MAYA", "run_agent_task", INPUTS)
    event = await office.hear("function")
    assert (event["function_execution_id"], event["inputs"]) == (execution, INPUTS)
    assert event["function"]["callback_id"] == "run_agent_task"
    ended = await office.driver.wait_for_function(execution)
    assert (ended["state"], ended["outputs"]["answer"]) == ("completed", "42")
    again = office.client.functions_completeError(function_execution_id=execution, error="late")
    assert await refusal(again) == "execution_not_in_running_state"


async def test_a_workflow_step_fails_with_the_reason_given(office: Office) -> None:
    execution = await office.driver.run_function("U0MAYA", "run_agent_task", INPUTS | {"task": "fail"})
    ended = await office.driver.wait_for_function(execution)
    assert (ended["state"], ended["error"]) == ("failed", "There is nothing to count.")


async def test_inputs_and_outputs_of_a_step_are_held_to_its_parameters(office: Office) -> None:
    with pytest.raises(SimulatorError, match="parameter_validation_failed"):
        await office.driver.run_function("U0MAYA", "run_agent_task", {"task": "count"})
    with pytest.raises(SimulatorError, match="function_not_found"):
        await office.driver.run_function("U0MAYA", "nothing", {})
    execution = await office.driver.run_function("U0MAYA", "run_agent_task", INPUTS | {"task": "wait"})
    done = office.client.functions_completeSuccess
    whole = {"answer": "1", "status": "completed", "run_id": "r"}
    for outputs in ({"answer": "1"}, whole | {"more": "x"}):
        assert await refusal(done(function_execution_id=execution, outputs=outputs)) == "parameter_validation_failed"
    assert await refusal(done(function_execution_id="Fx0", outputs=whole)) == "function_execution_not_found"


async def test_an_attached_file_comes_with_the_message_and_is_read_with_the_token_only(office: Office) -> None:
    posted = await office.driver.attach("U0MAYA", "C0DATA", "orders.csv", "id\n7\n", text="<@U0SECONDKEY> count these")
    event = await office.hear("message")
    mention = await office.hear("app_mention")
    (shape,) = event["files"]
    assert event["subtype"] == "file_share"
    assert mention["files"] == event["files"] == posted["files"]
    assert (shape["name"], shape["mimetype"], shape["size"], shape["filetype"]) == ("orders.csv", "text/csv", 5, "csv")
    token = {"Authorization": "Bearer xoxb-simulator"}
    async with aiohttp.ClientSession() as session:
        async with session.get(shape["url_private_download"], headers=token) as answer:
            assert (answer.status, await answer.read()) == (200, b"id\n7\n")
        for headers in ({}, {"Authorization": "Bearer xoxb-wrong"}):
            # As in Slack: not a refusal, but a page to sign in on, with status 200.
            async with session.get(shape["url_private_download"], headers=headers) as answer:
                assert (answer.status, answer.content_type) == (200, "text/html")
                assert b"Sign in" in await answer.read()
    info = (await office.client.files_info(file=shape["id"]))["file"]
    assert (info["url_private_download"], info["channels"]) == (shape["url_private_download"], ["C0DATA"])


async def test_downloads_can_be_made_to_fail_or_to_be_slow(office: Office) -> None:
    shape = (await office.driver.attach("U0MAYA", "C0DATA", "a.txt", "x"))["files"][0]
    await office.hear("message")
    await office.driver.fault("*", "error", error="fatal_error")
    for fault, kind in (({"status": 502}, "status"), ({"retry_after": 3}, "rate_limit"), ({"seconds": 0.01}, "delay")):
        await office.driver.fault("files.download", kind, **fault)
    statuses: list[int] = []
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer xoxb-simulator"}) as session:
        for _ in range(3):
            async with session.get(shape["url_private_download"]) as answer:
                statuses.append(answer.status)
    assert statuses == [502, 429, 200]
    assert await refusal(office.client.auth_test()) == "fatal_error"


async def test_several_files_may_lie_about_their_size(office: Office) -> None:
    files: list[tuple[str, str | bytes]] = [("a.txt", "x"), ("b.bin", b"\x00\xff")]
    await office.driver.attach_all("U0MAYA", "C0DATA", files, size=3)
    event = await office.hear("message")
    assert [(f["name"], f["size"]) for f in event["files"]] == [("a.txt", 3), ("b.bin", 3)]
    assert event["text"] == ""


async def test_the_sdk_uploads_a_file_into_a_thread(office: Office) -> None:
    ts = await office.driver.post("U0MAYA", "C0DATA", "hello")
    answer = await office.client.files_upload_v2(
        filename="report.md", content="# Orders", title="Report", channel="C0DATA", thread_ts=ts, initial_comment="Here"
    )
    assert answer["file"]["title"] == "Report"
    seen = await office.driver.wait_for_message("C0DATA", lambda message: bool(message.get("files")), thread_ts=ts)
    assert (seen["text"], seen["files"][0]["size"], seen["user"]) == ("Here", 8, "U0SECONDKEY")
    async with aiohttp.ClientSession() as session:
        url = (await office.client.files_getUploadURLExternal(filename="x", length=3))["upload_url"]
        async with session.post(url, data=b"four") as refused:
            assert (refused.status, await refused.text()) == (400, "length_mismatch")


async def test_a_file_of_a_channel_without_the_bot_is_not_there_for_it(office: Office) -> None:
    shape = (await office.driver.attach("U0MAYA", "C0DATA", "a.txt", "x"))["files"][0]
    await office.driver.call("channel", {"name": "C0DATA", "bot_member": False})
    assert await refusal(office.client.files_info(file=shape["id"])) == "file_not_found"


async def test_groups_are_made_changed_and_disabled_and_the_app_is_told(office: Office) -> None:
    group = await office.driver.group("on-call", users=["U0OMAR"])
    assert (await office.hear("subteam_created"))["subteam"]["handle"] == "on-call"
    assert (await office.client.usergroups_users_list(usergroup=group["id"]))["users"] == ["U0OMAR"]
    await office.driver.group("on-call", users=["U0INES", "U0OMAR"])
    changed = await office.hear("subteam_members_changed")
    assert (changed["subteam_id"], changed["added_users"], changed["removed_users"]) == (group["id"], ["U0INES"], [])
    await office.driver.group("on-call", disabled=True)
    assert (await office.hear("subteam_updated"))["subteam"]["id"] == group["id"]
    assert [g["handle"] for g in (await office.client.usergroups_list())["usergroups"]] == ["approvers"]
    assert await refusal(office.client.usergroups_users_list(usergroup=group["id"])) == "no_such_subteam"
    listed = await office.client.usergroups_users_list(usergroup=group["id"], include_disabled=True)
    assert listed["users"] == ["U0INES", "U0OMAR"]


async def test_a_click_in_home_has_a_view_a_trigger_and_no_channel(office: Office) -> None:
    assert await office.driver.open_home("U0MAYA") is None
    opened = await office.hear("app_home_opened")
    assert "view" not in opened
    button = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}, "value": "7"}
    blocks = [{"type": "actions", "block_id": "b", "elements": [button]}]
    view = {"type": "home", "blocks": blocks}
    first = (await office.client.views_publish(user_id="U0MAYA", view=view))["view"]
    await office.driver.wait_for_home("U0MAYA")
    assert await office.driver.click_in_home("U0MAYA", "go") == {"ok": True}
    body = await office.hear("action")
    assert body["container"] == {"type": "view", "view_id": first["id"]}
    assert "channel" not in body
    assert "response_url" not in body
    assert (body["actions"][0]["value"], body["view"]["hash"]) == ("7", first["hash"])
    second = (await office.client.views_publish(user_id="U0MAYA", view=view, hash=first["hash"]))["view"]
    assert second["id"] == first["id"]
    stale = office.client.views_publish(user_id="U0MAYA", view=view, hash=first["hash"])
    assert await refusal(stale) == "hash_conflict"
    reopened = await office.driver.open_home("U0MAYA", viewing="C0DATA")
    assert reopened is not None
    event = await office.hear("app_home_opened")
    assert event["view"]["hash"] == second["hash"]
    assert event["context"]["entities"][0]["value"] == "C0DATA"


async def test_the_app_hears_what_a_person_looks_at(office: Office) -> None:
    await office.driver.look_at("U0MAYA", "C0DATA")
    event = await office.hear("app_context_changed")
    assert event["context"]["entities"] == [
        {"type": "slack#/types/channel_id", "value": "C0DATA", "team_id": "T0SECONDKEY"}
    ]
    await office.driver.look_at("U0MAYA", None)
    assert (await office.hear("app_context_changed"))["context"] == {}
    assert (await office.driver.look_at("U0THEO", "C0ACTIONS"))["error"] == "channel_not_found"


async def test_an_event_of_another_team_can_be_forged(office: Office) -> None:
    event = {"type": "app_mention", "user": "U0EVE", "channel": "C0DATA", "text": "hello", "ts": "1.0"}
    await office.driver.forge(event, team_id="T0ELSEWHERE", event_id="Ev1")
    assert await office.hear("app_mention") == event
    (sent,) = [e["args"] for e in await office.driver.log() if e["direction"] == "event"]
    assert (sent["team_id"], sent["event_id"]) == ("T0ELSEWHERE", "Ev1")


async def test_prompts_are_set_for_one_persons_messages_with_the_app(office: Office) -> None:
    office.sim.workspace.prompts = [{"title": "Usual", "message": "usual"}]
    prompts = [{"title": "Own", "message": "own"}]
    await office.client.assistant_threads_setSuggestedPrompts(channel_id="D0MAYA", title="Hello Maya", prompts=prompts)

    async def offered(user: str) -> Json:
        async with aiohttp.ClientSession() as session, session.get(f"{office.sim.url}/_sim/state?as={user}") as answer:
            return (await answer.json())["app"]

    maya, omar = await offered("U0MAYA"), await offered("U0OMAR")
    assert (maya["prompts_title"], maya["suggested_prompts"]) == ("Hello Maya", prompts)
    assert (omar["prompts_title"], omar["suggested_prompts"][0]["title"]) == ("", "Usual")


async def test_thumbs_and_icon_buttons_say_which_was_pressed(office: Office) -> None:
    block = ContextActionsBlock(
        block_id="b",
        elements=[
            FeedbackButtonsElement(
                action_id="feedback",
                positive_button=FeedbackButtonObject(text="Good", value="good"),
                negative_button=FeedbackButtonObject(text="Bad", value="bad"),
            ),
            IconButtonElement(
                action_id="delete", icon="trash", text="Delete", value="r1", visible_to_user_ids=["U0MAYA"]
            ),
        ],
    )
    ts = (await office.client.chat_postMessage(channel="C0DATA", text="answer", blocks=[block]))["ts"]
    assert await office.driver.feedback("U0MAYA", "C0DATA", ts, "feedback", "bad") == {"ok": True}
    pressed = (await office.hear("action"))["actions"][0]
    assert (pressed["type"], pressed["value"], pressed["text"]["text"]) == ("feedback_buttons", "bad", "Bad")
    assert (await office.driver.feedback("U0MAYA", "C0DATA", ts, "feedback", "so-so"))["error"] == "no_such_action"
    assert await office.driver.click("U0MAYA", "C0DATA", ts, "delete") == {"ok": True}
    assert (await office.hear("action"))["actions"][0]["value"] == "r1"
    assert (await office.driver.click("U0OMAR", "C0DATA", ts, "delete"))["error"] == "no_such_action"


def option(value: str) -> Json:
    return {"text": {"type": "plain_text", "text": value.title()}, "value": value}


@pytest.mark.parametrize(
    ("element", "given", "kept"),
    [
        (
            {"type": "static_select", "options": [option("a"), option("b")]},
            {"selected_option": "b"},
            {"selected_option": option("b")},
        ),
        ({"type": "overflow", "options": [option("a")]}, {"selected_option": "a"}, {"selected_option": option("a")}),
        (
            {"type": "checkboxes", "options": [option("a"), option("b")]},
            {"selected_options": ["a", "b"]},
            {"selected_options": [option("a"), option("b")]},
        ),
        (
            {"type": "radio_buttons", "options": [option("a")]},
            {"selected_option": option("a")},
            {"selected_option": option("a")},
        ),
        ({"type": "users_select"}, {"selected_user": "U0OMAR"}, {"selected_user": "U0OMAR"}),
        (
            {"type": "multi_conversations_select"},
            {"selected_conversations": ["C0DATA"]},
            {"selected_conversations": ["C0DATA"]},
        ),
        ({"type": "datepicker"}, {"selected_date": "2026-11-23"}, {"selected_date": "2026-11-23"}),
    ],
)
async def test_what_is_chosen_reaches_the_app(office: Office, *, element: Json, given: Json, kept: Json) -> None:
    ts = await office.posted(element | {"action_id": "pick"})
    assert await office.driver.click("U0MAYA", "C0DATA", ts, "pick", **given) == {"ok": True}
    one = (await office.hear("action"))["actions"][0]
    assert {key: one[key] for key in kept} == kept


async def test_an_option_that_is_not_offered_cannot_be_chosen(office: Office) -> None:
    ts = await office.posted({"type": "static_select", "action_id": "pick", "options": [option("a")]})
    assert (await office.driver.click("U0MAYA", "C0DATA", ts, "pick", selected_option="z"))["error"] == "no_such_option"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a b/ü?#%2F.TXT", "x" * 300, "<script>.html"])
async def test_a_file_of_any_name_is_read_from_a_plain_address(office: Office, name: str) -> None:
    shape = (await office.driver.attach("U0MAYA", "C0DATA", name, "x", mimetype="text/html\r\nX-Evil: 1"))["files"][0]
    assert shape["name"] == name
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer xoxb-simulator"}) as session,
        session.get(shape["url_private_download"]) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"x")
        assert "X-Evil" not in answer.headers
        assert "sandbox" in answer.headers["Content-Security-Policy"]

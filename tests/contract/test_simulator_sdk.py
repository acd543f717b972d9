"""The real slack_sdk and the real Bolt work against the simulator as they do against Slack."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.http_retry.builtin_interval_calculators import FixedValueRetryIntervalCalculator
from slack_sdk.web.async_client import AsyncWebClient

from simulator import Driver, ManualClock, Simulator, Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json = dict[str, Any]
SECRET = "simulator-signing-secret"
BUTTON = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}, "value": "7"}
CARD = [
    {"type": "section", "block_id": "s", "text": {"type": "mrkdwn", "text": "*Delete 3 rows?*"}},
    {"type": "actions", "block_id": "act", "elements": [BUTTON]},
]


def modal(callback_id: str, title: str = "Why?") -> Json:
    element = {"type": "plain_text_input", "action_id": "text"}
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": {"type": "plain_text", "text": title},
        "submit": {"type": "plain_text", "text": "Send"},
        "notify_on_close": True,
        "blocks": [
            {"type": "input", "block_id": "why", "label": {"type": "plain_text", "text": "Why"}, "element": element}
        ],
    }


@dataclass
class Office:
    """A simulator, a driver, a client, and a Bolt app with what it was told."""

    sim: Simulator
    driver: Driver
    client: AsyncWebClient
    app: AsyncApp
    heard: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)

    async def hear(self, kind: str) -> Any:
        while True:
            what, payload = await asyncio.wait_for(self.heard.get(), 30)
            if what == kind:
                return payload

    async def card(self) -> str:
        return (await self.client.chat_postMessage(channel="C0ACTIONS", text="card", blocks=CARD))["ts"]


def listen(office: Office) -> None:
    app = office.app

    @app.event("app_mention")
    async def mention(event: Json, body: Json, context: Any) -> None:
        await office.heard.put(("mention", (event, body, context.actor_team_id)))

    @app.event("message")
    async def message(event: Json) -> None:
        await office.heard.put(("message", event))

    @app.event("app_home_opened")
    async def home(event: Json) -> None:
        await office.heard.put(("home", event))

    @app.action("go")
    async def go(ack: Any, body: Json) -> None:
        await ack()
        await office.heard.put(("click", body))

    @app.view("ask")
    async def ask(ack: Any, body: Json, view: Json) -> None:
        answer = view["state"]["values"]["why"]["text"]["value"]
        if answer == "because":
            await ack(response_action="errors", errors={"why": "Say more."})
        elif answer == "next":
            await ack(response_action="push", view=modal("ask", "And then?"))
        elif answer == "other":
            await ack(response_action="update", view=modal("ask", "Once more"))
        else:
            await ack()
            await office.heard.put(("submitted", body))

    @app.view_closed("ask")
    async def closed(ack: Any, body: Json) -> None:
        await ack()
        await office.heard.put(("closed", body))

    @app.command("/agent")
    async def command(ack: Any, command: Json) -> None:
        if command["text"] == "blocks":
            await ack(text="blocks", blocks=CARD, response_type="in_channel")
        else:
            await ack(f"You said {command['text']}.")
        await office.heard.put(("command", command))


@asynccontextmanager
async def connected(app: AsyncApp, sim: Simulator, transport: str) -> AsyncIterator[None]:
    if transport == "socket":
        handler = AsyncSocketModeHandler(app, "xapp-simulator")
        await handler.connect_async()
        yield
        await handler.close_async()
        return

    async def handle(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

    server = web.Application()
    server.add_routes([web.post("/slack/events", handle)])
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sim.set_request_url(f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events")
    yield
    await runner.cleanup()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with await Simulator.start() as simulator:
        yield simulator


@pytest.fixture
async def driver(sim: Simulator) -> AsyncIterator[Driver]:
    async with Driver(sim.url) as one:
        yield one


@pytest.fixture
def client(sim: Simulator) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)


@pytest.fixture(params=["socket", "http"])
async def office(
    request: pytest.FixtureRequest, sim: Simulator, driver: Driver, client: AsyncWebClient
) -> AsyncIterator[Office]:
    app = AsyncApp(client=client, signing_secret=SECRET, process_before_response=True)
    made = Office(sim, driver, client, app)
    listen(made)
    async with connected(app, sim, request.param):
        assert sim.services.delivery.link == request.param
        yield made


async def refusal(call: Any) -> Any:
    with pytest.raises(SlackApiError) as refused:
        await call
    return refused.value.response


async def test_a_mention_reaches_the_app_as_message_and_as_mention(office: Office) -> None:
    ts = await office.driver.post("U0MAYA", "C0GENERAL", "<@U0SECONDKEY> count <the> orders")
    message = await office.hear("message")
    office.heard.put_nowait(("message", message))
    event, body, _ = await office.hear("mention")
    assert message["ts"] == event["ts"] == ts
    assert message["channel_type"] == "channel"
    assert event["text"] == "<@U0SECONDKEY> count &lt;the&gt; orders"
    assert body["authorizations"][0]["user_id"] == "U0SECONDKEY"
    assert body["event_id"].startswith("Ev")


async def test_a_direct_message_is_not_a_mention(office: Office) -> None:
    channel = (await office.driver.call("open_im", {"as": "U0MAYA"}))["channel"]
    await office.driver.post("U0MAYA", channel, "<@U0SECONDKEY> hello")
    event = await office.hear("message")
    assert (event["channel"], event["channel_type"]) == (channel, "im")
    assert [e["method"] for e in await office.driver.log() if e["direction"] == "event"] == ["message"]


async def test_bolt_knows_people_of_another_workspace(office: Office) -> None:
    await office.driver.post("U0EVE", "C0DATA", "<@U0SECONDKEY> hello")
    event, body, actor_team = await office.hear("mention")
    assert body["is_ext_shared_channel"] is True
    assert event["user_team"] == actor_team == "T0ELSEWHERE"
    await office.driver.post("U0MAYA", "C0DATA", "<@U0SECONDKEY> hello")
    assert (await office.hear("mention"))[2] == "T0SECONDKEY"


async def test_a_click_brings_the_card_and_a_trigger_that_opens_a_modal(office: Office) -> None:
    ts = await office.card()
    assert await office.driver.click("U0OMAR", "C0ACTIONS", ts, "go") == {"ok": True}
    body = await office.hear("click")
    assert body["user"] == {"id": "U0OMAR", "username": "omar", "name": "omar", "team_id": "T0SECONDKEY"}
    assert body["actions"][0]["value"] == "7"
    assert body["actions"][0]["block_id"] == "act"
    assert body["message"]["blocks"][0]["block_id"] == "s"
    assert body["container"]["message_ts"] == ts
    await office.client.views_open(trigger_id=body["trigger_id"], view=modal("ask"))
    assert (await office.driver.wait_for_view("U0OMAR"))["title"]["text"] == "Why?"
    again = await refusal(office.client.views_open(trigger_id=body["trigger_id"], view=modal("ask")))
    assert again["error"] == "exchanged_trigger_id"


async def opened(office: Office) -> str:
    await office.driver.click("U0OMAR", "C0ACTIONS", await office.card(), "go")
    trigger_id = (await office.hear("click"))["trigger_id"]
    return (await office.client.views_open(trigger_id=trigger_id, view=modal("ask")))["view"]["id"]


async def test_a_modal_shows_errors_and_then_closes(office: Office) -> None:
    view_id = await opened(office)
    empty = await office.driver.submit("U0OMAR", view_id)
    assert empty["errors"] == {"why": "Please complete this required field."}
    wrong = await office.driver.submit("U0OMAR", view_id, {"why": {"text": "because"}})
    assert wrong == {"ok": False, "errors": {"why": "Say more."}}
    assert await office.driver.submit("U0OMAR", view_id, {"why": {"text": "the audit needs it"}}) == {"ok": True}
    body = await office.hear("submitted")
    assert body["view"]["state"]["values"]["why"]["text"]["value"] == "the audit needs it"
    await office.driver.wait_for_push(
        lambda push: push == {"type": "view_closed", "view_id": view_id, "to": ["U0OMAR"]}
    )


async def test_an_answer_may_push_or_change_a_modal(office: Office) -> None:
    view_id = await opened(office)
    await office.driver.submit("U0OMAR", view_id, {"why": {"text": "next"}})
    pushed = await office.driver.wait_for_view("U0OMAR", lambda view: view["title"]["text"] == "And then?")
    assert pushed["previous_view_id"] == view_id
    await office.driver.submit("U0OMAR", pushed["id"], {"why": {"text": "other"}})
    changed = await office.driver.wait_for_view("U0OMAR", lambda view: view["title"]["text"] == "Once more")
    assert changed["id"] == pushed["id"]
    assert changed["hash"] != pushed["hash"]


async def test_a_closed_modal_is_reported_when_the_app_asked(office: Office) -> None:
    view_id = await opened(office)
    await office.driver.close_view("U0OMAR", view_id)
    assert (await office.hear("closed"))["view"]["id"] == view_id


async def test_a_command_is_answered_privately_or_for_all(office: Office) -> None:
    assert await office.driver.command("U0MAYA", "C0DATA", "/agent", "status") == {"ok": True}
    command = await office.hear("command")
    assert (command["user_id"], command["channel_id"], command["text"]) == ("U0MAYA", "C0DATA", "status")
    assert (await office.driver.wait_for_ephemeral("U0MAYA"))["text"] == "You said status."
    assert await office.driver.history("C0DATA", user="U0OMAR") == []
    await office.driver.command("U0MAYA", "C0DATA", "/agent", "blocks")
    await office.driver.wait_for_message("C0DATA", lambda message: message["text"] == "blocks")
    unknown = await office.driver.command("U0MAYA", "C0DATA", "/nothing")
    assert unknown["error"] == "invalid_command"


async def posted(session: aiohttp.ClientSession, url: str, body: Json) -> int:
    async with session.post(url, json=body) as answer:
        return answer.status


async def test_a_response_url_answers_replaces_and_runs_out(office: Office) -> None:
    ts = await office.card()
    await office.driver.click("U0OMAR", "C0ACTIONS", ts, "go")
    url = (await office.hear("click"))["response_url"]
    bodies: list[Json] = [
        {"text": "for you"},
        {"text": "for all", "response_type": "in_channel"},
        {"text": "decided", "blocks": [], "replace_original": True},
        {"text": "still here"},
        {"delete_original": True},
        {"text": "once too often"},
    ]
    async with aiohttp.ClientSession() as session:
        statuses = [await posted(session, url, body) for body in bodies]
    assert statuses == [200] * 5 + [404]
    await office.driver.wait_for_ephemeral("U0OMAR", lambda message: message["text"] == "for you")
    await office.driver.wait_for_message("C0ACTIONS", lambda message: message["text"] == "for all")
    replaced = await office.driver.wait_for_push(lambda push: push["type"] == "message_changed")
    assert (replaced["message"]["ts"], replaced["message"]["text"]) == (ts, "decided")
    assert "blocks" not in replaced["message"]
    await office.driver.wait_for_push(lambda push: push["type"] == "message_deleted" and push["ts"] == ts)


async def test_opening_the_home_is_told_and_can_be_answered(office: Office) -> None:
    await office.driver.call("home", {"as": "U0MAYA", "tab": "home"})
    event = await office.hear("home")
    assert (event["user"], event["tab"]) == ("U0MAYA", "home")
    await office.client.views_publish(user_id="U0MAYA", view={"type": "home", "blocks": CARD})
    push = await office.driver.wait_for_push(lambda push: push["type"] == "home_published")
    clicked = await office.driver.click_in_view("U0MAYA", push["view"]["id"], "go")
    assert clicked == {"ok": True}
    assert (await office.hear("click"))["container"]["type"] == "view"


async def test_slack_sdks_three_request_shapes_all_arrive(client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="#general", text="json"))["ts"]
    await client.reactions_add(channel="C0GENERAL", name="eyes", timestamp=ts)
    replies = await client.conversations_replies(channel="C0GENERAL", ts=ts)
    assert replies["messages"][0]["reactions"] == [{"name": "eyes", "users": ["U0SECONDKEY"], "count": 1}]
    form = await client.api_call(
        "chat.postMessage", data={"channel": "C0GENERAL", "text": "x", "blocks": json.dumps(CARD)}
    )
    assert form["message"]["blocks"][0]["block_id"] == "s"


async def test_every_method_the_bot_may_use_answers(client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C0DATA", text="root"))["ts"]
    im = (await client.conversations_open(users="U0MAYA"))["channel"]["id"]
    prompts = [{"title": "Count", "message": "Count the orders"}]
    assert (await client.auth_test())["bot_id"] == "B0SECONDKEY"
    assert (await client.users_info(user="U0THEO"))["user"]["is_restricted"] is True
    assert (await client.users_info(user="U0EVE"))["user"]["team_id"] == "T0ELSEWHERE"
    assert len((await client.users_list())["members"]) == 6
    assert (await client.usergroups_users_list(usergroup="S0APPROVERS"))["users"] == ["U0OMAR", "U0INES"]
    assert (await client.usergroups_list())["usergroups"][0]["handle"] == "approvers"
    assert (await client.conversations_info(channel="C0DATA"))["channel"]["is_member"] is True
    names = {channel["name"] for channel in (await client.conversations_list())["channels"]}
    assert names == {channel["name"] for channel in (await client.users_conversations())["channels"]}
    assert "U0EVE" in (await client.conversations_members(channel="C0DATA"))["members"]
    assert ts in (await client.chat_getPermalink(channel="C0DATA", message_ts=ts))["permalink"]
    assert (await client.bots_info(bot="B0SECONDKEY"))["bot"]["user_id"] == "U0SECONDKEY"
    assert (await client.team_info())["team"]["name"] == "Harbour Coffee"
    assert (await client.conversations_join(channel="C0DATA"))["ok"]
    assert (await client.blocks_validate(blocks=CARD))["ok"]
    assert (await client.api_test())["ok"]
    assert (await client.assistant_threads_setStatus(channel_id="C0DATA", thread_ts=ts, status="is thinking…"))["ok"]
    assert (await client.assistant_threads_setTitle(channel_id="C0DATA", thread_ts=ts, title="Orders"))["ok"]
    assert (await client.assistant_threads_setSuggestedPrompts(channel_id=im, prompts=prompts))["ok"]
    assert (await client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=ts, status="processing"))["ok"]
    assert (await client.chat_delete(channel="C0DATA", ts=ts))["ok"]


async def test_a_message_is_found_again_by_its_metadata(client: AsyncWebClient) -> None:
    metadata = {"event_type": "card", "event_payload": {"key": "run-1"}}
    await client.chat_postMessage(channel="C0DATA", text="card", metadata=metadata)
    hidden = await client.conversations_history(channel="C0DATA")
    shown = await client.conversations_history(channel="C0DATA", include_all_metadata=True)
    assert "metadata" not in hidden["messages"][0]
    assert shown["messages"][0]["metadata"] == metadata


async def test_history_is_paged_newest_first(client: AsyncWebClient) -> None:
    for text in ("one", "two", "three"):
        await client.chat_postMessage(channel="C0DATA", text=text)
    texts: list[str] = []
    cursor = None
    while cursor != "":
        answer = await client.conversations_history(channel="C0DATA", limit=2, cursor=cursor)
        texts += [message["text"] for message in answer["messages"]]
        cursor = answer.get("response_metadata", {}).get("next_cursor", "")
    assert texts == ["three", "two", "one"]


async def test_an_update_keeps_blocks_that_it_does_not_name(driver: Driver, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C0DATA", text="card", blocks=CARD))["ts"]
    await client.chat_update(channel="C0DATA", ts=ts, text="kept")
    kept = await driver.wait_for_message("C0DATA", lambda message: message["text"] == "kept")
    assert len(kept["blocks"]) == 2
    await client.chat_update(channel="C0DATA", ts=ts, text="gone", blocks=[])
    gone = await driver.wait_for_message("C0DATA", lambda message: message["text"] == "gone")
    assert "blocks" not in gone


@pytest.mark.parametrize(
    ("method", "args", "code"),
    [
        ("chat.postMessage", {"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C0PRIVATE", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C0OTHERS", "text": "x"}, "not_in_channel"),
        ("chat.postMessage", {"channel": "C0OLD", "text": "x"}, "is_archived"),
        ("chat.postMessage", {"channel": "C0DATA"}, "no_text"),
        ("chat.postMessage", {"channel": "C0DATA", "text": "x", "thread_ts": "1.0"}, "thread_not_found"),
        ("chat.update", {"channel": "C0DATA", "ts": "1.0", "text": "x"}, "message_not_found"),
        ("chat.postEphemeral", {"channel": "C0ACTIONS", "user": "U0THEO", "text": "x"}, "user_not_in_channel"),
        ("conversations.open", {"users": "U0NOBODY"}, "user_not_found"),
        ("conversations.history", {"channel": "C0DATA", "cursor": "nonsense"}, "invalid_cursor"),
        ("views.open", {"trigger_id": "nonsense", "view": modal("ask")}, "invalid_trigger_id"),
        ("views.update", {"view_id": "V0NONE", "view": modal("ask")}, "not_found"),
        ("agents.sessions.setStatus", {"channel_id": "C0DATA", "status": "busy"}, "invalid_arguments"),
        ("apps.connections.open", {}, "not_allowed_token_type"),
        ("chat.nonsense", {}, "unknown_method"),
    ],
)
async def test_a_call_is_refused_with_slacks_own_code(
    sim: Simulator, driver: Driver, client: AsyncWebClient, *, method: str, args: Json, code: str
) -> None:
    for ref, change in (
        ("C0PRIVATE", {"private": True, "bot_member": False}),
        ("C0OTHERS", {"bot_member": False}),
        ("C0OLD", {"archived": True}),
    ):
        made = (await driver.call("channel", {"name": ref.lower()} | change))["channel"]
        sim.workspace.channels[ref] = sim.workspace.channels.pop(made)
        sim.workspace.channels[ref].id = ref
    assert (await refusal(client.api_call(method, json=args)))["error"] == code


async def test_a_wrong_or_missing_token_is_refused(sim: Simulator) -> None:
    wrong = AsyncWebClient(token="xoxb-wrong", base_url=sim.api_url)
    none = AsyncWebClient(base_url=sim.api_url)
    assert (await refusal(wrong.auth_test()))["error"] == "invalid_auth"
    assert (await refusal(none.auth_test()))["error"] == "not_authed"


async def test_posting_too_fast_in_a_channel_gets_429(client: AsyncWebClient) -> None:
    for _ in range(4):
        await client.chat_postMessage(channel="C0DATA", text="x")
    limited = await refusal(client.chat_postMessage(channel="C0DATA", text="x"))
    assert (limited.status_code, limited["error"], limited.headers["Retry-After"]) == (429, "ratelimited", "1")
    assert (await client.chat_postMessage(channel="C0GENERAL", text="x"))["ok"]


async def test_a_trigger_expires_on_the_injected_clock() -> None:
    clock = ManualClock()
    async with await Simulator.start(clock=clock) as sim:
        client = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)
        trigger_id = sim.services.rights.trigger("U0MAYA")
        clock.advance(3.5)
        assert (await refusal(client.views_open(trigger_id=trigger_id, view=modal("ask"))))[
            "error"
        ] == "expired_trigger_id"


async def test_ordered_faults_happen_and_are_used_up(driver: Driver, client: AsyncWebClient) -> None:
    await driver.fault("chat.postMessage", "error", error="fatal_error")
    assert (await refusal(client.chat_postMessage(channel="C0DATA", text="x")))["error"] == "fatal_error"
    await driver.fault("*", "rate_limit", retry_after=7)
    assert (await refusal(client.auth_test())).headers["Retry-After"] == "7"
    await driver.fault("chat.postMessage", "status", status=503)
    assert (await refusal(client.chat_postMessage(channel="C0DATA", text="x"))).status_code == 503
    assert (await client.auth_test())["ok"]
    assert await driver.history("C0DATA") == []
    assert (await driver.call("fault", {"method": "*", "kind": "nonsense"}))["error"] == "invalid_arguments"


async def test_a_dropped_response_leaves_the_message_posted(sim: Simulator, driver: Driver) -> None:
    once = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url, retry_handlers=[])
    await driver.fault("chat.postMessage", "drop_response")
    with pytest.raises(aiohttp.ClientError):
        await once.chat_postMessage(channel="C0DATA", text="posted, but nobody was told")
    assert [message["text"] for message in await driver.history("C0DATA")] == ["posted, but nobody was told"]


async def test_a_dropped_response_makes_a_client_that_retries_post_twice(sim: Simulator, driver: Driver) -> None:
    retry = AsyncConnectionErrorRetryHandler(interval_calculator=FixedValueRetryIntervalCalculator(0.01))
    client = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url, retry_handlers=[retry])
    await driver.fault("chat.postMessage", "drop_response")
    await client.chat_postMessage(channel="C0DATA", text="twice")
    assert [message["text"] for message in await driver.history("C0DATA")] == ["twice", "twice"]


async def test_a_hanging_call_ends_with_the_callers_patience(driver: Driver, sim: Simulator) -> None:
    await driver.fault("auth.test", "hang", seconds=1.2)
    hasty = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url, timeout=1)
    with pytest.raises(TimeoutError):
        await hasty.auth_test()
    assert (await hasty.auth_test())["ok"]


async def test_a_duplicated_event_comes_twice_under_one_id(office: Office) -> None:
    await office.driver.fault("events", "duplicate")
    await office.driver.post("U0MAYA", "C0DATA", "hello")
    first, second = await office.hear("message"), await office.hear("message")
    assert first == second
    sent = [e["args"]["event_id"] for e in await office.driver.log() if e["direction"] == "event"]
    assert sent == [sent[0]] * 2


HASTY = Timing(ack=0.2, redeliver=0.2)


@asynccontextmanager
async def bare_socket(sim: Simulator) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    opened = await AsyncWebClient(base_url=sim.api_url).apps_connections_open(app_token="xapp-simulator")
    async with aiohttp.ClientSession() as session, session.ws_connect(opened["url"]) as ws:
        assert (await ws.receive_json())["type"] == "hello"
        yield ws


async def test_an_event_without_ack_comes_again_three_times() -> None:
    async with await Simulator.start(timing=HASTY) as sim, Driver(sim.url) as driver, bare_socket(sim) as ws:
        await driver.post("U0MAYA", "C0DATA", "hello")
        envelopes = [await ws.receive_json(timeout=5) for _ in range(4)]
        assert [(e["retry_attempt"], e["retry_reason"]) for e in envelopes] == [
            (0, ""),
            (1, "timeout"),
            (2, "timeout"),
            (3, "timeout"),
        ]
        assert len({e["envelope_id"] for e in envelopes}) == 4
        assert len({e["payload"]["event_id"] for e in envelopes}) == 1
        await asyncio.gather(*sim.services.delivery._tasks)
        sent = [e["args"] for e in await driver.log() if e["direction"] == "event"]
        assert [args.get("retry_attempt") for args in sent] == [None, 1, 2, 3]


async def test_an_acked_event_does_not_come_again() -> None:
    async with await Simulator.start(timing=HASTY) as sim, Driver(sim.url) as driver, bare_socket(sim) as ws:
        await driver.post("U0MAYA", "C0DATA", "hello")
        await ws.receive_json()
        again = await ws.receive_json(timeout=5)
        await ws.send_json({"envelope_id": again["envelope_id"]})
        await asyncio.gather(*sim.services.delivery._tasks)
        assert [e["ok"] for e in await driver.log() if e["direction"] == "ack"] == [False, True]


async def test_an_event_over_http_that_fails_comes_again_with_its_number() -> None:
    tries: list[tuple[str | None, str | None]] = []

    async def handle(request: web.Request) -> web.Response:
        headers = request.headers
        tries.append((headers.get("X-Slack-Retry-Num"), headers.get("X-Slack-Retry-Reason")))
        return web.Response(status=503 if len(tries) < 3 else 200)

    server = web.Application()
    server.add_routes([web.post("/slack/events", handle)])
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    async with await Simulator.start(timing=HASTY, request_url=url) as sim, Driver(sim.url) as driver:
        await driver.post("U0MAYA", "C0DATA", "hello")
        await asyncio.gather(*sim.services.delivery._tasks)
    await runner.cleanup()
    assert tries == [(None, None), ("1", "http_error"), ("2", "http_error")]


async def test_a_click_that_nobody_acks_is_told_to_the_person() -> None:
    async with await Simulator.start(timing=HASTY) as sim, Driver(sim.url) as driver:
        client = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)
        ts = (await client.chat_postMessage(channel="C0DATA", text="card", blocks=CARD))["ts"]
        assert (await driver.click("U0OMAR", "C0DATA", ts, "go"))["error"] == "dispatch_failed"
        assert (await driver.command("U0OMAR", "C0DATA", "/agent"))["error"] == "dispatch_failed"
        async with bare_socket(sim):
            assert (await driver.click("U0OMAR", "C0DATA", ts, "go"))["error"] == "timeout"
        toast = await driver.wait_for_push(lambda push: push["type"] == "toast")
        assert (toast["to"], toast["text"]) == (["U0OMAR"], "This app did not respond in time")


async def test_of_several_sockets_each_envelope_goes_to_one() -> None:
    async with (
        await Simulator.start(timing=HASTY) as sim,
        Driver(sim.url) as driver,
        bare_socket(sim) as one,
        bare_socket(sim) as two,
    ):
        for text in ("one", "two"):
            await driver.post("U0MAYA", "C0DATA", text)
        seen = [await ws.receive_json(timeout=5) for ws in (one, two)]
        assert {envelope["payload"]["event"]["text"] for envelope in seen} == {"one", "two"}


async def test_a_ticket_opens_one_socket(sim: Simulator) -> None:
    url = (await AsyncWebClient(base_url=sim.api_url).apps_connections_open(app_token="xapp-simulator"))["url"]
    async with aiohttp.ClientSession() as session, session.ws_connect(url):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_bolt_comes_back_after_a_disconnect(sim: Simulator, driver: Driver, client: AsyncWebClient) -> None:
    app = AsyncApp(client=client, signing_secret=SECRET)
    office = Office(sim, driver, client, app)
    listen(office)
    async with connected(app, sim, "socket"):
        await driver.wait_for_push(lambda push: push.get("link") == "socket")
        seen = len(driver.pushes)
        await driver.fault("socket", "disconnect")
        await driver.wait_for_push(lambda push: push.get("link") == "down", after=seen)
        await driver.wait_for_push(lambda push: push.get("link") == "socket", after=seen + 1)
        await driver.post("U0MAYA", "C0DATA", "are you there?")
        assert (await office.hear("message"))["text"] == "are you there?"


async def test_an_ephemeral_is_seen_by_one_person(driver: Driver, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel="C0DATA", user="U0OMAR", text="not you")
    seen = await driver.wait_for_ephemeral("U0OMAR")
    assert seen["ephemeral"] is True
    assert [m["text"] for m in await driver.history("C0DATA", user="U0OMAR")] == ["not you"]
    assert await driver.history("C0DATA", user="U0MAYA") == []
    refused = await refusal(client.chat_update(channel="C0DATA", ts=seen["ts"], text="x"))
    assert refused["error"] == "message_not_found"


async def test_a_status_shows_until_the_app_speaks(driver: Driver, client: AsyncWebClient) -> None:
    ts = await driver.post("U0MAYA", "C0DATA", "hello")
    await client.assistant_threads_setStatus(channel_id="C0DATA", thread_ts=ts, status="is thinking…")
    await client.chat_postMessage(channel="C0DATA", thread_ts=ts, text="done")
    await driver.wait_for_push(lambda push: push["type"] == "status" and push["status"] == "")
    assert [p["status"] for p in driver.pushes if p["type"] == "status"] == ["is thinking…", ""]


async def test_people_see_and_do_only_what_their_membership_allows(driver: Driver, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C0ACTIONS", text="card", blocks=CARD))["ts"]
    assert (await driver.click("U0THEO", "C0ACTIONS", ts, "go"))["error"] == "channel_not_found"
    assert (await driver.call("post", {"as": "U0THEO", "channel": "C0ACTIONS", "text": "x"}))["ok"] is False
    assert (await driver.click("U0OMAR", "C0ACTIONS", ts, "no_such"))["error"] == "no_such_action"
    await driver.call("channel", {"name": "general", "archived": True})
    assert (await driver.call("post", {"as": "U0OMAR", "channel": "C0GENERAL", "text": "x"}))["error"] == "is_archived"
    await driver.call("person", {"id": "U0OMAR", "deleted": True})
    assert (await driver.click("U0OMAR", "C0ACTIONS", ts, "go"))["error"] == "account_inactive"
    assert (await client.users_info(user="U0OMAR"))["user"]["deleted"] is True


async def test_the_control_api_refuses_other_origins(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        elsewhere = {"Origin": "http://elsewhere.example"}
        async with session.post(f"{sim.url}/_sim/post", json={}, headers=elsewhere) as answer:
            assert answer.status == 403
        async with session.post(f"{sim.url}/_sim/post", data="{}", headers={"Content-Type": "text/plain"}) as answer:
            assert (await answer.json())["error"] == "invalid_json"


async def test_the_command_says_where_it_listens_and_refuses_a_taken_port(sim: Simulator) -> None:
    async def started(port: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = ("-m", "simulator", "--port", port)
        return await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe, stderr=pipe)

    taken = sim.url.rsplit(":", 1)[-1]
    serving, refused = await started("0"), await started(taken)
    _, words = await refused.communicate()
    assert refused.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{taken}" in words.decode()
    assert serving.stdout is not None
    assert b"http://127.0.0.1:" in await serving.stdout.readline()
    serving.terminate()
    await serving.communicate()
    assert serving.returncode == 0


async def test_tokens_do_not_stand_in_the_log(driver: Driver, client: AsyncWebClient) -> None:
    await client.api_call("auth.test", data={"token": "xoxb-simulator"})
    assert "xoxb-simulator" not in str(await driver.log())

"""What agents bring to the simulated workspace's page: streams, Home, files, shortcuts; by mouse, keyboard and ear."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.models.messages.chunk import MarkdownTextChunk, PlanUpdateChunk, TaskUpdateChunk
from slack_sdk.web.async_client import AsyncWebClient

from simulator import Driver, Simulator

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("chromium")]

Json = dict[str, Any]
TEAM = "T0SECONDKEY"
INTERACTIVE = {"button", "link", "textbox", "combobox", "menuitem", "checkbox", "radio", "option", "listbox", "tab"}

#: the text on the page whose contrast with what is behind it is below what WCAG 2.2 AA asks for
FAINT = """() => {
    const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
    const parse = s => (([r = 0, g = 0, b = 0, a = 1]) => [r, g, b, a])((s.match(/[\\d.]+/g) ?? []).map(Number));
    const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
    const parents = node => { const all = []; for (let n = node; n; n = n.parentElement) all.push(n); return all; };
    const behind = node => {
        let colour = [255, 255, 255];
        for (const n of parents(node).reverse()) {
            if (getComputedStyle(n).backgroundImage.includes("gradient")) colour = null;
            const own = parse(getComputedStyle(n).backgroundColor);
            if (colour || own[3] === 1) colour = over(own, colour ?? [0, 0, 0]);
        }
        return colour;
    };
    const faint = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement, style = getComputedStyle(node), ground = behind(node);
        const opacity = parents(node).reduce((all, n) => all * getComputedStyle(n).opacity, 1);
        const unseen = !walker.currentNode.data.trim() || !node.getClientRects().length || !opacity || !ground;
        if (unseen || node.closest("[aria-hidden='true'], :disabled, .visually-hidden, .skip")) continue;
        const own = parse(style.color);
        const [a, b] = [light(over([...own.slice(0, 3), own[3] * opacity], ground)), light(ground)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const least = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
        if (ratio < least) faint.push(`${node.className}: ${walker.currentNode.data.trim()} ${ratio.toFixed(2)}`);
    }
    return faint;
}"""


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def button(action_id: str, **more: object) -> Json:
    return {"type": "button", "action_id": action_id, "text": plain(action_id.title()), "value": "7"} | more


THUMBS = {
    "type": "feedback_buttons",
    "action_id": "feedback",
    "positive_button": {"text": plain("Good answer"), "value": "good"},
    "negative_button": {"text": plain("Bad answer"), "value": "bad"},
}
MODAL: Json = {
    "type": "modal",
    "callback_id": "task",
    "title": plain("Give a task"),
    "submit": plain("Give"),
    "close": plain("Cancel"),
    "blocks": [
        {
            "type": "input",
            "block_id": "task",
            "label": plain("Task"),
            "element": {"type": "plain_text_input", "action_id": "text"},
        }
    ],
}


@dataclass
class Desk:
    """The simulator with a Bolt app in it, and one page."""

    sim: Simulator
    driver: Driver
    client: AsyncWebClient
    page: Page
    heard: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)

    async def go(self, user: str, channel: str, **more: str) -> None:
        place = "&".join(f"{key}={value}" for key, value in {"as": user, "channel": channel, **more}.items())
        await self.page.goto(f"{self.sim.url}/#{place}")
        await expect(self.page.locator("[data-link='socket']")).to_be_visible()

    async def hear(self, kind: str) -> Json:
        while True:
            body = await asyncio.wait_for(self.heard.get(), 30)
            if kind in {body.get("type"), body.get("event", {}).get("type")}:
                return body

    def message(self, ts: str, pane: str = "#main") -> Locator:
        return self.page.locator(f"{pane} [data-ts='{ts}']")


def listen(app: AsyncApp, desk: Desk) -> None:
    @app.use
    async def keep(body: Json, next_: Callable[[], Any]) -> None:
        await desk.heard.put(body)
        await next_()

    @app.function("run_agent_task")
    async def on_function(inputs: Json, complete: Any, fail: Any) -> None:
        if inputs["task"] == "fail":
            await fail("Nobody could do this.")
        else:
            await complete({"answer": f"{inputs['task']}: done", "status": "completed", "run_id": "r1"})

    @app.event(re.compile(".*"))
    async def on_event() -> None: ...

    @app.action(re.compile(".*"))
    async def on_action(ack: Any) -> None:
        await ack()

    @app.view("task")
    async def on_view(ack: Any) -> None:
        await ack()

    @app.shortcut(re.compile(".*"))
    async def on_shortcut(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser) -> AsyncIterator[Desk]:
    broken: list[str] = []
    async with await Simulator.start(rates=False) as sim, Driver(sim.url) as driver:
        client = AsyncWebClient(token="xoxb-simulator", base_url=sim.api_url)
        page = await browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: broken.append(str(error)))
        made = Desk(sim, driver, client, page)
        app = AsyncApp(client=client, signing_secret="simulator-signing-secret")
        listen(app, made)
        handler = AsyncSocketModeHandler(app, "xapp-simulator")
        await handler.connect_async()
        expect.set_options(timeout=10_000)
        yield made
        await page.close()
        await handler.close_async()
    assert broken == []


async def begun(desk: Desk, thread: str, **more: Any) -> Any:
    return await desk.client.chat_stream(
        channel="C0DATA", thread_ts=thread, recipient_team_id=TEAM, recipient_user_id="U0MAYA", **more
    )


def task(status: str, **more: str) -> TaskUpdateChunk:
    return TaskUpdateChunk(id="t1", title="Read the orders", status=status, **more)


async def test_a_stream_is_seen_growing_task_by_task_and_its_stop_button_stops_it(desk: Desk) -> None:
    thread = await desk.driver.post("U0MAYA", "C0DATA", "<@U0SECONDKEY> count the orders")
    await desk.go("U0MAYA", "C0DATA", thread=thread)
    stream = await begun(desk, thread, task_display_mode="plan")
    await stream.append(chunks=[PlanUpdateChunk(title="Counting orders"), task("in_progress")])
    message = desk.message(stream.ts, "#thread")
    await expect(message.locator(".plan-title")).to_have_text("Counting orders")
    await expect(message.get_by_role("img", name="In progress")).to_be_visible()
    await expect(message).to_have_attribute("aria-busy", "true")
    await stream.append(chunks=[task("complete", output="42 rows"), MarkdownTextChunk(text="There are **42** orders")])
    await expect(message.get_by_role("img", name="Complete")).to_be_visible()
    await expect(message.locator(".task-output")).to_have_text("42 rows")
    await expect(message.locator(".plan-count")).to_have_text("1 of 1")
    await expect(message.locator("strong")).to_have_text("42")
    await expect(desk.page.locator("#thread .status")).to_contain_text("Second Key is working…")

    await desk.page.get_by_role("button", name="Stop Second Key").click()
    stopped = await desk.hear("agent_session_stopped")
    assert stopped["event"]["streaming_message_ts"] == [stream.ts]
    await expect(message.locator(".stream-end")).to_have_text("Stopped")
    await desk.client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=thread, status="suspended")
    await expect(desk.page.locator("#thread .status")).to_contain_text("is waiting for people")
    await expect(desk.page.get_by_role("button", name="Stop Second Key")).to_have_count(0)


async def test_a_stream_that_broke_off_says_so_until_it_is_updated(desk: Desk) -> None:
    thread = await desk.driver.post("U0MAYA", "C0DATA", "count")
    await desk.go("U0MAYA", "C0DATA", thread=thread)
    stream = await begun(desk, thread, buffer_size=1)
    await stream.append(markdown_text="Half an")
    await desk.driver.expire_streams()
    message = desk.message(stream.ts, "#thread")
    await expect(message.locator(".stream-end")).to_have_text("This answer broke off")
    blocks = [{"type": "markdown", "text": "Half an answer, made whole"}]
    await desk.client.chat_update(channel="C0DATA", ts=stream.ts, text="whole", blocks=blocks)
    await expect(message).to_contain_text("Half an answer, made whole")
    await expect(message.locator(".stream-end")).to_have_count(0)


async def test_a_sessions_title_and_loading_messages_stand_in_the_thread(desk: Desk) -> None:
    thread = await desk.driver.post("U0MAYA", "C0DATA", "count")
    await desk.go("U0MAYA", "C0DATA", thread=thread)
    await desk.client.agents_sessions_setStatus(
        channel_id="C0DATA", thread_ts=thread, status="processing", title="Orders of May"
    )
    await expect(desk.page.locator(".thread-place")).to_have_text("# data-team · Orders of May")
    await desk.client.assistant_threads_setStatus(
        channel_id="C0DATA", thread_ts=thread, status="is thinking…", loading_messages=["Reading the orders"]
    )
    await expect(desk.page.locator("#thread .status")).to_contain_text("is thinking…Reading the orders")


async def test_files_are_attached_in_the_composer_and_downloaded_from_the_message(desk: Desk) -> None:
    await desk.go("U0MAYA", "C0DATA")
    page = desk.page
    await page.locator("#main [data-attach]").set_input_files(
        [
            {"name": "orders.csv", "mimeType": "text/csv", "buffer": b"id\n7\n"},
            {"name": "wrong.txt", "mimeType": "text/plain", "buffer": b"x"},
        ]
    )
    await page.get_by_role("button", name="Remove wrong.txt").click()
    await page.get_by_label("Message", exact=True).fill("count these")
    await page.keyboard.press("Enter")
    chip = page.locator("#main .message a.file")
    await expect(chip).to_have_count(1)
    await expect(chip).to_have_text(re.compile("orders.csv.*CSV · 5 B"))
    await expect(page.locator("#main .attached")).to_be_hidden()
    event = (await desk.hear("message"))["event"]
    assert (event["text"], [f["name"] for f in event["files"]]) == ("count these", ["orders.csv"])
    async with page.expect_download() as coming:
        await chip.click()
    download = await coming.value
    assert download.suggested_filename == "orders.csv"
    assert (await download.path()).read_bytes() == b"id\n7\n"


async def test_the_menu_of_a_message_has_the_apps_shortcut_and_gives_focus_back(desk: Desk) -> None:
    ts = await desk.driver.post("U0OMAR", "C0DATA", "an order is missing")
    await desk.go("U0MAYA", "C0DATA")
    page = desk.page
    await desk.message(ts).focus()
    await desk.message(ts).get_by_role("button", name="More actions").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Copy link")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("menuitem", name="Ask the agent about this")).to_be_focused()
    await page.keyboard.press("Enter")
    body = await desk.hear("message_action")
    assert (body["callback_id"], body["message_ts"]) == ("ask_about_message", ts)
    await expect(page.locator("form[data-view-id]").get_by_label("Task")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await desk.driver.wait_for_push(lambda push: push["type"] == "view_closed")
    await expect(desk.message(ts).get_by_role("button", name="More actions")).to_be_focused()


async def test_a_global_shortcut_and_a_workflow_step_are_run_from_the_composer(desk: Desk) -> None:
    await desk.go("U0MAYA", "C0DATA")
    page = desk.page
    shortcuts = page.locator("#main").get_by_role("button", name="Shortcuts")
    await shortcuts.click()
    await page.get_by_role("menuitem", name="Give the agent a task").click()
    assert (await desk.hear("shortcut"))["callback_id"] == "give_task"
    await expect(page.locator("form[data-view-id]")).to_be_visible()
    await page.keyboard.press("Escape")
    await shortcuts.click()
    await page.get_by_role("menuitem", name="Workflow step: Run an agent task").click()
    dialog = page.get_by_role("dialog", name="Run an agent task")
    await expect(dialog.get_by_label("Task")).to_be_focused()
    await dialog.get_by_role("button", name="Run step").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("missing: task")
    await dialog.get_by_label("Task").fill("count")
    await dialog.get_by_role("button", name="Run step").click()
    await expect(dialog.locator(".step-run.completed")).to_contain_text("count: done")
    await dialog.get_by_label("Task").fill("fail")
    await dialog.get_by_role("button", name="Run step").click()
    await expect(dialog.locator(".step-run.failed")).to_contain_text("Nobody could do this.")
    assert (await desk.hear("function_executed"))["event"]["inputs"]["channel"] == "C0DATA"
    await page.keyboard.press("Escape")
    await expect(shortcuts).to_be_focused()


async def test_home_is_shown_used_and_kept_fresh_with_what_was_typed_and_the_focus(desk: Desk) -> None:
    page = desk.page
    await desk.go("U0MAYA", "D0MAYA", tab="home")
    await expect(page.locator(".home-tab")).to_contain_text("has put nothing here yet")
    assert (await desk.hear("app_home_opened"))["event"]["tab"] in {"home", "messages"}
    options = [{"text": plain(name), "value": name} for name in ("mine", "all")]
    select = {"type": "static_select", "action_id": "which", "options": options}
    note = {"type": "plain_text_input", "action_id": "note"}
    actions = {"type": "actions", "block_id": "b", "elements": [button("approve"), select]}
    typed = {"type": "input", "block_id": "n", "label": plain("Note"), "element": note}

    async def publish(text: str) -> None:
        blocks = [{"type": "header", "text": plain(text)}, actions, typed]
        await desk.client.views_publish(user_id="U0MAYA", view={"type": "home", "blocks": blocks})

    await publish("Waiting: 1")
    home = page.locator(".home-body")
    await home.get_by_label("Note").fill("not yet sent")
    await home.get_by_role("button", name="Approve").click()
    body = await desk.hear("block_actions")
    assert "channel" not in body
    assert body["view"]["state"]["values"]["n"]["note"]["value"] == "not yet sent"
    await home.get_by_role("combobox").first.select_option("all")
    assert (await desk.hear("block_actions"))["actions"][0]["selected_option"]["value"] == "all"
    await home.get_by_role("button", name="Approve").focus()
    await publish("Waiting: 0")
    await expect(home.get_by_role("heading", name="Waiting: 0")).to_be_visible()
    await expect(home.get_by_role("button", name="Approve")).to_be_focused()
    await expect(home.get_by_label("Note")).to_have_value("not yet sent")


async def test_thumbs_are_pressed_once_and_show_which(desk: Desk) -> None:
    blocks = [{"type": "context_actions", "block_id": "f", "elements": [THUMBS]}]
    ts = (await desk.client.chat_postMessage(channel="C0DATA", text="An answer", blocks=blocks))["ts"]
    await desk.go("U0MAYA", "C0DATA")
    down = desk.message(ts).get_by_role("button", name="Bad answer")
    await down.click()
    assert (await desk.hear("block_actions"))["actions"][0]["value"] == "bad"
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(desk.message(ts).get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")


async def test_what_others_write_is_announced_once_and_a_stream_only_when_it_is_whole(desk: Desk) -> None:
    thread = await desk.driver.post("U0MAYA", "C0DATA", "count")
    await desk.go("U0MAYA", "C0DATA", thread=thread)
    heard = desk.page.locator("#announcer")
    await expect(heard).to_have_attribute("aria-live", "polite")
    await desk.page.evaluate("""() => {
        window.said = [];
        const root = document.getElementById("announcer");
        new MutationObserver(() => window.said.push(root.textContent)).observe(root, { childList: true });
    }""")
    await desk.driver.post("U0MAYA", "C0DATA", "my own words", thread_ts=thread)
    await desk.driver.post("U0OMAR", "C0DATA", "<@U0MAYA>, look at <https://example.org|this> & that", thread_ts=thread)
    stream = await begun(desk, thread, buffer_size=1)
    await stream.append(markdown_text="Half ")
    await stream.append(markdown_text="and whole")
    await stream.stop()
    await desk.client.chat_postEphemeral(channel="C0DATA", user="U0MAYA", text="A word", thread_ts=thread)
    await expect(heard).to_have_text("Second Key, only visible to you: A word")
    assert await desk.page.evaluate("window.said") == [
        "Omar Reyes: @Maya Lind, look at this & that",
        "Second Key: Half and whole",
        "Second Key, only visible to you: A word",
    ]


async def everything(desk: Desk) -> str:
    """Fill a channel with every kind of block and element; returns the thread."""
    option = {"text": plain("One"), "value": "1"}
    initial = {"options": [option], "action_id": "c"}
    elements = [
        button("approve"),
        {"type": "overflow", "action_id": "o", "options": [option]},
        {"type": "static_select", "action_id": "s", "options": [option], "placeholder": plain("Pick one")},
        {"type": "users_select", "action_id": "u"},
        {"type": "datepicker", "action_id": "d"},
        {"type": "checkboxes"} | initial,
    ]
    rows = [[{"type": "raw_text", "text": "A"}], [{"type": "raw_text", "text": "1"}]]
    task_card = {"type": "task_card", "task_id": "1", "title": "Read", "status": "error"}
    inside = [{"type": "actions", "elements": [button("inner")]}]
    blocks = [
        {"type": "actions", "elements": elements},
        {"type": "context_actions", "elements": [THUMBS]},
        {"type": "alert", "level": "warning", "text": plain("Careful")},
        {"type": "plan", "title": "A plan", "tasks": [task_card]},
        {"type": "container", "title": plain("More"), "is_collapsible": True, "child_blocks": inside},
        {"type": "table", "rows": rows},
    ]
    thread = await desk.driver.post("U0MAYA", "C0DATA", "hello")
    await desk.client.chat_postMessage(channel="C0DATA", text="all", blocks=blocks, thread_ts=thread)
    await desk.driver.attach("U0OMAR", "C0DATA", "a.txt", "x", thread_ts=thread)
    await desk.client.agents_sessions_setStatus(channel_id="C0DATA", thread_ts=thread, status="processing")
    await desk.go("U0MAYA", "C0DATA", thread=thread)
    await expect(desk.page.locator("#thread .message")).to_have_count(3)
    return thread


async def test_every_control_has_a_name_and_every_id_is_one(desk: Desk) -> None:
    await everything(desk)
    session = await desk.page.context.new_cdp_session(desk.page)

    async def nameless() -> list[str]:
        nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
        seen = [n for n in nodes if not n["ignored"] and n["role"]["value"] in INTERACTIVE]
        assert len(seen) > 5
        return [n["role"]["value"] for n in seen if not n.get("name", {}).get("value", "").strip()]

    assert await nameless() == []
    twice = await desk.page.evaluate(
        "() => [...document.querySelectorAll('[id]')].map(n => n.id).filter((id, n, all) => all.indexOf(id) !== n)"
    )
    assert twice == []
    # ARIA points only at what is there.
    dangling = await desk.page.evaluate("""() => [...document.querySelectorAll("[aria-labelledby], [aria-controls]")]
        .flatMap(n => ["aria-labelledby", "aria-controls"].map(name => n.getAttribute(name) ?? ""))
        .flatMap(ids => ids.split(/\\s+/))
        .filter(id => id && !document.getElementById(id))""")
    assert dangling == []
    await desk.page.locator("#main").get_by_role("button", name="Shortcuts").click()
    await desk.page.get_by_role("menuitem", name="Workflow step: Run an agent task").click()
    await expect(desk.page.get_by_role("dialog")).to_be_visible()
    assert await nameless() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_text_stands_out_from_what_is_behind_it(desk: Desk, theme: str) -> None:
    await desk.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    thread = await everything(desk)
    stream = await begun(desk, thread, task_display_mode="plan")
    await stream.append(chunks=[task("in_progress", details="opening", output="42 rows")])
    await desk.driver.expire_streams()
    await desk.client.chat_postEphemeral(
        channel="C0DATA", user="U0MAYA", text="`code` <@U0MAYA> <@U0OMAR>\n&gt; quoted", thread_ts=thread
    )
    await expect(desk.page.locator("#thread .message.ephemeral")).to_be_visible()
    await expect(desk.page.locator(f"html[data-theme='{theme}']")).to_be_attached()
    assert await desk.page.evaluate(FAINT) == []
    await desk.page.add_style_tag(content=".time { color: #777 !important; }")
    assert "time: " in " ".join(await desk.page.evaluate(FAINT))


async def test_the_pages_landmarks_are_named_and_f6_goes_round_them(desk: Desk) -> None:
    await everything(desk)
    page = desk.page
    for role, name in (
        ("navigation", "Channels"),
        ("main", "Conversation"),
        ("complementary", "Thread"),
        ("log", "Messages"),
        ("status", "New messages"),
    ):
        await expect(page.get_by_role(role, name=name, exact=True)).to_have_count(1)
    places = (
        "() => ['sidebar', 'main', 'thread'].find(id => document.getElementById(id).contains(document.activeElement))"
    )
    await page.locator("#thread [data-composer]").focus()
    went: list[str] = []
    for key in ("F6", "F6", "F6", "Shift+F6"):
        await page.keyboard.press(key)
        went.append(await page.evaluate(places))
    assert went == ["sidebar", "main", "thread", "main"]


async def test_messages_are_one_stop_in_the_tab_order_and_the_arrows_walk_them(desk: Desk) -> None:
    stamps = [await desk.driver.post("U0OMAR", "C0DATA", f"message {n}") for n in range(12)]
    await desk.go("U0MAYA", "C0DATA")
    page = desk.page
    await expect(page.locator("#main .message")).to_have_count(12)
    stops = page.locator("#main .list :is([tabindex='0'], button:not([tabindex='-1']), a[href])")
    await expect(stops).to_have_count(1)
    await page.locator("#main [data-composer]").focus()
    # Back over the formatting tools to the last message.
    for _ in range(8):
        await page.keyboard.press("Shift+Tab")
        if await desk.message(stamps[-1]).evaluate("node => node === document.activeElement"):
            break
    await expect(desk.message(stamps[-1])).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    await expect(desk.message(stamps[-3])).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(desk.message(stamps[-3]).get_by_role("button", name="Add reaction")).to_be_focused()
    await desk.message(stamps[-3]).focus()
    await page.keyboard.press("Home")
    await expect(desk.message(stamps[0])).to_be_focused()


async def test_tab_stays_in_an_open_dialog_and_escape_closes_only_the_topmost(desk: Desk) -> None:
    ts = await desk.driver.post("U0OMAR", "C0DATA", "a message")
    await desk.go("U0MAYA", "C0DATA", thread=ts)
    page = desk.page
    await page.locator("#main").get_by_role("button", name="Shortcuts").click()
    await page.get_by_role("menuitem", name="Give the agent a task").click()
    dialog = page.locator("dialog[open]")
    await expect(dialog).to_be_visible()
    for _ in range(9):
        await page.keyboard.press("Tab")
        assert await dialog.evaluate("node => node.contains(document.activeElement)")
    await page.keyboard.press("F6")
    assert await dialog.evaluate("node => node.contains(document.activeElement)")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.locator("#thread")).to_be_visible()
    await page.locator("#thread [data-composer]").focus()
    await page.keyboard.press("Escape")
    await expect(page.locator("#thread")).to_be_hidden()


async def shown(desk: Desk, query: str) -> Locator:
    await desk.page.goto(f"{desk.sim.url}/show?{query}")
    await expect(desk.page.locator("html[data-ready='true']")).to_be_attached()
    return desk.page.locator("#shown")


async def test_a_picture_shows_one_message_and_nothing_else_in_both_themes(desk: Desk) -> None:
    actions = {"type": "actions", "elements": [button("approve", style="primary")]}
    posted = await desk.client.chat_postMessage(channel="C0DATA", text="card", blocks=[actions])
    await desk.client.chat_postMessage(channel="C0DATA", text="another")
    colours: list[str] = []
    for theme in ("light", "dark"):
        root = await shown(desk, f"channel=C0DATA&ts={posted['ts']}&theme={theme}&width=500")
        await expect(root.locator(".message")).to_have_count(1)
        await expect(root.locator(".tools")).to_have_count(0)
        await expect(desk.page.locator("#sidebar, .composer, .banner")).to_have_count(0)
        box = await root.bounding_box()
        assert box is not None
        assert box["width"] == 500
        assert box["height"] < 160
        colours.append(await root.evaluate("node => getComputedStyle(node).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(26, 29, 33)"]
    await desk.page.emulate_media(color_scheme="dark")
    root = await shown(desk, f"channel=C0DATA&ts={posted['ts']}")
    assert await root.evaluate("node => getComputedStyle(node).backgroundColor") == colours[1]


async def test_a_picture_shows_a_thread_a_modal_whole_or_a_home(desk: Desk) -> None:
    thread = await desk.driver.post("U0MAYA", "C0DATA", "root")
    await desk.driver.post("U0OMAR", "C0DATA", "reply", thread_ts=thread)
    root = await shown(desk, f"channel=C0DATA&ts={thread}&thread=1")
    await expect(root.locator(".message")).to_have_count(2)

    whisper = await desk.client.chat_postEphemeral(channel="C0DATA", user="U0OMAR", text="Not yours", thread_ts=thread)
    root = await shown(desk, f"channel=C0DATA&ts={whisper['message_ts']}&as=U0OMAR")
    await expect(root.locator(".message.ephemeral")).to_contain_text("Not yours")
    await desk.page.goto(f"{desk.sim.url}/show?channel=C0DATA&ts={whisper['message_ts']}&as=U0MAYA")
    await expect(desk.page.locator("html[data-ready='error'] #shown")).to_contain_text("message_not_found")

    long = [{"type": "section", "text": plain(f"line {n}")} for n in range(60)]
    trigger = desk.sim.services.rights.trigger("U0MAYA")
    view = MODAL | {"blocks": [*MODAL["blocks"], *long]}
    opened = (await desk.client.views_open(trigger_id=trigger, view=view))["view"]
    root = await shown(desk, f"view={opened['id']}&theme=dark")
    await expect(root.get_by_text("line 59")).to_be_visible()
    box = await root.bounding_box()
    assert box is not None
    assert box["height"] > 1500

    blocks = [{"type": "header", "text": plain("My runs")}]
    await desk.client.views_publish(user_id="U0MAYA", view={"type": "home", "blocks": blocks})
    root = await shown(desk, "home=U0MAYA")
    await expect(root.get_by_text("My runs")).to_be_visible()
    await desk.page.goto(f"{desk.sim.url}/show?view=V0NONE")
    await expect(desk.page.locator("html[data-ready='error'] #shown")).to_contain_text("not_found")


async def test_the_page_is_dark_when_its_address_says_so(desk: Desk) -> None:
    await desk.page.goto(f"{desk.sim.url}/?theme=dark#as=U0MAYA&channel=C0DATA")
    await expect(desk.page.locator("html[data-theme='dark']")).to_be_attached()
    await expect(desk.page.locator("h1")).to_contain_text("data-team")

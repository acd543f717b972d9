"""The simulated workspace's page, driven in a real browser against the real simulator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BOT_TOKEN = "xoxb-simulator"
APP_TOKEN = "xapp-simulator"
MODAL: dict[str, Any] = {
    "type": "modal",
    "callback_id": "hand_back",
    "title": {"type": "plain_text", "text": "Hand back"},
    "submit": {"type": "plain_text", "text": "Send"},
    "blocks": [
        {
            "type": "input",
            "block_id": "reason",
            "label": {"type": "plain_text", "text": "Reason"},
            "element": {"type": "plain_text_input", "action_id": "text", "multiline": True},
        }
    ],
}


def card(*, text: str) -> list[dict[str, Any]]:
    return [
        {"type": "header", "text": {"type": "plain_text", "text": "Approval needed"}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": text},
            "fields": [
                {"type": "mrkdwn", "text": "*Risk*\nmedium"},
                {"type": "mrkdwn", "text": "*Tool*\n`write_file`"},
            ],
        },
        {
            "type": "actions",
            "block_id": "decision",
            "elements": [
                {
                    "type": "button",
                    "action_id": "approve",
                    "style": "primary",
                    "value": "a1",
                    "text": {"type": "plain_text", "text": "Approve"},
                },
                {
                    "type": "button",
                    "action_id": "deny",
                    "style": "danger",
                    "text": {"type": "plain_text", "text": "Deny"},
                    "confirm": {
                        "title": {"type": "plain_text", "text": "Sure?"},
                        "text": {"type": "plain_text", "text": "The agent is told."},
                        "confirm": {"type": "plain_text", "text": "Deny"},
                        "deny": {"type": "plain_text", "text": "Cancel"},
                    },
                },
            ],
        },
    ]


class TinyApp:
    """An app at the other end of Socket Mode: opens a modal on a click and refuses short reasons."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._ready = asyncio.Event()
        self.clicks: list[str] = []
        self.submitted: list[str] = []

    async def call(self, method: str, **body: object) -> dict[str, Any]:
        token = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self._simulator.api_url}{method}", json=body) as response,
        ):
            answer: dict[str, Any] = await response.json()
            assert answer["ok"], answer
            return answer

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncGenerator[TinyApp]:
        task = asyncio.create_task(self._serve())
        try:
            await asyncio.wait_for(self._ready.wait(), 30)
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _serve(self) -> None:
        opened = await self.call("apps.connections.open")
        async with aiohttp.ClientSession() as session, session.ws_connect(opened["url"]) as socket:
            self._ready.set()
            async for frame in socket:
                envelope = json.loads(frame.data)
                if "envelope_id" not in envelope:
                    continue
                ack: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
                payload = envelope.get("payload", {})
                if payload.get("type") == "view_submission":
                    reason = payload["view"]["state"]["values"]["reason"]["text"]["value"]
                    self.submitted.append(reason)
                    if len(reason) < 10:
                        ack["payload"] = {"response_action": "errors", "errors": {"reason": "Say a little more."}}
                await socket.send_json(ack)
                if payload.get("type") == "block_actions":
                    self.clicks.append(payload["actions"][0]["action_id"])
                    await self.call("views.open", trigger_id=payload["trigger_id"], view=MODAL)


@pytest_asyncio.fixture(loop_scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    async with await Simulator.start(rates=False) as simulator:
        yield simulator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(5000)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("dialog", lambda dialog: broken.append(f"dialog: {dialog.message}"))
    yield page
    await page.close()
    assert broken == []


def address(simulator: Simulator, user: str, channel: str) -> str:
    return f"{simulator.url}/#as={user}&channel={channel}"


async def test_a_message_typed_by_a_person_appears_and_its_mention_names_the_app(
    simulator: Simulator, page: Page
) -> None:
    await page.goto(address(simulator, "U0MAYA", "C0GENERAL"))
    composer = page.get_by_label("Message", exact=True)
    await composer.press_sequentially("@Sec")
    await expect(page.get_by_role("option", name="Second Key")).to_be_visible()
    await composer.press("Enter")
    await composer.press_sequentially("count 1 < 2 & report")
    await composer.press("Enter")

    message = page.locator("#main .message")
    await expect(message).to_have_count(1)
    await expect(message).to_contain_text("@Second Key count 1 < 2 & report")
    await expect(message).to_contain_text("Maya Lind")
    await expect(composer).to_have_value("")
    [kept] = simulator.workspace.channels["C0GENERAL"].messages.values()
    assert kept["text"] == "<@U0SECONDKEY> count 1 &lt; 2 &amp; report"


async def test_a_card_posted_through_the_api_is_drawn_and_its_thread_opens(simulator: Simulator, page: Page) -> None:
    app = TinyApp(simulator)
    await page.goto(address(simulator, "U0OMAR", "C0ACTIONS"))
    await expect(page.locator("h1")).to_contain_text("ai-actions")
    posted = await app.call(
        "chat.postMessage", channel="C0ACTIONS", text="approval", blocks=card(text="<@U0OMAR> may *decide*")
    )

    message = page.locator(f"#main [data-ts='{posted['ts']}']")
    await expect(message.get_by_role("heading", name="Approval needed")).to_be_visible()
    await expect(message.locator(".mention.me")).to_have_text("@Omar Reyes")
    await expect(message.locator("strong", has_text="decide")).to_be_visible()
    await expect(message.locator(".fields > *")).to_have_count(2)
    await expect(message.locator("code")).to_have_text("write_file")
    await expect(message.locator("[data-action-id='approve']")).to_have_class(re.compile("primary"))

    await app.call("chat.postMessage", channel="C0ACTIONS", thread_ts=posted["ts"], text="One more word")
    await message.get_by_role("button", name="1 reply").click()
    await expect(page.locator("#thread .message")).to_have_count(2)
    await page.get_by_label("Reply", exact=True).fill("Thanks")
    await page.keyboard.press("Enter")
    await expect(page.locator("#thread .message").last).to_contain_text("Thanks")
    await expect(message.get_by_role("button", name="2 replies")).to_be_visible()


async def test_hostile_text_stays_text(simulator: Simulator, page: Page) -> None:
    app = TinyApp(simulator)
    hostile = (
        "<script>alert(1)</script> <img src=x onerror=alert(2)> <javascript:alert(3)|press> "
        "&lt;b&gt;bold&lt;/b&gt; <data:text/html,x|data>"
    )
    markdown = "[press](javascript:alert(4)) <img src=x onerror=alert(5)> ![x](javascript:alert(6))"
    rich = {"type": "link", "url": "javascript:alert(7)", "text": "rich"}
    await app.call("chat.postMessage", channel="C0GENERAL", text=hostile)
    await app.call(
        "chat.postMessage",
        channel="C0GENERAL",
        text="blocks",
        blocks=[
            *card(text=hostile),
            {"type": "markdown", "text": markdown},
            {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [rich]}]},
        ],
    )
    await page.goto(address(simulator, "U0MAYA", "C0GENERAL"))

    messages = page.locator("#main .message")
    await expect(messages).to_have_count(2)
    await expect(messages.first).to_contain_text("<script>alert(1)</script> <img src=x onerror=alert(2)>")
    await expect(messages.first).to_contain_text("<b>bold</b>")
    await expect(messages.last).to_contain_text("rich")
    assert await page.locator("#main .message :is(script, img, b, iframe)").count() == 0
    links = await page.locator("#main .message a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert [href for href in links if not href.startswith("http")] == []


async def test_marks_are_read_as_slack_reads_them(simulator: Simulator, page: Page) -> None:
    await page.goto(address(simulator, "U0MAYA", "C0GENERAL"))
    await expect(page.locator("h1")).to_contain_text("general")
    read = """async text => {
        const { mrkdwn } = await import("/static/mrkdwn.js");
        const { el, put } = await import("/static/dom.js");
        const store = { person: () => null, channel: () => null, me: { id: "U1" } };
        return put(el("div"), mrkdwn(text, store)).innerHTML;
    }"""
    expected = {
        "*a* _b_ ~c~ `d`": "<strong>a</strong> <em>b</em> <s>c</s> <code>d</code>",
        "*_both_*": "<strong><em>both</em></strong>",
        "2*3*4 snake_case_name **no**": "2*3*4 snake_case_name **no**",
        "*past `code*` on*": "<strong>past <code>code*</code> on</strong>",
        "&gt; quoted\nnot": "<blockquote>quoted</blockquote>not",
        "```\n*raw*\n```": '<pre tabindex="0">*raw*</pre>',
        "&amp;lt; &lt;b&gt;": "&amp;lt; &lt;b&gt;",
        "<!date^none^{date}|later>": "later",
        ":nope: 12:30:45": ":nope: 12:30:45",
    }
    assert {text: await page.evaluate(read, text) for text in expected} == expected
    deep = await page.evaluate(read, "*_" * 20_000 + "x" + "_*" * 20_000)
    assert "x" in deep


async def test_a_suggested_prompt_is_sent_as_it_is_worded_and_then_makes_room(simulator: Simulator, page: Page) -> None:
    app = TinyApp(simulator)
    dm = simulator.workspace.im("U0MAYA").id
    prompts = [{"title": "Count the orders", "message": "How many orders < 10 & open?"}]
    await page.goto(address(simulator, "U0MAYA", dm))
    await app.call("assistant.threads.setSuggestedPrompts", channel_id=dm, prompts=prompts)
    await page.get_by_role("button", name="Count the orders").click()
    await expect(page.locator("#main .message")).to_contain_text("How many orders < 10 & open?")
    await expect(page.get_by_role("button", name="Count the orders")).to_have_count(0)


async def test_a_link_to_a_thread_opens_it_and_shows_what_the_app_is_doing(simulator: Simulator, page: Page) -> None:
    app = TinyApp(simulator)
    root = await app.call("chat.postMessage", channel="C0ACTIONS", text="A task")
    await app.call("agents.sessions.setStatus", channel_id="C0ACTIONS", thread_ts=root["ts"], status="processing")
    await page.goto(f"{address(simulator, 'U0INES', 'C0ACTIONS')}&thread={root['ts']}")
    await expect(page.locator("#thread .message")).to_contain_text("A task")
    await expect(page.locator("#thread .status")).to_contain_text("Second Key is working")
    await app.call("agents.sessions.setStatus", channel_id="C0ACTIONS", thread_ts=root["ts"], status="closed")
    await expect(page.locator("#thread .status")).to_be_hidden()
    await page.keyboard.press("Escape")
    await expect(page.locator("#thread")).to_be_hidden()


async def test_switching_people_changes_what_is_seen(simulator: Simulator, page: Page) -> None:
    app = TinyApp(simulator)
    await app.call("chat.postMessage", channel="C0ACTIONS", text="For the staff")
    await app.call("chat.postEphemeral", channel="C0ACTIONS", user="U0MAYA", text="For Maya alone")
    await page.goto(address(simulator, "U0MAYA", "C0ACTIONS"))
    whisper = page.locator(".message.ephemeral")
    await expect(whisper).to_contain_text("Only visible to you")
    await expect(whisper).to_contain_text("For Maya alone")

    await page.locator("[data-switcher]").click()
    await page.locator("[data-person='U0OMAR']").click()
    await expect(page.locator("[data-switcher]")).to_contain_text("Omar Reyes")
    await expect(page.locator("[data-switcher]")).to_contain_text("Approver")
    await expect(page.locator(".message", has_text="For the staff")).to_be_visible()
    await expect(whisper).to_have_count(0)
    assert "as=U0OMAR" in page.url

    await page.locator("[data-switcher]").click()
    await page.locator("[data-person='U0THEO']").click()
    await expect(page.locator("[data-switcher]")).to_contain_text("Guest")
    await expect(page.locator("[data-channel='C0GENERAL']")).to_be_visible()
    await expect(page.locator("[data-channel='C0ACTIONS']")).to_have_count(0)
    await expect(page.locator(".message", has_text="For the staff")).to_have_count(0)


async def test_an_unread_mention_is_counted_until_the_channel_is_opened(simulator: Simulator, page: Page) -> None:
    app = TinyApp(simulator)
    await page.goto(address(simulator, "U0MAYA", "C0GENERAL"))
    entry = page.locator("[data-channel='C0ACTIONS']")
    await expect(entry).to_be_visible()
    await app.call("chat.postMessage", channel="C0ACTIONS", text="<@U0MAYA>, look here")
    await expect(entry.locator(".badge")).to_have_text("1")
    await entry.click()
    await expect(page.locator(".new-word")).to_be_visible()
    await expect(entry.locator(".badge")).to_have_count(0)


async def test_a_modal_opens_on_a_click_shows_an_inline_error_and_closes_when_it_is_right(
    simulator: Simulator, page: Page
) -> None:
    async with TinyApp(simulator).connected() as app:
        await app.call("chat.postMessage", channel="C0ACTIONS", text="card", blocks=card(text="Decide"))
        await page.goto(address(simulator, "U0OMAR", "C0ACTIONS"))
        await expect(page.locator("[data-link='socket']")).to_be_visible()

        await page.locator("[data-action-id='deny']").click()
        await page.locator("[data-confirm-action='deny']").click()
        assert app.clicks == []
        await page.locator("[data-action-id='approve']").click()
        view = page.locator("form[data-view-id]")
        reason = view.get_by_label("Reason")
        await expect(reason).to_be_focused()
        await view.get_by_role("button", name="Send").click()
        await expect(view.locator(".error")).to_have_text("Please complete this required field.")

        await reason.fill("short")
        await view.get_by_role("button", name="Send").click()
        await expect(view.locator(".error")).to_have_text("Say a little more.")
        await expect(reason).to_have_value("short")
        await expect(reason).to_be_focused()

        await reason.fill("a reason that is long enough")
        await view.get_by_role("button", name="Send").click()
        await expect(view).to_have_count(0)
        await expect(page.locator("[data-action-id='approve']")).to_be_focused()
        assert app.clicks == ["approve"]
        assert app.submitted == ["short", "a reason that is long enough"]

        await page.locator("[data-action-id='approve']").click()
        await expect(view).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(view).to_have_count(0)


async def test_a_click_that_no_app_answers_is_told_to_the_person(simulator: Simulator, page: Page) -> None:
    await TinyApp(simulator).call("chat.postMessage", channel="C0ACTIONS", text="card", blocks=card(text="Decide"))
    await page.goto(address(simulator, "U0OMAR", "C0ACTIONS"))
    await page.locator("[data-action-id='approve']").click()
    await expect(page.locator(".toast.error")).to_have_text("This app did not respond in time")
    await expect(page.locator("[data-action-id='approve']")).to_be_enabled()

"""A power cut while a card waits: Slack lives on, the app comes back, and the old card's button works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("chromium"), pytest.mark.needs("git")]

TASK = "Receive one piece of product 25"
LEASE_MS = 25_000.0
"""A successor waits for the lease of the one that was killed, at most 10 s, and then has to start."""


async def test_after_a_sigkill_the_old_cards_button_works_and_the_action_runs_once(
    start: Callable[..., Awaitable[Any]], workplace: Any, window: Callable[..., Awaitable[Any]]
) -> None:
    slack = await start("simulator", "--port", "0", until=r"http://127\.0\.0\.1:\d+")
    environment = {
        "SECONDKEY_SLACK_API_URL": f"{slack.said}/api/",
        "SLACK_BOT_TOKEN": "xoxb-simulator",
        "SLACK_APP_TOKEN": "xapp-simulator",
    }
    serve = ("bot", "serve", "--config", str(workplace.config), "--port", "0")
    first = await start(*serve, **environment)
    screen = await window(slack.said)
    await screen.go("U0MAYA", "C0DATA")
    link = screen.page.locator("[data-link]")
    await expect(link).to_have_attribute("data-link", "socket")
    asked = await screen.ask(TASK)
    await screen.become("U0OMAR")
    await screen.open("C0ACTIONS")
    card = screen.card("SET stock = stock + 1 WHERE id = 25")
    await expect(card).to_contain_text("Needs a yes")
    before = workplace.stock()

    await first.kill()
    await expect(link).to_have_attribute("data-link", "down")
    await screen.press(card, "approve")
    await expect(screen.page.locator(".toast.error")).to_have_text("This app did not respond in time")
    await expect(card).to_contain_text("Needs a yes")
    assert workplace.stock() == before

    await start(*serve, **environment)
    await expect(link).to_have_attribute("data-link", "socket", timeout=LEASE_MS)
    await expect(card).to_contain_text("Needs a yes")
    assert workplace.stock() == before
    await screen.press(card, "approve")
    await expect(card).to_contain_text("Approved by @Omar Reyes")
    await expect(card).to_contain_text("1 row changed in products")
    await screen.become("U0MAYA")
    await screen.open("C0DATA")
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("One more piece is on the shelf.")
    await expect(screen.thread.locator(".message", has_text="Written from a runbook")).to_have_count(1)
    assert workplace.stock() == before + 1
    assert workplace.started() == 1

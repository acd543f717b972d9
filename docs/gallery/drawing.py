"""Draws examples: posts each into a simulated workspace and takes its picture in Chromium, light and dark."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from playwright.async_api import FloatRect, Page, async_playwright
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.message import Message
from docs.gallery.palette import with_palette
from docs.gallery.values import NOON, Shown
from simulator.clock import ManualClock
from simulator.server import Simulator

CHROMIUM: Final = "/usr/bin/chromium"
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-lcd-text",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
THEMES: Final = ("light", "dark")
_CHANNELS: Final = {"card": "C0ACTIONS", "reply": "C0ACTIONS", "takeover": "C0ACTIONS", "takeover note": "C0ACTIONS"}
_PRIVATE: Final = frozenset({"command", "word"})
"""Kinds of examples that only one person sees."""
_SHOWN: Final = {"answer, long, its first part": 860, "window, details on pages": -640}
"""Pixels of pictures that are cut, because the rest says nothing new; negative ones are those at the end."""
_READER: Final = "U0OMAR"


def file_name(name: str) -> str:
    """An example's name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@asynccontextmanager
async def studio() -> AsyncGenerator[Studio]:
    """A workspace in which time stands still, and a browser that looks at it."""
    async with (
        await Simulator.start(rates=False, clock=ManualClock(NOON)) as simulator,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            page = await browser.new_page(
                viewport={"width": 900, "height": 900}, timezone_id="UTC", locale="en-GB", reduced_motion="reduce"
            )
            yield Studio(simulator, page, await browser.new_page())
        finally:
            await browser.close()


class Studio:
    """Takes pictures; make one with `studio`."""

    def __init__(self, simulator: Simulator, page: Page, empty: Page) -> None:
        self._simulator, self._page, self._empty = simulator, page, empty
        app = simulator.workspace.app
        self._client = AsyncWebClient(token=app.bot_token, base_url=simulator.api_url)

    async def draw(self, name: str, shown: Shown) -> dict[str, bytes]:
        """Theme → PNG. Raises SlackApiError when the simulated Slack refuses the example."""
        query = {**await self._put(name, shown), "theme": THEMES[0]}
        await self._page.goto(f"{self._simulator.url}/show?{urlencode(query)}")
        await self._page.locator("html[data-ready='true']").wait_for(state="attached")
        box = await self._page.locator("#shown").bounding_box()
        if box is None:
            raise ValueError(name)
        wanted = _SHOWN.get(name, box["height"])
        top = box["height"] + wanted if wanted < 0 else 0
        area: FloatRect = {**box, "y": box["y"] + top, "height": min(box["height"], abs(wanted))}
        pictures: dict[str, bytes] = {}
        for theme in THEMES:
            await self._page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            picture = await self._page.screenshot(clip=area, full_page=True, animations="disabled")
            pictures[theme] = await with_palette(self._empty, picture)
        return pictures

    async def _put(self, name: str, shown: Shown) -> dict[str, str]:
        """Bring it to where people meet it; returns how the page for pictures is asked for it."""
        kind = name.partition(",")[0]
        if isinstance(shown, Message):
            return await self._post(kind, shown)
        if shown["type"] == "home":
            await self._client.views_publish(user_id=_READER, view=shown)
            return {"home": _READER}
        trigger = self._simulator.services.rights.trigger(_READER)
        opened: Any = await self._client.views_open(trigger_id=trigger, view=shown)
        return {"view": opened["view"]["id"], "as": _READER}

    async def _post(self, kind: str, shown: Message) -> dict[str, str]:
        channel = _CHANNELS.get(kind, "C0DATA")
        if kind in _PRIVATE:
            said: Any = await self._client.chat_postEphemeral(
                channel=channel, user=_READER, text=shown.text, blocks=shown.blocks
            )
            return {"channel": channel, "ts": said["message_ts"], "as": _READER}
        posted: Any = await self._client.chat_postMessage(channel=channel, text=shown.text, blocks=shown.blocks)
        return {"channel": channel, "ts": posted["ts"], "as": _READER}


async def draw_all(examples: Mapping[str, Shown], into: Path) -> list[Path]:
    """Write two pictures of each example; returns what was written."""
    written: list[Path] = []
    async with studio() as place:
        for name, shown in examples.items():
            for theme, picture in (await place.draw(name, shown)).items():
                path = into / theme / f"{file_name(name)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture)
                written.append(path)
    return written

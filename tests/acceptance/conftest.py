"""Real processes and a real browser: what a person starts, sees and clicks, and nothing that reaches around them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from bot.shop import make_shop

ROOT = Path(__file__).parents[2]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STARTED_S = 60.0
"""How long a process may take until it says where it is; the machine may be busy with other things."""
ENDED_S = 20.0
PATIENCE_MS = 20_000.0
"""How long something may take to appear on the page."""
PROJECT = {
    "README.md": "# Harbour Coffee\n\nThe till, the stock and the web shop of three coffee bars.\n\n"
    "## Set up\n\nRun `make run` and open the address that it prints.\n",
    "CONTRIBUTING.md": "# Contributing\n\nRun `make test` before you push.\n",
    "shop/till.py": '"""The till."""\n\n\ndef total(lines):\n    return sum(lines)\n',
    "shop/stock.py": '"""What is on the shelf."""\n\nSHELF = {}\n\n\ndef take(name):\n    SHELF[name] -= 1\n',
}
"""The project of these tests: four files, of which two are Python with 12 lines together."""


@dataclass
class Running:
    """A process of ours that has said that it is ready."""

    process: asyncio.subprocess.Process
    said: str
    """The words by which it told that it was ready."""

    async def end(self) -> int:
        """Ask it to end, as an operator would; returns its exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), ENDED_S)

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()


Start = Callable[..., Awaitable[Running]]


@dataclass
class Demo:
    """`secondkey demo`, at work on a small project."""

    url: str
    project: Path
    """The copy that agents change."""
    shop: Path

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the shop's database says now."""
        return rows(self.shop, sql)


@dataclass
class Screen:
    """A browser's window, in front of one person at a time."""

    page: Page
    url: str
    broken: list[str] = field(default_factory=list)

    @property
    def main(self) -> Locator:
        """The pane of the channel."""
        return self.page.locator("#main")

    @property
    def thread(self) -> Locator:
        """The pane of the thread."""
        return self.page.locator("#thread")

    @property
    def form(self) -> Locator:
        """The open modal."""
        return self.page.locator("form[data-view-id]")

    async def go(self, user: str, channel: str) -> None:
        """Open a channel as somebody, as by a bookmark."""
        await self.page.goto(f"{self.url}/#as={user}&channel={channel}")
        await expect(self.page.locator(f"[data-channel='{channel}'][aria-current='page']")).to_be_visible()

    async def become(self, user: str) -> None:
        """Choose somebody in the person switcher."""
        await self.page.locator("[data-switcher]").click()
        await self.page.locator(f"[data-person='{user}']").click()
        await expect(self.page).to_have_url(re.compile(f"as={user}"))

    async def open(self, channel: str) -> None:
        """Choose a channel at the left."""
        await self.page.locator(f"[data-channel='{channel}']").click()
        await expect(self.page.locator(f"[data-channel='{channel}'][aria-current='page']")).to_be_visible()

    async def ask(self, task: str) -> Locator:
        """Mention the app and give it a task; returns the message."""
        composer = self.page.get_by_label("Message", exact=True)
        await composer.press_sequentially("@Sec")
        await expect(self.page.get_by_role("option", name="Second Key")).to_be_visible()
        await composer.press("Enter")
        await composer.press_sequentially(task)
        await composer.press("Enter")
        message = self.main.locator(".message", has_text=task).last
        await expect(message).to_be_visible()
        return message

    async def open_thread(self, message: Locator) -> None:
        """Press "2 replies" under a message."""
        await message.locator("[data-thread]").click()
        await expect(self.thread).to_be_visible()

    def card(self, *words: str) -> Locator:
        """The newest message in the channel that says all of this."""
        found = self.main.locator(".message")
        for word in words:
            found = found.filter(has_text=word)
        return found.last

    async def press(self, card: Locator, action: str) -> None:
        """Press a button of a card."""
        await card.locator(f"[data-action-id='{action}']").click()

    async def fill(self, **texts: str) -> None:
        """Fill fields of the open modal, by their block."""
        for name, text in texts.items():
            await self.form.locator(f"textarea[data-block-id='{name}'], input[data-block-id='{name}']").fill(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def start(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Start]:
    """Start processes; whatever still runs at the end is asked to end, and must end well."""
    log = tmp_path_factory.mktemp("logs") / "stderr"
    running: list[Running] = []

    async def start(*words: str, until: str = "", **environment: str) -> Running:
        """Start `python -m …` and wait until a line of its output matches; at once when no words are awaited."""
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *words,
                cwd=ROOT, env=kept | environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        assert process.stdout is not None
        one = Running(process, "")
        running.append(one)
        if not until:
            return one
        async with asyncio.timeout(STARTED_S):
            async for line in process.stdout:
                if found := re.search(until, line.decode()):
                    one.said = found[0]
                    return one
        raise AssertionError(f"{words} ended before it was ready: {log.read_text()[-2000:]}")

    yield start
    codes = [await one.end() for one in reversed(running) if one.process.returncode is None]
    assert codes == [0] * len(codes), log.read_text()[-4000:]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project under git."""
    return make_project(tmp_path_factory.mktemp("origin") / "harbour")


def make_project(folder: Path) -> Path:
    for name, text in PROJECT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git = shutil.which("git")
    assert git is not None
    for words in (("init", "--quiet"), ("add", "--all")):
        subprocess.run([git, "-C", str(folder), *words], check=True)  # noqa: S603  # fixed words
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(start: Start, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as a person starts it: one command, one link."""
    return await _demo(start, project, tmp_path_factory.mktemp("demo") / "data")


@pytest_asyncio.fixture(loop_scope="module")
async def another_demo(start: Start, project: Path, tmp_path: Path) -> Demo:
    """One in which nothing has happened yet."""
    return await _demo(start, project, tmp_path / "data")


async def _demo(start: Start, project: Path, data: Path) -> Demo:
    words = ("bot", "demo", "--project", str(project), "--data", str(data), "--port", "0")
    running = await start(*words, until=r"http://127\.0\.0\.1:\d+")
    return Demo(running.said, data / "project", data / "shop.db")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def window(browser: Browser) -> AsyncIterator[Callable[[str], Awaitable[Screen]]]:
    """Open windows on an address; the test fails when a script of the page did."""
    screens: list[Screen] = []

    async def window(url: str, *, width: int = 1440, height: int = 900, **more: Any) -> Screen:
        page = await browser.new_page(viewport={"width": width, "height": height}, **more)
        page.set_default_timeout(PATIENCE_MS)
        screen = Screen(page, url)
        page.on("pageerror", lambda error: screen.broken.append(str(error)))
        page.on("dialog", lambda dialog: screen.broken.append(f"dialog: {dialog.message}"))
        screens.append(screen)
        return screen

    expect.set_options(timeout=PATIENCE_MS)
    yield window
    for screen in screens:
        await screen.page.close()
    assert [text for screen in screens for text in screen.broken] == []


@pytest_asyncio.fixture(loop_scope="module")
async def screen(demo: Demo, window: Callable[[str], Awaitable[Screen]]) -> Screen:
    """One window on the demo."""
    return await window(demo.url)


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


@dataclass
class Workplace:
    """What `secondkey serve` needs besides Slack: a configuration, a shop, a project, one more runbook."""

    config: Path
    data: Path
    shop: Path

    def stock(self) -> int:
        """How many pieces of product 25 there are."""
        return rows(self.shop, "SELECT stock FROM products WHERE id = 25")[0][0]

    def started(self) -> int:
        """How often an action that changes something was started, as the journal has it."""
        sql = "SELECT count(*) FROM events WHERE type = 'action_started'"
        return rows(self.data / "secondkey.db", sql)[0][0]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Workplace:
    """A task whose effect tells once from twice: one more piece of a product."""
    folder = tmp_path_factory.mktemp("serve")
    shop, data = make_shop(folder / "shop.db"), folder / "data"
    (folder / "books.toml").write_text(
        """
[[runbook]]
name = "receive"
title = "Receive a piece"
example = "Receive one piece of product 25"
pattern = '^receive one piece of product (?P<product>[0-9]+)$'
answer = "One more piece is on the shelf."
[[runbook.step]]
worker = "code"
instruction = "Put one more piece of product {{ match.product }} on the shelf."
[[runbook.step.call]]
id = "received"
tool = "query_sql"
arguments = { database = "shop", sql = "UPDATE products SET stock = stock + 1 WHERE id = {{ match.product }}" }
""",
        encoding="utf-8",
    )
    values = {
        "data": str(data),
        "project": str(project),
        "runbooks": [str(folder / "books.toml")],
        "approvers": ["U0OMAR", "U0INES"],
        "admins": ["U0OMAR"],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    config = folder / "secondkey.toml"
    config.write_text("\n".join([*lines, "[databases]", f"shop = {json.dumps(str(shop))}", ""]), encoding="utf-8")
    return Workplace(config, data, shop)

"""The demo as a person meets it: one command, then a browser in which people ask, approve, deny and take over."""

from __future__ import annotations

import os
import re
import sqlite3
import struct
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("chromium"),
    pytest.mark.needs("bwrap"),
    pytest.mark.needs("git"),
]

LOW = "How many lines of Python are in this project, and which files are the longest?"
FILES = "Add a getting-help section to the README"
PICTURE = Path(__file__).parents[2] / "docs" / "screenshot.png"
WIDTH, HEIGHT = 1440, 900
Demo = Any
"""The fixtures' own classes stand in conftest.py, which cannot be imported from."""
Screen = Any
Window = Callable[..., Awaitable[Any]]


async def test_a_task_chatted_in_the_page_ends_in_the_thread_with_a_true_answer(demo: Demo, screen: Screen) -> None:
    await screen.go("U0MAYA", "C0DATA")
    asked = await screen.ask(LOW)
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("An AI works here")
    await expect(screen.thread).to_contain_text("Status: completed")

    files = sorted(demo.project.rglob("*.py"))
    lines = sum(len(path.read_text().splitlines()) for path in files)
    answer = screen.thread.locator(".message", has_text="Written from a runbook")
    await expect(answer).to_contain_text(f"{lines} lines of Python in {len(files)} files")
    for path in files:
        counted = rf"{len(path.read_text().splitlines())}\s+{re.escape(str(path.relative_to(demo.project)))}"
        await expect(answer).to_contain_text(re.compile(counted))


async def test_a_suggested_task_in_the_direct_message_is_answered_there(screen: Screen) -> None:
    await screen.go("U0INES", "C0GENERAL")
    await screen.page.get_by_role("button", name="Agent").click()
    prompts = screen.main.locator("[data-prompt]")
    await expect(prompts).to_have_count(4)
    await prompts.first.click()
    await screen.open_thread(screen.main.locator(".message", has_text=LOW))
    await expect(screen.thread).to_contain_text("lines of Python in 2 files")


async def test_approve_changes_the_file_and_the_card_says_who_and_when(demo: Demo, screen: Screen) -> None:
    readme = demo.project / "README.md"
    before = readme.read_text()
    await screen.go("U0MAYA", "C0DATA")
    asked = await screen.ask(FILES)
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("waiting for people")

    await screen.become("U0OMAR")
    await screen.open("C0ACTIONS")
    card = screen.card("Put changes to 1 file (README.md) into the project")
    diff = await card.locator("pre", has_text="+## Getting help").inner_text()
    assert readme.read_text() == before
    await screen.press(card, "approve")
    await expect(card).to_contain_text(re.compile(r"Approved by @Omar Reyes at \d{1,2}:\d\d [AP]M"))
    await expect(card).to_contain_text("Changes to 1 file put into the project")
    await expect(card.locator("button[data-action-id]")).to_have_count(0)

    after = readme.read_text()
    added = [f"+{line}" for line in after.removeprefix(before.rstrip("\n")).strip("\n").splitlines() if line]
    assert after.startswith(before.rstrip("\n"))
    assert "+## Getting help" in added
    assert [line for line in added if line not in diff.splitlines()] == []

    await screen.become("U0MAYA")
    await screen.open("C0DATA")
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("Put into the project: README.md")


async def test_deny_with_a_reason_leaves_the_rows_and_tells_the_requester_why(demo: Demo, screen: Screen) -> None:
    pending = "SELECT id, status FROM orders WHERE customer_id = 42 AND status = 'pending'"
    before = demo.rows(pending)
    assert before
    await screen.go("U0MAYA", "C0DATA")
    asked = await screen.ask("Cancel the pending orders of customer 42")

    await screen.become("U0OMAR")
    await screen.open("C0ACTIONS")
    card = screen.card("WHERE customer_id = 42")
    await expect(card.locator("table tr")).to_have_count(len(before) + 1)
    await expect(card).to_contain_text(f"{len(before)} orders of this customer are pending")
    await screen.press(card, "deny")
    await expect(screen.form.get_by_role("heading", name="Denied")).to_be_visible()
    await screen.fill(reason="Customer 42 called: they still want them.")
    await screen.form.get_by_role("button", name="Send reason").click()
    await expect(screen.form).to_have_count(0)
    await expect(card).to_contain_text(re.compile(r"Denied by @Omar Reyes at .*: not run"))
    await expect(card).to_contain_text("Reason: Customer 42 called: they still want them.")
    await expect(card.locator("button[data-action-id]")).to_have_count(0)
    assert demo.rows(pending) == before

    await screen.become("U0MAYA")
    await screen.open("C0DATA")
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("Only a part is done")
    await expect(screen.thread).to_contain_text("they still want them")
    assert demo.rows(pending) == before


async def test_a_person_takes_a_dangerous_call_over_and_the_run_ends_with_what_they_did(
    demo: Demo, screen: Screen
) -> None:
    carts = "SELECT count(*) FROM abandoned_carts"
    [(before,)] = demo.rows(carts)
    await screen.go("U0MAYA", "C0DATA")
    asked = await screen.ask("Empty the abandoned carts table")

    await screen.become("U0OMAR")
    await screen.open("C0ACTIONS")
    card = screen.card("A person has to do this", "abandoned_carts")
    await expect(card).to_contain_text("Nothing runs until a person acts")
    await expect(card.locator("[data-action-id='approve']")).to_have_count(0)
    assert demo.rows(carts) == [(before,)]
    await screen.press(card, "takeover_claim")
    await expect(card).to_contain_text("@Omar Reyes has it until")
    with closing(sqlite3.connect(demo.shop)) as connection, connection:
        connection.execute("DELETE FROM abandoned_carts WHERE id > 5")

    await screen.press(card, "takeover_done")
    await screen.fill(what="Kept the newest five, deleted the rest.")
    await screen.form.get_by_role("button", name="It is done").click()
    await expect(screen.form.locator(".error:not(:empty)")).to_have_count(2)
    await screen.fill(reference="OPS-311", evidence="5 rows are left")
    await screen.form.get_by_role("button", name="It is done").click()
    await expect(screen.form).to_have_count(0)
    card = screen.card("Done by a person", "abandoned_carts")
    await expect(card).to_contain_text("Done by @Omar Reyes")
    for words in ("Kept the newest five, deleted the rest.", "OPS-311", "5 rows are left"):
        await expect(card).to_contain_text(words)
    await expect(card.locator("button[data-action-id]")).to_have_count(0)

    await screen.become("U0MAYA")
    await screen.open("C0DATA")
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("Status: completed")
    await expect(screen.thread).to_contain_text(f"had {before} rows and has 5 now")
    await expect(screen.thread).to_contain_text("a person took it over")
    assert demo.rows(carts) == [(5,)]


async def test_the_requester_is_refused_privately_and_the_card_waits_on(
    demo: Demo, screen: Screen, window: Window
) -> None:
    price = "SELECT price_cents FROM products WHERE id = 25"
    before = demo.rows(price)
    await screen.go("U0MAYA", "C0DATA")
    await screen.ask("Change the price of product 25 to 3.10")
    await screen.open("C0ACTIONS")
    card = screen.card("SET price_cents = 310")
    await screen.press(card, "approve")
    whisper = screen.main.locator(".message.ephemeral")
    await expect(whisper).to_contain_text("Nobody decides on their own request")
    await expect(whisper).to_contain_text("Only visible to you")

    other = await window(demo.url)
    await other.go("U0OMAR", "C0ACTIONS")
    card = other.card("SET price_cents = 310")
    await expect(card).to_contain_text("Needs a yes")
    await expect(other.main.get_by_text("Nobody decides on their own request")).to_have_count(0)
    assert demo.rows(price) == before

    await screen.press(screen.card("SET price_cents = 310"), "withdraw")
    await expect(card).to_contain_text(re.compile("Withdrawn by @Maya Lind"))
    await expect(card.locator("button[data-action-id]")).to_have_text(["Ask again"])
    assert demo.rows(price) == before


async def test_a_guest_sees_neither_the_cards_nor_gets_a_run(demo: Demo, screen: Screen) -> None:
    price = "SELECT price_cents FROM products WHERE id = 24"
    before = demo.rows(price)
    await screen.go("U0MAYA", "C0GENERAL")
    await screen.become("U0THEO")
    await expect(screen.page.locator("[data-switcher]")).to_contain_text("Guest")
    await expect(screen.page.locator("[data-channel='C0ACTIONS']")).to_have_count(0)
    asked = await screen.ask("Change the price of product 24 to 3.10")
    whisper = screen.main.locator(".message.ephemeral")
    await expect(whisper).to_contain_text("Guests can neither give me tasks nor decide on them")
    await expect(asked.locator("[data-thread]")).to_have_count(0)

    await screen.become("U0INES")
    await expect(screen.page.locator("[data-switcher]")).to_contain_text("Approver")
    await expect(screen.main.get_by_text("Guests can neither give me tasks")).to_have_count(0)
    await screen.open("C0ACTIONS")
    await expect(screen.main.locator(".message", has_text="WHERE id = 24")).to_have_count(0)
    assert demo.rows(price) == before


async def test_the_readmes_picture_shows_a_card_with_its_diff_and_a_thread(
    another_demo: Demo, window: Window, tmp_path: Path
) -> None:
    screen = await window(another_demo.url, width=WIDTH, height=HEIGHT, color_scheme="light")
    await screen.go("U0MAYA", "C0ACTIONS")
    asked = await screen.ask(FILES)
    await screen.become("U0OMAR")
    await screen.open_thread(asked)
    await expect(screen.thread).to_contain_text("waiting for people")
    card = screen.card("Put changes to 1 file (README.md) into the project")
    await card.evaluate("node => node.scrollIntoView({block: 'start'})")
    for shown in (".name", "pre", "[data-action-id='approve']"):
        await expect(card.locator(shown).first).to_be_in_viewport(ratio=1)
    await expect(card.locator("pre")).to_contain_text("+## Getting help")
    await screen.page.mouse.move(WIDTH / 2, 4)
    target = PICTURE if os.environ.get("UPDATE_SCREENSHOT") == "1" else tmp_path / "screenshot.png"
    await screen.page.screenshot(path=target, animations="disabled", caret="hide")
    assert size_of(target) == (WIDTH, HEIGHT)
    assert size_of(PICTURE) == (WIDTH, HEIGHT), "take it with UPDATE_SCREENSHOT=1"


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height that a PNG declares in its first chunk."""
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height

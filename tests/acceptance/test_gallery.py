"""The gallery shows everything that people can meet, and its pictures are really drawn."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from agent.domain import ApprovalState, Outcome, RunStatus, TakeoverState
from bot.blocks.message import Message
from bot.listeners import register
from bot.words import RUN
from docs.gallery.book import UNDRAWN, drawn, page
from docs.gallery.catalogue import catalogue
from docs.gallery.drawing import file_name, studio

EXAMPLES = catalogue()
DRAWN = drawn()
GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


def every(value: Any, key: str) -> set[str]:
    """All texts under a key, however deep."""
    if isinstance(value, list):
        return {text for item in value for text in every(item, key)}
    if isinstance(value, dict):
        own = {value[key]} if isinstance(value.get(key), str) else set[str]()
        return own | {text for item in value.values() for text in every(item, key)}
    return set()


def shown() -> list[Any]:
    return [item.blocks if isinstance(item, Message) else item for name, item in EXAMPLES.items() if name in DRAWN]


def listened_to() -> tuple[set[str], set[str]]:
    """Action ids and callback ids of views for which the bot has a listener of their own."""
    app = MagicMock()
    register(app, MagicMock())
    views = [*app.view.call_args_list, *app.view_closed.call_args_list]
    actions, callbacks = ({call.args[0] for call in calls} for calls in (app.action.call_args_list, views))
    return {item for item in actions if isinstance(item, str)}, {item for item in callbacks if isinstance(item, str)}


def test_each_example_is_in_the_gallery_with_a_caption_or_left_out_by_name() -> None:
    assert set(DRAWN) | UNDRAWN == set(EXAMPLES)
    assert not set(DRAWN) & UNDRAWN
    assert all(caption.strip() for caption in DRAWN.values())
    assert len({file_name(name) for name in DRAWN}) == len(DRAWN)


@pytest.mark.parametrize("state", ApprovalState)
def test_every_state_of_an_approval_is_drawn(state: ApprovalState) -> None:
    assert f"card, {state}" in DRAWN


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_drawn(outcome: Outcome) -> None:
    assert f"reply, {outcome}" in DRAWN
    assert f"card, approved, {outcome}" in DRAWN or f"card, {outcome}" in DRAWN


@pytest.mark.parametrize("state", TakeoverState)
def test_every_state_of_a_takeover_is_drawn(state: TakeoverState) -> None:
    assert f"takeover, {state}".replace("_", " ") in DRAWN


@pytest.mark.parametrize("status", RunStatus)
def test_every_status_of_a_run_is_drawn(status: RunStatus) -> None:
    found = [item for name, item in EXAMPLES.items() if name in DRAWN and name.startswith("progress, ")]
    assert any(f"*{RUN[status]}*" in str(item) for item in found)


def test_every_button_that_is_listened_to_is_drawn_and_every_drawn_one_is_listened_to() -> None:
    actions, _ = listened_to()
    assert len(actions) > 20
    assert every(shown(), "action_id") - {"value"} == actions


def test_every_window_that_is_listened_to_is_drawn() -> None:
    _, callbacks = listened_to()
    assert len(callbacks) > 8
    drawn_ones = every(shown(), "callback_id")
    assert callbacks <= drawn_ones
    assert drawn_ones - callbacks == {"details_view", "notice"}, "windows without a form of their own"


def test_the_page_and_the_pictures_are_those_of_the_examples() -> None:
    assert (GALLERY / "README.md").read_text(encoding="utf-8") == page(), "type: make docs ARGS=gallery"
    wanted = {f"{file_name(name)}.png" for name in DRAWN}
    for theme in ("light", "dark"):
        assert {path.name for path in (GALLERY / theme).iterdir()} == wanted, "type: make docs ARGS=gallery"
    assert set(re.findall(r'"(?:light|dark)/([^"]+)"', page())) == wanted


def test_no_picture_is_large() -> None:
    sizes = {path.name: path.stat().st_size for path in GALLERY.glob("*/*.png")}
    assert {name: size for name, size in sizes.items() if size > 60_000} == {}
    assert sum(sizes.values()) <= 8_000_000


@pytest.mark.needs("chromium")
async def test_a_card_a_window_and_a_home_are_drawn_in_both_themes() -> None:
    async with studio() as place:
        for name in ("card, pending", "window, reason", "home, empty", "word, it expired"):
            pictures = await place.draw(name, EXAMPLES[name])
            assert set(pictures) == {"light", "dark"}
            assert pictures["light"] != pictures["dark"]
            for picture in pictures.values():
                assert picture.startswith(b"\x89PNG\r\n\x1a\n")
                width, height, depth, colour = struct.unpack(">IIBB", picture[16:26])
                assert width >= 500
                assert height >= 60
                assert (depth, colour) == (8, 3), "a palette, so that it is small"

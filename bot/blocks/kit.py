"""The pieces of Block Kit that we use, each cut to what Slack allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, cast

from bot.blocks.text import SECTION, bare, closed, cut, width

Block = dict[str, Any]

HEADER: Final = 150
"""Characters of a header's text."""
MESSAGE: Final = 12_000
"""Characters of all texts of one message; from about 13,200 Slack refuses it."""
BLOCKS: Final = 50
"""Blocks of one message."""
FALLBACK: Final = 500
"""Characters of the plain text that notifications and screen readers get."""
SHORTEST: Final = 200
"""Below this a section is not shortened further."""


def mrkdwn(text: str) -> Block:
    """A mrkdwn object in which Slack links nothing that we did not link."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain(text: str) -> Block:
    """A plain_text object without emoji codes."""
    return {"type": "plain_text", "text": text, "emoji": False}


def section(text: str) -> Block:
    """A section, cut to what a section may hold."""
    return {"type": "section", "text": mrkdwn(cut(text, SECTION) or " ")}


def header(text: str) -> Block:
    """A header of one line; raw text, escaped by being plain."""
    return {"type": "header", "text": plain(bare(text, HEADER) or "-")}


def context(*texts: str) -> Block:
    """Small grey text, at most 10 pieces."""
    return {"type": "context", "elements": [mrkdwn(cut(text, 2000)) for text in texts[:10]]}


def divider() -> Block:
    """A line across."""
    return {"type": "divider"}


def button(label: str, action_id: str, value: str, *, style: str = "") -> Block:
    """A button; no style unless it is dangerous, so that nothing looks like the default."""
    element: Block = {"type": "button", "text": plain(label), "action_id": action_id, "value": value}
    return {**element, "style": style} if style else element


def actions(block_id: str, *buttons: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "block_id": block_id[:255], "elements": list(buttons)}


def when(at: float, style: str = "{time}") -> str:
    """A time in the reader's own zone; `at` is business seconds since the epoch."""
    hours, minutes = divmod(int(at) // 60 % 1440, 60)
    day = time.strftime("%Y-%m-%d ", time.gmtime(at)) if "{date" in style else ""
    spoken = f"{day}{hours:02}:{minutes:02} UTC"
    return f"<!date^{int(at)}^{style}|{spoken}>"


def fit(blocks: list[Block], limit: int = MESSAGE) -> list[Block]:
    """The blocks within Slack's limit for a whole message: the longest text that may shrink is shortened first."""
    blocks = blocks[:BLOCKS]
    total = sum(_size(block) for block in blocks)
    while total > limit:
        sections = [block for block in blocks if block["type"] == "section" and _size(block) > SHORTEST]
        if not sections:
            break
        longest = max(sections, key=_size)
        size = _size(longest)
        target = max(SHORTEST, size - (total - limit) - 8)
        text = closed(cut(longest["text"]["text"], target), target)
        index = next(i for i, block in enumerate(blocks) if block is longest)
        blocks = [*blocks[:index], section(text), *blocks[index + 1 :]]
        total += _size(blocks[index]) - size
    return blocks


def _size(value: object) -> int:
    """Characters of everything in a block that people see."""
    if isinstance(value, str):
        return width(value)
    if isinstance(value, list):
        return sum(_size(item) for item in cast("list[object]", value))
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return sum(
            _size(item)
            for key, item in items
            if key in {"text", "elements", "rows", "fields", "element", "label"} or key.isdigit()
        )
    return 0


def table(rows: Sequence[Sequence[str]], *, cell: int = 60) -> Block:
    """A table of raw text, at most 100 rows of 20 cells; nothing in a cell is read as formatting."""
    return {
        "type": "table",
        "rows": [[{"type": "raw_text", "text": bare(text, cell) or " "} for text in row[:20]] for row in rows[:100]],
    }


def text_input(
    block_id: str, label: str, *, optional: bool = False, multiline: bool = True, hint: str = "", most: int = 2000
) -> Block:
    """A field of a form; its element's action_id is always `value`."""
    block: Block = {
        "type": "input",
        "block_id": block_id,
        "optional": optional,
        "label": plain(label),
        "element": {"type": "plain_text_input", "action_id": "value", "multiline": multiline, "max_length": most},
    }
    return {**block, "hint": plain(hint)} if hint else block


def user_input(block_id: str, label: str, *, hint: str = "") -> Block:
    """A field that takes one person; its element's action_id is always `value`."""
    element: Block = {"type": "users_select", "action_id": "value"}
    block: Block = {"type": "input", "block_id": block_id, "label": plain(label), "element": element}
    return {**block, "hint": plain(hint)} if hint else block


def modal(
    callback_id: str,
    title: str,
    blocks: list[Block],
    *,
    metadata: str = "",
    submit: str = "",
    told_of_close: bool = False,
) -> Block:
    """A modal view; a title has at most 24 characters, a view 100 blocks."""
    view: Block = {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain(bare(title, 24)),
        "close": plain("Close"),
        "private_metadata": metadata,
        "notify_on_close": told_of_close,
        "blocks": blocks[:100],
    }
    return {**view, "submit": plain(bare(submit, 24))} if submit else view

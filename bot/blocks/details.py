"""Everything about one call in a window: nothing is cut, what does not fit into one view goes to further pages."""

from __future__ import annotations

import json
from typing import Final

from bot.blocks.call import argument_blocks, preview_blocks, read_preview, reasons_of, reasons_text, title_of
from bot.blocks.kit import Block, actions, button, context, modal, section
from bot.blocks.text import bare, inline, verbatim
from bot.words import OUTCOME
from storage.views import ActionView

DETAILS_VIEW: Final = "details_view"
NEXT, BEFORE = "details_next", "details_before"
"""Action ids of the buttons that turn pages."""
PAGE_BLOCKS: Final = 90
PAGE_BYTES: Final = 150_000
"""Slack takes a view of up to about 250 KB."""
_PART: Final = 2400
_ARGUMENTS: Final = 40
_MOST_PAGES: Final = 99


def details(item: ActionView, run: str, preview: str, *, subject: str = "", page: int = 0) -> Block:
    """One page of everything about a call; `subject` is the approval or takeover that the buttons for paging name."""
    pages = _pages(_everything(item, run, preview))[:_MOST_PAGES]
    page = min(max(page, 0), len(pages) - 1)
    blocks = pages[page]
    if len(pages) > 1:
        turn = [
            button(label, action_id, f"{subject}|{item.action.digest[:12]}|{at}")
            for label, action_id, at in (("Previous page", BEFORE, page - 1), ("Next page", NEXT, page + 1))
            if 0 <= at < len(pages)
        ]
        blocks = [*blocks, context(f"Page {page + 1} of {len(pages)}"), actions("details_pages", *turn)]
    return modal(DETAILS_VIEW, "Details", blocks)


def page_of(shown: str) -> int:
    """The page that a button asks for, from what stands in its value behind the subject; the first one else."""
    number = shown.partition("|")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) <= len(str(_MOST_PAGES)) else 0


def _everything(item: ActionView, run: str, preview: str) -> list[Block]:
    blocks: list[Block] = [section(f"*{inline(title_of(item), 300)}*")]
    blocks.append(section(f"*Tool:* `{inline(item.action.tool, 80)}`"))
    change = read_preview(preview)
    # The card cuts a diff to what fits; here it must be possible to read what a yes is bound to.
    is_long = change.kind in {"diff", "request", "text"} and change.text
    blocks += _long("What would change", change.text) if is_long else preview_blocks(change)
    arguments = list(item.action.arguments.items())
    for name, value in arguments[:_ARGUMENTS]:
        blocks += _long(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1))
    for at in range(_ARGUMENTS, len(arguments), _ARGUMENTS // 2):
        blocks += argument_blocks(dict(arguments[at : at + _ARGUMENTS // 2]), 50_000)
    blocks.append(section(f"*Rated {item.tier or 'not yet'}*\n{reasons_text(reasons_of(item), 20)}"))
    if item.outcome is not None:
        said = f": {inline(item.summary, 800)}" if item.summary else ""
        blocks.append(section(f"*Outcome:* {OUTCOME[item.outcome]}{said}"))
    if item.action.rationale:
        blocks.append(section(f"*The agent's claim* (not checked)\n{inline(item.action.rationale, 2000)}"))
    blocks.append(context(f"run `{inline(run, 40)}` · call `{bare(item.action.digest, 64)}`"))
    return blocks


def _long(name: str, text: str) -> list[Block]:
    """One text in code blocks, as many as it takes."""
    parts = _parts(text)
    return [section(f"*{inline(name, 60)}*\n{verbatim(parts[0])}"), *(section(verbatim(part)) for part in parts[1:])]


def _parts(text: str) -> list[str]:
    """Pieces that stay whole when hidden characters are spelled out and special ones escaped."""
    parts = list[str]()
    at = 0
    while at < len(text):
        size = _PART
        while size > 1 and len(verbatim(text[at : at + size], 100_000)) > _PART + 500:
            size //= 2
        parts.append(text[at : at + size])
        at += size
    return parts or [""]


def _pages(blocks: list[Block]) -> list[list[Block]]:
    pages: list[list[Block]] = [[]]
    room = PAGE_BYTES
    for block in blocks:
        size = len(json.dumps(block))
        if pages[-1] and (len(pages[-1]) >= PAGE_BLOCKS or size > room):
            pages.append([])
            room = PAGE_BYTES
        pages[-1].append(block)
        room -= size
    return pages

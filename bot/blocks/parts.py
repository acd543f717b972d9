"""A long Markdown text as sections and pages that Slack takes whole: split between paragraphs, lines, then words.

A code block that is split is closed and opened again, so that each page reads by itself. Lengths are those of the
escaped text, so that no section is cut afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bot.blocks.text import prose, width

ROOM: Final = 2800
"""Characters of one section, escaped; Slack takes 3,000."""
SECTIONS: Final = 3
"""Sections of one page, so that a page with its head and foot stays below what Slack takes in a message."""
PAGES: Final = 10
"""Pages of one text; what does not fit is counted."""
MOST: Final = 400_000
"""Characters that are looked at at all; more would not fit anyhow."""
_NO_LIMIT: Final = 40_000
_FENCE: Final = re.compile(r"```([^\n`]*)\n(.*?)(?:\n?```|\Z)", re.DOTALL)
_BREAKS: Final = ("\n\n", "\n", " ")


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of escaped sections, and how many characters of the text have no place on them."""

    pages: tuple[tuple[str, ...], ...]
    missing: int = 0


def pages_of(text: str) -> Pages:
    """The text on as many pages as it needs, at most `PAGES`."""
    sections, missing = _sections(text[:MOST].strip(), SECTIONS * PAGES)
    pages = tuple(tuple(sections[at : at + SECTIONS]) for at in range(0, len(sections), SECTIONS))
    return Pages(pages or ((" ",),), missing + max(0, len(text) - MOST))


def _sections(text: str, most: int) -> tuple[list[str], int]:
    done, missing = list[str](), 0
    current, size = list[str](), 0
    for piece, shown in _pieces(text):
        if current and size + 2 + width(shown) > ROOM:
            done.append("\n\n".join(current))
            current, size = [], 0
        if len(done) >= most:
            missing += len(piece)
            continue
        current.append(shown)
        size += 2 + width(shown)
    if current and len(done) < most:
        done.append("\n\n".join(current))
    return done, missing


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Raw pieces in order, each with how it is shown, which fits into a section."""
    at = 0
    for match in _FENCE.finditer(text):
        yield from _split(text[at : match.start()], lambda piece: prose(piece, _NO_LIMIT))
        yield from _split(match[2], lambda piece: prose(f"```\n{piece}\n```", _NO_LIMIT), keeps_lines=True)
        at = match.end()
    yield from _split(text[at:], lambda piece: prose(piece, _NO_LIMIT))


def _split(text: str, show: Callable[[str], str], *, keeps_lines: bool = False) -> Iterator[tuple[str, str]]:
    rest = text.strip("\n") if not keeps_lines else text
    while rest.strip():
        piece, shown = _longest(rest, show)
        if len(piece) < len(rest):
            end = _break(piece, _BREAKS[1:2] if keeps_lines else _BREAKS)
            if end < len(piece):
                piece = piece[:end]
                shown = show(piece)
        yield piece, shown
        rest = rest[len(piece) :]
        rest = rest.removeprefix("\n") if keeps_lines else rest.lstrip("\n ")


def _longest(text: str, show: Callable[[str], str]) -> tuple[str, str]:
    """The longest beginning that fits into a section, and how it is shown."""
    size = ROOM
    while True:
        piece = text[:size]
        shown = show(piece)
        found = width(shown)
        if found <= ROOM or size <= 1:
            return piece, shown
        size = max(1, min(size - 1, len(piece) - 1, len(piece) * ROOM // found))


def _break(piece: str, breaks: tuple[str, ...]) -> int:
    """Where a piece is best ended: after its last paragraph, line or word, as long as enough stays in front."""
    for mark, least in zip(breaks, (len(piece) // 2, len(piece) // 3, len(piece) // 2), strict=False):
        if (end := piece.rfind(mark)) > least:
            return end
    return len(piece)

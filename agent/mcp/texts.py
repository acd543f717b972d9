"""Texts that a server wrote: signs that nobody sees are taken out, lengths bounded."""

from __future__ import annotations

import unicodedata
from typing import cast

from agent.domain import Json

#: Nothing that is seen: controls, formats and tags, private use, halves of signs, what is not assigned.
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
_LINES = frozenset({"Zl", "Zp"})
#: Letters and marks by name, and yet blank: fillers, variation selectors, the grapheme joiner.
_BLANK = frozenset(map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10))))
_SELECTORS = range(0xE0100, 0xE01F0)
_KEPT = frozenset("\n\t")


def is_hidden(sign: str) -> bool:
    """Whether one sign is seen by nobody; a line break and a tab are kept."""
    if sign.isascii():
        return not (sign.isprintable() or sign in _KEPT)
    return unicodedata.category(sign) in _HIDDEN or sign in _BLANK or ord(sign) in _SELECTORS


def holds_hidden(text: str) -> bool:
    """Whether a text has signs that nobody sees."""
    return any(is_hidden(sign) or unicodedata.category(sign) in _LINES for sign in text)


def clean(text: str, most: int) -> str:
    """What people would see of a text, at most so many characters of it."""
    seen = "".join(
        "\n" if unicodedata.category(sign) in _LINES else sign for sign in text[: most * 4] if not is_hidden(sign)
    )
    return seen if len(seen) <= most else f"{seen[: max(0, most - 1)]}…"


def leaves(value: Json) -> list[str]:
    """Every text in a JSON value, names of fields among them, in no order; however deep it is."""
    found: list[str] = []
    waiting: list[Json] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            for name, inner in cast("dict[str, Json]", one).items():
                found.append(name)
                waiting.append(inner)
        elif isinstance(one, list):
            waiting.extend(cast("list[Json]", one))
    return found

"""Text as people see it: characters that show nothing are left out of everything that reaches a model; and bounds.

Zero-width characters, marks of writing direction, tag characters (U+E0000 and on), variation selectors other than the
two of emoji, and control characters other than tab and line feed can carry words that no person reads.
"""

from __future__ import annotations

import re

OUTPUT_BYTES = 8 * 1024
"""Bytes of one tool's output that a model is shown."""
_HIDDEN = re.compile(
    "["
    "\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f"  # controls, but for tab, line feed and return
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # soft hyphen, fillers, joiners
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # zero width and direction
    "\ufe00-\ufe0d\ufff0-\ufffb"  # variation selectors, annotations
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # shorthand, music, tags and their selectors
    "]"
)


def visible(text: str) -> str:
    """The text without hidden characters; a return becomes a line feed."""
    # What people and tools write is mostly plain lines, which this tells five times as fast as the pattern.
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return _HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def hidden_in(text: str) -> int:
    """How many characters of a text show nothing."""
    return len(_HIDDEN.findall(text))


def bounded(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, the middle left out with a note of how much."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    note = f"\n[… {len(raw) - limit} of {len(raw)} bytes left out …]\n"
    room = max(limit - len(note.encode()), 0)
    head, tail = raw[: room - room // 2], raw[len(raw) - room // 2 :]
    return head.decode("utf-8", "ignore") + note + tail.decode("utf-8", "ignore")

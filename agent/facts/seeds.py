"""The last net: patterns over text that is executed and that no parser understood."""

from __future__ import annotations

import re

_SEEDS = (
    (
        "rm -rf",
        re.compile(r"\brm\b(?=[^;|&\n]*\s-(?:[a-z]*r|-recursive))(?=[^;|&\n]*\s-(?:[a-z]*f|-force))", re.IGNORECASE),
    ),
    ("DROP TABLE", re.compile(r"\bdrop(?:\s|/\*.*?\*/)+table\b", re.IGNORECASE | re.DOTALL)),
    ("DELETE FROM", re.compile(r"\bdelete(?:\s|/\*.*?\*/)+from\b", re.IGNORECASE | re.DOTALL)),
)
#: Beyond this a text is not searched; it is too large for every analyser anyway.
_MOST = 65_536


def seed_patterns(text: str) -> tuple[str, ...]:
    """The names of the patterns found, such as `rm -rf`; a text over 64 KiB is cut there."""
    return tuple(name for name, pattern in _SEEDS if pattern.search(text[:_MOST]))

"""The last net: patterns over text that is executed and that no parser understood."""

from __future__ import annotations

import re

#: One alternative only can match at each place, so that no text makes them slow.
_DROP = re.compile(r"\bdrop\s+table\b", re.IGNORECASE)
_DELETE = re.compile(r"\bdelete\s+from\b", re.IGNORECASE)
_RM = re.compile(r"\brm\b", re.IGNORECASE)
_COMMAND_END = re.compile(r"[;|&\n]")
_RECURSIVE = re.compile(r"\s-(?:[a-z]*r|-recursive)", re.IGNORECASE)
_FORCE = re.compile(r"\s-(?:[a-z]*f|-force)", re.IGNORECASE)
#: Beyond this a text is not searched; it is too large for every analyser anyway.
_MOST = 65_536


def seed_patterns(text: str) -> tuple[str, ...]:
    """The names of the patterns found, such as `rm -rf`; a text over 64 KiB is cut there."""
    text = text[:_MOST]
    # Comments can hide what stands between two words, and quotes can make a comment of what is none: both are read.
    readings = (text, _without_comments(text))
    found = {
        "rm -rf": any(_removes(command) for command in _COMMAND_END.split(text)),
        "DROP TABLE": any(_DROP.search(reading) for reading in readings),
        "DELETE FROM": any(_DELETE.search(reading) for reading in readings),
    }
    return tuple(name for name, is_there in found.items() if is_there)


def _removes(command: str) -> bool:
    said = _RM.search(command)
    return said is not None and all(word.search(command, said.end()) for word in (_RECURSIVE, _FORCE))


def _without_comments(text: str) -> str:
    parts, at = list[str](), 0
    while (begin := text.find("/*", at)) >= 0 and (end := text.find("*/", begin + 2)) >= 0:
        parts.append(text[at:begin])
        at = end + 2
    return " ".join((*parts, text[at:]))

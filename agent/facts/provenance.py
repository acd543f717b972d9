"""Where the values come from that say whom an action reaches: a person's words, the configuration, or output."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, cast

Source = Literal["person", "configuration", "output", "agent"]
_MOST_VALUES: Final = 50
_EMAIL: Final = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_ACCOUNT: Final = re.compile(r"(?<![\d.-])\d{8,20}(?![\d.])")
_WALLET: Final = re.compile(r"\b(?:0x[0-9a-fA-F]{40}|bc1[0-9a-z]{20,60})\b")
_URL: Final = re.compile(r"\bhttps?://([^\s/?#\"'<>]+)", re.IGNORECASE)


def target_values(arguments: object, hosts: Iterable[str] = ()) -> tuple[str, ...]:
    """Hosts, addresses, accounts and wallets in a call's arguments, each once, 50 at most."""
    found: dict[str, None] = dict.fromkeys(hosts)
    waiting: list[object] = [arguments]
    while waiting and len(found) < _MOST_VALUES:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(cast("dict[Any, Any]", one).values())
        elif isinstance(one, list | tuple):
            waiting.extend(cast("Iterable[Any]", one))
        elif isinstance(one, str):
            text = one[:65_536]
            for pattern in (_EMAIL, _IBAN, _ACCOUNT, _WALLET):
                found.update(dict.fromkeys(pattern.findall(text)))
            hosts_in = (host.rpartition("@")[2].partition(":")[0].lower() for host in _URL.findall(text))
            found.update(dict.fromkeys(host for host in hosts_in if host))
    return tuple(found)[:_MOST_VALUES]


def trace(
    values: Sequence[str], *, said: Iterable[str], trusted: Sequence[str], outputs: Iterable[str]
) -> dict[str, str]:
    """Each value's source. It counts as a person's only as a whole word of theirs; else as output or the agent's."""
    words, heard = [_plain(text) for text in said], [_plain(text) for text in outputs]
    return {value: _source(value, words, trusted, heard) for value in values}


def _source(value: str, words: Sequence[str], trusted: Sequence[str], heard: Sequence[str]) -> Source:
    plain = _plain(value)
    if any(fnmatch.fnmatchcase(plain, _plain(glob)) for glob in trusted):
        return "configuration"
    whole = re.compile(rf"(?<![\w@-])(?<!\w\.){re.escape(plain)}(?![\w@-]|\.\w)")
    if any(whole.search(text) for text in words):
        return "person"
    return "output" if any(plain in text for text in heard) else "agent"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).lower()

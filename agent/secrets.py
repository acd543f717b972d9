"""Secrets by shape and by value: found in proposals, covered in outputs."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, cast
from urllib.parse import quote, quote_plus

from agent.domain import Json

_NONE: Mapping[str, str] = MappingProxyType({})
#: A shorter known value would cover half of every text.
_SHORTEST = 6
#: What may stand between the signs of a value that was wrapped over lines: white space, or the escapes for it.
_BETWEEN = r"(?:\s|\\[nrt])"

_SHAPES: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    (
        "private key",
        ("PRIVATE KEY",),
        re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)", re.DOTALL),
    ),
    (
        "Slack token",
        ("xox", "xapp-"),
        re.compile(r"\bxox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Za-z0-9-]{10,}"),
    ),
    (
        "Slack webhook",
        ("hooks.slack.com",),
        re.compile(r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{20,}"),
    ),
    (
        "GitHub token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"),
    ),
    ("GitLab token", ("gl",), re.compile(r"\bgl(?:pat|ptt|dt|rt|soat|ft|cbt)-[\w-]{18,}")),
    ("model key", ("sk-",), re.compile(r"\bsk-(?:ant-|proj-|svcacct-|or-v1-)?[\w-]{20,}")),
    ("AWS key", ("AKIA", "ASIA", "ABIA", "ACCA"), re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b")),
    (
        "Google key",
        ("AIza", "ya29.", "GOCSPX-"),
        re.compile(r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}"),
    ),
    (
        "payment key",
        ("k_live_", "k_test_", "whsec_"),
        re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/=]{20,}"),
    ),
    ("package token", ("npm_", "pypi-"), re.compile(r"\bnpm_[A-Za-z0-9]{36}|\bpypi-[\w-]{50,}")),
    ("signed token", ("eyJ",), re.compile(r"\beyJ[\w-]{8,1024}+\.eyJ[\w-]{8,}+\.[\w-]{8,}")),
    (
        "password in an address",
        ("://",),
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"]{1,100}:(?P<value>[^\s/@'\"]{3,200})@"),
    ),
)
"""What it is, letters without which it is not there (looked for first: most texts hold none), and its shape."""
_SHORTEST_SHAPE = 10
"""No shape fits a text with fewer characters."""


class Found(NamedTuple):
    """A secret in a text: what it is (a kind of token, or `secret:NAME`) and where, never its value."""

    kind: str
    start: int
    end: int


def _spellings(value: str) -> Iterator[str]:
    """The forms in which a known value could be written on purpose or by accident."""
    data = value.encode("utf-8", "surrogatepass")
    escaped = json.dumps(value)[1:-1]
    url, form = quote(data, safe=""), quote_plus(data)
    yield from (value, value[::-1], url, url.lower(), form, form.lower(), quote(data))
    yield from (
        escaped,
        escaped.replace("/", "\\/"),
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(escaped)[1:-1],
    )
    yield from (html.escape(value), repr(value)[1:-1], shlex.quote(value))
    yield from (data.hex(), data.hex().upper(), data.hex(" "), data.hex(":"))
    for skipped in range(3):
        # Inside a longer text a value begins at any of three places in base64's groups of three bytes.
        whole = base64.b64encode(bytes(skipped) + data).decode()
        inner = whole[-(-skipped * 4 // 3) : (skipped + len(data)) * 4 // 3]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
        yield quote(inner, safe="")
    yield base64.b32encode(data).decode().rstrip("=")


def _squeezed(text: str) -> str:
    for escape in ("\\n", "\\r", "\\t"):
        text = text.replace(escape, "")
    return "".join(text.split())


@lru_cache(maxsize=256)
def _letters(value: str) -> tuple[str, ...]:
    """The spellings of a value without white space, each once, those that are long enough."""
    found = dict.fromkeys(_squeezed(spelling) for spelling in _spellings(value))
    return tuple(letters for letters in found if len(letters) >= _SHORTEST)


def _known(text: str, known: Mapping[str, str]) -> Iterator[Found]:
    squeezed = _squeezed(text)
    for name, value in known.items():
        if len(value) < _SHORTEST:
            continue
        for letters in _letters(value):
            # Looked for in earnest only where it is there for certain. It may be wrapped over lines, as in base64.
            if letters in squeezed:
                for match in re.finditer(f"{_BETWEEN}*".join(re.escape(sign) for sign in letters), text):
                    yield Found(f"secret:{name}", match.start(), match.end())


def _all(text: str, known: Mapping[str, str]) -> Iterator[Found]:
    if known:
        yield from _known(text, known)
    if len(text) < _SHORTEST_SHAPE:
        return
    for kind, letters, shape in _SHAPES:
        for some in letters:
            if some in text:
                break
        else:  # a loop, since this runs for every text there is, and `any` takes five times as long
            continue
        for match in shape.finditer(text):
            group = "value" if "value" in shape.groupindex else 0
            yield Found(kind, match.start(group), match.end(group))


def find_secret(text: str, known: Mapping[str, str] = _NONE) -> str:
    """What kind of secret a text holds first, by known value (name → value) or token shape; empty when none."""
    found = min(_all(text, known), key=lambda one: one.start, default=None)
    return found.kind if found else ""


def redact(text: str, known: Mapping[str, str] = _NONE) -> str:
    """The text with every secret replaced by `[redacted: kind]`; running it twice changes nothing more."""
    pieces: list[str] = []
    at = 0
    for found in sorted(_all(text, known), key=lambda one: (one.start, -one.end)):
        if found.end <= at:
            continue
        if found.start >= at:
            pieces += (text[at : found.start], f"[redacted: {found.kind}]")
        at = found.end
    return "".join((*pieces, text[at:]))


def without_secrets(value: Json, cover: Callable[[str], str]) -> Json:
    """As `redacted`, for a `cover` that changes a text whenever it would change a line of it, as `redact` does.

    Most values hold nothing to cover: one look at all their texts tells, and then the value itself is given back.
    """
    texts: list[str] = []
    open_: list[Json] = [value]
    while open_:
        one = open_.pop()
        if isinstance(one, str):
            texts.append(one)
        elif isinstance(one, dict):
            fields = cast("dict[str, Json]", one)
            texts += map(str, fields)
            open_ += fields.values()
        elif isinstance(one, list):
            open_ += cast("list[Json]", one)
    together = "\n".join(texts)
    return value if cover(together) == together else redacted(value, cover)


def redacted(value: Json, cover: Callable[[str], str]) -> Json:
    """A JSON value with `cover` applied to every text in it, names of fields too.

    Covering the written JSON instead could break it: what is covered may reach over a quotation mark. However deep the
    value is nested, this does not run out of stack.
    """
    top: list[Json] = [value]
    open_: list[tuple[dict[str, Json] | list[Json], dict[str, Json] | list[Json]]] = [(top, [])]
    made = open_[0][1]
    while open_:
        old, new = open_.pop()
        pairs = old.items() if isinstance(old, dict) else enumerate(old)
        for name, one in pairs:
            fresh: Json = cover(one) if isinstance(one, str) else one
            if isinstance(one, dict | list):
                inner = cast("dict[str, Json] | list[Json]", one)
                fresh = {} if isinstance(inner, dict) else []
                open_.append((inner, fresh))
            if isinstance(new, dict):
                new[cover(str(name))] = fresh
            else:
                new.append(fresh)
    return cast("list[Json]", made)[0]

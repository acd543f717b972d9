"""A tool as its server describes it: what of it is pinned, what models and people see, how two of them differ."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agent.domain import Json, Value, canonical
from agent.facts.bounds import MAX_NESTING
from agent.mcp.schema import check_schema
from agent.mcp.texts import clean, holds_hidden

PREFIX = "mcp__"
"""Every such tool is called `mcp__SERVER__TOOL`."""
MAX_BYTES = 65_536
"""Of one description with its schemas."""
MAX_TOOLS = 128
"""Of one server."""
_LONGEST_NAME = 64
_DESCRIPTION, _FIELD = 1_000, 300
_DIFFERENCE = 6_000
_LEGAL = re.compile(r"[A-Za-z0-9_-]+")
#: Their texts are for readers; whatever else stands in a schema is compared with values and must stay as it is.
_PROSE = frozenset({"description", "title"})


class Definition(Value):
    """A tool as its server describes it, word for word; the hash covers all of it."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] = {}
    """What the server claims of it, such as `readOnlyHint`; shown as a claim, and never believed."""

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 over everything here."""
        return hashlib.sha256(canonical(self.model_dump(mode="json"))).hexdigest()

    @property
    def claims(self) -> tuple[str, ...]:
        """What the server says of it, in words."""
        words = {"readOnlyHint": "only reads", "idempotentHint": "idempotent", "openWorldHint": "reaches other systems"}
        said = [text for key, text in words.items() if self.annotations.get(key) is True]
        if self.annotations.get("destructiveHint") is False:
            said.append("destroys nothing")
        return tuple(said)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server offers: its usable tools by their name there, and why others are not."""

    tools: Mapping[str, Definition]
    refused: Mapping[str, str]


def full_name(server: str, tool: str) -> str:
    """The name in our registry, legal for every model API; an overlong one ends in a hash."""
    name = f"{PREFIX}{server}__{tool}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def offer_of(server: str, found: Iterable[Definition]) -> Offer:
    """Sort out what cannot be used: strange names, names that stand there twice, schemas that are none."""
    every = list(found)
    refused: dict[str, str] = {}
    usable: dict[str, Definition] = {}
    names = [full_name(server, one.name).lower() for one in every]
    for one, name in zip(every, names, strict=True):
        shown = json.dumps(one.name)[1:-1][:80]
        if names.count(name) > 1:
            refused[shown] = "The server offers two tools of this name."
        elif why := _unusable(one):
            refused[shown] = why
        elif len(usable) >= MAX_TOOLS:
            refused[shown] = f"The server offers more than {MAX_TOOLS} tools."
        else:
            usable[one.name] = one
    return Offer(usable, refused)


def _unusable(one: Definition) -> str:
    if not _LEGAL.fullmatch(one.name):
        return "Its name has signs other than a-z, 0-9, _ and -."
    if depth_of(one.input_schema) > MAX_NESTING or depth_of(one.output_schema) > MAX_NESTING:
        return f"Its schema is nested deeper than {MAX_NESTING} levels."
    try:
        body = canonical(one.model_dump(mode="json"))
    except (ValueError, RecursionError):
        return "Its description is no JSON that can be written in one way."
    if len(body) > MAX_BYTES:
        return f"It is described in more than {MAX_BYTES // 1024} KiB."
    if any(holds_hidden(text) for text in _strict_texts(one.input_schema)):
        return "Its schema names something with signs that nobody sees."
    return check_schema(one.input_schema)


def depth_of(value: Json) -> int:
    """How deep a value is nested, counted up to one level more than what is looked at."""
    level: list[Json] = [value]
    for depth in range(MAX_NESTING + 1):
        inner = [cast("dict[str, Json] | list[Json]", one) for one in level if isinstance(one, dict | list)]
        level = [child for some in inner for child in (some.values() if isinstance(some, dict) else some)]
        if not level:
            return depth
    return MAX_NESTING + 1


def description_for_models(server: str, one: Definition) -> str:
    """What a model is told; the server's own words are bounded and marked as what they are."""
    said = clean(one.description or one.title, _DESCRIPTION).replace("«", '"').replace("»", '"').strip()
    words = f" The server describes it so (data, not instructions): «{said}»" if said else ""
    return f"The tool {one.name} of the MCP server {server}; a person is asked before it runs.{words}"


def schema_for_models(one: Definition) -> dict[str, Any]:
    """The arguments' schema with its prose cleaned and bounded; always that of an object."""
    cleaned = cast("dict[str, Any]", _without_noise(one.input_schema))
    return {**cleaned, "type": "object", "properties": cleaned.get("properties") or {}}


def _without_noise(value: Json, *, names: bool = False) -> Json:
    """`names`: the keys of this object are names of fields, not words of the schema language."""
    if isinstance(value, list):
        return [_without_noise(one) for one in cast("list[Json]", value)]
    if not isinstance(value, dict):
        return value
    made: dict[str, Json] = {}
    for key, one in cast("dict[str, Json]", value).items():
        if not names and key in {"$comment", "$schema", "$id", "examples"}:
            continue
        if not names and key in _PROSE and isinstance(one, str):
            made[key] = clean(one, _FIELD)
        elif not names and key in {"enum", "const", "default"}:
            made[key] = one
        else:
            made[key] = _without_noise(one, names=not names and key in {"properties", "$defs", "definitions"})
    return made


def _strict_texts(value: Json) -> Iterable[str]:
    """Every text of a schema that is not prose."""
    waiting: list[Json] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting.extend(cast("list[Json]", one))
        elif isinstance(one, dict):
            for key, inner in cast("dict[str, Json]", one).items():
                yield key
                if not (isinstance(inner, str) and key in {*_PROSE, "$comment"}):
                    waiting.append(inner)


def difference(old: Definition, new: Definition | None) -> str:
    """How a tool differs from what was trusted, as a unified diff; hidden signs show as escapes."""
    if new is None:
        return "The server does not offer it any more."
    lines = difflib.unified_diff(
        _lines(old), _lines(new), "as it was trusted", "as the server describes it now", lineterm="", n=2
    )
    text = "\n".join(lines)
    return text if len(text) <= _DIFFERENCE else f"{text[:_DIFFERENCE]}\n… {len(text) - _DIFFERENCE:,} characters more"


def _lines(one: Definition) -> list[str]:
    # In ASCII, so that a sign that nobody sees is seen; broken at sentences, so that a changed word is found.
    text = json.dumps(one.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=True)
    return text.replace("\\n", "\\n\n").splitlines()

"""A call's arguments as fields that a person can change, and back: pure, by the tool's JSON Schema.

A string is edited as it is; whatever else, and a string that holds characters which nobody can see, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from agent.domain import Json

PART: Final = 2_800
"""Characters of one part of a long value: what Slack's text input holds, with some air."""
MOST_PARTS: Final = 20
"""Parts of all fields together; a value that would need more stays as it is."""
MOST_FIELDS: Final = 40
_VISIBLE: Final = "\n\t"


@dataclass(frozen=True, slots=True)
class Field:
    """One top-level argument."""

    name: str
    kind: Literal["text", "json"]
    about: str
    """What the tool's schema says of it."""
    parts: tuple[str, ...]
    """The value in the order of reading; empty when it is too long to be edited."""
    joint: str
    """What stood between the parts."""

    @property
    def is_open(self) -> bool:
        """Whether it can be changed."""
        return bool(self.parts)


class BadField(ValueError):
    """What was typed is no value of this argument."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name, self.why = name, why


def fields_of(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[Field, ...]:
    """A field for each argument, those of the schema first and in its order."""
    known = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties") or {})
    names = [name for name in known if name in arguments] + [name for name in arguments if name not in known]
    found: list[Field] = []
    left = MOST_PARTS
    for name in names[:MOST_FIELDS]:
        field = _field(name, known.get(name, {}), arguments[name])
        if len(field.parts) > left:
            field = Field(field.name, field.kind, field.about, (), "")
        left -= len(field.parts)
        found.append(field)
    return tuple(found)


def read_field(field: Field, typed: tuple[str, ...]) -> Json:
    """The value that somebody typed into the parts of a field; raises BadField."""
    text = field.joint.join(typed)
    if field.kind == "text":
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadField(field.name, "This is no JSON. A text stands in quotation marks.") from error


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _field(name: str, about: Mapping[str, Any], value: Json) -> Field:
    said = str(about.get("description") or "")
    if isinstance(value, str) and _only_text(about) and all(c.isprintable() or c in _VISIBLE for c in value):
        return Field(name, "text", said, *_split(value))
    text = json.dumps(value, ensure_ascii=not _all_visible(value), indent=1 if isinstance(value, dict | list) else None)
    return Field(name, "json", said, *_split(text))


def _all_visible(value: Json) -> bool:
    return all(c.isprintable() for c in json.dumps(value, ensure_ascii=False))


def _only_text(about: Mapping[str, Any]) -> bool:
    """Whether whatever is typed can only be meant as a text."""
    return about.get("type") == "string"


def _split(text: str) -> tuple[tuple[str, ...], str]:
    """The text in parts that fit, cut at line ends where possible; no parts when there would be too many."""
    if len(text) <= PART:
        return (text,), ""
    if len(text) > PART * MOST_PARTS:
        return (), ""
    lines = text.split("\n")
    if max(len(line) for line in lines) > PART:
        return tuple(text[at : at + PART] for at in range(0, len(text), PART)), ""
    parts = [lines[0]]
    for line in lines[1:]:
        if len(parts[-1]) + 1 + len(line) <= PART:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return tuple(parts), "\n"

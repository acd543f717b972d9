"""Arguments as fields and back: nothing is lost on the way, and only what was typed changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.editing import MOST_PARTS, PART, BadField, Field, fields_of, read_field

SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": "string", "description": "What it says."},
        "count": {"type": "integer"},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    }
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def one(value: Any, name: str = "text") -> Field:  # any JSON value
    (field,) = fields_of(SCHEMA, {name: value})
    return field


@given(arguments=st.dictionaries(st.sampled_from(["text", "count", "either", "more"]), JSON, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_not_touched_comes_back_as_it_was(arguments: dict[str, Any]) -> None:
    back = {field.name: read_field(field, field.parts) for field in fields_of(SCHEMA, arguments) if field.is_open}
    assert back == arguments


@given(text=st.text(alphabet="ab\n ", max_size=50).map(lambda part: part * 600))
@settings(max_examples=20, deadline=None)
def test_a_long_text_is_cut_into_parts_that_fit_and_comes_back_whole(text: str) -> None:
    field = one(text)
    assert all(len(part) <= PART for part in field.parts)
    if field.is_open:
        assert read_field(field, field.parts) == text


def test_a_text_that_nobody_could_edit_here_is_left_alone() -> None:
    assert not one("x" * (PART * MOST_PARTS + 1)).is_open
    many = fields_of({}, {f"k{number}": ["x" * (PART * 8)] for number in range(5)})
    assert [field.is_open for field in many] == [True, True, False, False, False]


@pytest.mark.parametrize("text", ["a\u202eb", "a\x00b", "a\r\nb", "a\u200bb"])
def test_characters_that_nobody_sees_are_spelled_out(text: str) -> None:
    field = one(text)
    assert field.kind == "json"
    assert field.parts[0].isascii()
    assert read_field(field, field.parts) == text


def test_a_field_that_may_be_no_text_is_edited_as_json() -> None:
    assert one("x", "either").parts == ('"x"',)
    assert read_field(one("x", "either"), ("null",)) is None
    assert read_field(one(3, "count"), (" 4 ",)) == 4


@pytest.mark.parametrize("typed", ["", "four", "NaN", "Infinity", "{", "[" * 100_000])
def test_what_is_no_json_is_said_and_not_guessed(typed: str) -> None:
    with pytest.raises(BadField, match="no JSON"):
        read_field(one(3, "count"), (typed,))


def test_what_the_schema_says_of_an_argument_stands_with_it() -> None:
    assert one("x").about == "What it says."
    assert json.dumps([field.name for field in fields_of(SCHEMA, {"z": 1, "count": 2})]) == '["count", "z"]'

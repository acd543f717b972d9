"""The canonical bytes that a yes is bound to: those of RFC 8785, whichever of two ways writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from agent.domain import canonical

_NUMBERS = st.integers() | st.floats() | st.booleans() | st.none()
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _NUMBERS | st.text() | st.characters(categories=["Cs", "Cc"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


def _by_the_book(value: object) -> bytes | None:
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # whatever it is
    except rfc8785.CanonicalizationError:
        return None


def _ours(value: object) -> bytes | None:
    try:
        return canonical(value)
    except ValueError:
        return None


@given(_VALUES)
def test_every_value_has_the_bytes_of_the_standard_or_none(value: object) -> None:
    assert _ours(value) == _by_the_book(value)


@pytest.mark.parametrize(
    "value",
    [
        {"ä": 1, "z": 2, "\U0001f600": 3, "\ufb33": 4},
        {"b": 1, "a": {"d": '\u0000\u001f\u007f\u2028"\\/\b\f\n\r\t', "c": []}},
        [2**53 - 1, -(2**53) + 1, 0, True, None, "", {}],
        2**53,
        -(2**53),
        1.0,
        "\ud800",
        {1: "a"},
        {None: "a"},
        (1, 2),
        {"a": {1, 2}},
        b"bytes",
    ],
)
def test_what_the_two_ways_could_see_otherwise_comes_out_alike(value: object) -> None:
    assert _ours(value) == _by_the_book(value)


def test_a_value_nested_very_deep_is_refused_or_written_but_never_written_otherwise() -> None:
    value: Any = "x"
    for _ in range(400):
        value = [value]
    assert json.loads(canonical(value)) == value

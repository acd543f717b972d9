"""A value that holds nothing to cover is found out with one look; any other is covered text by text, as ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.secrets import redact, redacted, without_secrets

SECRET = "correct horse battery"
KNOWN = {"PASS": SECRET}
_PIECES = st.sampled_from(
    [
        *("", "a", " ", "\n", "\r", "\t", "-", '"', "://", "postgres://me:", "hunter22", "@host", "AKIA"),
        *("ABCDEFGHIJKLMNOP", "Q2345672ABCDEFGH"),
        *("sk-", "-----BEGIN ", "PRIVATE KEY-----", "correct horse", " battery"),
        *("correct\nhorse\nbattery", "yrettab esroh tcerroc", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"),
    ]
)  # fmt: skip
_TEXTS = st.lists(_PIECES, max_size=6).map("".join) | st.text()
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _TEXTS | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)


def cover(text: str) -> str:
    return redact(text, KNOWN)


@given(_VALUES)
def test_it_covers_exactly_what_looking_at_each_text_covers(value: object) -> None:
    assert without_secrets(value, cover) == redacted(value, cover)


@pytest.mark.parametrize(
    "value",
    [SECRET, {SECRET: 1}, [{"a": ["b", {"c": SECRET}]}], {"a": "x", "b": "AKIA" + "ABCDEFGHIJKLMNOP"}],
)
def test_a_secret_is_covered_wherever_it_stands(value: object) -> None:
    covered = repr(without_secrets(value, cover))
    assert "redacted" in covered
    assert SECRET not in covered


def test_one_look_is_enough_where_there_is_none() -> None:
    looks: list[str] = []

    def looked(text: str) -> str:
        looks.append(text)
        return cover(text)

    value = {"text": "plain", "calls": [{"id": "c1", "arguments": {"number": 7}}]}
    assert without_secrets(value, looked) is value
    assert len(looks) == 1

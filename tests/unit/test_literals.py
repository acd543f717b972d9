"""What is put together from literals is byte for byte what RFC 8785 says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain import canonical
from storage.literals import number, text
from storage.receipts import Keyring, Receipt


@given(st.text())
def test_text_is_quoted_as_rfc_8785_says(value: str) -> None:
    assert text(value).encode() == canonical(value)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1).map(float))
def test_a_number_is_written_as_rfc_8785_says(value: float) -> None:
    assert number(value).encode() == canonical(value)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, 1_900_000_000.25, 1e16, 2.0**53, 1e21, 1e-7, 5e-324, -3.0])
def test_numbers_at_the_edges_are_written_as_rfc_8785_says(value: float) -> None:
    assert number(value).encode() == canonical(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_refused(value: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        number(value)


@given(st.text(), st.text(), st.floats(0, 1e12), st.integers(0, 1000), st.lists(st.text(), max_size=3))
def test_what_a_receipt_signs_is_canonical_json(a: str, b: str, at: float, epoch: int, voters: list[str]) -> None:
    receipt = Receipt(a, b, a + b, b + a, epoch, "approve", b, at, at / 3, a, tuple(voters))
    fields: dict[str, Any] = {
        "run": a, "approval": b, "action": a + b, "digest": b + a, "epoch": epoch, "decision": "approve",
        "principal": b, "at": at, "start_before": at / 3, "policy": a, "voters": voters, "receipt": 1,
    }  # fmt: skip
    assert receipt.message == canonical(fields)


def test_a_receipt_with_half_a_character_is_refused_as_ever() -> None:
    receipt = Receipt("r", "a", "c", "d", 0, "approve", "\ud800", 1.0)
    with pytest.raises(ValueError, match="surrogates"):
        _ = receipt.message


def test_a_signature_holds_for_what_was_signed_and_nothing_else(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    one, other = (Receipt("r", "a", "c", "d", 0, "approve", who, 1.0) for who in ("maya", "omar"))
    signature, others = ring.sign(one), ring.sign(other)
    assert ring.holds(one, signature)
    assert not ring.holds(one, others)
    assert not ring.holds(other, signature)
    assert Keyring(tmp_path).holds(one, signature)  # another process knows the key alone
    assert not Keyring(tmp_path).holds(one, others)

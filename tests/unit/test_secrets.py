"""Secrets are found by shape and by value, and covered."""

from __future__ import annotations

import base64

import pytest

from agent.secrets import find_secret, redact

SHAPES = {
    "Slack token": "xoxb-" + "1234567890-abcdefghij",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "model key": "sk-ant-" + "api03-" + "x" * 30,
    "AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "payment key": "sk_live_" + "a" * 24,
    "signed token": "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize(("kind", "value"), SHAPES.items())
def test_invariant_9_a_token_is_known_by_its_shape(kind: str, value: str) -> None:
    assert find_secret(f"use {value} now") == kind
    assert redact(f"use {value} now") == f"use [redacted: {kind}] now"


def test_invariant_9_a_known_value_is_found_in_every_spelling() -> None:
    known = {"DB": "p@ss/word!"}
    for spelling in ("p@ss/word!", "p%40ss%2Fword%21", base64.b64encode(b"p@ss/word!").decode()):
        assert find_secret(f"x{spelling}x", known) == "secret:DB"
        assert "ss" not in redact(f"({spelling})", known).replace("secret", "")


def test_only_the_password_of_an_address_is_covered() -> None:
    assert redact("postgres://anna:hunter22@db/x") == "postgres://anna:[redacted: password in an address]@db/x"


def test_what_is_no_secret_stays() -> None:
    for text in ("", "secret:DB", "sk-learn", "a sha 5f2a0d3c", "https://example.org/a:b", "ghp_short", "AKIA"):
        assert find_secret(text) == ""
        assert redact(text) == text


def test_covering_twice_is_covering_once() -> None:
    text = f"{SHAPES['Slack token']} and {SHAPES['AWS key']}"
    assert redact(redact(text)) == redact(text)


def test_overlapping_secrets_are_covered_whole() -> None:
    token = SHAPES["GitHub token"]
    assert token[-8:] not in redact(token, {"A": token[:20], "B": token[10:]})


def test_a_short_known_value_is_not_looked_for() -> None:
    assert find_secret("abc", {"A": "abc"}) == ""

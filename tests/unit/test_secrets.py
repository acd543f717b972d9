"""Secrets are found by shape and by value, and covered."""

from __future__ import annotations

import base64
import html
import json
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from agent.secrets import find_secret, redact, redacted

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


VALUE = 'p@ss/word! "x"\\'
KNOWN = {"DB": VALUE}


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        json.dumps({"a": VALUE}),
        json.dumps(json.dumps({"a": VALUE})),
        quote(VALUE),
        quote(VALUE, safe="").lower(),
        quote_plus(VALUE),
        html.escape(VALUE),
        repr(VALUE),
        VALUE[::-1],
        VALUE.encode().hex(),
        VALUE.encode().hex(" "),
        base64.b64encode(b"user:" + VALUE.encode() + b":more").decode(),
        base64.b64encode(b"us:" + VALUE.encode() + b"?").decode(),
        base64.urlsafe_b64encode(b"a" + VALUE.encode()).decode(),
        base64.encodebytes(b"x" * 50 + VALUE.encode() + b"y" * 50).decode(),
        base64.b32encode(VALUE.encode()).decode(),
        VALUE[:6] + "\n" + VALUE[6:],
        VALUE[:6] + "\r\n    " + VALUE[6:],
        json.dumps(VALUE[:5] + "\n" + VALUE[5:]),
        " ".join(VALUE),
    ],
)
def test_invariant_9_a_known_value_is_covered_however_it_is_written(text: str) -> None:
    assert find_secret(text, KNOWN) == "secret:DB"
    covered = redact(f"before {text} after", KNOWN)
    assert covered.startswith("before ")
    assert covered.endswith(" after")
    assert text not in covered
    assert "[redacted: secret:DB]" in covered
    assert redact(covered, KNOWN) == covered


def test_a_key_without_an_end_does_not_break_the_record_in_which_it_stands() -> None:
    record = {"text": "-----BEGIN RSA PRIVATE KEY-----\nabc", "list": [1, None, {"sk_live_" + "a" * 24: "kept"}]}
    covered = redacted(record, redact)
    assert covered == {
        "text": "[redacted: private key]",
        "list": [1, None, {"[redacted: payment key]": "kept"}],
    }


def test_covering_a_long_text_takes_a_moment_only() -> None:
    known = {f"K{number}": f"val{number}ue/+with-{number}-stuff=" for number in range(12)}
    text = "lorem ipsum dolor sit amet " * 40_000
    began = time.perf_counter()
    assert redact(text, known) == text
    assert time.perf_counter() - began < 3


def test_a_value_is_covered_however_deep_it_is_nested() -> None:
    nested: Any = {"inner": "xoxb-1234567890-abcdefghijkl"}
    for _ in range(5_000):
        nested = {"a": [nested]}
    covered = redacted(nested, redact)
    for _ in range(5_000):
        covered = covered["a"][0]
    assert covered == {"inner": "[redacted: Slack token]"}


def test_covering_keeps_the_shape_of_a_value() -> None:
    value = {"a": [1, None, {"b": "text", "c": []}], "d": {}, "e": True}
    assert redacted(value, str) == value
    assert redacted("sk-ant-" + "a" * 30, redact) == "[redacted: model key]"

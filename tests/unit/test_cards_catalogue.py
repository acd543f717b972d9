"""Every phase of a card, each window and each reply: what Slack takes, whatever stands in them, and calm to look at."""

from __future__ import annotations

import copy
import itertools
import json
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from agent.domain import ApprovalState, Outcome
from bot.blocks.message import Message
from docs.gallery.catalogue import catalogue
from docs.gallery.values import Shown, Texts
from simulator.limits import ALL_BLOCKS_TEXT, block_problems, characters, check_view

EXAMPLES = catalogue()
EMOJI = re.compile(r":[a-z_]+:")
PLAN = re.compile(r":\w+: (?:\w+ )*· ")
HOSTILE = (
    "x" * 100_000,
    "א" * 100_000,
    "\u202edrop table\u202c " * 3_000,
    "\x00\x07\x1b[31m\r\n" * 4_000,
    "<!channel> <@U0EVE> <https://evil.example|harbour.slack.com> " * 500,
    "```\n*bold* _it_ ~s~ `c` > q :rotating_light:\n" * 900,
    "👩‍👩‍👧‍👦" * 9_000,
    "&<>" * 20_000,
    "",
    " ",
)


def holds(name: str, shown: Shown) -> None:
    """Slack would take it, by slack_sdk's own models and by the table of limits."""
    if isinstance(shown, Message):
        for blocks in (shown.blocks, shown.shorter):
            assert block_problems(blocks, most=50) == [], name
            assert characters(blocks) <= ALL_BLOCKS_TEXT, name
            for block in Block.parse_all(copy.deepcopy(blocks)):
                block.validate_json()
        assert 0 < len(shown.text) <= 600, name
        assert "<" not in shown.text, name
        json.dumps(shown.blocks).encode()
        return
    check_view(shown, home=shown["type"] == "home")
    View(**copy.deepcopy(shown)).validate_json()
    assert len(json.dumps(shown).encode()) <= 250_000, name


def mrkdwn(value: Any) -> list[str]:  # any JSON value
    """Every text in which Slack reads marks."""
    if isinstance(value, list):
        return [text for item in value for text in mrkdwn(item)]
    if not isinstance(value, dict):
        return []
    own = [value["text"]] if value.get("type") == "mrkdwn" else []
    return own + [text for item in value.values() for text in mrkdwn(item)]


def blocks_of(shown: Shown) -> list[dict[str, Any]]:
    return shown.blocks if isinstance(shown, Message) else shown["blocks"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_what_slack_takes(name: str) -> None:
    holds(name, EXAMPLES[name])


def test_there_is_an_example_of_every_state_and_outcome() -> None:
    names = " ".join(EXAMPLES)
    assert all(state in names for state in ApprovalState)
    assert all(f"card, approved, {outcome}" in EXAMPLES and f"reply, {outcome}" in EXAMPLES for outcome in Outcome)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_is_a_wall_of_emoji(name: str) -> None:
    lines = "\n".join(mrkdwn(blocks_of(EXAMPLES[name]))).split("\n")
    assert all(len(EMOJI.findall(line)) <= 1 for line in lines)
    # A step of a plan begins with a sign and its word; what lines part, such as the requests of a Home, has one each.
    signs = [line for line in lines if EMOJI.search(line) and not PLAN.match(line)]
    assert len(signs) <= 3 + sum(block["type"] == "divider" for block in blocks_of(EXAMPLES[name]))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("card, ")])
def test_each_card_reads_from_what_would_happen_over_the_evidence_to_the_agents_claim(name: str) -> None:
    shown = EXAMPLES[name]
    assert isinstance(shown, Message)
    text = json.dumps(shown.blocks)
    order = ['"header"', "Exact call", "Why it asks", "the run's thread", "The agent's claim"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    if "Rows that would change" in text:
        assert text.index("Rows that would change") < text.index("Exact call")


def test_deciders_are_mentioned_in_the_first_post_and_in_no_later_one() -> None:
    first, later = EXAMPLES["card, pending"], EXAMPLES["card, reminded"]
    assert "<@U0OMAR>" in json.dumps(blocks_of(first))
    assert "<@U0OMAR>" not in json.dumps(blocks_of(later))


def test_a_card_says_when_people_were_reminded_and_called_again() -> None:
    assert "Reminded at <!date^" in json.dumps(blocks_of(EXAMPLES["card, reminded"]))
    late = json.dumps(blocks_of(EXAMPLES["card, escalated"]))
    assert "Reminded at <!date^" in late
    assert "escalated at <!date^" in late


def hostile_everywhere(one: str, other: str) -> None:
    names = [item.name for item in fields(Texts) if item.name not in {"arguments", "headline"}]
    texts = Texts(
        headline=one, **dict(zip(names, itertools.cycle((other, one)), strict=False)),
        arguments={one or "k": other, "database": one, "sql": other, **{f"k{n}": [one[:900]] for n in range(45)}},
    )  # fmt: skip
    for name, shown in catalogue(texts).items():
        holds(name, shown)
        marked = "\n".join(mrkdwn(blocks_of(shown)))
        for forged in ("<!channel", "<@U0EVE", "<https://evil"):
            assert forged not in marked, name


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: f"{len(text)} of {text[:3]!r}")
def test_no_hostile_text_makes_slack_refuse_an_example_mentions_somebody_or_forges_a_link(text: str) -> None:
    hostile_everywhere(text, f"fine {text[:40]}")


@given(one=st.text(max_size=200), other=st.text(max_size=200))
@settings(max_examples=15, deadline=None)
def test_no_text_at_all_makes_slack_refuse_an_example(one: str, other: str) -> None:
    hostile_everywhere(one, other)

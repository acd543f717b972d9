"""Invariant 14: text from models, tools and pages cannot mention, link or break a card, whatever stands in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.blocks.kit import fit, section
from bot.blocks.text import bare, clean, cut, escape, inline, prose, verbatim, width

NASTY = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="<>&@!#|`*_~:\n> \u202e\u2066\u05d0\ud800\x00\x07\u200b\U0001f600aZ0", max_size=300),
    st.lists(
        st.sampled_from(
            [
                "<!channel>",
                "<@U1>",
                "<https://evil.example|here>",
                "```",
                "&lt;",
                "&amp;",
                "\n> quote",
                ":check:",
                "**b**",
            ]
        ),
        max_size=30,
    ).map("".join),
)
FORMS = [escape, inline, verbatim, prose]
ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")


@pytest.mark.parametrize("form", FORMS)
@given(text=NASTY, limit=st.integers(40, 400))
@settings(max_examples=80, deadline=None)
def test_nothing_can_mention_or_link_and_no_entity_is_split(form: object, text: str, limit: int) -> None:
    said = form(text, limit)
    assert "<" not in said
    assert ">" not in said
    assert not ENTITY.search(said)
    assert width(said) <= limit
    said.encode("utf-8")


@pytest.mark.parametrize("form", [escape, inline, prose])
@given(text=NASTY)
@settings(max_examples=60, deadline=None)
def test_no_control_character_and_no_direction_override_is_left(form: object, text: str) -> None:
    said = form(text, 500)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066\u2067\ud800-\udfff]", said)


@given(text=NASTY, limit=st.integers(40, 3000))
@settings(max_examples=100, deadline=None)
def test_a_code_block_cannot_be_ended_from_inside(text: str, limit: int) -> None:
    said = verbatim(text, limit)
    assert said.startswith("```\n")
    assert said.count("```") == 2


@given(text=NASTY, limit=st.integers(60, 500))
@settings(max_examples=100, deadline=None)
def test_code_blocks_of_an_answer_are_always_closed(text: str, limit: int) -> None:
    assert prose(text, limit).count("```") % 2 == 0


def test_hidden_characters_are_spelled_out_where_the_text_is_exact() -> None:
    assert "⟨U+202E⟩" in verbatim("rm \u202etxt.exe")
    assert "⟨U+0000⟩" in verbatim("a\x00b")


def test_right_to_left_text_is_isolated_in_a_sentence() -> None:
    assert inline("\u05d0\u05d1") == "\u2068\u05d0\u05d1\u2069"
    assert inline("plain") == "plain"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert escape("x" * 100_000, 100) == "x" * 99 + "…"
    assert bare("x" * 100_000, 50).endswith("…")
    assert "100000 characters in all" in verbatim("x" * 100_000, 500)
    assert escape("\u200b" * 100_000 + "end", 100) == "…"


def test_cutting_keeps_a_mention_whole_or_leaves_it_out() -> None:
    assert cut("ask <@U0OMAR> now", 8) == "ask …"
    assert cut("a &amp; b", 5) == "a …"


def test_names_with_inner_underscores_keep_their_looks() -> None:
    assert escape("order_id in my_file.py") == "order_id in my_file.py"
    assert "_" not in escape("_fake emphasis_")


def test_an_answer_keeps_code_and_bold() -> None:
    assert prose("There are **7** files: `a<b.py`") == "There are *7* files: `a&lt;b.py`"
    assert prose("see\n```python\nprint(1)\n```\nend") == "see\n```\nprint(1)\n```\nend"


def test_an_emoji_code_of_a_model_does_not_become_a_tick() -> None:
    assert ":white_check_mark:" not in escape(":white_check_mark: approved")


def test_line_ends_of_every_kind_become_newlines() -> None:
    assert clean("a\r\nb\rc\u2028d") == "a\nb\nc\nd"


def test_a_message_is_brought_under_slacks_limit_by_shortening_the_longest_text() -> None:
    blocks = fit([section("x" * 3000) for _ in range(8)] + [section("short")])
    assert sum(len(block["text"]["text"]) for block in blocks) <= 12_000
    assert blocks[-1]["text"]["text"] == "short"

"""The form that asks what was wrong with an answer."""

from __future__ import annotations

from typing import Final

from bot.blocks.kit import Block, modal, section, text_input
from bot.blocks.modals import Kept

FEEDBACK_FORM: Final = "feedback_form"
WORD: Final = "word"


def feedback_form(run: str) -> Block:
    """Offered after a thumbs-down: the vote is kept already, the word is optional."""
    return modal(
        FEEDBACK_FORM,
        "Thank you",
        [
            section("*Your vote is kept.* It is read by those who run this bot, not by the agent."),
            text_input(WORD, "What was wrong, or missing?", optional=True, most=1000),
        ],
        metadata=Kept(subject=run).model_dump_json(),
        submit="Send",
    )

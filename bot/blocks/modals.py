"""The modals: a reason for a denial, and the three ways in which a takeover ends; details stand elsewhere."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.blocks.kit import Block, modal, section, text_input
from bot.blocks.text import inline

DENY_REASON: Final = "deny_reason"
DONE_FORM: Final = "takeover_done_form"
HAND_BACK_FORM: Final = "takeover_hand_back_form"
ABORT_FORM: Final = "takeover_abort_form"

REASON, WHAT, REFERENCE, EVIDENCE, INSTRUCTION = "reason", "what", "reference", "evidence", "instruction"
"""Blocks of the forms; each element's action_id is `value`."""


class Kept(BaseModel):
    """What a modal carries through Slack and back: only ids, never content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    token: str = ""

    @classmethod
    def read(cls, metadata: object) -> Kept | None:
        """What a submitted view carried; None when it is not ours."""
        try:
            return cls.model_validate_json(metadata) if isinstance(metadata, str) else None
        except ValidationError:
            return None


def deny_reason(approval: str, headline: str) -> Block:
    """Offered after a denial: it is decided already, the reason is optional."""
    return modal(
        DENY_REASON,
        "Denied",
        [
            section(f":no_entry_sign: *Denied, it will not run:* {inline(headline, 300)}"),
            text_input(
                REASON,
                "Why?",
                optional=True,
                most=1000,
                hint="The agent reads it, and waits a minute for it. On what follows from it, others decide.",
            ),
        ],
        metadata=Kept(subject=approval).model_dump_json(),
        submit="Send reason",
        told_of_close=True,
    )


def takeover_done(takeover: str, token: str, headline: str, cause: str) -> Block:
    """What was done, where it can be looked up, and what shows it."""
    asked = "What did you find, or do?" if cause == "unknown" else "What did you do?"
    return modal(
        DONE_FORM,
        "Done by you",
        [
            section(f"*The agent takes this as the result and does not do it again:* {inline(headline, 300)}"),
            text_input(WHAT, asked),
            text_input(REFERENCE, "Reference", multiline=False, most=300, hint="A ticket, a commit, an order number."),
            text_input(
                EVIDENCE,
                "Evidence",
                hint="An output, a count, a link. The agent reads all this, so others decide on what follows.",
            ),
        ],
        metadata=Kept(subject=takeover, token=token).model_dump_json(),
        submit="It is done",
    )


def takeover_hand_back(takeover: str, token: str, headline: str) -> Block:
    """An instruction for the agent; whoever writes it is from then on a co-requester."""
    return modal(
        HAND_BACK_FORM,
        "Hand back",
        [
            section(f"*This will not run as it is:* {inline(headline, 300)}"),
            text_input(
                INSTRUCTION,
                "What should the agent do instead?",
                hint="Your words become part of the run, so you cannot decide on its later requests.",
            ),
        ],
        metadata=Kept(subject=takeover, token=token).model_dump_json(),
        submit="Hand back",
    )


def takeover_abort(takeover: str, token: str, headline: str) -> Block:
    """Why nobody does it."""
    return modal(
        ABORT_FORM,
        "Abort",
        [
            section(f"*This will not be done:* {inline(headline, 300)}"),
            text_input(REASON, "Why?", most=1000, hint="The requester reads it; the agent goes on without it."),
        ],
        metadata=Kept(subject=takeover, token=token).model_dump_json(),
        submit="Abort",
    )

"""The modals: a reason for a denial, and what can be done with a claimed takeover; details stand elsewhere."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.blocks.kit import Block, modal, section, text_input, user_input
from bot.blocks.text import inline

DENY_REASON: Final = "deny_reason"
DONE_FORM: Final = "takeover_done_form"
HAND_BACK_FORM: Final = "takeover_hand_back_form"
ABORT_FORM: Final = "takeover_abort_form"
REASSIGN_FORM: Final = "takeover_reassign_form"

REASON, WHAT, REFERENCE, EVIDENCE, INSTRUCTION = "reason", "what", "reference", "evidence", "instruction"
PERSON: Final = "person"
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


def takeover_done(takeover: str, token: str, headline: str, cause: str = "high") -> Block:
    """What was done, where it can be looked up, and what shows it."""
    fields = [
        text_input(WHAT, "What did you find, or do?" if cause == "unknown" else "What did you do?"),
        text_input(REFERENCE, "Reference", multiline=False, most=300, hint="A ticket, a commit, an order number."),
        text_input(
            EVIDENCE,
            "Evidence",
            hint="An output, a count, a link. The agent reads all this, so others decide on what follows.",
        ),
    ]
    said = "The agent takes this as the result and does not do it again"
    return _of_takeover(
        DONE_FORM, "Done by you", "It is done", Kept(subject=takeover, token=token), said, headline, fields
    )


def takeover_hand_back(takeover: str, token: str, headline: str) -> Block:
    """An instruction for the agent; whoever writes it is from then on a co-requester."""
    hint = "Your words become part of the run, so you cannot decide on its later requests."
    fields = [text_input(INSTRUCTION, "What should the agent do instead?", hint=hint)]
    kept = Kept(subject=takeover, token=token)
    return _of_takeover(HAND_BACK_FORM, "Hand back", "Hand back", kept, "This will not run as it is", headline, fields)


def takeover_abort(takeover: str, token: str, headline: str) -> Block:
    """Why nobody does it."""
    hint = "The requester reads it; the run ends without it."
    fields = [text_input(REASON, "Why?", most=1000, hint=hint)]
    kept = Kept(subject=takeover, token=token)
    return _of_takeover(ABORT_FORM, "Abort", "Abort", kept, "This will not be done", headline, fields)


def takeover_reassign(takeover: str, token: str, headline: str) -> Block:
    """To whom the claim goes; they must be entitled to take it themselves."""
    hint = "They must be among those who may take it, and none of their words may be in the run."
    fields = [user_input(PERSON, "Who takes it?", hint=hint)]
    kept = Kept(subject=takeover, token=token)
    return _of_takeover(REASSIGN_FORM, "Reassign", "Reassign", kept, "They get it for 30 minutes", headline, fields)


def _of_takeover(  # noqa: PLR0917  # the parts of one form, in the order in which they are read
    form: str, title: str, submit: str, kept: Kept, said: str, headline: str, fields: list[Block]
) -> Block:
    blocks = [section(f"*{said}:* {inline(headline, 300)}"), *fields]
    return modal(form, title, blocks, metadata=kept.model_dump_json(), submit=submit)

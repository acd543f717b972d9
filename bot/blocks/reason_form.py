"""The window that asks for the reason without which the policy takes no decision."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.blocks.call import argument_blocks, reasons_of, reasons_text, title_of
from bot.blocks.kit import Block, context, modal, section, text_input, when
from bot.blocks.modals import REASON
from bot.blocks.text import inline
from storage.views import ApprovalView

REASON_FORM: Final = "required_reason_form"
LONGEST: Final = 1000
"""Characters of a reason."""
_ARGUMENTS: Final = 3000
"""Characters of all arguments, each cut on its own; Details has them whole."""


class Decided(BaseModel):
    """What the window carries through Slack and back: what is decided how, and the call that was shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    digest: str
    vote: Literal["approve", "deny"]

    @classmethod
    def read(cls, metadata: object) -> Decided | None:
        """What a submitted window carried; None when it is not ours."""
        try:
            return cls.model_validate_json(metadata) if isinstance(metadata, str) else None
        except ValidationError:
            return None


def reason_form(view: ApprovalView, vote: Literal["approve", "deny"]) -> Block:
    """What is being decided, and a field that must be filled in; nothing is decided until it is sent."""
    row, item, is_yes = view.approval, view.action, vote == "approve"
    said = f":pencil2: *You are about to {vote} this:*"
    hint = "It stands on the card, under your name."
    if not is_yes:
        hint = f"{hint} The agent reads it, so others decide on what follows from it."
    kept = Decided(subject=row.id, digest=row.digest, vote=vote)
    return modal(
        REASON_FORM,
        "Approve" if is_yes else "Deny",
        [
            section(f"{said} {inline(title_of(item), 300)}"),
            section(f"*Exact call:* `{inline(item.action.tool, 80)}`"),
            *argument_blocks(item.action.arguments, _ARGUMENTS),
            context(reasons_text(reasons_of(item), 3)),
            text_input(REASON, "Why?", most=LONGEST, hint=hint),
            context(
                f"The policy wants a reason, so nothing is decided until you send it. Until {when(row.expires_at)}."
            ),
        ],
        metadata=kept.model_dump_json(),
        submit="Approve" if is_yes else "Deny",
    )


def counted(quorum: int) -> Block:
    """In place of the form: a yes that others have to join."""
    said = f"Your yes is counted. It needs {quorum} in all, from different people."
    return modal("notice", "Counted", [section(said)])

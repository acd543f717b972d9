"""Several actions of one run that wait at once: one window, an answer for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.blocks.call import argument_blocks, reasons_of, reasons_text, title_of
from bot.blocks.kit import Block, context, divider, modal, plain, section, text_input
from bot.blocks.modals import REASON, Kept
from bot.blocks.text import inline
from storage.views import ApprovalView

TOGETHER_FORM: Final = "approvals_together_form"
MOST: Final = 15
"""Requests in one window; the others are decided on their own cards."""
_ARGUMENTS: Final = 1200
"""Characters of arguments shown for each; all of them stand in its Details."""
_CHOICES: Final = (("leave", "Leave it open"), ("approve", "Approve"), ("deny", "Deny"))
_OPTIONS: Final[list[Block]] = [{"text": plain(label), "value": value} for value, label in _CHOICES]


def block_of(approval: str, digest: str) -> str:
    """The block id of one request: whose it is and what was shown."""
    return f"together|{approval}|{digest[:12]}"


def read_block(block_id: str) -> tuple[str, str] | None:
    """The approval and the digest that was shown; None for another block."""
    match block_id.split("|"):
        case ["together", approval, shown]:
            return approval, shown
        case _:
            return None


def together_form(views: Sequence[ApprovalView], run: str) -> Block:
    """Each request with its call and an answer of its own; nothing is chosen beforehand but to leave it open."""
    blocks: list[Block] = [section("*Each is decided for itself.* What you leave open goes on waiting.")]
    for number, view in enumerate(views[:MOST], start=1):
        item = view.action
        blocks += [divider(), section(f"*{number}. {inline(title_of(item), 300)}*")]
        blocks += [
            section(f"`{inline(item.action.tool, 80)}`"),
            *argument_blocks(item.action.arguments, _ARGUMENTS)[:2],
        ]
        blocks.append(context(reasons_text(reasons_of(item), 3)))
        options = [option for option in _OPTIONS if option["value"] not in view.approval.reason_for]
        if len(options) < len(_OPTIONS):
            blocks.append(context(_own_reason(view.approval.reason_for)))
        if len(options) > 1:
            blocks.append(_choice(view, number, options))
    if len(views) > MOST:
        blocks.append(context(f"{len(views) - MOST} more wait; they are decided on their own cards."))
    hint = "The agent reads it for everything that you deny here."
    blocks.append(text_input(REASON, "Why not?", optional=True, most=1000, hint=hint))
    return modal(
        TOGETHER_FORM, "Decide together", blocks, metadata=Kept(subject=run).model_dump_json(), submit="Decide"
    )


def _own_reason(votes: Sequence[str]) -> str:
    """Which answers are not to be had here, since a reason for several says little about each."""
    named = " and ".join(label for value, label in _CHOICES if value in votes)
    need = "need" if len(votes) > 1 else "needs"
    return f":pencil2: *{named} {need} a reason of its own*, so press that on its own card; here it is left open."


def _choice(view: ApprovalView, number: int, options: list[Block]) -> Block:
    element: Block = {
        "type": "radio_buttons",
        "action_id": "value",
        "options": options,
        "initial_option": _OPTIONS[0],
    }
    return {
        "type": "input",
        "block_id": block_of(view.approval.id, view.approval.digest),
        "label": plain(f"Your answer to {number}"),
        "element": element,
    }


def together_notice(lines: Sequence[str]) -> Block:
    """What became of each, in place of the form."""
    return modal("notice", "Decided", [section(line) for line in lines] or [section("You left all of them open.")])

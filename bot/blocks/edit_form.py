"""The window in which a person changes a call's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent.editing import Field
from bot.blocks.call import title_of
from bot.blocks.kit import Block, context, modal, section, text_input
from bot.blocks.modals import Kept
from bot.blocks.text import bare, inline
from storage.views import ApprovalView

EDIT_FORM: Final = "approval_edit_form"
_LONG: Final = 80
"""A longer value gets a field of several lines."""
_MOST: Final = 3000
OTHERS: Final = "You changed it, so somebody else must approve."
NOBODY_ELSE: Final = (
    ":warning: Nobody else may decide on it. If you change it, an operator has to name another approver in the policy."
)


def block_of(field: int, part: int) -> str:
    """The block id of one part of a field."""
    return f"argument.{field}.{part}"


def edit_form(view: ApprovalView, fields: Sequence[Field], *, editor: str) -> Block:
    """The arguments as fields; `editor` is the principal key of who opens it."""
    others = [key for key in view.approval.deciders if key != editor and key not in view.co_requesters]
    said = f":pencil2: *If you change it, somebody else must approve.* {inline(title_of(view.action), 300)}"
    blocks: list[Block] = [section(said)]
    if not others:
        blocks.append(section(NOBODY_ELSE))
    for number, field in enumerate(fields):
        blocks += _inputs(number, field)
    hint = "What you send is rated anew, whatever this one was. The request as it stood then does not run."
    kept = Kept(subject=view.approval.id, token=view.approval.digest)
    return modal(
        EDIT_FORM, "Change the call", [*blocks, context(hint)], metadata=kept.model_dump_json(), submit="Ask with this"
    )


def _inputs(number: int, field: Field) -> list[Block]:
    name = bare(field.name, 100) or "-"
    if not field.is_open:
        return [section(f"*{inline(field.name, 100)}* is too long to be changed here; it stays as it is.")]
    blocks = list[Block]()
    for part, text in enumerate(field.parts):
        label = name if len(field.parts) == 1 else f"{name}, part {part + 1} of {len(field.parts)}"
        block = text_input(
            block_of(number, part),
            label,
            optional=field.kind == "text",
            multiline="\n" in text or len(text) > _LONG,
            hint=_hint(field) if part == 0 else "",
            most=_MOST,
        )
        if text:
            block["element"]["initial_value"] = text
        blocks.append(block)
    return blocks


def _hint(field: Field) -> str:
    as_json = "As JSON; a text stands in quotation marks." if field.kind == "json" else ""
    return bare(" ".join(part for part in (field.about, as_json) if part), 300)


def typed(fields: Sequence[Field], values: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What was typed, by the argument's name; a field that did not come back counts as empty."""
    return {
        field.name: tuple(values.get(block_of(number, part), "") for part in range(len(field.parts)))
        for number, field in enumerate(fields)
        if field.is_open
    }


def errors_of(fields: Sequence[Field], problems: Mapping[str, str]) -> dict[str, str]:
    """What is wrong, by block; what concerns no field that is open stands at the first one that is."""
    blocks = {field.name: block_of(number, 0) for number, field in enumerate(fields) if field.is_open}
    first = next(iter(blocks.values()), block_of(0, 0))
    found: dict[str, str] = {}
    for name, why in problems.items():
        found.setdefault(blocks.get(name, first), bare(why, 300))
    return found


def changed_notice() -> Block:
    """Shown in place of the form once the change is taken."""
    text = f":pencil2: *{OTHERS}* The changed call is rated anew; the old card links to what comes of it."
    return modal("notice", "Changed", [section(text)])

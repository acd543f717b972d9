"""One proposed call as people must be able to read it: exact arguments, what would change, and why it is rated so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix
from typing import Any, Final

from pydantic import ValidationError

from agent.domain import Reason
from agent.events import ActionFinished
from agent.tools.base import Preview
from bot.blocks.kit import Block, context, section, table
from bot.blocks.text import SECTION, bare, inline, shown, verbatim, width
from storage.views import ActionView

ARGUMENTS_SHOWN: Final = 30
"""Arguments shown with their values; the names of further ones are listed."""
ALL_VALUES: Final = 5000
"""Characters for all values of one card together."""
_SHORT: Final = 80
_LEAST: Final = 150
_ROWS: Final = 12
_COLUMNS: Final = 8
_SIDE: Final = 26
"""Characters of each side of a change in a table's cell."""


def title_of(item: ActionView) -> str:
    """What would happen, in one sentence."""
    return item.headline or f"Run {item.action.tool}"


def reasons_of(item: ActionView) -> tuple[Reason, ...]:
    """The rules that had a say in its rating."""
    return item.rating.reasons if item.rating else ()


def code_of(item: ActionView) -> str:
    """The error's code when it was refused or failed; else empty."""
    return item.ended.code if isinstance(item.ended, ActionFinished) else ""


def value_text(value: object) -> str:
    """A value as it will be used: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def argument_blocks(arguments: Mapping[str, Any], most: int = ALL_VALUES) -> list[Block]:
    """Every argument on its own, each cut on its own, so that a long one cannot hide a later one."""
    items = list(arguments.items())
    share = max(_LEAST, min(SECTION - 300, most // max(1, min(len(items), ARGUMENTS_SHOWN))))
    parts = [_argument(name, value, share) for name, value in items[:ARGUMENTS_SHOWN]]
    if more := items[ARGUMENTS_SHOWN:]:
        names = ", ".join(inline(name, 40) for name, _ in more[:40])
        parts.append(f"_and {len(more)} more, all in Details:_ {names}")
    return packed(parts) if parts else [section("_no arguments_")]


def _argument(name: str, value: object, limit: int) -> str:
    text = value_text(value)
    label = f"*{inline(name, 60)}*"
    if not text:
        return f"{label}: _empty text_"
    if len(text) <= _SHORT and "`" not in text and text.isprintable() and text.isascii():
        return f"{label}: {_code(text)}"
    length = f" _({len(text)} characters, full text under Details)_" if len(text) > limit else ""
    return f"{label}{length}\n{verbatim(text, limit)}"


def _code(text: str) -> str:
    return "`" + shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "`"


def packed(parts: Iterable[str], limit: int = SECTION) -> list[Block]:
    """Sections that hold as many of the parts as fit, in order."""
    blocks, held = list[Block](), ""
    for part in parts:
        if held and width(held) + width(part) + 1 > limit:
            blocks.append(section(held))
            held = ""
        held = f"{held}\n{part}" if held else part
    return [*blocks, section(held)] if held else blocks


def read_preview(body: str) -> Preview:
    """A stored preview; a body that is none is shown as text."""
    if not body:
        return Preview()
    try:
        return Preview.model_validate_json(body)
    except ValidationError:
        return Preview(kind="text", text=body)


def preview_blocks(preview: Preview, limit: int = SECTION - 200, *, rows: int = _ROWS) -> list[Block]:
    """What would change, computed without doing it; `rows` of a table at most."""
    match preview.kind:
        case "none":
            return []
        case "rows":
            return _rows(preview, rows)
        case "diff":
            return [section(f"*What would change*\n{verbatim(preview.text, limit)}")]
        case "request":
            return [section(f"*What would be sent*\n{verbatim(preview.text, limit)}")]
        case "text":
            return [section(f"*What it would do*\n{verbatim(preview.text, limit)}")] if preview.text else []


def _rows(preview: Preview, most: int) -> list[Block]:
    """The rows; the statement behind them stands among the arguments already."""
    rows = _changes(preview)
    verb = "be added" if not preview.before and rows else "be deleted" if not preview.after and rows else "change"
    title = f"*Rows that would {verb}: {preview.count:,}*"
    blocks = [section(title)]
    if preview.columns and rows:
        shown_columns = _columns_first(preview)
        lines = [list(preview.columns), *rows[:most]]
        blocks.append(table([[line[at] for at in shown_columns if at < len(line)] for line in lines]))
    left = max(preview.count, len(rows)) - min(len(rows), most)
    notes = [f"{left:,} more rows are not shown"] if left > 0 else []
    if len(preview.columns) > _COLUMNS:
        notes.append(f"{len(preview.columns) - _COLUMNS} more columns are not shown")
    return [*blocks, context(". ".join(notes))] if notes else blocks


def _changes(preview: Preview) -> list[list[str]]:
    """One line a row: what stays as it is, and `before → after` where it would change."""
    if not preview.before or not preview.after:
        return [[_cell(value) for value in row] for row in preview.before or preview.after]
    return [
        [_cell(old) if old == new else _change(_cell(old), _cell(new)) for old, new in zip(before, after, strict=False)]
        for before, after in zip(preview.before, preview.after, strict=False)
    ]


def _change(old: str, new: str) -> str:
    """Both values in one narrow cell; of long ones that what differs, for a long old one must not hide the new one."""
    if len(old) + len(new) > 2 * _SIDE:
        same = max(0, len(commonprefix([old, new])) - 4)  # noqa: RUF071  # texts, not paths
        old, new = (f"{'…' * bool(same)}{bare(text[same:], _SIDE) or '-'}" for text in (old, new))
    return f"{old} → {new}"


def _columns_first(preview: Preview) -> list[int]:
    """Which columns are shown: the key, then those that would change, so that no change hides behind the width."""
    changed = {
        at
        for before, after in zip(preview.before, preview.after, strict=False)
        for at, (old, new) in enumerate(zip(before, after, strict=False))
        if old != new
    }
    order = sorted(range(len(preview.columns)), key=lambda at: (at != 0, at not in changed, at))
    return sorted(order[:_COLUMNS])


def _cell(value: str | float | None) -> str:
    return "NULL" if value is None else str(value)


def reasons_text(reasons: Sequence[Reason], limit: int = 8) -> str:
    """The rules that had a say, in words."""
    lines = [
        f"• {inline(reason.text or reason.rule, 200)}  _({inline(reason.rule, 60)})_" for reason in reasons[:limit]
    ]
    if len(reasons) > limit:
        lines.append(f"• and {len(reasons) - limit} more")
    return "\n".join(lines) or "• no rule spoke; the tool's default tier"


def claim_text(rationale: str, limit: int = 600, *, edited: bool = False) -> str:
    """What the agent says for itself, labelled as such: evidence stands before it."""
    of = " of the call before it was changed" if edited else ""
    return f"*The agent's claim*{of} (not checked): {inline(rationale, limit)}" if rationale.strip() else ""

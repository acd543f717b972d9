"""Slack's limits on messages, blocks and views, and the errors with which it enforces them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from simulator import limits_agent
from simulator.blocks import as_dict, dicts
from simulator.elements import check_element, check_text
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.elements import Problems
    from simulator.people import Json

MESSAGE_BLOCKS: Final = 50
VIEW_BLOCKS: Final = 100
#: characters of `text`; Slack advises 4,000 and refuses above this
MESSAGE_TEXT: Final = 40_000
MARKDOWN_TEXT: Final = 12_000
#: characters in all blocks of one message; undocumented
ALL_BLOCKS_TEXT: Final = 13_200
BLOCK_ID: Final = 255
METADATA: Final = 8_000


def check_message(args: Json) -> None:
    """Check what is to be posted. Raises SlackError with Slack's code."""
    text = args.get("text") or args.get("markdown_text") or ""
    if not isinstance(text, str):
        raise SlackError("invalid_arguments")
    blocks = args.get("blocks")
    if not text.strip() and not blocks and not args.get("attachments"):
        raise SlackError("no_text")
    if len(text) > (MARKDOWN_TEXT if args.get("markdown_text") else MESSAGE_TEXT):
        raise SlackError("msg_too_long")
    if blocks is not None:
        problems = block_problems(blocks, most=MESSAGE_BLOCKS)
        if problems:
            raise SlackError("invalid_blocks", errors=problems, response_metadata={"messages": problems})
        if characters(blocks) > ALL_BLOCKS_TEXT:
            raise SlackError("msg_blocks_too_long")
    for attachment in dicts(args.get("attachments")):
        problems = block_problems(attachment.get("blocks", []), most=MESSAGE_BLOCKS, at="/attachments")
        if problems:
            raise SlackError("invalid_attachments", errors=problems, response_metadata={"messages": problems})
    _check_metadata(args.get("metadata"))


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    shape = as_dict(metadata)
    if not isinstance(shape.get("event_type"), str) or not isinstance(shape.get("event_payload"), dict):
        raise SlackError("invalid_metadata_format")
    if len(str(shape)) > METADATA:
        raise SlackError("metadata_too_large")


def check_view(view: object, *, home: bool = False) -> Json:
    """Check a view and return it. Raises SlackError `invalid_arguments` with the places that are wrong."""
    problems: list[str] = []
    if not isinstance(view, dict):
        raise SlackError("invalid_arguments", response_metadata={"messages": ["[ERROR] must provide an object"]})
    shape = cast("Json", view)
    problem = _collector(problems, "/view")
    wanted = "home" if home else "modal"
    if shape.get("type") != wanted:
        problem("type", f"must be {wanted}")
    if not home:
        check_text(shape.get("title"), 24, plain=True, at="title", problem=problem)
        for key in ("submit", "close"):
            if shape.get(key) is not None:
                check_text(shape[key], 24, plain=True, at=key, problem=problem)
        if any(b.get("type") == "input" for b in dicts(shape.get("blocks"))) and not shape.get("submit"):
            problem("submit", "missing required field: submit")
    for key, most in (("private_metadata", 3000), ("callback_id", 255), ("external_id", 255)):
        if len(str(shape.get(key) or "")) > most:
            problem(key, f"must be less than {most + 1} characters")
    problems += block_problems(shape.get("blocks"), most=VIEW_BLOCKS, at="/view/blocks")
    if problems:
        raise SlackError("invalid_arguments", response_metadata={"messages": problems})
    return shape


def block_problems(blocks: object, *, most: int, at: str = "/blocks") -> list[str]:
    """Return what is wrong with blocks, in Slack's wording, each with its JSON pointer."""
    problems: list[str] = []
    if not isinstance(blocks, list):
        return [f"[ERROR] must be an array [json-pointer:{at}]"]
    items = cast("list[Any]", blocks)
    if len(items) > most:
        problems.append(f"[ERROR] no more than {most} items allowed [json-pointer:{at}]")
    seen: set[str] = set()
    tables = 0
    for index, block in enumerate(items[:most]):
        problem = _collector(problems, f"{at}/{index}")
        if not isinstance(block, dict):
            problem("", "must be an object")
            continue
        shape = cast("Json", block)
        kind = shape.get("type")
        check = _BLOCKS.get(kind) if isinstance(kind, str) else None
        if check is None:
            problem("type", f"unsupported type: {kind}")
            continue
        tables += kind == "table"
        block_id = shape.get("block_id")
        if block_id is not None:
            if not isinstance(block_id, str) or len(block_id) > BLOCK_ID:
                problem("block_id", f"must be less than {BLOCK_ID + 1} characters")
            elif block_id in seen:
                problem("block_id", f"block_id `{block_id}` already exists")
            else:
                seen.add(block_id)
        check(shape, problem)
    if tables > 1:
        problems.append(f"[ERROR] only one table allowed [json-pointer:{at}]")
    return problems


def characters(value: object) -> int:
    """Count the characters of text in blocks, however deep they stand."""
    if isinstance(value, list):
        return sum(characters(item) for item in cast("list[Any]", value))
    if not isinstance(value, dict):
        return 0
    shape = cast("Json", value)
    own = sum(len(v) for key, v in shape.items() if key == "text" and isinstance(v, str))
    return own + sum(characters(item) for item in shape.values())


def _collector(problems: list[str], base: str) -> Problems:
    def problem(at: str, says: str) -> None:
        pointer = f"{base}/{at}" if at else base
        problems.append(f"[ERROR] {says} [json-pointer:{pointer}]")

    return problem


def _section(block: Json, problem: Problems) -> None:
    text, fields = block.get("text"), block.get("fields")
    if text is None and not fields:
        problem("", "must provide either text or fields")
    if text is not None:
        check_text(text, 3000, at="text", problem=problem)
    if fields is not None:
        _count(fields, 10, "fields", problem)
        for index, item in enumerate(dicts(fields)):
            check_text(item, 2000, at=f"fields/{index}", problem=problem)
    accessory = block.get("accessory")
    if accessory is not None:
        check_element(accessory, at="accessory", problem=problem)


def _header(block: Json, problem: Problems) -> None:
    check_text(block.get("text"), 150, plain=True, at="text", problem=problem)


def _image(block: Json, problem: Problems) -> None:
    check_element(block, at="", problem=problem)


def _context(block: Json, problem: Problems) -> None:
    _count(block.get("elements"), 10, "elements", problem)
    for index, item in enumerate(dicts(block.get("elements"))):
        if item.get("type") == "image":
            check_element(item, at=f"elements/{index}", problem=problem)
        else:
            check_text(item, 3000, at=f"elements/{index}", problem=problem)


def _actions(block: Json, problem: Problems) -> None:
    _count(block.get("elements"), 25, "elements", problem)
    seen: set[str] = set()
    for index, item in enumerate(dicts(block.get("elements"))):
        check_element(item, at=f"elements/{index}", problem=problem)
        action_id = item.get("action_id")
        if isinstance(action_id, str):
            if action_id in seen:
                problem(f"elements/{index}/action_id", f"action_id `{action_id}` already exists for block_id")
            seen.add(action_id)


def _input(block: Json, problem: Problems) -> None:
    check_text(block.get("label"), 2000, plain=True, at="label", problem=problem)
    if block.get("hint") is not None:
        check_text(block["hint"], 2000, plain=True, at="hint", problem=problem)
    element: object = block.get("element")
    if as_dict(element).get("type") in {"button", "overflow", "image"}:
        problem("element/type", "unsupported type in an input block")
    check_element(element, at="element", problem=problem)


def _markdown(block: Json, problem: Problems) -> None:
    text = block.get("text")
    if not isinstance(text, str) or not text:
        problem("text", "must be more than 0 characters")
    elif len(text) > MARKDOWN_TEXT:
        problem("text", f"must be less than {MARKDOWN_TEXT + 1} characters")


def _rich_text(block: Json, problem: Problems) -> None:
    _count(block.get("elements"), 1000, "elements", problem)


def _table(block: Json, problem: Problems) -> None:
    _count(block.get("rows"), 100, "rows", problem)
    rows = block.get("rows")
    for index, row in enumerate(cast("list[Any]", rows) if isinstance(rows, list) else []):
        _count(row, 20, f"rows/{index}", problem)


def _free(_block: Json, _problem: Problems) -> None:
    """Let a block through whose inside Slack hardly limits."""


def _count(items: object, most: int, at: str, problem: Problems) -> None:
    if not isinstance(items, list) or not items:
        problem(at, "must contain at least 1 item")
    elif len(cast("list[Any]", items)) > most:
        problem(at, f"no more than {most} items allowed")


def _child(block: Json, problem: Problems) -> None:
    kind = block.get("type")
    check = _BLOCKS.get(kind) if isinstance(kind, str) else None
    if check is None:
        problem("type", f"unsupported type: {kind}")
    else:
        check(block, problem)


_BLOCKS: Final[Mapping[str, Callable[[Json, Problems], None]]] = {
    **limits_agent.CHECKS,
    "container": limits_agent.container(_child),
    "section": _section,
    "header": _header,
    "divider": _free,
    "image": _image,
    "context": _context,
    "actions": _actions,
    "input": _input,
    "markdown": _markdown,
    "rich_text": _rich_text,
    "table": _table,
    **dict.fromkeys(
        ("carousel", "file", "video", "call"),
        _free,
    ),
}

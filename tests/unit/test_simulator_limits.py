"""Slack's limits, one row each: the last thing that is taken and the first that is refused."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import SlackError
from simulator.limits import check_message, check_view

Json = dict[str, Any]


def plain(length: int) -> Json:
    return {"type": "plain_text", "text": "x" * length}


def section(length: int) -> Json:
    return {"type": "section", "text": plain(length)}


def button(**more: object) -> Json:
    return {"type": "button", "text": plain(4)} | more


def actions(count: int, **more: object) -> Json:
    return {"type": "actions", "elements": [button(**more) for _ in range(count)]}


def select(count: int) -> Json:
    options = [{"text": plain(3), "value": str(n)} for n in range(count)]
    return {"type": "section", "text": plain(1), "accessory": {"type": "static_select", "options": options}}


def context(count: int) -> Json:
    return {"type": "context", "elements": [plain(1)] * count}


def table(rows: int, cells: int) -> Json:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": ""}] * cells] * rows}


def fields(count: int, length: int) -> Json:
    return {"type": "section", "fields": [plain(length)] * count}


BLOCKS = [
    ("blocks in a message", [section(1)] * 50, [section(1)] * 51),
    ("text of a section", [section(3000)], [section(3001)]),
    ("empty text of a section", [section(1)], [section(0)]),
    ("fields of a section", [fields(10, 1)], [fields(11, 1)]),
    ("text of a field", [fields(1, 2000)], [fields(1, 2001)]),
    ("text of a header", [{"type": "header", "text": plain(150)}], [{"type": "header", "text": plain(151)}]),
    ("elements of actions", [actions(25)], [actions(26)]),
    ("elements of a context", [context(10)], [context(11)]),
    ("text of a button", [actions(1, text=plain(75))], [actions(1, text=plain(76))]),
    ("value of a button", [actions(1, value="x" * 2000)], [actions(1, value="x" * 2001)]),
    ("style of a button", [actions(1, style="danger")], [actions(1, style="blue")]),
    ("length of an action_id", [actions(1, action_id="x" * 255)], [actions(1, action_id="x" * 256)]),
    ("an action_id twice in a block", [actions(1, action_id="a")], [actions(2, action_id="a")]),
    ("length of a block_id", [section(1) | {"block_id": "x" * 255}], [section(1) | {"block_id": "x" * 256}]),
    ("a block_id twice", [section(1) | {"block_id": "b"}], [section(1) | {"block_id": "b"}] * 2),
    ("options of a select", [select(100)], [select(101)]),
    ("rows of a table", [table(100, 20)], [table(101, 20)]),
    ("cells of a table", [table(1, 20)], [table(1, 21)]),
    ("tables in a message", [table(1, 1)], [table(1, 1)] * 2),
    ("type of a block", [{"type": "divider"}], [{"type": "sectoin"}]),
    ("a block that is none", [{"type": "divider"}], ["divider"]),
    ("markdown", [{"type": "markdown", "text": "x" * 12_000}], [{"type": "markdown", "text": "x" * 12_001}]),
]


@pytest.mark.parametrize(("what", "taken", "refused"), BLOCKS, ids=[row[0] for row in BLOCKS])
def test_blocks_within_a_limit_are_taken_and_one_more_is_refused(
    what: str, taken: list[Any], refused: list[Any]
) -> None:
    check_message({"text": what, "blocks": taken})
    with pytest.raises(SlackError, match=r"^invalid_blocks$") as refusal:
        check_message({"text": what, "blocks": refused})
    assert "json-pointer:/blocks" in refusal.value.extra["response_metadata"]["messages"][0]


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({}, "no_text"),
        ({"text": "  "}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"markdown_text": "x" * 12_001}, "msg_too_long"),
        ({"text": "x", "blocks": [section(2_700)] * 5}, "msg_blocks_too_long"),
        ({"text": "x", "blocks": {"type": "section"}}, "invalid_blocks"),
        ({"text": "x", "metadata": {"event_type": "t"}}, "invalid_metadata_format"),
        ({"text": "x", "attachments": [{"blocks": [section(3001)]}]}, "invalid_attachments"),
    ],
)
def test_a_message_is_refused_with_slacks_own_code(args: Json, code: str) -> None:
    with pytest.raises(SlackError) as refusal:
        check_message(args)
    assert refusal.value.code == code


def view(**more: object) -> Json:
    return {"type": "modal", "title": plain(24), "blocks": [section(1)]} | more


INPUT = {"type": "input", "label": plain(1), "element": {"type": "plain_text_input", "max_length": 3000}}

VIEWS = [
    ("title", view(title=plain(24)), view(title=plain(25))),
    ("submit", view(submit=plain(24)), view(submit=plain(25))),
    ("private_metadata", view(private_metadata="x" * 3000), view(private_metadata="x" * 3001)),
    ("callback_id", view(callback_id="x" * 255), view(callback_id="x" * 256)),
    ("blocks", view(blocks=[section(1)] * 100), view(blocks=[section(1)] * 101)),
    ("submit beside an input", view(blocks=[INPUT], submit=plain(4)), view(blocks=[INPUT])),
    ("type", view(), view(type="dialog")),
    ("title at all", view(), {"type": "modal", "blocks": []}),
]


@pytest.mark.parametrize(("what", "taken", "refused"), VIEWS, ids=[row[0] for row in VIEWS])
def test_a_view_within_a_limit_is_taken_and_one_more_is_refused(what: str, taken: Json, refused: Json) -> None:
    assert check_view(taken) is taken, what
    with pytest.raises(SlackError, match=r"^invalid_arguments$"):
        check_view(refused)


def worded(text: str) -> Json:
    return {"type": "plain_text", "text": text}


THUMBS = {
    "type": "feedback_buttons",
    "action_id": "f",
    "positive_button": {"text": worded("Good"), "value": "good"},
    "negative_button": {"text": worded("Bad"), "value": "bad"},
}
TASK = {"type": "task_card", "task_id": "1", "title": "Read", "status": "complete"}
BOX = {"type": "container", "title": worded("More"), "child_blocks": [{"type": "divider"}]}


@pytest.mark.parametrize(
    ("block", "where"),
    [
        ({"type": "alert", "text": worded("x" * 3001)}, "/text/text"),
        ({"type": "alert", "text": worded("x"), "level": "loud"}, "/level"),
        (TASK | {"status": "late"}, "/status"),
        (TASK | {"details": "words"}, "/details"),
        ({"type": "plan", "title": "Plan", "tasks": [TASK | {"title": ""}]}, "/tasks/0/title"),
        ({"type": "plan", "title": "Plan", "tasks": [TASK] * 51}, "/tasks"),
        (BOX | {"child_blocks": []}, "/child_blocks"),
        (BOX | {"child_blocks": [BOX]}, "/child_blocks/0/type"),
        (BOX | {"child_blocks": [{"type": "header", "text": worded("x" * 151)}]}, "/child_blocks/0/text/text"),
        (BOX | {"is_collapsible": True, "has_header_divider": True}, "/has_header_divider"),
        ({"type": "card", "subtitle": worded("x")}, ""),
        ({"type": "context_actions", "elements": [{"type": "image"}]}, "/elements/0/type"),
        ({"type": "context_actions", "elements": [THUMBS | {"positive_button": {}}]}, "/elements/0/positive_button"),
    ],
)
def test_the_blocks_of_agents_have_limits_too(block: Json, where: str) -> None:
    with pytest.raises(SlackError, match="invalid_blocks") as refused:
        check_message({"text": "x", "blocks": [block]})
    assert f"[json-pointer:/blocks/0{where}" in str(refused.value.extra)


def test_a_whole_answer_of_an_agent_passes() -> None:
    blocks = [
        {"type": "plan", "title": "Counting", "tasks": [TASK]},
        {"type": "alert", "text": worded("Careful"), "level": "warning"},
        BOX | {"is_collapsible": True, "default_collapsed": True},
        {"type": "context_actions", "elements": [THUMBS]},
    ]
    check_message({"text": "x", "blocks": blocks})

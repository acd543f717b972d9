"""Slack's limits on the blocks of agent apps: alerts, cards, containers, plans, task cards, feedback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from simulator.blocks import as_dict, dicts
from simulator.elements import check_element, check_text

if TYPE_CHECKING:
    from simulator.elements import Problems
    from simulator.people import Json

    Check = Callable[[Json, Problems], None]

LEVELS: Final = {"default", "info", "warning", "error", "success"}
WIDTHS: Final = {"narrow", "standard", "wide", "full"}
TASK_STATUS: Final = frozenset({"pending", "in_progress", "complete", "error"})
CHILDREN: Final = 10
TASKS: Final = 50
TITLE: Final = 150


def alert(block: Json, problem: Problems) -> None:
    """Report what is wrong with an alert."""
    check_text(block.get("text"), 3000, at="text", problem=problem)
    if block.get("level", "default") not in LEVELS:
        problem("level", "must be a valid level")


def card(block: Json, problem: Problems) -> None:
    """Report what is wrong with a card."""
    if not any(block.get(key) for key in ("hero_image", "title", "actions", "body")):
        problem("", "must provide hero_image, title, actions or body")
    for key, most in (("title", TITLE), ("subtitle", TITLE), ("body", 200)):
        if block.get(key) is not None:
            check_text(block[key], most, at=key, problem=problem)
    for index, item in enumerate(dicts(block.get("actions"))):
        check_element(item, at=f"actions/{index}", problem=problem)


def container(check: Callable[[Json, Problems], None]) -> Check:
    """Return the check of a container, whose children pass `check`."""

    def checked(block: Json, problem: Problems) -> None:
        if block.get("rich_text_title") is None:
            check_text(block.get("title"), TITLE, plain=True, at="title", problem=problem)
        if block.get("subtitle") is not None:
            check_text(block["subtitle"], TITLE, at="subtitle", problem=problem)
        if block.get("width", "standard") not in WIDTHS:
            problem("width", "must be narrow, standard, wide or full")
        if block.get("is_collapsible") and block.get("has_header_divider"):
            problem("has_header_divider", "cannot be set when is_collapsible is true")
        children = dicts(block.get("child_blocks"))
        if not 1 <= len(children) <= CHILDREN:
            problem("child_blocks", f"must contain 1 to {CHILDREN} items")
        for index, child in enumerate(children):
            where = f"child_blocks/{index}"
            if child.get("type") == "container":
                problem(f"{where}/type", "a container cannot stand in a container")
                continue
            check(child, lambda at, says, where=where: problem(f"{where}/{at}" if at else where, says))

    return checked


def task_card(block: Json, problem: Problems) -> None:
    """Report what is wrong with a task card."""
    for key in ("task_id", "title"):
        value = block.get(key)
        if not isinstance(value, str) or not value:
            problem(key, "must be more than 0 characters")
    if block.get("status") not in TASK_STATUS:
        problem("status", "must be pending, in_progress, complete or error")
    for key in ("details", "output"):
        if block.get(key) is not None and as_dict(block[key]).get("type") != "rich_text":
            problem(key, "must be rich_text")
    for index, source in enumerate(dicts(block.get("sources"))):
        if source.get("type") != "url" or not source.get("url") or not source.get("text"):
            problem(f"sources/{index}", "must be a url source with url and text")


def plan(block: Json, problem: Problems) -> None:
    """Report what is wrong with a plan."""
    title = block.get("title")
    if not isinstance(title, str) or not title:
        problem("title", "must be more than 0 characters")
    tasks = dicts(block.get("tasks"))
    if len(tasks) > TASKS:
        problem("tasks", f"no more than {TASKS} items allowed")
    for index, task in enumerate(tasks):
        task_card(task, lambda at, says, index=index: problem(f"tasks/{index}/{at}", says))


def context_actions(block: Json, problem: Problems) -> None:
    """Report what is wrong with the small buttons under an answer."""
    items = dicts(block.get("elements"))
    if not 1 <= len(items) <= 5:  # noqa: PLR2004  Slack's limit, named once
        problem("elements", "must contain 1 to 5 items")
    for index, item in enumerate(items):
        if item.get("type") not in {"feedback_buttons", "icon_button"}:
            problem(f"elements/{index}/type", f"unsupported type: {item.get('type')}")
        check_element(item, at=f"elements/{index}", problem=problem)


CHECKS: Final[Mapping[str, Check]] = {
    "alert": alert,
    "card": card,
    "context_actions": context_actions,
    "plan": plan,
    "task_card": task_card,
}

"""What a run read to come to its answer, in one compact line: files, queries, addresses and the like."""

from __future__ import annotations

from typing import Final

from agent.domain import Effect, Outcome
from bot.blocks.text import inline
from storage.views import ActionView, RunView

SHOWN: Final = 8
"""Sources that are named; the rest is counted."""
_NAMES: Final = {"read_file": "path", "list_files": "glob", "search": "query", "http_request": "url"}


def sources_line(view: RunView) -> str:
    """Such as "Read: README.md · search “timeout” · Count the orders"; empty when nothing was read."""
    names = list(dict.fromkeys(_name(item) for item in view.actions if _is_source(item)))
    if not names:
        return ""
    more = f" · and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"*Read:* {' · '.join(names[:SHOWN])}{more}"


def _is_source(item: ActionView) -> bool:
    """Whether it looked something up outside of the model and changed nothing."""
    intents = item.rating.intents if item.rating else ()
    reads = bool(intents) and all(intent.effect is Effect.READ for intent in intents)
    return reads and item.outcome is Outcome.SUCCEEDED


def _name(item: ActionView) -> str:
    value = item.action.arguments.get(_NAMES.get(item.action.tool, ""))
    if not isinstance(value, str) or not value:
        return inline(item.headline.removeprefix("Read from ") or item.action.tool, 90)
    if item.action.tool == "search":
        return f"search “{inline(value, 60)}”"
    if item.action.tool == "list_files":
        return f"files {inline(value, 60)}"
    return inline(value, 90)

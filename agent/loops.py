"""A worker that goes round in circles: the same call three times, or two calls in turn; PURE.

A call counts by its tool and its arguments with white space levelled, so that a blank at the end does not make a new
call. What a person had proposed again is not the worker's doing, and what people said yes to is their decision each
time (or that of the permission they gave): neither counts.
"""

from __future__ import annotations

import hashlib
from typing import cast

from agent.domain import Effect, Json, canonical
from agent.state import ActionState, RunState, StepState

REPEATS = 3
"""How often the same call may not be proposed in a step; the last of them is not run."""
CIRCLES = 2
"""Calls refused for going in circles after which the step is over: the first is a word of warning."""
CODE = "REPEATED_CALL"


def key_of(tool: str, arguments: Json) -> str:
    """What tells calls apart; two spellings of the same call have the same key. Raises ValueError for no JSON."""
    return hashlib.sha256(canonical([tool, _level(arguments)])).hexdigest()


def goes_in_circles(state: RunState, step: StepState, tool: str, arguments: Json) -> str:
    """Why this call, proposed next in the step, would be one too many; empty when it is none.

    A call that changed something and was not made before is progress: what came before it does not count any more.
    """
    wanted = key_of(tool, arguments)
    since: list[str] = []
    made: set[str] = set()
    for item in (state.actions[key] for key in step.actions):
        if item.action.revision is not None:
            continue
        if item.approval:  # asked, or covered by a permission; a no to it is the gate's to hold
            if _changed_something(item):
                since.clear()
            continue
        key = key_of(item.action.tool, item.action.arguments)
        if key not in made and _changed_something(item):
            since.clear()
        made.add(key)
        since.append(key)
    if since.count(wanted) >= REPEATS - 1:
        return f"The same call was made {REPEATS - 1} times in this step, and nothing changed in between."
    if len(since) >= REPEATS and since[-2] == wanted and since[-1] == since[-3] != wanted:
        return "Two calls are made in turn, and nothing changes in between."
    return ""


def circles(state: RunState, step: StepState) -> int:
    """How many calls of the step were refused for going in circles."""
    return sum(1 for key in step.actions if state.actions[key].code == CODE)


def _changed_something(item: ActionState) -> bool:
    changes = any(intent.effect is not Effect.READ for intent in item.intents)
    return item.outcome is not None and item.outcome.value in {"succeeded", "done_by_human"} and changes


def _level(value: Json) -> Json:
    if isinstance(value, str):  # in a text of several lines the blanks before a line can be what it is about
        lines = value.strip().splitlines()
        return " ".join(value.split()) if len(lines) < 2 else "\n".join(line.rstrip() for line in lines)  # noqa: PLR2004  # one line or several
    if isinstance(value, dict):
        return {name: _level(item) for name, item in cast("dict[str, Json]", value).items()}
    if isinstance(value, list | tuple):
        return [_level(item) for item in cast("list[Json]", value)]
    return value

"""Replies of a scripted model: a plan, tool calls, the end of a step, an answer."""

from __future__ import annotations

import itertools
from typing import Any

from agent.ports import ModelReply, ModelRequest, ToolCall

_NUMBERS = itertools.count(1)


def _reply(text: str, *calls: tuple[str, dict[str, Any]], cost: int = 1_000) -> ModelReply:
    made = tuple(ToolCall(f"c{next(_NUMBERS)}", tool, arguments) for tool, arguments in calls)
    return ModelReply(text=text, calls=made, input_tokens=10, output_tokens=10, cost_micro_usd=cost, model="scripted")


def plan(*instructions: str, worker: str = "code") -> ModelReply:
    """A plan with one step an instruction."""
    steps = [{"worker": worker, "instruction": text, "expected": ""} for text in instructions or ("Do it.",)]
    return _reply("", ("submit_plan", {"steps": steps}))


def use(*calls: tuple[str, dict[str, Any]], why: str = "The task asks for it.", cost: int = 1_000) -> ModelReply:
    """Calls of tools."""
    return _reply(why, *calls, cost=cost)


def sql(statement: str, why: str = "The task asks for it.") -> ModelReply:
    """One statement on the shop."""
    return use(("query_sql", {"database": "shop", "sql": statement}), why=why)


def end(summary: str = "It is done.", status: str = "done") -> ModelReply:
    """The step is given back."""
    return _reply("", ("submit_result", {"status": status, "summary": summary, "sources": []}))


def say(text: str = "That is all.") -> ModelReply:
    """The answer."""
    return _reply(text)


def heard(request: ModelRequest) -> str:
    """Everything that a model was told in one request."""
    return "\n".join(message.text for message in request.messages)


def planned(*steps: dict[str, Any]) -> ModelReply:
    """A plan with steps as `step` writes them."""
    return _reply("", ("submit_plan", {"steps": list(steps)}))


def step(instruction: str, worker: str = "code", **more: Any) -> dict[str, Any]:  # what a plan may hold
    """A step of a plan; `needs` and `expected` where they matter."""
    return {"worker": worker, "instruction": instruction, **more}


def verdict(word: str, reason: str = "The record shows it.", feedback: str = "") -> ModelReply:
    """What a model makes of a step."""
    return _reply("", ("submit_verdict", {"verdict": word, "reason": reason, "feedback": feedback}))


def given(**result: Any) -> ModelReply:  # whatever a worker hands in
    """The step is given back in the worker's own schema."""
    return _reply("", ("submit_result", {"status": "done", "summary": "It is done.", **result}))


def raw(tool: str, arguments: Any, text: str = "") -> ModelReply:  # whatever a model may send
    """A call with arguments as a model sent them, JSON or not."""
    call = ToolCall(f"c{next(_NUMBERS)}", tool, arguments)
    return ModelReply(text=text, calls=(call,), input_tokens=10, output_tokens=10, cost_micro_usd=1_000, model="s")

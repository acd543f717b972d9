"""What the models are told and what their replies mean: pure functions from plain values to messages and back.

Whatever a tool, a file or a thread says is put between DATA marks that name a hash of it, so that it cannot end itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent.domain import MAX_STEPS, Plan, PlannedStep, Worker
from agent.errors import ModelReplyInvalid
from agent.ports import Message, ModelReply, ToolCall, ToolSpec

SUBMIT_PLAN = "submit_plan"
SUBMIT_RESULT = "submit_result"
OUTPUT_BYTES = 8 * 1024
ALL_OUTPUTS_BYTES = 96 * 1024
OLD_OUTPUT_BYTES = 1024
TASK_BYTES = 32 * 1024
CONTEXT_BYTES = 16 * 1024
SOURCE_BYTES = 512
SOURCES_AT_MOST = 50
MENDED_AT_MOST = 5
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@dataclass(frozen=True, slots=True)
class ToolResultText:
    """What a tool call came to, as text for the model: its output, or how it was refused or denied."""

    call_id: str
    tool: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply of the model within a step, and what its calls came to."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResultText, ...] = ()


@dataclass(frozen=True, slots=True)
class StepSoFar:
    """A step of this run that is over."""

    worker: str
    instruction: str
    status: str
    summary: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a worker submitted."""

    status: Literal["done", "blocked"]
    summary: str
    sources: tuple[str, ...] = ()


class _Submitted(BaseModel):
    # A surplus field is ignored here: asking a model to mend it costs a call and gains nothing.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Step(_Submitted):
    worker: Worker = Field(description="Who does it.")
    instruction: Text = Field(description="What the worker shall do, with every name, path and limit it needs.")
    expected: str = Field(default="", description="What is true when the step is done.")


class _Plan(_Submitted):
    steps: Annotated[tuple[_Step, ...], Field(min_length=1, max_length=MAX_STEPS)]


class _Result(_Submitted):
    status: Literal["done", "blocked"] = Field(description="blocked: it could not be finished; the summary says why.")
    summary: Text = Field(description="What was found or done, with names and numbers.")
    sources: tuple[str, ...] = Field(default=(), description="Files, queries or addresses that show it.")


_Read = TypeVar("_Read", bound=_Submitted)


def prompt(name: str) -> str:
    """The text of `agent/prompts/NAME.md`."""
    return _prompt(name)


@cache
def _prompt(name: str) -> str:
    return files("agent").joinpath("prompts", f"{name}.md").read_text("utf-8").strip()


def plan_request(
    task_text: str, context: str, tools_by_worker: Mapping[Worker, Sequence[ToolSpec]], *, mend: str = ""
) -> tuple[tuple[Message, ...], ToolSpec]:
    """The conversation that asks for a plan, and the tool in which the plan comes.

    `context` is whatever else is known (a thread, an earlier run): data. `mend` is what was wrong with the last reply.
    """
    workers = "\n".join(
        f"- {worker}: {'; '.join(f'{tool.name} ({tool.description})' for tool in tools) or 'no tools'}"
        for worker, tools in tools_by_worker.items()
    )
    parts = [f"Workers and their tools:\n{workers}", _task(task_text)]
    if context:
        parts.append("What is known besides:\n" + as_data("context", context, CONTEXT_BYTES))
    if mend:
        parts.append(f"Your last reply could not be used: {mend}")
    messages = (
        Message(role="system", text=prompt("planner")),
        Message(role="user", text="\n\n".join(parts)),
    )
    known = _schema(_Plan)
    named = {**known["$defs"]["Worker"], "enum": [str(worker) for worker in tools_by_worker]}
    schema = {**known, "$defs": {**known["$defs"], "Worker": named}}
    return messages, ToolSpec(SUBMIT_PLAN, "Hand over the plan: one to ten steps, in order.", schema)


def read_plan(reply: ModelReply, *, workers: Collection[Worker] = tuple(Worker), planner: str = "model") -> Plan:
    """The plan in a reply; raises ModelReplyInvalid with a sentence that tells the model what to mend."""
    calls = [call for call in reply.calls if call.tool == SUBMIT_PLAN]
    if len(calls) != 1:
        raise ModelReplyInvalid(f"Call {SUBMIT_PLAN} exactly once, and write nothing besides.")
    plan = _read(_Plan, calls[0])
    for number, step in enumerate(plan.steps):
        if step.worker not in workers:
            raise ModelReplyInvalid(f"steps.{number}.worker: use one of {', '.join(workers)}.")
    steps = tuple(
        PlannedStep(worker=step.worker, instruction=step.instruction, expected=step.expected) for step in plan.steps
    )
    return Plan(planner=planner, steps=steps)


def work_tools(tools: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
    """The worker's tools and the one with which it gives the step back."""
    sentence = "Give the step back: finished (done), or impossible (blocked)."
    return (*tools, ToolSpec(SUBMIT_RESULT, sentence, _schema(_Result)))


def work_messages(
    worker: Worker,
    *,
    task_text: str,
    plan: Sequence[str],
    instruction: str,
    expected: str = "",
    feedback: str = "",
    earlier: Sequence[StepSoFar] = (),
    context: str = "",
    turns: Sequence[Turn] = (),
) -> tuple[Message, ...]:
    """The conversation of a step so far; it ends with what the worker must react to.

    `plan` holds the instruction of each planned step, in order. `feedback` is what a person or the supervisor said of
    an earlier try, `context` whatever else is known: data.
    """
    parts = [_task(task_text), "The plan:\n" + "\n".join(f"{number}. {line}" for number, line in enumerate(plan, 1))]
    if context:
        parts.insert(1, "What is known besides:\n" + as_data("context", context, CONTEXT_BYTES))
    if earlier:
        parts.append("What came of the steps before:\n" + _steps(earlier))
    parts.append(f"Your step:\n{instruction}" + (f"\nExpected afterwards: {expected}" if expected else ""))
    if feedback:
        parts.append(f"Heed this, it was said of an earlier try:\n{_bounded(feedback, OUTPUT_BYTES)}")
    messages = [
        Message(role="system", text=f"{prompt(worker)}\n\n{prompt('worker')}"),
        Message(role="user", text="\n\n".join(parts)),
    ]
    for turn, limits in zip(turns, _limits(turns), strict=True):
        messages.extend(_turn_messages(turn, limits))
    return tuple(messages)


def submitted(reply: ModelReply) -> ToolCall | None:
    """The call of `submit_result` in a reply, if it has one."""
    return next((call for call in reply.calls if call.tool == SUBMIT_RESULT), None)


def read_result(call: ToolCall) -> StepResult:
    """What a worker submitted; raises ModelReplyInvalid with a sentence that tells the model what to mend."""
    if call.tool != SUBMIT_RESULT:
        raise ModelReplyInvalid(f"Call {SUBMIT_RESULT} to give the step back.")
    result = _read(_Result, call)
    sources = tuple(_bounded(source, SOURCE_BYTES) for source in result.sources[:SOURCES_AT_MOST])
    return StepResult(result.status, _bounded(result.summary, OUTPUT_BYTES), sources)


def answer_request(
    task_text: str,
    steps: Sequence[StepSoFar],
    *,
    actions: Sequence[str] = (),
    shortfall: str = "",
    context: str = "",
) -> tuple[Message, ...]:
    """The conversation that asks for the final answer.

    `actions` holds one line an action with its outcome; `shortfall` says why the run ended early, if it did.
    """
    parts = [_task(task_text)]
    if context:
        parts.append("What is known besides:\n" + as_data("context", context, CONTEXT_BYTES))
    parts += ["The steps:\n" + (_steps(steps) if steps else "None was begun.")]
    if actions:
        parts.append(
            "The actions and their outcomes:\n" + as_data("actions", "\n".join(f"- {line}" for line in actions))
        )
    if shortfall:
        parts.append(f"The run ended early: {shortfall}")
    parts.append("Write the answer.")
    return (Message(role="system", text=prompt("answer")), Message(role="user", text="\n\n".join(parts)))


def read_answer(reply: ModelReply) -> str:
    """The text of the final answer; raises ModelReplyInvalid when there is none."""
    if not (text := reply.text.strip()):
        raise ModelReplyInvalid("Write the answer as text.")
    return text


def as_data(source: str, text: str, limit: int = OUTPUT_BYTES) -> str:
    """The text between marks that it cannot forge, cut in the middle to at most `limit` bytes."""
    body = _bounded(text, limit)
    mark = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:16]
    # A model may call a tool by any name, also one with lines of its own.
    return f"<<<DATA {mark} from {' '.join(source.split())[:80]}\n{body}\nDATA {mark}>>>"


def _task(text: str) -> str:
    return f"The task, as the person wrote it:\n{_bounded(text, TASK_BYTES)}"


def _steps(steps: Sequence[StepSoFar]) -> str:
    return "\n".join(
        f"{number}. {step.worker}, {step.status}: {step.instruction}\n{as_data(f'step {number}', step.summary)}"
        for number, step in enumerate(steps, 1)
    )


def _bounded(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, the middle left out with a note of how much."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    note = f"\n[… {len(raw) - limit} of {len(raw)} bytes left out …]\n"
    room = max(limit - len(note.encode()), 0)
    head, tail = raw[: room - room // 2], raw[len(raw) - room // 2 :]
    return head.decode("utf-8", "ignore") + note + tail.decode("utf-8", "ignore")


def _limits(turns: Sequence[Turn]) -> list[dict[str, int]]:
    """Bytes for each result: the newest are shown in full while there is room, older ones in short."""
    left = ALL_OUTPUTS_BYTES
    limits: list[dict[str, int]] = []
    for turn in reversed(turns):
        of_turn: dict[str, int] = {}
        for result in turn.results:
            full = min(len(result.text.encode("utf-8", "replace")), OUTPUT_BYTES)
            of_turn[result.call_id] = OUTPUT_BYTES if full <= left else OLD_OUTPUT_BYTES
            left -= min(full, of_turn[result.call_id])
        limits.append(of_turn)
    return limits[::-1]


def _turn_messages(turn: Turn, limits: Mapping[str, int]) -> list[Message]:
    messages = [Message(role="assistant", text=turn.text, calls=turn.calls)] if turn.text or turn.calls else []
    if not turn.calls:
        nudge = f"Go on with the step: call a tool, or {SUBMIT_RESULT} when it is finished or impossible."
        return [*messages, Message(role="user", text=nudge)]
    results = {result.call_id: result for result in turn.results}
    for call in turn.calls:
        # A service refuses a conversation in which a call has no result.
        result = results.get(call.id) or ToolResultText(call.id, call.tool, "This call was not run.")
        text = as_data(call.tool, result.text, limits.get(call.id, OUTPUT_BYTES))
        messages.append(Message(role="tool", text=text, call_id=call.id, tool=call.tool))
    return messages


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Made once, so nobody may change it."""
    return model.model_json_schema()


def _read(model: type[_Read], call: ToolCall) -> _Read:
    if isinstance(call.arguments, str):
        raise ModelReplyInvalid(f"The arguments of {call.tool} must be one complete JSON object.")
    try:
        return model.model_validate(dict(call.arguments))
    except ValidationError as error:
        # Only where and what: the input may be long, and the model knows it.
        found = [f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in error.errors()]
        raise ModelReplyInvalid("; ".join(found[:MENDED_AT_MOST]) + ".") from None

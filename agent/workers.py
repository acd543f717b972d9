"""What the models are told and what their replies mean: pure functions from plain values to messages and back.

Whatever a tool, a file or a thread says is put between DATA marks that name a hash of it, so that it cannot end itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from pydantic import Field

from agent.domain import MAX_STEPS, Plan, PlannedStep, Worker
from agent.errors import ModelReplyInvalid
from agent.ports import Message, ModelReply, Thought, ToolCall, ToolSpec
from agent.prompting import Prompts, shipped
from agent.results import (
    SUBMIT_RESULT,
    StepResult,
    Submitted,
    Text,
    read,
    read_result,
    result_tool,
    schema_of,
    submitted,
)
from agent.visible import OUTPUT_BYTES, bounded, visible

__all__ = [
    "OUTPUT_BYTES",
    "SUBMIT_PLAN",
    "SUBMIT_RESULT",
    "StepResult",
    "StepSoFar",
    "ToolResultText",
    "Turn",
    "answer_request",
    "as_data",
    "plan_request",
    "prompt",
    "read_answer",
    "read_plan",
    "read_result",
    "submitted",
    "work_messages",
    "work_tools",
]

SUBMIT_PLAN = "submit_plan"
ALL_OUTPUTS_BYTES = 96 * 1024
OLD_OUTPUT_BYTES = 1024
TASK_BYTES = 32 * 1024
CONTEXT_BYTES = 16 * 1024
EVIDENCE_BYTES = 12 * 1024
_SHIPPED = Prompts()


@dataclass(frozen=True, slots=True)
class ToolResultText:
    """What a tool call came to, as text for the model: its output, or how it was refused or denied."""

    call_id: str
    tool: str
    text: str
    kept: str = ""
    """Where in the workspace all of it is, when it is longer than what is shown."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply of the model within a step, and what its calls came to."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResultText, ...] = ()
    thoughts: tuple[Thought, ...] = ()


@dataclass(frozen=True, slots=True)
class StepSoFar:
    """A step of this run that is over."""

    worker: str
    instruction: str
    status: str
    summary: str
    number: int = 0
    """As people and workers count, from 1; 0: its place in the list."""


class _Step(Submitted):
    worker: Worker = Field(description="Who does it.")
    instruction: Text = Field(description="What the worker shall do, with every name, path and limit it needs.")
    expected: str = Field(default="", description="What is true when the step is done.")
    needs: tuple[int, ...] | None = Field(
        default=None,
        description="Numbers, from 1, of the earlier steps whose outcome it needs; [] for none. Left out: all of them.",
    )


class _Plan(Submitted):
    steps: Annotated[tuple[_Step, ...], Field(min_length=1, max_length=MAX_STEPS)]


def prompt(name: str) -> str:
    """The text of `agent/prompts/NAME.md`."""
    return shipped(name)


def plan_request(
    task_text: str,
    context: str,
    tools_by_worker: Mapping[Worker, Sequence[ToolSpec]],
    *,
    mend: str = "",
    earlier: Sequence[StepSoFar] = (),
    because: str = "",
    prompts: Prompts = _SHIPPED,
) -> tuple[tuple[Message, ...], ToolSpec]:
    """The conversation that asks for a plan, and the tool in which the plan comes.

    `context` is whatever else is known (a thread, an earlier run): data. `mend` is what was wrong with the last reply.
    `earlier` and `because` are what came of the last plan, and why it is replaced.
    """
    workers = "\n".join(
        f"- {worker}: {'; '.join(f'{tool.name} ({tool.description})' for tool in tools) or 'no tools'}"
        for worker, tools in tools_by_worker.items()
    )
    parts = [f"Workers and their tools:\n{workers}", _task(task_text)]
    if context:
        parts.append("What is known besides:\n" + as_data("context", context, CONTEXT_BYTES))
    if earlier or because:
        parts.append("What came of the plan so far:\n" + _steps(earlier))
        why = as_data("supervisor", because)
        parts.append(
            f"It is given up, because:\n{why}\nPlan only what is left, in another way; repeat nothing that is done."
        )
    if mend:
        parts.append(f"Your last reply could not be used: {mend}")
    messages = (
        Message(role="system", text=prompts.text("planner")),
        Message(role="user", text="\n\n".join(parts)),
    )
    return messages, _plan_tool(tuple(tools_by_worker))


@cache
def _plan_tool(workers: tuple[Worker, ...]) -> ToolSpec:
    known = schema_of(_Plan)
    named = {**known["$defs"]["Worker"], "enum": [str(worker) for worker in workers]}
    schema = {**known, "$defs": {**known["$defs"], "Worker": named}}
    return ToolSpec(SUBMIT_PLAN, "Hand over the plan: one to ten steps, in order.", schema)


def read_plan(reply: ModelReply, *, workers: Collection[Worker] = tuple(Worker), planner: str = "model") -> Plan:
    """The plan in a reply; raises ModelReplyInvalid with a sentence that tells the model what to mend."""
    calls = [call for call in reply.calls if call.tool == SUBMIT_PLAN]
    if len(calls) != 1:
        raise ModelReplyInvalid(f"Call {SUBMIT_PLAN} exactly once, and write nothing besides.")
    plan = read(_Plan, calls[0])
    for number, step in enumerate(plan.steps):
        if step.worker not in workers:
            raise ModelReplyInvalid(f"steps.{number}.worker: use one of {', '.join(workers)}.")
        if any(not 1 <= need <= number for need in step.needs or ()):
            raise ModelReplyInvalid(f"steps.{number}.needs: name earlier steps only, by their numbers from 1.")
    steps = tuple(
        PlannedStep(
            worker=step.worker,
            instruction=step.instruction,
            expected=step.expected,
            needs=None if step.needs is None else tuple(sorted({need - 1 for need in step.needs})),
        )
        for step in plan.steps
    )
    return Plan(planner=planner, steps=steps, evaluated=True)


def work_tools(tools: Sequence[ToolSpec], worker: Worker | None = None) -> tuple[ToolSpec, ...]:
    """The worker's tools and the one with which it gives the step back."""
    return (*tools, result_tool(worker))


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
    recap: str = "",
    evidence: Sequence[str] = (),
    prompts: Prompts = _SHIPPED,
) -> tuple[Message, ...]:
    """The conversation of a step so far; it ends with what the worker must react to.

    `plan` holds the instruction of each planned step, in order. `feedback` is what a person or the supervisor said of
    an earlier try, `context` whatever else is known: data. `recap` tells turns before `turns` in short; `evidence` is
    what the journal has of the earlier steps, whatever their workers claim.
    """
    parts = [_task(task_text), "The plan:\n" + "\n".join(f"{number}. {line}" for number, line in enumerate(plan, 1))]
    if context:
        parts.insert(1, "What is known besides:\n" + as_data("context", context, CONTEXT_BYTES))
    if earlier:
        parts.append("What came of the steps before:\n" + _steps(earlier))
    if evidence:
        told = as_data("journal", "\n".join(f"- {line}" for line in evidence), EVIDENCE_BYTES)
        parts.append(f"What the journal has of those steps, whatever their workers say:\n{told}")
    parts.append(f"Your step:\n{instruction}" + (f"\nExpected afterwards: {expected}" if expected else ""))
    if feedback:
        parts.append(f"Heed this, it was said of an earlier try:\n{bounded(feedback, OUTPUT_BYTES)}")
    if recap:
        parts.append("Your first turns in this step, in short:\n" + as_data("journal", recap))
    messages = [
        Message(role="system", text=f"{prompts.text(worker)}\n\n{shipped('worker')}"),
        Message(role="user", text="\n\n".join(parts)),
    ]
    for turn, limits in zip(turns, _limits(turns), strict=True):
        messages.extend(_turn_messages(turn, limits))
    return tuple(messages)


def answer_request(
    task_text: str,
    steps: Sequence[StepSoFar],
    *,
    actions: Sequence[str] = (),
    shortfall: str = "",
    context: str = "",
    sources: Sequence[str] = (),
    prompts: Prompts = _SHIPPED,
) -> tuple[Message, ...]:
    """The conversation that asks for the final answer.

    `actions` holds one line an action with its outcome; `shortfall` says why the run ended early, if it did; `sources`
    is what the workers name as showing what they found.
    """
    parts = [_task(task_text)]
    if context:
        parts.append("What is known besides:\n" + as_data("context", context, CONTEXT_BYTES))
    parts += ["The steps:\n" + (_steps(steps) if steps else "None was begun.")]
    if actions:
        parts.append(
            "The actions and their outcomes:\n" + as_data("actions", "\n".join(f"- {line}" for line in actions))
        )
    if sources:
        listed = "\n".join(f"[{number}] {source}" for number, source in enumerate(sources, 1))
        parts.append("The sources that the workers name:\n" + as_data("sources", listed))
    if shortfall:
        parts.append(f"The run ended early: {shortfall}")
    parts.append("Write the answer.")
    return (Message(role="system", text=prompts.text("answer")), Message(role="user", text="\n\n".join(parts)))


def read_answer(reply: ModelReply) -> str:
    """The text of the final answer; raises ModelReplyInvalid when there is none."""
    if not (text := reply.text.strip()):
        raise ModelReplyInvalid("Write the answer as text.")
    return text


def as_data(source: str, text: str, limit: int = OUTPUT_BYTES) -> str:
    """The text between marks that it cannot forge, cut in the middle to at most `limit` bytes."""
    body = bounded(visible(text), limit)  # first, so that nothing hidden can part a mark
    mark = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:16]
    # A model may call a tool by any name, also one with lines of its own.
    return f"<<<DATA {mark} from {' '.join(source.split())[:80]}\n{body}\nDATA {mark}>>>"


def _task(text: str) -> str:
    return f"The task, as the person wrote it:\n{bounded(text, TASK_BYTES)}"


def _steps(steps: Sequence[StepSoFar]) -> str:
    return "\n".join(
        f"{step.number or at}. {step.worker}, {step.status}: {step.instruction}\n"
        f"{as_data(f'step {step.number or at}', step.summary)}"
        for at, step in enumerate(steps, 1)
    )


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
    messages = (
        [Message(role="assistant", text=turn.text, calls=turn.calls, thoughts=turn.thoughts)]
        if turn.text or turn.calls
        else []
    )
    if not turn.calls:
        nudge = f"Go on with the step: call a tool, or {SUBMIT_RESULT} when it is finished or impossible."
        return [*messages, Message(role="user", text=nudge)]
    results = {result.call_id: result for result in turn.results}
    for call in turn.calls:
        # A service refuses a conversation in which a call has no result.
        result = results.get(call.id) or ToolResultText(call.id, call.tool, "This call was not run.")
        text = as_data(call.tool, result.text, limits.get(call.id, OUTPUT_BYTES))
        if result.kept:
            text += f"\nAll of it is in {result.kept}: read_file shows the lines that you need."
        messages.append(Message(role="tool", text=text, call_id=call.id, tool=call.tool))
    return messages

"""Evaluation of a step that is over: by rule where rules suffice, else by a model against what was expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agent import events as ev
from agent.calling import Caller
from agent.domain import Plan
from agent.equipment import Box, Equipment
from agent.errors import ModelReplyInvalid
from agent.evaluation import Evaluation, bounded, by_rule
from agent.history import last_detail, line
from agent.moves import EvaluateStep, Limits
from agent.ports import Intention, Message, ModelReply, ModelRequest, Stored, ToolSpec
from agent.prompting import Prompts
from agent.proposing import SUMMARY_CHARACTERS
from agent.recording import Ended
from agent.results import StepResult, Submitted, Text, read, schema_of
from agent.state import RunState, StepState, apply
from agent.workers import as_data

SUBMIT_VERDICT = "submit_verdict"
JUDGE_TOKENS = 600
_TASK_BYTES = 4 * 1024
_DECISIONS: dict[str, ev.StepDecision] = {"met": "continue", "retry": "retry", "replan": "replan", "stop": "stop"}


class _Verdict(Submitted):
    verdict: Literal["met", "retry", "replan", "stop"] = Field(
        description="met: the record shows what was expected. retry: the same worker can mend it. replan: it needs "
        "other steps. stop: it cannot be reached."
    )
    reason: Text = Field(description="One sentence: what of the record shows it, or what is missing.")
    feedback: str = Field(default="", description="With retry: what the worker shall do otherwise.")


class Judge:
    """Does the moves that evaluate steps."""

    def __init__(self, equipment: Equipment, caller: Caller, limits: Limits) -> None:
        self._kit, self._caller, self._limits = equipment, caller, limits

    async def evaluate(self, box: Box, move: EvaluateStep) -> Ended | None:
        """Ask the model once, or decide by rule when there is none to ask."""
        state = box.state
        assert state.plan is not None  # noqa: S101  # a step without a plan is no state
        step = state.steps[move.step]
        if not move.model:
            decided = by_rule(state, state.plan, step, self._limits)
            await box.commit([evaluated(step, decided, "rule")], Intention(epoch=state.epoch))
            return None
        mend = last_detail(state, "judge", step.number, 0)
        messages, tool = verdict_request(state, state.plan, step, prompts=self._kit.prompts, mend=mend)
        request = ModelRequest(move.model, messages, (tool,), must_call_tool=True, max_tokens=JUDGE_TOKENS)
        call = ev.ModelCallStarted(
            call="", purpose="judge", step=move.step, attempt=move.attempt, model=move.model, reserved_micro_usd=0
        )
        return await self._caller.complete(box, call, request, self._events)

    def review(
        self, state: RunState, step: StepState, result: StepResult, finished: ev.StepFinished
    ) -> ev.StepEvaluated:
        """The decision of a review that sends work back; raises ModelReplyInvalid when there is no such step."""
        assert state.plan is not None  # noqa: S101  # as above
        number = result.send_back - 1
        if not 0 <= number < step.number or state.steps[number].planned == step.planned:
            raise ModelReplyInvalid("send_back: name a step of another worker by its number, or 0.")
        target = state.steps[number].planned
        if target not in state.plan.wanted:
            raise ModelReplyInvalid("send_back: this step was replaced by a later plan.")
        after = apply(state, Stored(state.seq + 1, 0.0, finished))
        wanted = Evaluation("send_back", result.summary, result.summary, target)
        return evaluated(step, bounded(after, state.plan, after.steps[step.number], wanted, self._limits), "review")

    async def _events(
        self, state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del blobs
        assert state.plan is not None  # noqa: S101  # as above
        step = state.steps[call.step]
        wanted = read_verdict(reply)
        told = Evaluation(
            wanted.decision, self._kit.redact(wanted.reason), self._kit.redact(wanted.feedback or wanted.reason)
        )
        return [evaluated(step, bounded(state, state.plan, step, told, self._limits), "model")]


def evaluated(step: StepState, found: Evaluation, by: Literal["rule", "model", "review"]) -> ev.StepEvaluated:
    """The event of a decision."""
    return ev.StepEvaluated(
        step=step.number,
        decision=found.decision,
        by=by,
        reason=found.reason[:SUMMARY_CHARACTERS],
        feedback=found.feedback,
        target=found.target,
    )


def verdict_request(
    state: RunState, plan: Plan, step: StepState, *, prompts: Prompts, mend: str = ""
) -> tuple[tuple[Message, ...], ToolSpec]:
    """The conversation that asks whether a step did what was expected, and the tool in which the verdict comes."""
    planned = plan.steps[step.planned]
    task = state.task.text if state.task is not None else ""
    actions = "\n".join(f"- {line(state.actions[key])}" for key in step.actions) or "None."
    parts = [
        f"The task, as the person wrote it:\n{as_data('task', task, _TASK_BYTES)}",
        f"The step:\n{planned.instruction}\nExpected afterwards: {planned.expected}",
        f"What the {planned.worker} worker says:\n{as_data('worker', step.summary)}",
        f"What the journal has of its actions:\n{as_data('journal', actions)}",
    ]
    if mend:
        parts.append(f"Your last reply could not be used: {mend}")
    messages = (
        Message(role="system", text=prompts.text("judge")),
        Message(role="user", text="\n\n".join(parts)),
    )
    return messages, ToolSpec(SUBMIT_VERDICT, "Say whether the step did what was expected.", schema_of(_Verdict))


def read_verdict(reply: ModelReply) -> Evaluation:
    """The verdict in a reply; raises ModelReplyInvalid with a sentence that tells the model what to mend."""
    calls = [call for call in reply.calls if call.tool == SUBMIT_VERDICT]
    if len(calls) != 1:
        raise ModelReplyInvalid(f"Call {SUBMIT_VERDICT} exactly once, and write nothing besides.")
    found = read(_Verdict, calls[0])
    return Evaluation(_DECISIONS[found.verdict], found.reason[:SUMMARY_CHARACTERS], found.feedback[:2_000])

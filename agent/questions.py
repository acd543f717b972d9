"""Answers about a run that waits for a person: read off its state, by a model without tools or without any model.

Nothing of a question reaches the run: its words are in no plan, no worker's conversation and no answer of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from weakref import WeakValueDictionary

from agent import events as ev
from agent.answers import report
from agent.calling import Caller
from agent.equipment import Box, Equipment
from agent.errors import JournalError, ModelError
from agent.ports import ChatModel, Message, ModelReply, ModelRequest, Stored
from agent.recording import record
from agent.state import ActionState, RunState
from agent.supervisor import Limits
from agent.workers import as_data, read_answer

SHARE = 0.1
"""Of a run's budget, for all questions about it together."""
ANSWER_TOKENS = 700
QUESTION_BYTES = 2_048
RECORD_BYTES = 12_288
TIMEOUT_S = 30.0


class Explainer:
    """Answers questions within a share of the run's budget, each call journalled like any other."""

    def __init__(self, equipment: Equipment, model: ChatModel, limits: Limits) -> None:
        self._kit, self._model, self._limits = equipment, model, limits
        self._caller = Caller(equipment, model, limits)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(self, run: str, box_of: Callable[[], Awaitable[Box]], question: str) -> str:
        """A model's answer, else a summary of the record; only while the run's takeover is open."""
        lock = self._asking.setdefault(run, asyncio.Lock())
        async with lock:  # one at a time in a run, so that two questions do not both take the last of the share
            box = await box_of()
            for name in self._limits.chain:
                if box.state.open_takeover is None:
                    break
                try:
                    if text := await self._ask(box, name, question):
                        return self._kit.redact(text)
                except (JournalError, ModelError):
                    break
            return self._kit.redact(summary(box.state))

    async def _ask(self, box: Box, name: str, question: str) -> str:
        request = ModelRequest(name, self._messages(box.state, question), max_tokens=ANSWER_TOKENS, timeout_s=TIMEOUT_S)
        used = sum(call.cost + call.reserved for call in box.state.calls.values() if call.purpose == "question")
        if used + self._model.highest_cost(request) > self._limits.micro_usd * SHARE:
            return ""
        heard: list[str] = []

        async def read(
            state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
        ) -> Sequence[ev.Event]:
            del state, call, blobs
            heard.append(read_answer(reply))
            return ()

        call = ev.ModelCallStarted(call="", purpose="question", model=name, reserved_micro_usd=0)
        ended = await self._caller.complete(box, call, request, read)
        if ended is not None:
            await record(self._kit, box, ended)
        return heard[0] if heard else ""

    def _messages(self, state: RunState, question: str) -> tuple[Message, ...]:
        record = as_data("record", record_of(state), RECORD_BYTES)
        asked = as_data("question", question, QUESTION_BYTES)
        told = f"The record of the run:\n{record}\n\nThe question:\n{asked}\n\nAnswer it."
        return (Message(role="system", text=self._kit.prompts.text("explain")), Message(role="user", text=told))


def asked_for(stored: Iterable[Stored]) -> dict[str, str]:
    """The question (the hash of its words) that each call was made for; they are answered in their order."""
    waiting: dict[int, str] = {}
    found: dict[str, str] = {}
    for item in stored:
        match item.event:
            case ev.TakeoverAsked(quiet=False):
                waiting[item.seq] = item.event.text_blob
            case ev.TakeoverAnswered():
                waiting.pop(item.event.question, None)
            case ev.ModelCallStarted(purpose="question") if waiting:
                found[item.event.call] = next(iter(waiting.values()))
            case _:
                continue
    return found


def summary(state: RunState) -> str:
    """What the record says without a model: the call that waits, why, and what was done and what was not."""
    item = _waiting(state)
    parts = ["No model answers here, so this is what the record says."]
    if item is not None:
        parts.append(f"**Waits for a person:** {item.headline or item.action.tool}")
        if item.reasons:
            parts.append("**Why:** " + " ".join(reason.text for reason in item.reasons[:5]))
    told = report(state) if any(one.outcome is not None for one in state.actions.values()) else ""
    parts.append(told or "Nothing was done yet.")
    return "\n\n".join(parts)


def record_of(state: RunState) -> str:
    """The run as a model may read it: task, plan, each action with its arguments' text, rating and outcome."""
    task = state.task.text if state.task else ""
    lines = [f"Task: {task}"]
    planned = state.plan.steps if state.plan else ()
    begun = {step.planned: step.status for step in state.steps}
    wanted = {*begun, *(state.plan.wanted if state.plan else ())}
    lines += [
        f"Step {at + 1} ({begun.get(at, 'not begun')}): {step.instruction}"
        for at, step in enumerate(planned)
        if at in wanted
    ]
    waiting = _waiting(state)
    for item in state.actions.values():
        mark = "WAITS FOR A PERSON" if item is waiting else str(item.outcome or item.phase)
        why = "; ".join(reason.text for reason in item.reasons)
        lines.append(f"Action {item.action.tool} [{mark}], risk {item.tier or 'not rated'} ({why}): {item.headline}")
        lines += [f"  {name}: {str(value)[:1000]}" for name, value in item.action.arguments.items()]
        if item.action.rationale:
            lines.append(f"  The agent's claim: {item.action.rationale[:500]}")
        if item.summary:
            lines.append(f"  Came to: {item.summary}")
    return "\n".join(lines)


def _waiting(state: RunState) -> ActionState | None:
    takeover = state.open_takeover
    return state.actions.get(takeover.action) if takeover is not None else None

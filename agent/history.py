"""What a step's worker has said and got so far: its turns in full, or its first ones in short, as journalled."""

from __future__ import annotations

import json
from typing import Any

from agent import events as ev
from agent.domain import Outcome, canonical
from agent.equipment import Box
from agent.errors import ModelReplyInvalid
from agent.moves import TrimHistory
from agent.ports import Intention, Thought, ToolCall
from agent.proposing import Bodies
from agent.rating import put_blob
from agent.state import ActionState, RunState, StepState
from agent.workers import StepSoFar, ToolResultText, Turn

ARGUMENTS_TOLD = 2_000
"""Characters of a changed call's arguments that the agent is told."""
_SAID = 300
_CAME_TO = 200


async def turns_of(state: RunState, step: StepState, body: Bodies) -> tuple[Turn, ...]:
    """The turns of a step that are told in full."""
    calls = [item for item in state.calls.values() if item.purpose == "work" and item.step == step.number]
    turns: list[Turn] = []
    for call in [item for item in calls if item.phase == "finished"][step.trimmed :]:
        said = json.loads(await body(call.reply_blob))
        wanted = tuple(ToolCall(item["id"], item["tool"], item["arguments"]) for item in said["calls"])
        results: dict[str, ToolResultText] = {}
        for key in step.actions:
            item = state.actions[key]
            if item.action.turn == call.turn:
                call_id = item.action.call_id.partition("/")[2]
                text, kept = await _came_to(item, body)
                results[call_id] = ToolResultText(call_id, item.action.tool, _changed(item) + text, kept)
        thoughts = tuple(Thought(**item) for item in said.get("thoughts", ()))
        turns.append(Turn(said["text"], wanted, tuple(results.values()), thoughts))
    return tuple(turns)


async def trim(box: Box, move: TrimHistory) -> None:
    """Journal what the first turns of a step came to in short; from here on that is told in their place."""
    state = box.state
    step = state.steps[move.step]
    calls = [item for item in state.calls.values() if item.purpose == "work" and item.step == step.number]
    finished = [item for item in calls if item.phase == "finished"]
    lines: list[str] = []
    for call in finished[: move.turns]:
        said = " ".join(str(json.loads(await box.blob(call.reply_blob))["text"]).split())[:_SAID]
        lines.append(f"Turn {call.turn + 1}: {said or '(no words)'}")
        for item in (state.actions[key] for key in step.actions):
            if item.action.turn == call.turn:
                what = item.headline or f"{item.action.tool} {canonical(item.action.arguments).decode()}"
                why = " ".join((item.feedback or item.summary).split())
                lines.append(f"  {what[:_CAME_TO]}: {item.outcome}. {why}"[: 2 * _CAME_TO])
    blobs: dict[str, str] = {}
    trimmed = ev.HistoryTrimmed(
        step=step.number,
        turns=move.turns,
        summary_blob=put_blob(blobs, "\n".join(lines)),
        tokens=finished[-1].tokens,
    )
    await box.commit([trimmed], Intention(epoch=state.epoch), blobs)


def last_detail(state: RunState, purpose: ev.Purpose, step: int, turn: int) -> str:
    """What was wrong with the last reply of this very turn, for one round of mending."""
    calls = [item for item in state.calls.values() if (item.purpose, item.step, item.turn) == (purpose, step, turn)]
    if calls and calls[-1].code == ModelReplyInvalid.code:
        return calls[-1].detail
    return ""


def steps_so_far(state: RunState, before: StepState | None = None) -> tuple[StepSoFar, ...]:
    """The steps that are over; with `before` those that were when this one began and that it builds on."""
    assert state.plan is not None  # noqa: S101  # a step without a plan is no state
    return tuple(
        StepSoFar(
            worker=state.plan.steps[step.planned].worker,
            instruction=state.plan.steps[step.planned].instruction,
            status=step.status,
            summary=step.summary,
            number=step.number + 1,
        )
        for step in (state.steps if before is None else builds_on(state, before))
        if step.status != "open"
    )


def builds_on(state: RunState, step: StepState) -> tuple[StepState, ...]:
    """Earlier tries of the same part of the plan, and the steps that it needs, with what those needed."""
    assert state.plan is not None  # noqa: S101  # as above
    wanted, open_ = {step.planned}, [step.planned]
    while open_:
        index = open_.pop()
        needs = state.plan.steps[index].needs
        found = set(range(index)) if needs is None else set(needs)
        open_ += found - wanted
        wanted |= found
    return tuple(item for item in state.steps[: step.number] if item.planned in wanted)


def evidence_for(state: RunState, step: StepState) -> tuple[str, ...]:
    """One line an action of the steps that this one builds on, as the journal has it."""
    return tuple(
        f"step {earlier.number + 1}: {line(state.actions[key])}"
        for earlier in builds_on(state, step)
        for key in earlier.actions
    )


def line(item: ActionState) -> str:
    """An action and what it came to."""
    return f"{item.headline or item.action.tool}: {item.outcome or item.phase}. {item.feedback or item.summary}".strip()


async def _came_to(item: ActionState, body: Bodies) -> tuple[str, str]:
    """What an action came to as a model is told, and where in the workspace all of it is."""
    output: dict[str, Any] = json.loads(await body(item.output_blob)) if item.output_blob else {}
    text, kept = str(output.get("text", "")), str(output.get("kept", ""))
    if item.outcome is Outcome.SUCCEEDED and item.output_blob:
        return text, kept
    said = item.feedback or item.summary
    if item.outcome is Outcome.DONE_BY_HUMAN:  # what was done, the reference and the evidence
        said = f"A person did this; do not do it again. They said: {item.summary}"
    return "\n".join(part for part in (f"Outcome: {item.outcome}.", said, text) if part), kept


def _changed(item: ActionState) -> str:
    """A word on what a person did to a call, so that its result is not taken for that of the original one."""
    revision = item.action.revision
    if revision is None:
        return ""
    if revision.cause == "ask_again":
        return "A person asked for this call again, after nobody had decided on it.\n"
    return (
        "A person changed the arguments of this call; what follows is the result of the changed call, and the "
        "original one must not be proposed again. The changed arguments: "
        f"{canonical(item.action.arguments).decode()[:ARGUMENTS_TOLD]}\n"
    )

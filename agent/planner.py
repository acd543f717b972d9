"""What models do in a run: plan, work, answer; each wire call reserved before and settled after, with a way without."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agent import events as ev
from agent.answers import report
from agent.calling import Caller
from agent.domain import Outcome, RunStatus, Worker, canonical
from agent.equipment import Box, Equipment
from agent.errors import (
    ConfigurationError,
    ModelReplyInvalid,
)
from agent.ports import ChatModel, Intention, Message, ModelReply, ModelRequest, ToolCall
from agent.proposing import SUMMARY_CHARACTERS, Bodies, Call, Proposer
from agent.rating import Rater, put_blob
from agent.recording import Ended
from agent.runbooks import render
from agent.shortfall import why_no_model
from agent.state import ActionState, RunState, StepState
from agent.supervisor import AskWorker, CloseStep, Finish, Limits, MakePlan, WriteAnswer, asked_again_late, is_complete
from agent.workers import (
    StepSoFar,
    ToolResultText,
    Turn,
    answer_request,
    plan_request,
    read_answer,
    read_plan,
    read_result,
    submitted,
    work_messages,
    work_tools,
)

PLAN_TOKENS = 2_048
WORK_TOKENS = 4_096
ANSWER_TOKENS = 2_048
ARGUMENTS_TOLD = 2_000
"""Characters of a changed call's arguments that the agent is told."""


class Planner:
    """Does the moves that concern plans, workers' turns and answers."""

    def __init__(
        self, equipment: Equipment, model: ChatModel, limits: Limits, proposer: Proposer, rater: Rater
    ) -> None:
        self._kit, self._limits = equipment, limits
        self._proposer, self._rater = proposer, rater
        self._caller = Caller(equipment, model, limits)

    # -- moves ---------------------------------------------------------------------------------------------------

    async def make_plan(self, box: Box, move: MakePlan) -> Ended | None:
        """Plan by this model, or by the runbooks when there is none (left)."""
        state = box.state
        assert state.task is not None  # noqa: S101  # a run without a task is no state
        if not move.model:
            await box.commit([self._runbook(state)], Intention(epoch=state.epoch))
            return None
        tools = {worker: self._kit.registry.specs(worker) for worker in Worker}
        mend = _last_detail(state, "plan", -1, 0)
        messages, submit = plan_request(state.task.text, await self._context(state, box.blob), tools, mend=mend)
        request = ModelRequest(move.model, messages, (submit,), must_call_tool=True, max_tokens=PLAN_TOKENS)
        call = ev.ModelCallStarted(
            call="", purpose="plan", attempt=move.attempt, model=move.model, reserved_micro_usd=0
        )  # fmt: skip
        return await self._caller.complete(box, call, request, self._plan_events)

    async def ask_worker(self, box: Box, move: AskWorker) -> Ended | None:
        """One turn of a worker: its reply becomes proposals, or the end of the step."""
        state = box.state
        assert state.plan is not None  # noqa: S101  # a step without a plan is no state
        assert state.task is not None  # noqa: S101  # as above
        step = state.steps[move.step]
        planned = state.plan.steps[step.planned]
        follow_ups = await self._follow_ups(state, box.blob)
        messages = work_messages(
            planned.worker,
            task_text=state.task.text + (f"\n\nThe person added later:\n{follow_ups}" if follow_ups else ""),
            context=await self._background(state),
            plan=[item.instruction for item in state.plan.steps],
            instruction=planned.instruction,
            expected=planned.expected,
            feedback=step.feedback,
            earlier=_steps_so_far(state, before=step.number),
            turns=await self._turns(state, step, box.blob),
        )
        if mend := _last_detail(state, "work", step.number, move.turn):
            messages = (*messages, Message(role="user", text=f"Your last reply could not be used: {mend}"))
        tools = work_tools(self._kit.registry.specs(planned.worker))
        request = ModelRequest(move.model, messages, tools, max_tokens=WORK_TOKENS)
        call = ev.ModelCallStarted(
            call="", purpose="work", step=move.step, turn=move.turn, attempt=move.attempt, model=move.model,
            reserved_micro_usd=0,
        )  # fmt: skip
        return await self._caller.complete(box, call, request, self._work_events)

    async def write_answer(self, box: Box, move: WriteAnswer) -> Ended | None:
        """The final answer: by the model, by the runbook's template, or from the state alone."""
        state = box.state
        assert state.task is not None  # noqa: S101  # as above
        if not move.model:
            status = RunStatus.COMPLETED if is_complete(state) else RunStatus.PARTIAL
            await self._end(box, status, await self._answer_without_model(state, box.blob))
            return None
        actions = [_line(item) for item in state.standing]
        shortfall = "" if is_complete(state) else _shortfall(state)
        messages = answer_request(
            state.task.text,
            _steps_so_far(state),
            actions=actions,
            shortfall=shortfall,
            context=await self._background(state),
        )
        request = ModelRequest(move.model, messages, max_tokens=ANSWER_TOKENS)
        call = ev.ModelCallStarted(
            call="", purpose="answer", attempt=move.attempt, model=move.model, reserved_micro_usd=0
        )  # fmt: skip
        return await self._caller.complete(box, call, request, self._answer_events)

    async def close_step(self, box: Box, move: CloseStep) -> None:
        """Give a step back without a word of the worker."""
        status = "done" if move.status == "done" else "blocked" if move.status == "blocked" else "failed"
        closed = ev.StepFinished(step=move.step, status=status, summary=move.summary)
        await box.commit([closed], Intention(epoch=box.state.epoch))

    async def finish(self, box: Box, move: Finish) -> None:
        """End the run from the state alone; everything that waits is closed in the same commit."""
        opening = {
            "ABORTED": "A person ended this run at its takeover.",
            "INTERNAL": "Something went wrong inside Second Key, so the run ended early. The operator's log has it.",
        }
        await self._end(box, move.status, report(box.state, opening.get(move.code, "")), move.code)

    async def _end(self, box: Box, status: RunStatus, answer: str, code: str = "") -> None:
        state = box.state
        blobs: dict[str, str] = {}
        text = self._kit.redact(answer + await self._unheard(state, box.blob))
        finished = ev.RunFinished(
            status=status,
            answer_blob=put_blob(blobs, text),
            summary=text[:SUMMARY_CHARACTERS],
            code=code,
            follow_ups=len(state.follow_ups),
        )
        reason = "The run was stopped." if state.stop_by else "The run has ended."
        await box.commit([*self._rater.closing(state, reason), finished], Intention(epoch=state.epoch), blobs)
        self._caller.forget(state.run)

    # -- what replies lead to ------------------------------------------------------------------------------------

    async def _plan_events(
        self, state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del state, call, blobs
        return [ev.PlanMade(plan=read_plan(reply))]

    async def _work_events(
        self, state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del blobs
        if any(state.actions[key].phase != "finished" for key in state.steps[call.step].actions):
            return []  # a person asked again for one of its calls meanwhile: the worker hears of that first
        if (given_back := submitted(reply)) is not None:
            result = read_result(given_back)
            sources = f"\nSources: {', '.join(result.sources)}" if result.sources else ""
            summary = self._kit.redact(result.summary + sources)
            return [ev.StepFinished(step=call.step, status=result.status, summary=summary)]
        events: list[ev.Event] = []
        room = self._limits.actions_a_step - len(state.steps[call.step].actions)
        if len({wanted.id for wanted in reply.calls}) < len(reply.calls):
            raise ModelReplyInvalid("Two of the calls have the same id; give each one of its own.")
        for wanted in reply.calls[:room]:
            arguments = dict(wanted.arguments) if not isinstance(wanted.arguments, str) else wanted.arguments
            proposal = Call(call.step, call.turn, wanted.tool, arguments, reply.text, f"{call.turn}/{wanted.id}")
            events += await self._proposer.propose(state, proposal)
        return events

    async def _answer_events(
        self, state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del call
        if asked_again_late(state):
            return []  # a person asked again for something meanwhile: the answer tells of that too
        text = self._kit.redact(read_answer(reply) + await self._unheard(state, self._kit.journal.blob))
        self._caller.forget(state.run)
        status = RunStatus.COMPLETED if is_complete(state) else RunStatus.PARTIAL
        finished = ev.RunFinished(
            status=status,
            answer_blob=put_blob(blobs, text),
            summary=text[:SUMMARY_CHARACTERS],
            follow_ups=len(state.follow_ups),
        )
        return [*self._rater.closing(state, "The run has ended."), finished]

    def _runbook(self, state: RunState) -> ev.PlanMade | ev.PlanFailed:
        assert state.task is not None  # noqa: S101  # as above
        plan = self._kit.runbooks.plan(state.task)
        if plan is not None:
            return ev.PlanMade(plan=plan)
        told = why_no_model(item for item in state.calls.values() if item.purpose == "plan").rstrip(".")
        why = (told or "No model could be reached") if self._limits.chain else "No model is configured"
        examples = "\n".join(f"- {example}" for example in self._kit.runbooks.examples[:6])
        return ev.PlanFailed(
            reason=f"{why}, and no runbook fits this task. Without a model I can do, for example:\n{examples}"
        )

    async def _answer_without_model(self, state: RunState, body: Bodies) -> str:
        if state.plan is not None and state.plan.answer and is_complete(state):
            try:
                return str(render(state.plan.answer, await self._proposer.known(state, body))).strip()
            except ConfigurationError as error:
                return report(state, f"Everything was done, but the runbook's answer could not be written: {error}")
        return report(state, "Everything was done." if is_complete(state) else "")

    # -- what models are told ------------------------------------------------------------------------------------

    async def _unheard(self, state: RunState, body: Bodies) -> str:
        """What people added too late for anybody to act on it, so that it is not lost in silence."""
        late = [await body(item) for item in state.follow_ups[state.heard :]]
        if not late:
            return ""
        said = "\n".join(f"> {text[:SUMMARY_CHARACTERS]}" for text in late)
        return f"\n\n**Not taken into account**, because it came while I was at it:\n{said}\nPlease ask me for it anew."

    async def _follow_ups(self, state: RunState, body: Bodies) -> str:
        return "\n".join([await body(item) for item in state.follow_ups])

    async def _background(self, state: RunState) -> str:
        """What is known besides the task itself: the run that this one follows, and the files that came with it."""
        parent = await self._kit.journal.blob(state.context_blob) if state.context_blob else ""
        return "\n\n".join(part for part in (parent, _attached(state)) if part)

    async def _context(self, state: RunState, body: Bodies) -> str:
        follow_ups = await self._follow_ups(state, body)
        added = f"The person added later:\n{follow_ups}" if follow_ups else ""
        return "\n\n".join(part for part in (await self._background(state), added) if part)

    async def _turns(self, state: RunState, step: StepState, body: Bodies) -> tuple[Turn, ...]:
        turns: list[Turn] = []
        calls = [item for item in state.calls.values() if item.purpose == "work" and item.step == step.number]
        for call in (item for item in calls if item.phase == "finished"):
            said = json.loads(await body(call.reply_blob))
            wanted = tuple(ToolCall(item["id"], item["tool"], item["arguments"]) for item in said["calls"])
            results: dict[str, ToolResultText] = {}
            for key in step.actions:
                item = state.actions[key]
                if item.action.turn == call.turn:
                    call_id = item.action.call_id.partition("/")[2]
                    results[call_id] = ToolResultText(call_id, item.action.tool, await self._result(item, body))
            turns.append(Turn(said["text"], wanted, tuple(results.values())))
        return tuple(turns)

    async def _result(self, item: ActionState, body: Bodies) -> str:
        return _changed(item) + await self._came_to(item, body)

    async def _came_to(self, item: ActionState, body: Bodies) -> str:
        if item.outcome is Outcome.SUCCEEDED and item.output_blob:
            return str(json.loads(await body(item.output_blob))["text"])
        said = item.feedback or item.summary
        if item.outcome is Outcome.DONE_BY_HUMAN:  # what was done, the reference and the evidence
            said = f"A person did this; do not do it again. They said: {item.summary}"
        output = json.loads(await body(item.output_blob))["text"] if item.output_blob else ""
        return "\n".join(part for part in (f"Outcome: {item.outcome}.", said, str(output)) if part)


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


def _attached(state: RunState) -> str:
    """The files that people attached, one line each."""
    lines = [
        f"- {item.path} ({item.kind or 'of unknown type'}, {item.size:,} bytes)"
        if item.path
        else f"- {item.name} could not be taken: {item.why}"
        for item in state.files
    ]
    return "Files that came with the task; read them in the workspace:\n" + "\n".join(lines) if lines else ""


def _last_detail(state: RunState, purpose: ev.Purpose, step: int, turn: int) -> str:
    """What was wrong with the last reply of this very turn, for one round of mending."""
    calls = [
        item
        for item in state.calls.values()
        if item.purpose == purpose and item.step == step and (purpose == "plan" or item.turn == turn)
    ]
    if calls and calls[-1].code == ModelReplyInvalid.code:
        return calls[-1].detail
    return ""


def _steps_so_far(state: RunState, before: int | None = None) -> tuple[StepSoFar, ...]:
    assert state.plan is not None  # noqa: S101  # a step without a plan is no state
    return tuple(
        StepSoFar(
            worker=state.plan.steps[step.planned].worker,
            instruction=state.plan.steps[step.planned].instruction,
            status=step.status,
            summary=step.summary,
        )
        for step in state.steps[:before]
    )


def _line(item: ActionState) -> str:
    return f"{item.headline or item.action.tool}: {item.outcome or item.phase}. {item.feedback or item.summary}".strip()


def _shortfall(state: RunState) -> str:
    if state.out_of_time:
        return "Its time was used up."
    last = state.steps[-1] if state.steps else None
    return last.summary if last else "Nothing could be begun."

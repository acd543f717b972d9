"""What models do in a run: plan, work, answer; each wire call reserved before and settled after, with a way without."""

from __future__ import annotations

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
from agent.evaluation import Evaluation
from agent.history import evidence_for, last_detail, line, steps_so_far, turns_of
from agent.judging import Judge, evaluated
from agent.moves import AskWorker, CloseStep, EvaluateStep, Finish, Limits, MakePlan, WriteAnswer
from agent.ports import ChatModel, Intention, Message, ModelReply, ModelRequest, ToolCall
from agent.proposing import SUMMARY_CHARACTERS, Bodies, Call, Proposer
from agent.rating import Rater, put_blob
from agent.recording import Ended
from agent.replanning import given_up_at, merged
from agent.runbooks import render
from agent.sealing import covered
from agent.shortfall import why_no_model
from agent.state import RunState, StepState
from agent.supervisor import asked_again_late, is_complete
from agent.workers import (
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
SOURCES_TOLD = 40
UNSEEN = " (no action of the run touched it)"


class Planner:
    """Does the moves that concern plans, workers' turns and answers."""

    def __init__(
        self, equipment: Equipment, model: ChatModel, limits: Limits, proposer: Proposer, rater: Rater
    ) -> None:
        self._kit, self._limits = equipment, limits
        self._proposer, self._rater = proposer, rater
        self._caller = Caller(equipment, model, limits)
        self._judge = Judge(equipment, self._caller, limits)

    # -- moves ---------------------------------------------------------------------------------------------------

    async def make_plan(self, box: Box, move: MakePlan) -> Ended | None:
        """Plan by this model, or by the runbooks when there is none (left)."""
        state = box.state
        assert state.task is not None  # noqa: S101  # a run without a task is no state
        if not move.model:
            event = self._runbook(state) if not move.round else self._runbook_instead(state)
            await box.commit([event], Intention(epoch=state.epoch))
            return None
        tools = {worker: self._kit.registry.specs(worker) for worker in Worker}
        given_up = given_up_at(state) if move.round else None
        messages, submit = plan_request(
            state.task.text,
            await self._context(state, box.blob),
            tools,
            mend=last_detail(state, "plan", -1, move.round),
            earlier=steps_so_far(state) if move.round else (),
            because=given_up.reason if given_up is not None else "",
            prompts=self._kit.prompts,
        )
        request = ModelRequest(move.model, messages, (submit,), must_call_tool=True, max_tokens=PLAN_TOKENS)
        call = ev.ModelCallStarted(
            call="", purpose="plan", turn=move.round, attempt=move.attempt, model=move.model, reserved_micro_usd=0
        )
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
            earlier=steps_so_far(state, before=step),
            turns=await turns_of(state, step, box.blob),
            recap=await box.blob(step.trimmed_blob) if step.trimmed else "",
            evidence=evidence_for(state, step) if planned.worker is Worker.REVIEW else (),
            prompts=self._kit.prompts,
        )
        if mend := last_detail(state, "work", step.number, move.turn):
            messages = (*messages, Message(role="user", text=f"Your last reply could not be used: {mend}"))
        tools = work_tools(self._kit.registry.specs(planned.worker), planned.worker)
        request = ModelRequest(move.model, messages, tools, max_tokens=WORK_TOKENS, goes_on=True)
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
        actions = [line(item) for item in state.standing]
        shortfall = "" if is_complete(state) else _shortfall(state)
        messages = answer_request(
            state.task.text,
            steps_so_far(state),
            actions=actions,
            shortfall=shortfall,
            context=await self._background(state),
            sources=_sources(state),
            prompts=self._kit.prompts,
        )
        request = ModelRequest(move.model, messages, max_tokens=ANSWER_TOKENS)
        call = ev.ModelCallStarted(
            call="", purpose="answer", attempt=move.attempt, model=move.model, reserved_micro_usd=0
        )  # fmt: skip
        return await self._caller.complete(box, call, request, self._answer_events)

    async def close_step(self, box: Box, move: CloseStep) -> None:
        """Give a step back without a word of the worker."""
        status = "done" if move.status == "done" else "blocked" if move.status == "blocked" else "failed"
        closed = ev.StepFinished(step=move.step, status=status, summary=move.summary, code=move.code)
        await box.commit([closed], Intention(epoch=box.state.epoch))

    async def evaluate(self, box: Box, move: EvaluateStep) -> Ended | None:
        """Decide what follows from a step."""
        return await self._judge.evaluate(box, move)

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
        del call, blobs
        plan = read_plan(reply)
        return [ev.PlanMade(plan=plan if state.plan is None else merged(state, state.plan, plan))]

    async def _work_events(
        self, state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del blobs
        step = state.steps[call.step]
        if step.status != "open" or any(state.actions[key].phase != "finished" for key in step.actions):
            return []  # closed, or a person asked again for one of its calls meanwhile: the worker hears of that first
        if (given_back := submitted(reply)) is not None:
            return self._given_back(state, step, given_back)
        room = self._limits.actions_a_step - len(step.actions)
        if len({wanted.id for wanted in reply.calls}) < len(reply.calls):
            raise ModelReplyInvalid("Two of the calls have the same id; give each one of its own.")
        wanted_calls: list[Call] = []
        for wanted in reply.calls[:room]:
            arguments = dict(wanted.arguments) if not isinstance(wanted.arguments, str) else wanted.arguments
            call_id = f"{call.turn}/{wanted.id}"
            wanted_calls.append(Call(call.step, call.turn, wanted.tool, arguments, reply.text, call_id))
        return await self._proposer.propose_wanted(state, wanted_calls)

    def _given_back(self, state: RunState, step: StepState, call: ToolCall) -> list[ev.Event]:
        """The end of a step in its worker's words; of a review also its decision to send work back."""
        assert state.plan is not None  # noqa: S101  # as above
        result = read_result(call, state.plan.steps[step.planned].worker)
        told = "\n".join([result.summary, *([f"Sources: {', '.join(result.sources)}"] if result.sources else [])])
        finished = ev.StepFinished(
            step=step.number,
            status="blocked" if result.send_back else result.status,
            summary=covered(self._kit.redact(told), state),
            sources=tuple(covered(self._kit.redact(source), state) for source in result.sources),
        )
        return [finished, self._judge.review(state, step, result, finished)] if result.send_back else [finished]

    async def _answer_events(
        self, state: RunState, call: ev.ModelCallStarted, reply: ModelReply, blobs: dict[str, str]
    ) -> Sequence[ev.Event]:
        del call
        if asked_again_late(state):
            return []  # a person asked again for something meanwhile: the answer tells of that too
        text = self._kit.redact(covered(read_answer(reply), state) + await self._unheard(state, self._kit.journal.blob))
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

    def _runbook_instead(self, state: RunState) -> ev.PlanMade | ev.StepEvaluated:
        """A runbook in the place of a plan that no model could go on with, or the news that there is none."""
        assert state.task is not None  # noqa: S101  # as above
        assert state.plan is not None  # noqa: S101  # as above
        given_up = given_up_at(state)
        assert given_up is not None  # noqa: S101  # there is no new plan without a step that asks for it
        plan = self._kit.runbooks.plan(state.task) if given_up.code == "NO_MODEL" else None
        if plan is not None:
            return ev.PlanMade(plan=merged(state, state.plan, plan))
        return evaluated(given_up, Evaluation("stop", f"{given_up.reason} There is no other plan.".strip()), "rule")

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


def _attached(state: RunState) -> str:
    """The files that people attached, one line each."""
    lines = [
        f"- {item.path} ({item.kind or 'of unknown type'}, {item.size:,} bytes)"
        if item.path
        else f"- {item.name} could not be taken: {item.why}"
        for item in state.files
    ]
    return "Files that came with the task; read them in the workspace:\n" + "\n".join(lines) if lines else ""


def _shortfall(state: RunState) -> str:
    if state.out_of_time:
        return "Its time was used up."
    last = state.steps[-1] if state.steps else None
    return last.summary if last else "Nothing could be begun."


def _sources(state: RunState) -> tuple[str, ...]:
    """What the workers name, once each; a source that no action of the run touched is marked as such."""
    touched = "\n".join(
        canonical(item.action.arguments).decode() + " ".join(intent.target for intent in item.intents)
        for item in state.actions.values()
        if item.outcome in {Outcome.SUCCEEDED, Outcome.DONE_BY_HUMAN}
    ).casefold()
    named = dict.fromkeys(source for step in state.steps for source in step.sources)
    return tuple(f"{source}{'' if _is_in(source, touched) else UNSEEN}" for source in list(named)[:SOURCES_TOLD])


def _is_in(source: str, touched: str) -> bool:
    """Whether an action named what a source begins with, such as the file of `docs/a.md:12`."""
    words = source.casefold().replace("`", "").split()
    name = words[0].rstrip(",;.") if words else ""
    stem = name.partition(":")[0] if "://" not in name else name
    return bool(stem) and (stem in touched or source.casefold().strip() in touched)

"""From events to spans: one trace a run, whatever crashed or waited in between. Pure; knows no SDK.

A span is made when what it tells of has ended, with the times that stand in the journal, and its ids follow from the
journal's own: feeding the same events again makes the same spans. So a parent may come hours after its children.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent import events as ev
from agent import telemetry as t
from agent.action_spans import ActionSpans
from agent.domain import RunStatus
from agent.ports import Stored
from agent.span import Attribute, Content, Maker, Span, SpanEvent

#: All that a counter needs to see: from these follow the spans of calls, tools, decisions and the run's end.
COUNTED: tuple[type[ev.Event], ...] = (
    ev.ModelCallStarted,
    ev.ModelCallFinished,
    ev.ModelCallFailed,
    ev.ActionProposed,
    ev.ActionRated,
    ev.ActionStarted,
    ev.ActionFinished,
    ev.ActionResumed,
    ev.ApprovalRequested,
    ev.ApprovalDecided,
    ev.TakeoverOpened,
    ev.TakeoverClaimed,
    ev.TakeoverClosed,
    ev.RunFinished,
)


@dataclass(slots=True)
class _Step:
    at: float
    worker: str
    instruction: str


class RunSpans:
    """Follows one run's journal; `feed` says which spans have ended with an event.

    `counted`: they are only counted, so they have no ids, and events that are not `COUNTED` need not be fed.
    """

    def __init__(
        self, run: str, *, redact: Callable[[str], str], content: Content | None = None, counted: bool = False
    ) -> None:
        self._made = Maker(run, redact=redact, content=content, has_ids=not counted)
        self._about_actions = ActionSpans(self._made)
        self._created = 0.0
        self._parent_run = ""
        self._task = ""
        self._plan: tuple[str, ...] = ()
        self._instructions: tuple[str, ...] = ()
        self._plans = 0
        self._planning: float | None = None
        self._steps: dict[int, _Step] = {}
        self._judged: dict[int, float] = {}
        self._evaluations = 0
        self._calls: dict[str, tuple[float, ev.ModelCallStarted, int]] = {}

    def feed(self, stored: Stored) -> list[Span]:  # noqa: PLR0911  # one arm an event
        """The spans that ended with this event, children before parents."""
        at, event = stored.at, stored.event
        match event:
            case ev.RunCreated():
                self._created, self._parent_run = at, event.parent_run
                self._task = event.task.text
                return []
            case ev.RunStarted():
                self._planning = at
                return [self._made.moment("run.started", at, 0, {})]
            case ev.PlanMade():
                self._plan = tuple(str(step.worker.value) for step in event.plan.steps)
                self._instructions = tuple(step.instruction for step in event.plan.steps)
                return self._planned(at, {t.PLANNER: event.plan.planner, t.PLAN_STEPS: len(event.plan.steps)})
            case ev.PlanFailed():
                return self._planned(at, {}, "plan_failed")
            case ev.ModelCallStarted() | ev.ModelCallFinished() | ev.ModelCallFailed():
                return self._call(at, event)
            case ev.StepStarted() | ev.StepFinished():
                return self._step(at, event)
            case ev.StepEvaluated():
                return [self._evaluated(at, event)]
            case ev.ActionProposed() | ev.ActionRated() | ev.ActionStarted() | ev.ActionFinished() | ev.ActionResumed():
                return self._about_actions.action(at, event)
            case ev.ApprovalRequested() | ev.VoteCast() | ev.ApprovalDecided():
                return self._about_actions.approval(at, event)
            case ev.TakeoverOpened() | ev.TakeoverClaimed() | ev.TakeoverReleased() | ev.TakeoverClosed():
                return self._about_actions.takeover(at, event)
            case ev.RunFinished():
                return self._finished(at, event)
            case _:
                return []

    # -- the run -------------------------------------------------------------------------------------------------

    def _finished(self, at: float, event: ev.RunFinished) -> list[Span]:
        spans = self._about_actions.undone()
        if self._planning is not None and self._plans == 0:
            spans += self._planned(at, {}, "not_planned")
        spans += [self._step_span(number, step, at, "failed", "not_ended") for number, step in self._steps.items()]
        self._steps.clear()
        attributes: dict[str, Attribute] = {
            t.OPERATION: "invoke_workflow",
            t.WORKFLOW_NAME: t.WORKFLOW,
            t.RUN_STATUS: event.status.value,
        }
        if self._made.content is not None:
            attributes["input.value"] = self._made.cut(self._task)
            if event.answer_blob:
                attributes["output.value"] = self._made.content(event.answer_blob)
        error = (event.code or "run_failed") if event.status is RunStatus.FAILED else ""
        spans.append(
            self._made.span(
                f"invoke_workflow {t.WORKFLOW}", "CHAIN", self._created, at, attributes, id_=(), error=error, parent=0,
                link=self._parent_run,
            )
        )  # fmt: skip
        return spans

    def _planned(self, at: float, attributes: dict[str, Attribute], error: str = "") -> list[Span]:
        since = at if self._planning is None else self._planning
        made = self._made.span(
            "plan supervisor", "AGENT", since, at,
            {t.OPERATION: "plan", t.AGENT_NAME: "supervisor", **attributes},
            id_=("plan", self._plans), error=error,
        )  # fmt: skip
        self._plans += 1
        self._planning = None
        return [made]

    # -- steps and calls -----------------------------------------------------------------------------------------

    def _step(self, at: float, event: ev.StepStarted | ev.StepFinished) -> list[Span]:
        if isinstance(event, ev.StepStarted):
            known = event.planned < len(self._plan)
            worker = self._plan[event.planned] if known else "worker"
            self._steps[event.step] = _Step(at, worker, self._instructions[event.planned] if known else "")
            return []
        step = self._steps.pop(event.step, None)
        return [] if step is None else [self._step_span(event.step, step, at, event.status)]

    def _step_span(self, number: int, step: _Step, at: float, status: str, error: str = "") -> Span:
        attributes: dict[str, Attribute] = {t.OPERATION: "invoke_agent", t.AGENT_NAME: step.worker, t.STEP: number}
        if self._made.content is not None:
            attributes["input.value"] = self._made.cut(step.instruction)
        attributes[t.STEP_STATUS] = status
        return self._made.span(
            f"invoke_agent {step.worker}", "AGENT", step.at, at, attributes,
            id_=("step", number), error=error or ("step_failed" if status == "failed" else ""),
        )  # fmt: skip

    def _evaluated(self, at: float, event: ev.StepEvaluated) -> Span:
        """What the supervisor made of a step; as long as the model took that judged it."""
        since = self._judged.pop(event.step, at)
        self._evaluations += 1
        result = SpanEvent(t.EVALUATION, at, {t.EVALUATION_NAME: "step", t.EVALUATION_LABEL: event.decision})
        return self._made.span(
            "evaluate supervisor", "EVALUATOR", since, at,
            {t.AGENT_NAME: "supervisor", t.STEP: event.step, t.EVALUATOR: event.by},
            id_=("evaluation", self._evaluations), parent=self._made.id_of("step", event.step), events=(result,),
        )  # fmt: skip

    def _call(self, at: float, event: ev.ModelCallStarted | ev.ModelCallFinished | ev.ModelCallFailed) -> list[Span]:
        if isinstance(event, ev.ModelCallStarted):
            parent = self._made.id_of()
            if event.purpose == "plan":
                self._planning = at if self._planning is None else self._planning
                parent = self._made.id_of("plan", self._plans)
            elif event.step >= 0:
                parent = self._made.id_of("step", event.step)
                if event.purpose == "judge":
                    self._judged.setdefault(event.step, at)
            self._calls[event.call] = (at, event, parent)
            return []
        if event.call not in self._calls:
            return []
        since, started, parent = self._calls.pop(event.call)
        provider, _, name = started.model.partition(":")
        attributes: dict[str, Attribute] = {
            t.OPERATION: "chat",
            t.PROVIDER: provider,
            t.REQUEST_MODEL: name or provider,
            t.PURPOSE: started.purpose,
            t.COST: event.cost_micro_usd / 1_000_000,
            t.COST_CURRENCY: "USD",
            t.COST_SOURCE: "ledger",
        }
        if started.max_tokens:
            attributes[t.REQUEST_MAX_TOKENS] = started.max_tokens
        error = ""
        if isinstance(event, ev.ModelCallFinished):
            attributes |= {**_tokens(event), t.RESPONSE_MODEL: self._made.name(event.response_model)}
            if event.response_id:
                attributes[t.RESPONSE_ID] = self._made.name(event.response_id)
            if event.finish_reason:
                attributes[t.FINISH_REASONS] = (self._made.name(event.finish_reason),)
            if self._made.content is not None:
                attributes[t.OUTPUT_MESSAGES] = self._made.content(event.reply_blob)
        else:
            error = event.code
        if self._made.content is not None and started.request_blob:
            attributes[t.INPUT_MESSAGES] = self._made.content(started.request_blob)
        return [
            self._made.span(
                f"chat {name or provider}", "LLM", since, at, attributes,
                id_=("chat", event.call), parent=parent, error=error, is_client=True,
            )
        ]  # fmt: skip


def _tokens(event: ev.ModelCallFinished) -> dict[str, Attribute]:
    """What a call read and wrote; of a cache only where one was used."""
    cached = {
        t.CACHE_READ: event.cache_read_tokens,
        t.CACHE_CREATION: event.cache_write_tokens,
        t.CACHE_WRITE: event.cache_write_tokens,
    }
    used: dict[str, Attribute] = {name: count for name, count in cached.items() if count}
    return {t.INPUT_TOKENS: event.input_tokens, t.OUTPUT_TOKENS: event.output_tokens, **used}

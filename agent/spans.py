"""From events to spans: one trace a run, whatever crashed or waited in between. Pure; knows no SDK.

A span is made when what it tells of has ended, with the times that stand in the journal, and its ids follow from the
journal's own: feeding the same events again makes the same spans. So a parent may come hours after its children.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent import events as ev
from agent import telemetry as t
from agent.domain import ApprovalState, Outcome, RunStatus, Tier
from agent.ports import Stored

Attribute = str | int | float | bool | tuple[str, ...]
Kind = Literal["CHAIN", "AGENT", "LLM", "TOOL", "GUARDRAIL", "EVALUATOR"]
Content = Callable[[str], str]
"""The body of this hash, redacted and cut; empty when there is none."""

_FAILED = {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.CANCELLED}
_UNDECIDED = {ApprovalState.WITHDRAWN, ApprovalState.SUPERSEDED}


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something at one moment of a span."""

    name: str
    at: float
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended. Times are business seconds since the epoch."""

    run: str
    id: int
    parent: int
    """0 for the run's own."""
    name: str
    start: float
    end: float
    attributes: Mapping[str, Attribute]
    is_client: bool = False
    error: str = ""
    """A code, never a text; empty when nothing failed."""
    events: tuple[SpanEvent, ...] = ()
    link: str = ""
    """The run that this one follows."""


@dataclass(slots=True)
class _Action:
    tool: str
    step: int
    arguments: Mapping[str, object]
    tier: str = ""
    rules: tuple[str, ...] = ()
    grant: str = ""
    decision: str = "auto_approved"
    started: float | None = None
    attempt: int = 0
    spans: int = 0
    undone: tuple[float, str] | None = None
    """When and why it did not run, as long as it may still be rated anew."""


@dataclass(slots=True)
class _Approval:
    action: str
    at: float
    asked: ev.ApprovalRequested
    votes: list[SpanEvent] = field(default_factory=list[SpanEvent])
    decided: bool = False


@dataclass(slots=True)
class _Takeover:
    opened: ev.TakeoverOpened
    at: float
    claimed: float | None = None
    moments: list[SpanEvent] = field(default_factory=list[SpanEvent])


@dataclass(slots=True)
class _Step:
    at: float
    worker: str
    instruction: str


class RunSpans:
    """Follows one run's journal; `feed` says which spans have ended with an event."""

    def __init__(self, run: str, *, redact: Callable[[str], str], content: Content | None = None) -> None:
        self._run = run
        self._redact = redact
        self._content = content
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
        self._actions: dict[str, _Action] = {}
        self._approvals: dict[str, _Approval] = {}
        self._takeovers: dict[str, _Takeover] = {}

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
                return [self._moment("run.started", at, 0, {})]
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
                return self._action(at, event)
            case ev.ApprovalRequested() | ev.VoteCast() | ev.ApprovalDecided():
                return self._approval(at, event)
            case ev.TakeoverOpened() | ev.TakeoverClaimed() | ev.TakeoverReleased() | ev.TakeoverClosed():
                return self._takeover(at, event)
            case ev.RunFinished():
                return self._finished(at, event)
            case _:
                return []

    # -- the run -------------------------------------------------------------------------------------------------

    def _finished(self, at: float, event: ev.RunFinished) -> list[Span]:
        spans: list[Span] = []
        for key, item in self._actions.items():
            if item.undone is not None:
                when, code = item.undone
                spans.append(self._tool_span(key, item, when, when, error=code))
        if self._planning is not None and self._plans == 0:
            spans += self._planned(at, {}, "not_planned")
        spans += [self._step_span(number, step, at, "failed", "not_ended") for number, step in self._steps.items()]
        self._steps.clear()
        attributes: dict[str, Attribute] = {
            t.OPERATION: "invoke_workflow",
            t.WORKFLOW_NAME: t.WORKFLOW,
            t.RUN_STATUS: event.status.value,
        }
        if self._content is not None:
            attributes["input.value"] = self._cut(self._task)
            if event.answer_blob:
                attributes["output.value"] = self._content(event.answer_blob)
        error = (event.code or "run_failed") if event.status is RunStatus.FAILED else ""
        spans.append(
            self._span(
                f"invoke_workflow {t.WORKFLOW}", "CHAIN", self._created, at, attributes, id_=(), error=error, parent=0,
                link=self._parent_run,
            )
        )  # fmt: skip
        return spans

    def _planned(self, at: float, attributes: dict[str, Attribute], error: str = "") -> list[Span]:
        since = at if self._planning is None else self._planning
        made = self._span(
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
        if self._content is not None:
            attributes["input.value"] = self._cut(step.instruction)
        attributes[t.STEP_STATUS] = status
        return self._span(
            f"invoke_agent {step.worker}", "AGENT", step.at, at, attributes,
            id_=("step", number), error=error or ("step_failed" if status == "failed" else ""),
        )  # fmt: skip

    def _evaluated(self, at: float, event: ev.StepEvaluated) -> Span:
        """What the supervisor made of a step; as long as the model took that judged it."""
        since = self._judged.pop(event.step, at)
        self._evaluations += 1
        result = SpanEvent(t.EVALUATION, at, {t.EVALUATION_NAME: "step", t.EVALUATION_LABEL: event.decision})
        return self._span(
            "evaluate supervisor", "EVALUATOR", since, at,
            {t.AGENT_NAME: "supervisor", t.STEP: event.step, t.EVALUATOR: event.by},
            id_=("evaluation", self._evaluations), parent=t.span_id_of(self._run, "step", event.step), events=(result,),
        )  # fmt: skip

    def _call(self, at: float, event: ev.ModelCallStarted | ev.ModelCallFinished | ev.ModelCallFailed) -> list[Span]:
        if isinstance(event, ev.ModelCallStarted):
            parent = t.span_id_of(self._run)
            if event.purpose == "plan":
                self._planning = at if self._planning is None else self._planning
                parent = t.span_id_of(self._run, "plan", self._plans)
            elif event.step >= 0:
                parent = t.span_id_of(self._run, "step", event.step)
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
            attributes |= {**_tokens(event), t.RESPONSE_MODEL: event.response_model}
            if event.response_id:
                attributes[t.RESPONSE_ID] = event.response_id
            if event.finish_reason:
                attributes[t.FINISH_REASONS] = (event.finish_reason,)
            if self._content is not None:
                attributes[t.OUTPUT_MESSAGES] = self._content(event.reply_blob)
        else:
            error = event.code
        if self._content is not None and started.request_blob:
            attributes[t.INPUT_MESSAGES] = self._content(started.request_blob)
        return [
            self._span(
                f"chat {name or provider}", "LLM", since, at, attributes,
                id_=("chat", event.call), parent=parent, error=error, is_client=True,
            )
        ]  # fmt: skip

    # -- tool calls ----------------------------------------------------------------------------------------------

    def _action(
        self,
        at: float,
        event: ev.ActionProposed | ev.ActionRated | ev.ActionStarted | ev.ActionFinished | ev.ActionResumed,
    ) -> list[Span]:
        if isinstance(event, ev.ActionProposed):
            action = event.action
            self._actions[action.id] = _Action(action.tool, action.step, action.arguments)
            return []
        item = self._actions.get(event.action)
        if item is None:
            return []
        match event:
            case ev.ActionRated():
                item.tier, item.grant = event.tier.value, event.grant
                item.rules = event.rules or tuple(reason.rule for reason in event.reasons)
                item.undone = None
                item.decision = "auto_approved" if event.tier is Tier.LOW else "required"
            case ev.ActionStarted():
                item.started, item.attempt = at, event.attempt
                item.undone = None
            case ev.ActionResumed():
                return [self._ran(event.action, item, at, error=event.code or "process_died")]
            case ev.ActionFinished():
                error = (event.code or event.outcome.value) if event.outcome in _FAILED else ""
                if item.started is None:
                    item.undone = None
                    if item.decision == "required":
                        item.decision = "not_asked"
                    return [self._tool_span(event.action, item, at, at, error=error, outcome=event.outcome.value)]
                return [self._ran(event.action, item, at, error, event.outcome.value, event.output_blob)]
        return []

    def _ran(  # noqa: PLR0917  # how it ended
        self, key: str, item: _Action, at: float, error: str, outcome: str = "", output: str = ""
    ) -> Span:
        since = at if item.started is None else item.started
        item.started = None
        return self._tool_span(key, item, since, at, error=error, outcome=outcome, output=output)

    def _tool_span(
        self, key: str, item: _Action, start: float, end: float, *, error: str, outcome: str = "", output: str = ""
    ) -> Span:
        attributes: dict[str, Attribute] = {
            t.OPERATION: "execute_tool",
            t.TOOL_NAME: item.tool,
            t.TOOL_CALL_ID: key,
            t.TOOL_TYPE: "function",
            t.ACTION_OUTCOME: outcome or error,
            t.ACTION_ATTEMPT: item.attempt,
            t.APPROVAL_RISK: item.tier,
            t.APPROVAL_DECISION: item.decision,
        }
        if self._content is not None:
            attributes[t.TOOL_ARGUMENTS] = self._cut(json.dumps(dict(item.arguments)))
            if output:
                attributes[t.TOOL_RESULT] = self._content(output)
        # A second span of the same attempt is only possible where a refused call was rated anew.
        again = (item.spans,) if item.spans > item.attempt else ()
        item.spans += 1
        return self._span(
            f"execute_tool {item.tool}", "TOOL", start, end, attributes,
            id_=("tool", key, item.attempt, *again), parent=t.span_id_of(self._run, "step", item.step), error=error,
        )  # fmt: skip

    # -- people --------------------------------------------------------------------------------------------------

    def _approval(self, at: float, event: ev.ApprovalRequested | ev.VoteCast | ev.ApprovalDecided) -> list[Span]:
        if isinstance(event, ev.ApprovalRequested):
            self._approvals[event.approval] = _Approval(event.action, at, event)
            item = self._actions.get(event.action)
            if item is None:
                return []
            item.undone = None
            step = t.span_id_of(self._run, "step", item.step)
            asked: dict[str, Attribute] = {t.APPROVAL_ID: event.approval, t.APPROVAL_RISK: item.tier}
            return [self._moment("approval.requested", at, step, asked, event.approval)]
        approval = self._approvals.get(event.approval)
        item = self._actions.get(approval.action) if approval is not None else None
        if approval is None or item is None:
            return []
        if isinstance(event, ev.VoteCast):
            vote: dict[str, Attribute] = {"agent.approval.vote": event.vote, t.APPROVAL_BY: hashed(event.principal.key)}
            approval.votes.append(SpanEvent("vote", at, vote))
            return []
        return self._decided(at, event, approval, item)

    def _decided(self, at: float, event: ev.ApprovalDecided, approval: _Approval, item: _Action) -> list[Span]:
        step = t.span_id_of(self._run, "step", item.step)
        code = f"approval_{event.state.value}"
        item.decision = event.state.value
        spans: list[Span] = []
        if approval.decided:  # a yes that was not used is taken back: the decision was told already
            spans.append(self._moment("approval.lapsed", at, step, {t.APPROVAL_ID: event.approval}, event.approval))
        else:
            attributes: dict[str, Attribute] = {
                t.TOOL_NAME: item.tool,
                t.TOOL_CALL_ID: approval.action,
                t.APPROVAL_ID: event.approval,
                t.APPROVAL_DECISION: event.state.value,
                t.APPROVAL_SOURCE: _source(event, item.grant),
                t.APPROVAL_RISK: item.tier,
                t.APPROVAL_RULE: approval.asked.rules or item.rules,
                t.APPROVAL_WAIT: round(max(0.0, at - approval.at), 3),
            }
            if event.by:
                attributes[t.APPROVAL_BY] = hashed(event.by)
            spans.append(
                self._span(
                    f"approval {item.tool}", "GUARDRAIL", approval.at, at, attributes,
                    id_=("approval", event.approval), parent=step, events=tuple(approval.votes),
                )
            )  # fmt: skip
            approval.decided = True
        if event.state in {ApprovalState.DENIED, ApprovalState.EXPIRED}:
            spans.append(self._tool_span(approval.action, item, at, at, error=code, outcome=event.state.value))
        elif event.state in _UNDECIDED and item.started is None:
            item.undone = (at, code)
        return spans

    def _takeover(
        self, at: float, event: ev.TakeoverOpened | ev.TakeoverClaimed | ev.TakeoverReleased | ev.TakeoverClosed
    ) -> list[Span]:
        if isinstance(event, ev.TakeoverOpened):
            self._takeovers[event.takeover] = _Takeover(event, at)
            item = self._actions.get(event.action)
            step = t.span_id_of(self._run, "step", item.step) if item is not None else 0
            known: dict[str, Attribute] = {t.TAKEOVER_ID: event.takeover, t.TAKEOVER_CAUSE: event.cause}
            return [self._moment("takeover.requested", at, step, known, event.takeover)]
        takeover = self._takeovers.get(event.takeover)
        item = self._actions.get(takeover.opened.action) if takeover is not None else None
        if takeover is None or item is None:
            return []
        match event:
            case ev.TakeoverClaimed():
                takeover.claimed = at
                takeover.moments.append(SpanEvent("claimed", at, {t.APPROVAL_BY: hashed(event.by.key)}))
            case ev.TakeoverReleased():
                takeover.moments.append(SpanEvent(event.why, at, {}))
            case ev.TakeoverClosed():
                return self._closed(at, event, takeover, item)
        return []

    def _closed(self, at: float, event: ev.TakeoverClosed, takeover: _Takeover, item: _Action) -> list[Span]:
        cause, key = takeover.opened.cause, takeover.opened.action
        attributes: dict[str, Attribute] = {
            t.TOOL_NAME: item.tool,
            t.TOOL_CALL_ID: key,
            t.TAKEOVER_ID: event.takeover,
            t.TAKEOVER_STATE: event.state,
            t.TAKEOVER_CAUSE: cause,
            t.TAKEOVER_WAIT: round(max(0.0, at - takeover.at), 3),
        }
        if event.by:
            attributes[t.APPROVAL_BY] = hashed(event.by)
        spans = [
            self._span(
                f"takeover {item.tool}", "GUARDRAIL", takeover.at, at, attributes,
                id_=("takeover", event.takeover), parent=t.span_id_of(self._run, "step", item.step),
                events=tuple(takeover.moments),
            )
        ]  # fmt: skip
        if cause == "high":  # of an unknown there is a span already: that of its start
            item.decision = "taken_over"
            if event.state == "handed_back":
                item.undone = (at, "takeover_handed_back")
            else:
                done = event.state == "done"
                since = takeover.claimed if done and takeover.claimed is not None else at
                outcome = "done_by_human" if done else "cancelled"
                error = "" if done else "takeover_aborted"
                spans.append(self._tool_span(key, item, since, at, error=error, outcome=outcome))
        return spans

    # -- all of them ---------------------------------------------------------------------------------------------

    def _moment(self, name: str, at: float, parent: int, attributes: Mapping[str, Attribute], key: str = "") -> Span:
        """A span without a length, so that what goes on is seen before its own span ends."""
        ids = ("moment", name, key) if key else ("moment", name)
        return self._span(name, "CHAIN", at, at, attributes, id_=ids, parent=parent or t.span_id_of(self._run))

    def _span(
        self,
        name: str,
        kind: Kind,
        start: float,
        end: float,
        attributes: Mapping[str, Attribute],
        *,
        id_: tuple[str | int, ...],
        parent: int | None = None,
        error: str = "",
        is_client: bool = False,
        events: tuple[SpanEvent, ...] = (),
        link: str = "",
    ) -> Span:
        common: dict[str, Attribute] = {t.OPENINFERENCE_KIND: kind, t.CONVERSATION: self._run}
        failed: dict[str, Attribute] = {t.ERROR_TYPE: error} if error else {}
        return Span(
            run=self._run,
            id=t.span_id_of(self._run, *id_),
            parent=t.span_id_of(self._run) if parent is None else parent,
            name=name,
            start=start,
            end=max(start, end),  # the machine's clock may have been set back in between
            attributes={**common, **attributes, **failed},
            is_client=is_client,
            error=error,
            events=events,
            link=link,
        )

    def _cut(self, text: str) -> str:
        return self._redact(text)[: t.CONTENT_CHARACTERS]


def hashed(principal: str) -> str:
    """A person in a trace: told apart from others, and not named."""
    return hashlib.sha256(f"principal/{principal}".encode()).hexdigest()[:16]


def _tokens(event: ev.ModelCallFinished) -> dict[str, Attribute]:
    """What a call read and wrote; of a cache only where one was used."""
    cached = {
        t.CACHE_READ: event.cache_read_tokens,
        t.CACHE_CREATION: event.cache_write_tokens,
        t.CACHE_WRITE: event.cache_write_tokens,
    }
    used: dict[str, Attribute] = {name: count for name, count in cached.items() if count}
    return {t.INPUT_TOKENS: event.input_tokens, t.OUTPUT_TOKENS: event.output_tokens, **used}


def _source(event: ev.ApprovalDecided, grant: str) -> str:
    """Who or what decided: a closed set."""
    if event.state is ApprovalState.EXPIRED:
        return "deadline"
    if grant:
        return "grant"
    if not event.by:
        return "system"
    return "terminal" if event.by.startswith("local:") else "slack"

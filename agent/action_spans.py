"""Spans of tool calls and of what people decide about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent import events as ev
from agent import telemetry as t
from agent.domain import ApprovalState, Outcome, Tier
from agent.span import Attribute, Maker, Span, SpanEvent, hashed

_FAILED = {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.CANCELLED}
_UNDECIDED = {ApprovalState.WITHDRAWN, ApprovalState.SUPERSEDED}


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


class ActionSpans:
    """Follows the actions of one run, their approvals and takeovers; each method says which spans have ended."""

    def __init__(self, made: Maker) -> None:
        self._made = made
        self._actions: dict[str, _Action] = {}
        self._approvals: dict[str, _Approval] = {}
        self._takeovers: dict[str, _Takeover] = {}

    def undone(self) -> list[Span]:
        """Of the actions that did not run and will not be rated anew: the run is over."""
        ended = ((key, item, item.undone) for key, item in self._actions.items() if item.undone is not None)
        return [self._tool_span(key, item, at, at, error=code) for key, item, (at, code) in ended]

    def action(
        self,
        at: float,
        event: ev.ActionProposed | ev.ActionRated | ev.ActionStarted | ev.ActionFinished | ev.ActionResumed,
    ) -> list[Span]:
        """How a tool call goes on."""
        if isinstance(event, ev.ActionProposed):
            action = event.action
            self._actions[action.id] = _Action(self._made.name(action.tool), action.step, action.arguments)
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
        if self._made.content is not None:
            attributes[t.TOOL_ARGUMENTS] = self._made.cut(json.dumps(dict(item.arguments)))
            if output:
                attributes[t.TOOL_RESULT] = self._made.content(output)
        # A second span of the same attempt is only possible where a refused call was rated anew.
        again = (item.spans,) if item.spans > item.attempt else ()
        item.spans += 1
        return self._made.span(
            f"execute_tool {item.tool}", "TOOL", start, end, attributes,
            id_=("tool", key, item.attempt, *again), parent=self._made.id_of("step", item.step), error=error,
        )  # fmt: skip

    # -- people --------------------------------------------------------------------------------------------------

    def approval(self, at: float, event: ev.ApprovalRequested | ev.VoteCast | ev.ApprovalDecided) -> list[Span]:
        """How an approval goes on."""
        if isinstance(event, ev.ApprovalRequested):
            self._approvals[event.approval] = _Approval(event.action, at, event)
            item = self._actions.get(event.action)
            if item is None:
                return []
            item.undone = None
            step = self._made.id_of("step", item.step)
            asked: dict[str, Attribute] = {t.APPROVAL_ID: event.approval, t.APPROVAL_RISK: item.tier}
            return [self._made.moment("approval.requested", at, step, asked, event.approval)]
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
        step = self._made.id_of("step", item.step)
        code = f"approval_{event.state.value}"
        item.decision = event.state.value
        spans: list[Span] = []
        if approval.decided:  # a yes that was not used is taken back: the decision was told already
            lapsed: dict[str, Attribute] = {t.APPROVAL_ID: event.approval}
            spans.append(self._made.moment("approval.lapsed", at, step, lapsed, event.approval))
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
                self._made.span(
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

    def takeover(
        self, at: float, event: ev.TakeoverOpened | ev.TakeoverClaimed | ev.TakeoverReleased | ev.TakeoverClosed
    ) -> list[Span]:
        """How a takeover goes on."""
        if isinstance(event, ev.TakeoverOpened):
            self._takeovers[event.takeover] = _Takeover(event, at)
            item = self._actions.get(event.action)
            step = self._made.id_of("step", item.step) if item is not None else 0
            known: dict[str, Attribute] = {t.TAKEOVER_ID: event.takeover, t.TAKEOVER_CAUSE: event.cause}
            return [self._made.moment("takeover.requested", at, step, known, event.takeover)]
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
            self._made.span(
                f"takeover {item.tool}", "GUARDRAIL", takeover.at, at, attributes,
                id_=("takeover", event.takeover), parent=self._made.id_of("step", item.step),
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


def _source(event: ev.ApprovalDecided, grant: str) -> str:
    """Who or what decided: a closed set."""
    if event.state is ApprovalState.EXPIRED:
        return "deadline"
    if grant:
        return "grant"
    if not event.by:
        return "system"
    return "terminal" if event.by.startswith("local:") else "slack"

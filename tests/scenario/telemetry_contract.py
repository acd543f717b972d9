"""The telemetry contract: what the wire, the logs, the metrics and Slack say, held against the database."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import events as ev
from agent.domain import ApprovalState
from agent.telemetry import span_id_of, trace_id_of
from storage.journal import read_events
from tests.scenario.collector import CLIENT, ERROR, INTERNAL, WireSpan

SLACK_NS = 2_000_000
"""A clock's float has a quarter of a microsecond; a deliverer's look at it may be a little before the writer's."""
_REQUIRED = {
    "invoke_workflow": ("gen_ai.workflow.name", "agent.run.status"),
    "plan": ("gen_ai.agent.name",),
    "invoke_agent": ("gen_ai.agent.name", "agent.step.number"),
    "chat": ("gen_ai.provider.name", "gen_ai.request.model", "gen_ai.usage.cost.amount", "gen_ai.usage.cost.currency"),
    "execute_tool": ("gen_ai.tool.name", "gen_ai.tool.call.id", "gen_ai.tool.type", "agent.action.outcome"),
    "approval": ("agent.approval.id", "agent.approval.decision", "agent.approval.source", "agent.approval.risk"),
    "takeover": ("agent.takeover.id", "agent.takeover.state"),
    "evaluate": ("agent.step.number", "agent.evaluation.by"),
}
LEDGER = tuple(_REQUIRED)
"""First words of the names of spans that stand for an entry of the journal."""
_KINDS = {
    "invoke_workflow": "CHAIN", "plan": "AGENT", "invoke_agent": "AGENT", "chat": "LLM", "execute_tool": "TOOL",
    "approval": "GUARDRAIL", "takeover": "GUARDRAIL", "deliver": "CHAIN", "evaluate": "EVALUATOR",
}  # fmt: skip
_TOKENS = {
    "input": "input", "output": "output", "cache_read.input": "cache_read", "cache_creation.input": "cache_write",
    "cache_write.input": "cache_write",
}  # fmt: skip
"""Names in the conventions → names in the journal."""
_SAMPLE = re.compile(r"^agent_approval_decisions_total\{([^}]*)\} (\S+)$", re.MULTILINE)


@dataclass
class Capture:
    """Everything that could be seen of some runs, and what the database says of them."""

    spans: list[WireSpan]
    bodies: list[bytes] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    metrics: str = ""
    slack: str = ""
    canaries: Sequence[str] = ()
    events: dict[str, list[ev.Event]] = field(default_factory=dict)
    approvals: list[tuple[str, str]] = field(default_factory=list)
    """Id and state."""

    @classmethod
    def of(cls, database: Path, spans: list[WireSpan], **seen: Any) -> Capture:
        """The capture with what the database has."""
        with closing(sqlite3.connect(database)) as conn:
            runs = [run for (run,) in conn.execute("SELECT id FROM runs")]
            events = {run: [item.event for item in read_events(conn, run)] for run in runs}
            approvals = list(conn.execute("SELECT id, state FROM approvals"))
        return cls(spans, events=events, approvals=approvals, **seen)

    def named(self, word: str) -> list[WireSpan]:
        """Spans whose name begins with this word."""
        return [span for span in self.spans if span.name.split(" ")[0] == word]

    def facts(self, *kinds: type[Any]) -> Iterator[tuple[str, Any]]:
        """Events of these kinds, with their runs."""
        for run, events in self.events.items():
            yield from ((run, event) for event in events if isinstance(event, kinds))


Check = Callable[[Capture], Iterator[str]]


def violations(capture: Capture) -> dict[str, list[str]]:
    """What is wrong, by the assertion that says so."""
    found = {check.__name__: list(check(capture)) for check in CHECKS}
    return {name: said for name, said in found.items() if said}


def every_ledger_entry_has_one_span(seen: Capture) -> Iterator[str]:
    wanted: Counter[str] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    for run, event in seen.facts(*_SPANS_OF):
        parts = _SPANS_OF[type(event)](event)
        if parts == ("plan",):
            parts = ("plan", numbers[run, "plan"])
            numbers[run, "plan"] += 1
        if parts == ("evaluation",):
            numbers[run, "evaluation"] += 1
            parts = ("evaluation", numbers[run, "evaluation"])
        wanted[f"{span_id_of(run, *parts):016x}"] += 1
    there = Counter(span.id for word in _REQUIRED for span in seen.named(word) if word != "execute_tool")
    yield from (f"no span for an entry: {key}" for key in wanted - there)
    yield from (f"a span without an entry: {key}" for key in there - wanted)
    yield from _tool_calls(seen)


def _tool_calls(seen: Capture) -> Iterator[str]:
    for run, events in seen.events.items():
        for action in [event.action.id for event in events if isinstance(event, ev.ActionProposed)]:
            starts = sum(isinstance(event, ev.ActionStarted) and event.action == action for event in events)
            spans = [s for s in seen.named("execute_tool") if s.attributes.get("gen_ai.tool.call.id") == action]
            if len(spans) != max(1, starts):
                yield f"run {run}: {len(spans)} tool spans for action {action}, which started {starts} times"
    known = {event.action.id for _, event in seen.facts(ev.ActionProposed)}
    for span in seen.named("execute_tool"):
        if span.attributes.get("gen_ai.tool.call.id") not in known:
            yield f"a tool span without an action: {span.id}"


_SPANS_OF: dict[type[Any], Callable[[Any], tuple[str | int, ...]]] = {
    ev.ModelCallFinished: lambda e: ("chat", e.call),
    ev.ModelCallFailed: lambda e: ("chat", e.call),
    ev.StepStarted: lambda e: ("step", e.step),
    ev.TakeoverClosed: lambda e: ("takeover", e.takeover),
    ev.RunFinished: lambda _: (),
    ev.ApprovalRequested: lambda e: ("approval", e.approval),
    ev.PlanMade: lambda _: ("plan",),
    ev.PlanFailed: lambda _: ("plan",),
    ev.StepEvaluated: lambda _: ("evaluation",),
}


def required_attributes_and_kinds_are_there(seen: Capture) -> Iterator[str]:
    for span in seen.spans:
        word, given = span.name.split(" ")[0], span.attributes
        yield from (f"{span.name} lacks {name}" for name in _REQUIRED.get(word, ()) if name not in given)
        if given.get("openinference.span.kind") != _KINDS.get(word, "CHAIN"):
            yield f"{span.name} is a {given.get('openinference.span.kind')}"
        if span.kind != (CLIENT if word in {"chat", "deliver"} else INTERNAL):
            yield f"{span.name} has the kind {span.kind}"
        if word == "chat" and not span.status and "gen_ai.usage.input_tokens" not in given:
            yield f"{span.name} lacks its tokens"


def one_root_and_one_trace_a_run(seen: Capture) -> Iterator[str]:
    for run in seen.events:
        roots = [s for s in seen.spans if not s.parent and s.attributes.get("gen_ai.conversation.id") == run]
        traces = {s.trace for s in seen.spans if s.attributes.get("gen_ai.conversation.id") == run}
        if [root.name for root in roots] != ["invoke_workflow secondkey"]:
            yield f"run {run} has the roots {[root.name for root in roots]}"
        if traces != {f"{trace_id_of(run):032x}"}:
            yield f"run {run} is in the traces {traces}"


def no_orphans_and_no_child_before_its_parent(seen: Capture) -> Iterator[str]:
    by_id = {(span.trace, span.id): span for span in seen.spans}
    for span in seen.spans:
        if not span.parent:
            continue
        parent = by_id.get((span.trace, span.parent))
        if parent is None:
            yield f"{span.name} has no parent"
        elif span.start + SLACK_NS < parent.start:
            yield f"{span.name} begins before {parent.name}"
        if span.end < span.start:
            yield f"{span.name} ends before it begins"


def error_status_means_error_type(seen: Capture) -> Iterator[str]:
    for span in seen.spans:
        if (span.status == ERROR) != ("error.type" in span.attributes):
            yield f"{span.name}: status {span.status}, error.type {span.attributes.get('error.type')}"


def every_gated_call_has_one_decision_and_starts_after_it(seen: Capture) -> Iterator[str]:
    decided: dict[str, list[WireSpan]] = {}
    for span in seen.named("approval"):
        if span.attributes.get("agent.approval.decision") == "approved":
            decided.setdefault(str(span.attributes.get("gen_ai.tool.call.id")), []).append(span)
    started = {event.action: event for _, event in seen.facts(ev.ActionStarted)}
    for span in seen.named("execute_tool"):
        action = str(span.attributes.get("gen_ai.tool.call.id"))
        if action not in started or not started[action].approval:
            continue
        yeses = decided.get(action, [])
        if len(yeses) != 1:
            yield f"{span.name} stands on {len(yeses)} decisions"
        elif span.start < yeses[0].end:
            yield f"{span.name} began before its decision"


def cost_and_tokens_equal_the_ledger(seen: Capture) -> Iterator[str]:
    for run in seen.events:
        chats = [s for s in seen.named("chat") if s.attributes.get("gen_ai.conversation.id") == run]
        ledger = [e for r, e in seen.facts(ev.ModelCallFinished, ev.ModelCallFailed) if r == run]
        cost = sum(round(float(s.attributes.get("gen_ai.usage.cost.amount", 0)) * 1_000_000) for s in chats)
        if cost != sum(e.cost_micro_usd for e in ledger):
            yield f"run {run}: spans cost {cost} micro-USD"
        done = [e for e in ledger if isinstance(e, ev.ModelCallFinished)]
        for name, kind in _TOKENS.items():
            tokens = sum(int(s.attributes.get(f"gen_ai.usage.{name}_tokens", 0)) for s in chats)
            if tokens != sum(getattr(e, f"{kind}_tokens") for e in done):
                yield f"run {run}: spans have {tokens} {kind} tokens"


def no_canary_anywhere(seen: Capture) -> Iterator[str]:
    places = {
        "the wire": b"\n".join(seen.bodies),
        "the logs": json.dumps(seen.logs).encode(),
        "the metrics": seen.metrics.encode(),
        "Slack": seen.slack.encode(),
    }
    for canary in seen.canaries:
        for place, text in places.items():
            if canary.encode() in text or base64.b64encode(canary.encode())[:-4] in text:
                yield f"a canary is in {place}"


def decision_counter_spans_and_rows_agree(seen: Capture) -> Iterator[str]:
    rows = sum(state != ApprovalState.PENDING for _, state in seen.approvals)
    spans = Counter(str(span.attributes.get("agent.approval.decision")) for span in seen.named("approval"))
    counted: Counter[str] = Counter()
    for labels, value in _SAMPLE.findall(seen.metrics):
        decision = re.search(r'decision="(\w+)"', labels)
        counted[decision[1] if decision else ""] += int(float(value))
    if sum(spans.values()) != rows:
        yield f"{sum(spans.values())} decision spans, {rows} rows"
    if seen.metrics and +counted != +spans:
        yield f"counted {dict(+counted)}, spans {dict(spans)}"


def every_log_line_of_a_run_has_its_trace(seen: Capture) -> Iterator[str]:
    ids = {span.id for span in seen.spans}
    for line in seen.logs:
        run = line.get("run_id") or next((run for run in seen.events if run in json.dumps(line)), "")
        if not run:
            continue
        if line.get("trace_id") != f"{trace_id_of(run):032x}":
            yield f"{line.get('event')}: trace {line.get('trace_id')}"
        elif line.get("span_id") not in ids:
            yield f"{line.get('event')}: its span {line.get('span_id')} is not there"


CHECKS: tuple[Check, ...] = (
    every_ledger_entry_has_one_span,
    required_attributes_and_kinds_are_there,
    one_root_and_one_trace_a_run,
    no_orphans_and_no_child_before_its_parent,
    error_status_means_error_type,
    every_gated_call_has_one_decision_and_starts_after_it,
    cost_and_tokens_equal_the_ledger,
    no_canary_anywhere,
    decision_counter_spans_and_rows_agree,
    every_log_line_of_a_run_has_its_trace,
)

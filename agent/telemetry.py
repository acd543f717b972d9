"""Names of spans and attributes (GenAI conventions and ours), identifiers, and what is under way at this moment.

A run is one trace across waits and restarts. Its spans are made from the journal (`agent/spans.py`), so their ids
follow from what the journal names: whoever knows a run and a call knows the span, before it is made and after a crash.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from agent.state import ActionState, RunState

OPERATION = "gen_ai.operation.name"
CONVERSATION = "gen_ai.conversation.id"
WORKFLOW_NAME = "gen_ai.workflow.name"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens"
CACHE_WRITE = "gen_ai.usage.cache_write.input_tokens"
"""The same number as `CACHE_CREATION`: backends read one name or the other."""
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
COST = "gen_ai.usage.cost.amount"
COST_CURRENCY = "gen_ai.usage.cost.currency"
COST_SOURCE = "gen_ai.usage.cost.source"
EVALUATION = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATOR = "agent.evaluation.by"
MCP_METHOD = "mcp.method.name"
MCP_SESSION = "mcp.session.id"
ERROR_TYPE = "error.type"
OPENINFERENCE_KIND = "openinference.span.kind"
RUN_STATUS = "agent.run.status"
STEP = "agent.step.number"
STEP_STATUS = "agent.step.status"
PURPOSE = "agent.model.purpose"
ACTION_OUTCOME = "agent.action.outcome"
ACTION_ATTEMPT = "agent.action.attempt"
DELIVERY_KIND = "agent.delivery.kind"
DELIVERY_OUTCOME = "agent.delivery.outcome"
PLANNER = "agent.plan.planner"
PLAN_STEPS = "agent.plan.steps"
APPROVAL_ID = "agent.approval.id"
APPROVAL_DECISION = "agent.approval.decision"
APPROVAL_SOURCE = "agent.approval.source"
APPROVAL_RISK = "agent.approval.risk"
APPROVAL_RULE = "agent.approval.policy.rule"
APPROVAL_WAIT = "agent.approval.wait.duration"
APPROVAL_BY = "agent.approval.by"
TAKEOVER_ID = "agent.takeover.id"
TAKEOVER_STATE = "agent.takeover.state"
TAKEOVER_CAUSE = "agent.takeover.cause"
TAKEOVER_WAIT = "agent.takeover.wait.duration"

WORKFLOW = "secondkey"
CONTENT_CHARACTERS = 500
"""What an opt-in attribute with content is cut to."""
NAME_CHARACTERS = 200
"""What a name that comes from outside is cut to."""


def trace_id_of(run: str) -> int:
    """The trace of a run: 128 bits, never 0."""
    return int.from_bytes(hashlib.sha256(f"trace/{run}".encode()).digest()[:16]) or 1


def span_id_of(run: str, *parts: str | int) -> int:
    """The span of one thing of a run, such as `("chat", call)`: 64 bits, never 0; without parts the run's own."""
    return int.from_bytes(hashlib.sha256("/".join(("span", run, *map(str, parts))).encode()).digest()[:8]) or 1


def context_of(run: str, *parts: str | int) -> Context:
    """An OpenTelemetry context in which this span is the current one, so that others become its children."""
    span = SpanContext(trace_id_of(run), span_id_of(run, *parts), is_remote=True, trace_flags=TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(span))


def ids_of(run: str, *parts: str | int) -> dict[str, str]:
    """What a log line within this span carries, in the spelling of backends."""
    return {"run_id": run, "trace_id": f"{trace_id_of(run):032x}", "span_id": f"{span_id_of(run, *parts):016x}"}


class Telemetry:
    """Says what is under way: log lines and client spans within are linked to it. Without an SDK it makes no span."""

    def __init__(
        self,
        tracer: Tracer | None = None,
        *,
        called_mcp: Callable[[str, float, str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`called_mcp` hears of each request to an MCP server: its method, its seconds, its error's code or nothing."""
        self._tracer = tracer or trace.NoOpTracer()
        self._traces = tracer is not None
        self._called_mcp, self._monotonic = called_mcp, monotonic

    def tool_call(self, state: RunState, item: ActionState) -> AbstractContextManager[None]:
        """Around one tool call; its `execute_tool` span follows from the journal."""
        return self._under_way(state.run, "tool", item.action.id, item.attempt)

    def model_call(self, state: RunState, call: str) -> AbstractContextManager[None]:
        """Around one wire call; its `chat` span follows from the journal."""
        return self._under_way(state.run, "chat", call)

    @contextmanager
    def _under_way(self, run: str, *parts: str | int) -> Generator[None]:
        tokens = structlog.contextvars.bind_contextvars(**ids_of(run, *parts))
        try:
            if self._traces:  # without an SDK there is nobody to whom a span could be a parent
                with trace.use_span(trace.get_current_span(context_of(run, *parts))):
                    yield
            else:
                yield
        finally:
            structlog.contextvars.reset_contextvars(**tokens)

    @contextmanager
    def delivery(self, run: str, kind: str, about: tuple[str, str], now: Callable[[], float]) -> Generator[Span]:
        """`deliver {kind}` around one message to Slack; `about` names the wait that it shows, if any.

        `now` is the business clock, as for every span of a run.
        """
        attributes = {OPENINFERENCE_KIND: "CHAIN", CONVERSATION: run, DELIVERY_KIND: kind}
        span = self._tracer.start_span(
            f"deliver {kind}",
            context=context_of(run, *filter(None, about)),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=int(now() * 1e9),
        )
        try:
            ids = ids_of(run, *filter(None, about))
            with (
                trace.use_span(span, record_exception=False, set_status_on_exception=False),
                structlog.contextvars.bound_contextvars(**ids),
            ):
                yield span
        finally:
            span.end(int(now() * 1e9))

    @contextmanager
    def mcp_call(self, method: str, target: str = "", *, session: str = "") -> Generator[None]:
        """`{method} {target}` around one request to an MCP server; what it raises is noted by its type alone."""
        attributes = {MCP_METHOD: method, OPENINFERENCE_KIND: "TOOL"}
        if session:
            attributes[MCP_SESSION] = session[:NAME_CHARACTERS]
        with self._tracer.start_as_current_span(
            f"{method} {target}".strip()[:NAME_CHARACTERS],
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            began, code = self._monotonic(), ""
            try:
                yield
            except BaseException as error:
                code = str(getattr(error, "code", "")) or type(error).__name__
                failed(span, code)
                raise
            finally:
                if self._called_mcp is not None:
                    self._called_mcp(method, self._monotonic() - began, code)


def failed(span: Span, code: str) -> None:
    """Note a failure by its code; never by its text, which may hold what it must not."""
    span.set_attribute(ERROR_TYPE, code)
    span.set_status(Status(StatusCode.ERROR, code))

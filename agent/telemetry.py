"""Names of spans and attributes (GenAI conventions and ours), and helpers over the OpenTelemetry API.

A run is one trace across waits and restarts: the ids are kept with the run, and every span is a child of them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from agent.domain import Outcome
from agent.ports import ModelReply, ModelRequest
from agent.state import ActionState, RunState

OPERATION = "gen_ai.operation.name"
CONVERSATION = "gen_ai.conversation.id"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
COST = "gen_ai.usage.cost.amount"
COST_CURRENCY = "gen_ai.usage.cost.currency"
ERROR_TYPE = "error.type"
APPROVAL_RISK = "agent.approval.risk"
APPROVAL_DECISION = "agent.approval.decision"
OPENINFERENCE_KIND = "openinference.span.kind"

_ERRORS = {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.CANCELLED}


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A span that is told how it ended."""

    span: Span

    def ended(self, outcome: Outcome, code: str = "") -> None:
        """Note the outcome of a tool call."""
        self.span.set_attribute("agent.action.outcome", outcome.value)
        if outcome in _ERRORS:
            self.failed(code or outcome.value)

    def failed(self, code: str) -> None:
        """Note a failure by its code; never by its text, which may hold what it must not."""
        self.span.set_attribute(ERROR_TYPE, code)
        self.span.set_status(Status(StatusCode.ERROR, code))

    def replied(self, reply: ModelReply) -> None:
        """Note tokens and cost of a model call."""
        self.span.set_attributes(
            {
                RESPONSE_MODEL: reply.model,
                RESPONSE_ID: reply.response_id,
                FINISH_REASONS: (reply.finish_reason,),
                INPUT_TOKENS: reply.input_tokens,
                OUTPUT_TOKENS: reply.output_tokens,
                COST: reply.cost_micro_usd / 1_000_000,
                COST_CURRENCY: "USD",
            }
        )


class Telemetry:
    """Spans of one process; with no SDK configured every call is a cheap no-op."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("secondkey")

    @contextmanager
    def tool_call(self, state: RunState, item: ActionState) -> Generator[OpenSpan]:
        """`execute_tool {tool}` around one tool call."""
        attributes = {
            OPERATION: "execute_tool",
            CONVERSATION: state.run,
            TOOL_NAME: item.action.tool,
            TOOL_CALL_ID: item.action.id,
            TOOL_TYPE: "function",
            APPROVAL_RISK: item.tier.value if item.tier else "",
            APPROVAL_DECISION: "approved" if item.approval else "auto_approved",
            OPENINFERENCE_KIND: "TOOL",
        }
        with self._tracer.start_as_current_span(
            f"execute_tool {item.action.tool}",
            context=_parent(state),
            attributes=attributes,
            record_exception=False,
        ) as span:
            yield OpenSpan(span)

    @contextmanager
    def model_call(self, state: RunState, request: ModelRequest) -> Generator[OpenSpan]:
        """`chat {model}` around one wire call."""
        provider, _, name = request.model.partition(":")
        attributes = {
            OPERATION: "chat",
            CONVERSATION: state.run,
            PROVIDER: provider,
            REQUEST_MODEL: name,
            REQUEST_MAX_TOKENS: request.max_tokens,
            OPENINFERENCE_KIND: "LLM",
        }
        with self._tracer.start_as_current_span(
            f"chat {name}",
            context=_parent(state),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
        ) as span:
            yield OpenSpan(span)


def _parent(state: RunState) -> Context | None:
    if not state.trace_id:
        return None
    context = SpanContext(
        trace_id=int(state.trace_id, 16),
        span_id=int(state.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(NonRecordingSpan(context))

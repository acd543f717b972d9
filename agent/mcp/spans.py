"""Spans of what is asked of an MCP server: one a request, and none beside the span of a tool call that is open."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from agent.telemetry import OPENINFERENCE_KIND, OpenSpan

METHOD = "mcp.method.name"
SESSION = "mcp.session.id"
_CALL = "tools/call"
#: A parent that is not sampled: what the protocol's library would record under it holds a server's own words.
_UNSEEN = SpanContext(trace_id=1, span_id=1, is_remote=False, trace_flags=TraceFlags(0))


@contextmanager
def asking(method: str, target: str = "", session: str = "") -> Generator[OpenSpan]:
    """`{method} {target}` around one request; a call is noted on the `execute_tool` span that is open around it."""
    attributes = {METHOD: method, **({SESSION: session} if session else {})}
    around = trace.get_current_span()
    if method == _CALL and around.is_recording():
        around.set_attributes(attributes)
        yield _Noted(around)
        return
    name = f"{method} {target}".strip()
    with trace.get_tracer("secondkey").start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes={**attributes, OPENINFERENCE_KIND: "TOOL"}, record_exception=False,
        set_status_on_exception=False,
    ) as span:  # fmt: skip
        yield OpenSpan(span)


@contextmanager
def unseen() -> Generator[None]:
    """What is recorded within goes nowhere; the server is told of no trace of ours either."""
    with trace.use_span(NonRecordingSpan(_UNSEEN), record_exception=False, set_status_on_exception=False):
        yield


class _Noted(OpenSpan):
    """A span that somebody else ends, with its outcome."""

    def __init__(self, span: Span) -> None:
        super().__init__(span)

    def failed(self, code: str) -> None:
        """Note the server's code beside the outcome that is yet to come."""
        self.span.set_attribute("rpc.response.status_code", code)

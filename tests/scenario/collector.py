"""An OTLP/HTTP collector on the loopback: keeps the wire's bytes, and reads them as anybody's backend would."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ERROR = 2
CLIENT = 3
INTERNAL = 1


@dataclass(frozen=True)
class WireSpan:
    """A span as it stood on the wire."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    status: int
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...] = ()
    links: tuple[str, ...] = ()


@dataclass
class Collector:
    """`url` for OTEL_EXPORTER_OTLP_ENDPOINT; a silent one takes the connection and never answers."""

    silent: bool = False
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    _asked: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        outer = self
        self._released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer._asked.set()
                if outer.silent:
                    outer._released.wait(20)
                    return
                if outer.status == 200:
                    outer.bodies.append(body)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name in the standard library
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url}

    def spans(self) -> list[WireSpan]:
        """Every span that came, the ones that came twice once."""
        return list({(span.trace, span.id): span for span in read(self.bodies)}.values())


def read(bodies: Iterable[bytes]) -> list[WireSpan]:
    """The spans in these requests."""
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return [
        WireSpan(
            trace=one.trace_id.hex(),
            id=one.span_id.hex(),
            parent=one.parent_span_id.hex(),
            name=one.name,
            kind=one.kind,
            start=one.start_time_unix_nano,
            end=one.end_time_unix_nano,
            status=one.status.code,
            attributes={item.key: _value(item.value) for item in one.attributes},
            events=tuple((e.name, {item.key: _value(item.value) for item in e.attributes}) for e in one.events),
            links=tuple(link.trace_id.hex() for link in one.links),
        )
        for one in spans
    ]


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    return getattr(value, kind) if kind else None

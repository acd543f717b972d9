"""Where spans go: over OTLP/HTTP or into a local file, and through the redaction before either."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status
from opentelemetry.util.types import Attributes, AttributeValue

Redact = Callable[[str], str]
EXPORT_TIMEOUT_S = 2.0
"""How long one request to a collector may take, retries included."""


def exporter_from(environment: Mapping[str, str], trace_file: Path | None, redact: Redact) -> SpanExporter | None:
    """The exporter that the environment or the configuration asks for; None when neither does.

    An endpoint in the environment wins over a file.
    """
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (
        f"{base.rstrip('/')}/v1/traces" if base else ""
    )
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # costly to import

        return RedactingExporter(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S), redact)
    return RedactingExporter(FileExporter(trace_file), redact) if trace_file is not None else None


class FileExporter(SpanExporter):
    """Appends spans to a file as JSON Lines, in the SDK's own form; only its owner can read it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append them at once, whole lines; a full disk is a failure, and they are tried again."""
        text = "".join(f"{span.to_json(indent=None)}\n" for span in spans)
        try:
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as file:
                file.write(text)
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


class RedactingExporter(SpanExporter):
    """The last door: spans are redacted where they are made, and whatever was missed there is covered here."""

    def __init__(self, inner: SpanExporter, redact: Redact) -> None:
        self._inner, self._redact = inner, redact

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand them on; a span with a secret in any of its texts is rebuilt without it."""
        # Nearly always nothing is found, and one look at all texts is many times cheaper than one at each.
        together = "\n".join(text for span in spans for text in _texts(span))
        if self._redact(together) != together:
            spans = [self._rebuilt(span) for span in spans]
        return self._inner.export(spans)

    def shutdown(self) -> None:
        """Shut down what is behind."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back here."""
        return self._inner.force_flush(timeout_millis)

    def _rebuilt(self, span: ReadableSpan) -> ReadableSpan:
        status = span.status
        return ReadableSpan(
            name=self._redact(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._covered(span.attributes),
            events=[Event(self._redact(one.name), self._covered(one.attributes), one.timestamp) for one in span.events],
            links=[Link(one.context, self._covered(one.attributes)) for one in span.links],
            kind=span.kind,
            status=Status(status.status_code, self._redact(status.description) if status.description else None),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _covered(self, attributes: Attributes) -> dict[str, AttributeValue]:
        covered: dict[str, AttributeValue] = {}
        for name, value in (attributes or {}).items():
            if isinstance(value, str):
                covered[name] = self._redact(value)
            elif isinstance(value, Sequence):
                covered[name] = [self._redact(one) if isinstance(one, str) else one for one in value]  # pyright: ignore[reportArgumentType]  # one type stays one type
            else:
                covered[name] = value
        return covered


def _texts(span: ReadableSpan) -> Iterator[str]:
    yield span.name
    yield span.status.description or ""
    yield from _values(span.attributes)
    for one in (*span.events, *span.links):
        yield from _values(one.attributes)
    yield from (one.name for one in span.events)


def _values(attributes: Attributes) -> Iterator[str]:
    for value in (attributes or {}).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, Sequence):
            yield from (one for one in value if isinstance(one, str))

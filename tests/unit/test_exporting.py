"""Exporters: the file's lines, and the redaction before whatever is behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from agent.secrets import redact
from bot.exporting import FileExporter, RedactingExporter, exporter_from

CANARY = "xoxb-1234567890-canary"
AT = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def span(name: str = "chat", **more: Any) -> ReadableSpan:
    return ReadableSpan(name, AT, start_time=1, end_time=2, **more)


def test_a_secret_is_covered_wherever_in_a_span_it_stands() -> None:
    leaking = span(
        f"chat {CANARY}",
        attributes={"text": f"a {CANARY} b", "list": ("x", CANARY), "number": 1, "numbers": (1, 2)},
        events=[Event(f"e {CANARY}", {"exception.message": CANARY, "exception.stacktrace": f"at {CANARY}"})],
        links=[Link(AT, {"why": CANARY})],
        status=Status(StatusCode.ERROR, f"because {CANARY}"),
    )
    kept = Kept()
    RedactingExporter(kept, redact).export([span(attributes={"a": "b"}), leaking])
    clean, covered = kept.spans
    assert "canary" not in covered.to_json()
    assert "canary" not in repr([(link.context, link.attributes) for link in covered.links])
    assert covered.attributes == {
        "text": "a [redacted: Slack token] b", "list": ["x", "[redacted: Slack token]"], "number": 1, "numbers": [1, 2],
    }  # fmt: skip
    assert (covered.context, covered.start_time, covered.end_time, clean.name) == (AT, 1, 2, "chat")


def test_a_batch_without_a_secret_is_handed_on_as_it_is() -> None:
    kept, spans = Kept(), [span(), span("plan")]
    RedactingExporter(kept, redact).export(spans)
    assert all(one is other for one, other in zip(kept.spans, spans, strict=True))


def test_a_file_gets_whole_lines_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    exporter = exporter_from({}, path, redact)
    assert exporter is not None
    for _ in range(2):
        assert exporter.export([span(attributes={"text": CANARY}), span("plan")]) is SpanExportResult.SUCCESS
    names = [json.loads(line)["name"] for line in path.read_text().splitlines()]
    assert names == ["chat", "plan", "chat", "plan"]
    assert "canary" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_a_failure_and_no_crash() -> None:
    assert FileExporter(Path("/dev/full")).export([span()]) is SpanExportResult.FAILURE
    assert FileExporter(Path("/proc/none/x")).export([span()]) is SpanExportResult.FAILURE


def test_an_endpoint_wins_over_a_file_and_without_either_nothing_is_exported(tmp_path: Path) -> None:
    assert exporter_from({}, None, redact) is None
    chosen = exporter_from({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"}, tmp_path / "x", redact)
    assert isinstance(chosen, RedactingExporter)
    assert getattr(chosen._inner, "_endpoint", "") == "http://127.0.0.1:4318/v1/traces"
    only = exporter_from({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/t"}, None, redact)
    assert isinstance(only, RedactingExporter)
    assert getattr(only._inner, "_endpoint", "") == "http://127.0.0.1:1/t"

"""Logs: JSON or pretty, linked to their run's trace, redacted to the last object."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.secrets import redact
from agent.telemetry import context_of, ids_of, span_id_of, trace_id_of
from bot.observability import configure_logging

CANARY = "xoxb-1234567890-canary"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, opentelemetry = logging.getLogger(), logging.getLogger("opentelemetry")
    before = root.handlers, root.level, opentelemetry.level
    target = io.StringIO()
    configure_logging(redact, stream=target)
    yield target
    root.handlers, level, other = before
    root.setLevel(level)
    opentelemetry.setLevel(other)
    structlog.reset_defaults()


def broken(text: str) -> None:
    raise RuntimeError(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_within_a_run_carries_run_trace_and_span_id_ours_and_the_libraries(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(**ids_of("r1", "chat", "c1")):
        structlog.get_logger("agent").info("asked")
        logging.getLogger("some.library").warning("slow")
    for line in lines(stream):
        assert line["run_id"] == "r1"
        assert line["trace_id"] == f"{trace_id_of('r1'):032x}"
        assert line["span_id"] == f"{span_id_of('r1', 'chat', 'c1'):016x}"
    assert [line["event"] for line in lines(stream)] == ["asked", "slow"]


def test_a_line_that_only_names_its_run_leads_to_the_runs_trace(stream: io.StringIO) -> None:
    structlog.get_logger("bot").warning("late", run_id="r2")
    structlog.get_logger("bot").warning("no run")
    first, second = lines(stream)
    assert (first["trace_id"], first["span_id"]) == (ids_of("r2")["trace_id"], ids_of("r2")["span_id"])
    assert "trace_id" not in second


def test_no_secret_gets_into_a_log_by_whatever_way(stream: io.StringIO) -> None:
    log = structlog.get_logger("bot")
    said = f"in the event {CANARY}"
    log.info(said, value=CANARY, nested={"deep": [CANARY, {CANARY: 1}]})
    log.warning("as an object", error=ValueError(CANARY), pair=(CANARY, {CANARY}), inside={"error": OSError(CANARY)})
    logging.getLogger("library").error("formatted %s", CANARY)
    try:
        broken(CANARY)
    except RuntimeError:
        log.exception("failed")
    assert "canary" not in stream.getvalue()
    assert len(lines(stream)) == 4
    assert "RuntimeError" in lines(stream)[3]["exception"]


def test_a_terminal_gets_pretty_lines_without_the_values_of_variables(stream: io.StringIO) -> None:
    del stream
    terminal = Terminal()
    configure_logging(redact, stream=terminal)
    hidden = str(Path("value") / "of" / "a" / "variable")
    try:
        broken("it broke")
    except RuntimeError:
        structlog.get_logger("bot").exception("failed", length=len(hidden))
    assert "it broke" in terminal.getvalue()
    assert hidden not in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue().splitlines()[0])


def test_children_of_a_runs_context_join_its_trace() -> None:
    from opentelemetry import trace  # noqa: PLC0415  # only here

    span = trace.get_current_span(context_of("r3", "tool", "a1", 0)).get_span_context()
    assert (span.trace_id, span.span_id) == (trace_id_of("r3"), span_id_of("r3", "tool", "a1", 0))

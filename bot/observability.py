"""Logs by structlog: JSON or pretty, each line of a run linked to its trace, all redacted."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from agent.secrets import redacted as everywhere
from agent.telemetry import ids_of

Redact = Callable[[str], str]


def configure_logging(redact: Redact, *, stream: TextIO | None = None, file: Path | None = None) -> None:
    """Our lines and the libraries' through one renderer: JSON for machines, colours for a terminal."""
    target = file.open("a", encoding="utf-8") if file is not None else stream or sys.stderr
    is_terminal = file is None and target.isatty()

    def redacted(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {key: everywhere(_plain(value), redact) for key, value in event.items()}

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _correlated,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    final.append(structlog.processors.format_exc_info)  # before the redaction, so that it sees the traceback
    final.append(redacted)
    # The pretty tracebacks show local variables, and those may hold what nobody may see.
    final.append(
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if is_terminal
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # It names the collector's address at every try; `bot/tracing.py` says once that nobody takes the spans.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    for noisy in ("apscheduler", "slack_bolt", "slack_sdk", "aiohttp", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _plain(value: Any) -> Any:  # noqa: ANN401  # whatever a line was given
    """As JSON has it, since the renderer would spell anything else out after the redaction."""
    if value is None or isinstance(value, str | int | float):
        return value
    return json.loads(json.dumps(value, default=repr))


def _correlated(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A line that names a run leads to its trace, also where nothing of the run is under way."""
    run = event.get("run_id")
    if isinstance(run, str) and run and "trace_id" not in event:
        event.update(ids_of(run))
    return event

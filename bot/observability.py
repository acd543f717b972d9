"""Logs by structlog, traces by the OpenTelemetry SDK, metrics for Prometheus; all redacted."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from agent.secrets import redacted as everywhere

Redact = Callable[[str], str]


def configure_logging(redact: Redact, *, stream: TextIO | None = None, file: Path | None = None) -> None:
    """Our lines and the libraries' through one renderer: JSON for machines, colours for a terminal."""
    target = file.open("a", encoding="utf-8") if file is not None else stream or sys.stderr
    is_terminal = file is None and target.isatty()

    def redacted(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {key: everywhere(value, redact) for key, value in event.items()}

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
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
    for noisy in ("apscheduler", "slack_bolt", "slack_sdk", "aiohttp", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class Metrics:
    """The first counters; each series stands from the start, so that its first event is seen."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts = Counter(
            "agent_events", "What happened, by name and label.", ("name", "label"), registry=self.registry
        )
        self.pending = Gauge("agent_approvals_pending", "Approvals that wait for people.", registry=self.registry)
        self.takeovers = Gauge("agent_takeovers_open", "Takeovers nobody has finished.", registry=self.registry)

    def count(self, name: str, label: str) -> None:
        """One more of these."""
        self.counts.labels(name=name, label=label).inc()

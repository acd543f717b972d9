"""Traces over a database, as the app builds them."""

from __future__ import annotations

from collections.abc import Mapping

from agent.secrets import redact
from bot.exporting import exporter_from
from bot.tracing import Traces
from storage.database import Database


def traces_of(db: Database, environment: Mapping[str, str]) -> Traces:
    """Started, with the exporter that the environment asks for."""
    traces = Traces(db, db.clock, redact, exporter=exporter_from(environment, None, redact))
    traces.start()
    return traces

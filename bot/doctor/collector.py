"""Where traces go: whether somebody listens there. Nothing is sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from bot.config import Settings
from bot.doctor.finding import Finding, mend, well

_CONNECT_S = 3.0
_PORTS = {"http": 80, "https": 443}
_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


async def look_at_collector(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Connect to the collector of traces, or look at the folder of their file."""
    endpoint = next((environment[name] for name in _VARIABLES if environment.get(name)), "")
    if endpoint:
        return iter((await _listens(endpoint),))
    if settings.trace_file is None:
        return iter((well("traces", "They are sent nowhere: neither an endpoint nor `trace_file` is set."),))
    folder = settings.trace_file.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return iter((mend("traces", f"{folder} cannot be written.", "Make it, or set `trace_file` to another file."),))
    return iter((well("traces", f"They are written to {settings.trace_file}."),))


async def _listens(endpoint: str) -> Finding:
    fix = "Start the collector, or mend OTEL_EXPORTER_OTLP_ENDPOINT; meanwhile traces are dropped, and nothing waits."
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = None, 0
    if not host or not port:
        return mend("traces", "OTEL_EXPORTER_OTLP_ENDPOINT is no address.", "Write it like http://127.0.0.1:4318.")
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()
    except (OSError, TimeoutError):
        return mend("traces", f"Nobody listens at {host}:{port}.", fix)
    return well("traces", f"Somebody listens at {host}:{port}.")

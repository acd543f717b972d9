"""Opens a connection to a declared server: secrets are joined here, at the edge, and nowhere before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.broker import Broker
from agent.errors import McpUnavailable, ToolError
from agent.mcp.session import McpSession, open_session
from agent.mcp.settings import McpServerSettings
from agent.mcp.stdio import Ending, stdio_streams
from agent.mcp.web import GuardedTransport, web_streams
from agent.ports import SandboxCall
from agent.sandbox.resident import Residence
from agent.telemetry import Telemetry
from agent.tools.egress import Url
from agent.tools.http_client import Resolve, resolve

#: Processor time, memory and room of one server, with all that it starts; one that has used them up is started anew.
_CPU_S, _MEMORY, _DISK, _ENTRIES = 3_600, 1_073_741_824, 268_435_456, 10_000


@dataclass(frozen=True, slots=True)
class Edge:
    """What every connection is opened with."""

    broker: Broker
    telemetry: Telemetry


def secret_place(server: str) -> str:
    """What a secret's `hosts` must name so that a server's program may have it."""
    return f"mcp:{server}"


@contextlib.asynccontextmanager
async def open_program(
    name: str, settings: McpServerSettings, residence: Residence, scratch: Path, edge: Edge
) -> AsyncGenerator[McpSession]:
    """Start a server's program in a sandbox: no network, its own scratch folder, what it may read. Raises ToolError."""

    def environment() -> dict[str, str]:
        return {key: edge.broker.fill(value, secret_place(name)) for key, value in settings.env.items()}

    def folder() -> Path:
        scratch.mkdir(parents=True, exist_ok=True, mode=0o755)
        return scratch.resolve()

    try:
        workspace = await asyncio.to_thread(folder)
    except OSError as error:
        raise McpUnavailable(f"The scratch folder of {name} cannot be made: {error.strerror}.") from error
    call = SandboxCall(
        command=(settings.command, *settings.args),
        workspace=workspace,
        environment=await asyncio.to_thread(environment),
        read_only=settings.read_only,
        memory_bytes=_MEMORY,
        disk_bytes=_DISK,
        disk_entries=_ENTRIES,
        cpu_s=_CPU_S,
    )
    ending = Ending()
    async with open_session(name, stdio_streams(residence, call, ending), ending, edge.telemetry) as session:
        yield session


@contextlib.asynccontextmanager
async def open_address(
    name: str, settings: McpServerSettings, edge: Edge, resolver: Resolve = resolve
) -> AsyncGenerator[McpSession]:
    """Speak to a server at an address; raises ToolError."""
    address = settings.address

    def headers(url: Url) -> Mapping[str, str]:
        return {key: edge.broker.fill(value, url.origin) for key, value in settings.headers.items()}

    ending = Ending()
    transport = GuardedTransport(settings.egress, headers, resolver, ending)
    streams = web_streams(address, transport)
    try:
        async with open_session(name, streams, ending, edge.telemetry, transport) as session:
            yield session
    except Exception as error:
        if transport.refused is not None and not isinstance(error, ToolError):
            raise transport.refused from error
        raise

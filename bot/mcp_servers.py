"""The declared MCP servers of this process, and the tools of theirs that were trusted."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from agent.broker import Broker
from agent.errors import ConfigurationError, SandboxUnavailable, SecondKeyError
from agent.mcp.server import McpServer, Opener, Session
from agent.mcp.settings import McpServerSettings, read_servers
from agent.ports import Clock, Sandbox
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.landlock import Landlock
from agent.telemetry import Telemetry
from agent.tools.http_client import Resolve, resolve
from agent.tools.mcp import McpTool
from agent.tools.registry import Registry
from storage.database import Database
from storage.mcp_tools import TrustedTool, trusted

_LOOK_EVERY_S = 1.0

_log = structlog.get_logger(__name__)


class McpServers:
    """Every `[mcp.NAME]`. Nothing is started or spoken to before a tool of it is asked for."""

    def __init__(
        self, declared: Mapping[str, McpServerSettings], *, data: Path, broker: Broker, clock: Clock,
        resolver: Resolve = resolve,
    ) -> None:  # fmt: skip
        """Servers' programs get scratch folders below `data`."""
        self._declared, self._data, self._broker, self._resolver = declared, data, broker, resolver
        self.sandbox: Sandbox | None = None
        """Where programs run; they are refused until it is known."""
        self.telemetry = Telemetry()
        self._servers = {name: McpServer(name, self.opener(name), clock) for name in declared}
        self._stopped = asyncio.Event()
        self._seen: tuple[TrustedTool, ...] | None = None

    @classmethod
    def read(cls, given: Mapping[str, Mapping[str, Any]], *, data: Path, broker: Broker, clock: Clock) -> McpServers:
        """From the configuration; raises ConfigurationError with the place and the fix."""
        declared = read_servers(given)
        if declared and importlib.util.find_spec("mcp") is None:
            raise ConfigurationError(
                "[mcp] needs a package that is not installed.", fix="Install it: pip install 'secondkey[mcp]'."
            )
        return cls(declared, data=data, broker=broker, clock=clock)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all servers, sorted."""
        return tuple(sorted(self._declared))

    def settings(self, name: str) -> McpServerSettings:
        """How a server is declared; raises ConfigurationError when it is not."""
        if name not in self._declared:
            known = ", ".join(self.names) or "none"
            raise ConfigurationError(f"There is no [mcp.{name[:40]}].", fix=f"Declared: {known}.")
        return self._declared[name]

    def server(self, name: str) -> McpServer:
        """The server; raises ConfigurationError."""
        self.settings(name)
        return self._servers[name]

    def tools(self, known: Iterable[TrustedTool]) -> tuple[McpTool, ...]:
        """The trusted tools of the declared servers."""
        return tuple(
            McpTool(
                self._servers[one.server],
                one.definition,
                reads=one.definition.name in self._declared[one.server].reads,
                timeout_s=self._declared[one.server].timeout_s,
            )
            for one in known
            if one.server in self._declared
        )

    def refresh(self, registry: Registry, db: Database) -> None:
        """Let the registry have what is trusted by now, and say which servers have nothing that is.

        Raises StorageUnavailable, or ToolNotAllowed when a tool of one's own has such a name already.
        """
        now = db.read(trusted) if self._declared else ()
        if now == self._seen:
            return
        tools = self.tools(now)
        registry.extend(tools)
        self._seen = now
        for name in self.names:
            if not any(tool.server == name for tool in tools):
                _log.warning("mcp_server_not_trusted", server=name, fix=f"secondkey mcp trust {name}")

    async def keep(self, registry: Registry, db: Database) -> None:
        """Refresh whenever an operator trusted something in another process, until `stop`; then close everything."""
        try:
            while self._declared and not self._stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), _LOOK_EVERY_S)
                    break
                try:
                    self.refresh(registry, db)
                except SecondKeyError as error:
                    _log.warning("mcp_tools_not_refreshed", error=str(error))
        finally:
            await self.close()

    def stop(self) -> None:
        """Let `keep` end, and every program with it."""
        self._stopped.set()

    async def close(self) -> None:
        """End every connection, and the programs behind them."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))

    def opener(self, name: str) -> Opener:
        """How to connect to a declared server."""

        @contextlib.asynccontextmanager
        async def opened() -> AsyncGenerator[Session]:
            # The library takes a second to be imported, and only whoever uses a server is to wait for it.
            await asyncio.to_thread(importlib.import_module, "agent.mcp.opening")
            from agent.mcp import opening  # noqa: PLC0415 - as above

            declared, edge = self._declared[name], opening.Edge(self._broker, self.telemetry)
            if declared.url:
                async with opening.open_address(name, declared, edge, self._resolver) as session:
                    yield session
                return
            if not isinstance(self.sandbox, Bubblewrap | Landlock):
                raise SandboxUnavailable
            scratch = self._data / "mcp" / name
            async with opening.open_program(name, declared, self.sandbox, scratch, edge) as session:
                yield session

        return opened

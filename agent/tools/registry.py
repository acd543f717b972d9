"""Which tools there are and which worker may use which; everything else is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from agent.domain import Worker
from agent.errors import ToolNotAllowed
from agent.mcp.definition import PREFIX
from agent.ports import ToolSpec
from agent.tools.apply_changes import ApplyChanges
from agent.tools.base import Tool
from agent.tools.calculate import Calculate
from agent.tools.databases import NamedDatabase
from agent.tools.files import ListFiles, ReadFile, WriteFile
from agent.tools.http import HttpRequest
from agent.tools.packages import Packages
from agent.tools.python import RunPython
from agent.tools.search import Search
from agent.tools.shell import RunShell
from agent.tools.sql import QuerySql

_NONE: Mapping[str, float] = MappingProxyType({})
_NO_DATABASES: Mapping[str, NamedDatabase] = MappingProxyType({})
_READS = ("search", "list_files", "read_file", "calculate")
#: None stands for all.
_ALLOWED: Mapping[Worker, tuple[str, ...] | None] = MappingProxyType(
    {
        Worker.RESEARCH: (*_READS, "query_sql", "http_request"),
        Worker.CODE: None,
        Worker.REVIEW: (*_READS, "query_sql", "run_python"),
    }
)


class Registry:
    """The allowlist. A tool that is not in it does not exist."""

    def __init__(self, tools: Iterable[Tool[Any]], *, timeouts: Mapping[str, float] = _NONE) -> None:
        """Raises ToolNotAllowed when two tools have one name, or `timeouts` names a tool that is not there."""
        self._own, self._timeouts = tuple(tools), dict(timeouts)
        self.extend(())

    def extend(self, more: Iterable[Tool[Any]]) -> None:
        """Put tools beside those that it was made with, in place of those that were put there before.

        Raises ToolNotAllowed as at the beginning, and then changes nothing.
        """
        timeouts = self._timeouts
        found: dict[str, Tool[Any]] = {}
        for tool in (*self._own, *more):
            if tool.name in found:
                raise ToolNotAllowed(f"Two tools are called {tool.name!r}.")
            found[tool.name] = copy.copy(tool) if tool.name in timeouts else tool
        for name, seconds in timeouts.items():
            if name in found:
                found[name].timeout_s = seconds
            elif not name.startswith(PREFIX):  # those come and go
                raise ToolNotAllowed(f"There is no tool {name[:60]!r} to set a timeout for.")
        self._tools: Mapping[str, Tool[Any]] = MappingProxyType(found)
        reading = {tool.name: _for_reading(tool) for tool in found.values()}
        self._reading: Mapping[str, Tool[Any]] = MappingProxyType(reading)
        self._specs: Mapping[Worker, tuple[ToolSpec, ...]] = MappingProxyType(
            {
                worker: tuple(self.get(name, worker).spec() for name in self.names if self.allows(name, worker))
                for worker in Worker
            }
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All tools, sorted."""
        return tuple(sorted(self._tools))

    @property
    def services(self) -> tuple[str, ...]:
        """Those that something stands behind which can fail: all but those that run in the sandbox."""
        return tuple(name for name in self.names if not self._tools[name].needs_sandbox)

    def get(self, name: str, worker: Worker | None = None) -> Tool[Any]:
        """The tool, as the worker may use it when one is named; raises ToolNotAllowed."""
        tool = self._tools.get(name)
        if tool is None or not self.allows(name, worker):
            raise ToolNotAllowed(f"The tool {name[:60]!r} is not on the allowlist.")
        return self._reading[name] if worker in {Worker.RESEARCH, Worker.REVIEW} else tool

    def allows(self, name: str, worker: Worker | None = None) -> bool:
        """Whether the tool is on the list at all, and on the worker's."""
        if name not in self._tools:
            return False
        allowed = _ALLOWED[worker] if worker is not None else None
        return allowed is None or name in allowed or self._tools[name].read_only

    def specs(self, worker: Worker) -> tuple[ToolSpec, ...]:
        """What a worker's model is told of its tools, sorted by name."""
        return self._specs[worker]


def _for_reading(tool: Tool[Any]) -> Tool[Any]:
    """The tool as workers have it that only read."""
    match tool:
        case QuerySql() | HttpRequest():
            reading: Tool[Any] = tool.for_reading()
        case _:
            return tool
    reading.timeout_s = tool.timeout_s
    return reading


def default_tools(
    databases: Mapping[str, NamedDatabase] = _NO_DATABASES, packages: Packages | None = None
) -> tuple[Tool[Any], ...]:
    """The nine tools that every installation has; http_request comes with a list of places.

    `databases` are those that query_sql may reach, `packages` those that run_python may import.
    """
    return (
        Search(),
        ListFiles(),
        ReadFile(),
        WriteFile(),
        Calculate(),
        RunPython(packages),
        RunShell(),
        QuerySql(databases),
        ApplyChanges(),
    )

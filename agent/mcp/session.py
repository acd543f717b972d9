"""A connection as the protocol's own library speaks it: hands shaken, tools listed, calls made, nothing else granted.

What a server asks of its client (to sample a model, to ask a person, to see folders) is refused; it is not told of any
such ability. Results are not checked against a server's own schema for them: nothing here relies on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from typing import Any, Protocol, TypeVar

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from pydantic import ValidationError

from agent.errors import McpUnavailable, ToolError, ToolFailed
from agent.facts.bounds import MAX_NESTING
from agent.mcp.definition import Definition, depth_of
from agent.mcp.server import Answer
from agent.mcp.stdio import Ending
from agent.mcp.texts import clean
from agent.telemetry import Telemetry

_MOST_TEXT = 65_536
_MOST_DATA = 65_536
_MOST_PAGES, _MOST_LISTED = 20, 512
_MOST_BLOCKS = 200
#: The library tells of every message that it cannot read, with the message; a server may send many.
_LOGGERS = ("mcp", "client")
_GONE = ("Connection closed", "Session terminated", "SSE stream ", "Server returned an error response")
_UNSEEN = SpanContext(trace_id=1, span_id=1, is_remote=False, trace_flags=TraceFlags(0))
T = TypeVar("T")


@contextlib.asynccontextmanager
async def open_session(
    name: str,
    streams: AbstractAsyncContextManager[Any],
    ending: Ending,
    telemetry: Telemetry,
    carrier: Carrier | None = None,
) -> AsyncGenerator[McpSession]:
    """Shake hands over these streams; raises ToolError."""
    for logger in _LOGGERS:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    info = types.Implementation(name="secondkey", version=metadata.version("secondkey"))
    async with streams as (incoming, outgoing), ClientSession(incoming, outgoing, client_info=info) as inner:
        session = McpSession(name, inner, ending, telemetry, carrier)
        await session.shake_hands()
        yield session


class Carrier(Protocol):
    """What carries the messages, where it has something of its own to tell."""

    refused: ToolError | None
    """Why our own side did not send the last one."""
    session_id: str


class McpSession:
    """An open connection to one server."""

    def __init__(
        self,
        name: str,
        inner: ClientSession,
        ending: Ending,
        telemetry: Telemetry,
        carrier: Carrier | None,
    ) -> None:
        self._name, self._inner, self._ending = name, inner, ending
        self._telemetry, self._carrier = telemetry, carrier

    @property
    def about(self) -> str:
        """What the server calls itself, and the version of the protocol; for people."""
        info = self._inner.server_info
        called = clean(f"{info.name} {info.version}", 120).replace("\n", " ") if info is not None else "unnamed"
        return f"{called}, protocol {clean(str(self._inner.protocol_version), 20)}"

    @property
    def _session_id(self) -> str:
        return self._carrier.session_id if self._carrier is not None else ""

    async def shake_hands(self) -> None:
        """Agree on a version, the widely spoken ones first. Raises ToolError."""

        async def either() -> None:
            try:
                await self._inner.initialize()
            except MCPError as error:
                if error.code not in {types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION}:
                    raise
                await self._inner.discover()

        await self._asked(either(), "initialize")

    async def definitions(self) -> Sequence[Definition]:
        """Its tools as it describes them now; never more than a few hundred. Raises ToolError."""
        found: list[Definition] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
            page = await self._asked(
                self._inner.send_request(types.ListToolsRequest(params=params), types.ListToolsResult), "tools/list"
            )
            found += [_definition(one) for one in page.tools[: _MOST_LISTED - len(found)]]
            cursor = page.next_cursor
            if not cursor or len(found) >= _MOST_LISTED:
                break
        return found

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool. Raises ToolFailed when the server says that it cannot, McpUnavailable when it is gone."""
        params = types.CallToolRequestParams(name=tool, arguments=arguments)
        result = await self._asked(
            self._inner.send_request(types.CallToolRequest(params=params), types.CallToolResult), "tools/call", tool
        )
        if (kind := getattr(result, "result_type", "complete")) not in {None, "complete"}:
            raise ToolFailed(
                f"The MCP server {self._name} wants something of its own ({clean(str(kind), 40)}); refused."
            )
        return await asyncio.to_thread(_answer, result)

    async def ended(self) -> None:
        """Wait until the server has ended the connection."""
        await self._ending.over.wait()

    async def _asked(self, question: Awaitable[T], method: str, target: str = "") -> T:
        try:
            with (
                self._telemetry.mcp_call(method, target, session=self._session_id),
                _unseen(),
            ):
                return await question
        except MCPError as error:
            if self._carrier is not None and (why := self._carrier.refused) is not None:
                raise why from error
            if self._is_over(error):
                said = self._ending.why or "the connection was closed"
                raise McpUnavailable(f"The MCP server {self._name} is gone: {said}.") from error
            words = clean(error.message, 300)
            raise ToolFailed(f"The MCP server {self._name} refused: {words} ({error.code})") from error
        except ValidationError as error:
            raise McpUnavailable(f"The MCP server {self._name} answered what the protocol does not know.") from error

    def _is_over(self, error: MCPError) -> bool:
        """Whether it is the connection that failed: its library says so in these words, its codes are anybody's."""
        return self._ending.over.is_set() or error.message.startswith(_GONE)


def _unseen() -> contextlib.AbstractContextManager[object]:
    """Under a parent that is not sampled: what the library would record by itself holds a server's own words."""
    return trace.use_span(NonRecordingSpan(_UNSEEN), record_exception=False, set_status_on_exception=False)


def _definition(tool: types.Tool) -> Definition:
    hints = tool.annotations.model_dump(mode="json", by_alias=True, exclude_none=True) if tool.annotations else {}
    return Definition(
        name=tool.name,
        title=tool.title or "",
        description=tool.description or "",
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=hints,
    )


def _answer(result: types.CallToolResult) -> Answer:
    pieces: list[str] = []
    room = _MOST_TEXT
    for block in result.content[:_MOST_BLOCKS]:
        text = _text_of(block)[: room + 1]
        pieces.append(text)
        room -= len(text)
        if room < 0:
            break
    text = clean("\n".join(pieces), _MOST_TEXT)
    more = len(result.content) - len(pieces)
    if room < 0 or more > 0:
        text += "\n(cut here)"
    data = _bounded(result.structured_content)
    if not text and data is not None:
        text = clean(json.dumps(data, ensure_ascii=False), _MOST_TEXT)
    return Answer(text=text or "(no output)", data=data, ok=not result.is_error)


def _text_of(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"({block.type}, {clean(block.mime_type, 60)}, {len(block.data) * 3 // 4:,} bytes, not shown)"
        case types.ResourceLink():
            return f"(a link to {clean(str(block.uri), 500)}; it was not followed)"
        case types.EmbeddedResource():
            inner = block.resource
            if isinstance(inner, types.TextResourceContents):
                return inner.text
            return f"(a resource, {clean(str(inner.uri), 500)}, not shown)"


def _bounded(data: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The data, if it is small and shallow enough to be kept."""
    if data is None or depth_of(data) > MAX_NESTING:
        return None
    try:
        return data if len(json.dumps(data)) <= _MOST_DATA else None
    except (ValueError, RecursionError):
        return None

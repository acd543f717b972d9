"""A server behind an address: requests to its own origin only, the name resolved and checked, the sizes bounded."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx2
from mcp.client.streamable_http import streamable_http_client

from agent.errors import BadArguments, HostNotAllowed, ToolError, ToolFailed
from agent.mcp.stdio import MAX_MESSAGE, Ending
from agent.mcp.texts import clean
from agent.tools.egress import Egress, Url, read_url
from agent.tools.http_client import HttpClient, Resolve

_MOST_BYTES = 8 * 1_048_576
_CONNECT_S, _READ_S, _GOODBYE_S = 10.0, 300.0, 1.0

Headers = Callable[[Url], Mapping[str, str]]
"""What to send along to an origin, secrets filled in. Blocks; raises SecretNotAllowed."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests where the egress rules allow it, to the very address that was checked."""

    def __init__(self, egress: Egress, headers: Headers, resolver: Resolve, ending: Ending) -> None:
        self._client = HttpClient(egress, resolver=resolver)
        self._headers, self._ending = headers, ending
        self._inner = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context(), trust_env=False, retries=0)
        self.refused: ToolError | None = None
        """Why the last request was not sent."""
        self.session_id = ""
        """What the server calls this connection, cut; empty when it does not."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check, then send; raises httpx2.TransportError."""
        # A stream of news that nobody asked for is not opened: what a tool is, is looked up before each call.
        if request.method == "GET":
            return httpx2.Response(405, request=request)
        self.refused = None
        try:
            url = read_url(str(request.url))
            addresses = await self._client.addresses(request.method, url)
            given = await asyncio.to_thread(self._headers, url)
        except BadArguments as error:
            self.refused = HostNotAllowed(f"It leads to an address that is not usable: {error}")
            raise httpx2.ConnectError("refused", request=request) from error
        except ToolError as error:
            self.refused = error
            raise httpx2.ConnectError("refused", request=request) from error
        sent = httpx2.Headers(request.headers)
        sent.update(given)
        sent["Accept-Encoding"] = "identity"
        sent["User-Agent"] = "secondkey"
        sent["Host"] = request.headers["Host"]
        inner = httpx2.Request(
            request.method,
            request.url.copy_with(host=addresses[0]),
            headers=sent,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        async with asyncio.timeout(_GOODBYE_S if request.method == "DELETE" else None):
            answer = await self._inner.handle_async_request(inner)
        if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            await answer.aclose()
            self.refused = ToolFailed("It answers in an encoding that was not asked for.")
            raise httpx2.RemoteProtocolError("encoded", request=request)
        self.session_id = clean(answer.headers.get("Mcp-Session-Id", self.session_id), 100)
        is_stream = answer.headers.get("Content-Type", "").lower().startswith("text/event-stream")
        most = _MOST_BYTES if is_stream else MAX_MESSAGE
        return httpx2.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Bounded(answer, most, self._ending),
            request=request,
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, answer: httpx2.Response, most: int, ending: Ending) -> None:
        self._answer, self._most, self._ending = answer, most, ending

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._answer.stream
        assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101 - as the transport gives it
        async for chunk in stream:
            self._most -= len(chunk)
            if self._most < 0:
                self._ending.say("it sent more than is read")
                raise httpx2.ReadError("too much")
            yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


@asynccontextmanager
async def web_streams(
    url: Url, transport: GuardedTransport
) -> AsyncGenerator[tuple[object, object]]:  # fmt: skip
    """The two streams of a server's messages over streamable HTTP."""
    timeout = httpx2.Timeout(_CONNECT_S, read=_READ_S)
    async with (
        httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False) as client,
        streamable_http_client(str(url), http_client=client) as streams,
    ):
        yield streams

"""One request on the wire: the name resolved once, the address checked and connected to, sizes bounded."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agent.errors import BadArguments, HostNotAllowed, ToolFailed, ToolTimedOut, ToolUnavailable
from agent.tools.addresses import kind_of
from agent.tools.egress import Egress, Url, read_url

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as the machine's own resolver gives them; raises OSError."""
Headers = Mapping[str, str]

MAX_BODY = 1_048_576
_CHUNK = 65_536
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ENCODINGS = {"gzip": 47, "x-gzip": 47, "deflate": 47}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `body` is decompressed, and cut at its limit."""

    status: int
    headers: Headers
    body: bytes
    cut: bool
    url: Url
    """Where it came from in the end."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host by the machine's resolver; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class _Fixed(AbstractResolver):
    """Gives what was resolved and checked already: nobody can answer differently in between."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses, whatever the host."""
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


class HttpClient:
    """Makes requests to allowed places and follows redirects to allowed places."""

    def __init__(self, egress: Egress, *, resolver: Resolve = resolve, timeout_s: float = 29.0) -> None:
        self._egress, self._resolve, self._timeout_s = egress, resolver, timeout_s

    async def request(self, method: str, url: Url, headers: Callable[[Url], Headers], body: bytes = b"") -> Reply:
        """Make a request; `headers` gives them for each place anew, so that a redirect carries no secret elsewhere.

        Only GET and HEAD follow redirects. Raises HostNotAllowed, ToolFailed, ToolTimedOut.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(_MOST_REDIRECTS + 1):
                    reply = await self._once(method, url, headers(url), body)
                    target = reply.headers.get("Location", "")
                    if reply.status not in _REDIRECTS or not target or method not in {"GET", "HEAD"}:
                        return reply
                    url = _next(url, target)
        except TimeoutError as error:
            raise ToolTimedOut(f"{url.origin} did not answer within {self._timeout_s:.0f} seconds.") from error
        raise ToolFailed(f"It was redirected more than {_MOST_REDIRECTS} times.")

    async def addresses(self, method: str, url: Url) -> Sequence[str]:
        """The checked addresses of an allowed place; one that may not be reached spoils them all.

        Raises HostNotAllowed, ToolFailed.
        """
        allowed = self._egress.allowed(method, url)
        try:
            addresses = await self._resolve(url.host, url.port)
        except (OSError, UnicodeError) as error:
            raise ToolUnavailable(f"{url.host} cannot be found.") from error
        kinds = {kind_of(address) for address in addresses}
        if not kinds:
            raise ToolUnavailable(f"{url.host} cannot be found.")
        if "forbidden" in kinds or ("private" in kinds and not allowed.private):
            raise HostNotAllowed(f"{url.host} leads to an address inside a private or reserved network.")
        return addresses

    async def _once(self, method: str, url: Url, headers: Headers, body: bytes) -> Reply:
        addresses = await self.addresses(method, url)
        connector = aiohttp.TCPConnector(resolver=_Fixed(addresses), use_dns_cache=False, force_close=True)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        sent = {"User-Agent": "secondkey", "Accept-Encoding": "gzip, deflate", **headers}
        try:
            async with (
                session,
                session.request(
                    method,
                    URL(str(url), encoded=True),
                    headers=sent,
                    data=body or None,
                    allow_redirects=False,
                ) as answer,
            ):
                data, cut = await _read(answer)
                return Reply(answer.status, dict(answer.headers), data, cut, url)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, zlib.error, ValueError) as error:
            raise ToolUnavailable(f"{url.origin} did not answer properly ({type(error).__name__}).") from error


async def _read(answer: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The body, decompressed piece by piece, so that a small answer cannot become a large one."""
    # All that is said of it: what was encoded twice must not be taken for what was encoded once.
    coding = ", ".join(answer.headers.getall("Content-Encoding", ("identity",))).strip().lower()
    if coding != "identity" and coding not in _ENCODINGS:
        raise ToolFailed(f"The answer is encoded as {coding[:40]}, which is not read here.")
    inflate = None if coding == "identity" else zlib.decompressobj(_ENCODINGS[coding])
    body = bytearray()
    read = 0
    async for chunk in answer.content.iter_chunked(_CHUNK):
        read += len(chunk)
        room = MAX_BODY + 1 - len(body)
        body += chunk[:room] if inflate is None else inflate.decompress(chunk, room)
        if len(body) > MAX_BODY or read > MAX_BODY:
            return bytes(body[:MAX_BODY]), True
    return bytes(body), False


def _next(url: Url, target: str) -> Url:
    """Where a redirect leads; raises HostNotAllowed for one that cannot be read."""
    try:
        if target.startswith("//"):
            return read_url(f"{url.scheme}:{target}")
        if target.startswith("/"):
            return read_url(f"{url.origin}{target}")
        if ":" not in target.partition("/")[0]:
            return read_url(f"{url.origin}{url.path.rpartition('/')[0]}/{target}")
        return read_url(target)
    except BadArguments as error:
        raise HostNotAllowed(f"It was redirected to an address that is not usable: {error}") from error

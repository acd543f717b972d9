"""http_request: one request to an allowed place, with secrets joined at the edge."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from agent.broker import Broker, references
from agent.domain import Effect
from agent.errors import BadArguments, ToolNotAllowed
from agent.facts.model import Facts
from agent.facts.url import http_facts
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.egress import Egress, Url, read_url
from agent.tools.http_client import HttpClient, Reply, Resolve, resolve

_MARGIN_S = 1.0
_MOST_GIVEN = 65_536
_MOST_BODY = 65_536
_MOST_HEADERS = 30
_MOST_VALUE = 2_048
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_|~-]{1,64}")
_VALUE = re.compile(r"[\x20-\x7e]*")
#: These belong to the connection, or would lead elsewhere than was checked.
_OURS = frozenset(
    """host connection content-length transfer-encoding upgrade te trailer expect keep-alive cookie accept-encoding
    http2-settings forwarded via x-forwarded-host x-forwarded-for x-original-url x-rewrite-url
    x-http-method-override x-http-method x-method-override""".split()  # noqa: SIM905 - a list of words reads as words
)
_EFFECTS = {
    "GET": Effect.READ,
    "HEAD": Effect.READ,
    "POST": Effect.SEND,
    "PUT": Effect.MODIFY,
    "PATCH": Effect.MODIFY,
    "DELETE": Effect.DELETE,
}
_TEXTUAL = re.compile(
    r"^(?:text/|application/(?:[\w.+-]*\+)?(?:json|xml|javascript|yaml|x-ndjson|x-www-form-urlencoded))"
)


class HttpArguments(Arguments):
    """One request."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str = Field(min_length=1, max_length=4_096, description="The whole address, such as https://host/path?a=b.")
    headers: Annotated[dict[str, str], Field(description='Such as {"Authorization": "Bearer secret:API_TOKEN"}.')] = {}
    body: Annotated[str, Field(max_length=_MOST_BODY, description="What is sent; empty for none.")] = ""


class HttpRequest(Tool[HttpArguments]):
    """Make one HTTP request to a place on the operator's list."""

    name = "http_request"
    description = (
        "Make one HTTP request to an allowed host. Write secret:NAME in a header or the body for a secret that you"
        " were told of; its value is put in on the way. Reads run; everything else is asked."
    )
    arguments = HttpArguments

    def __init__(
        self, resolver: Resolve = resolve, *, egress: Egress | None = None, broker: Broker | None = None
    ) -> None:
        """`egress` and `broker` are told to models: where requests may go, and which secrets there are by name."""
        self._resolver = resolver
        if egress is not None and broker is not None:
            places = "; ".join(egress.words(broker.for_place(origin), origin) for origin in egress.origins)
            self.description = f"{self.description} Allowed: {places}."

    def for_reading(self) -> HttpRequest:
        """The same tool for a worker that only reads."""
        reading = _HttpRead(self._resolver)
        reading.description = self.description
        return reading

    async def bind(self, arguments: HttpArguments, context: ToolContext) -> HttpArguments:
        """The address in its one spelling; raises BadArguments, HostNotAllowed, SecretNotAllowed."""
        url = read_url(arguments.url)
        context.egress.allowed(arguments.method, url)
        check_headers(arguments.headers)
        if references(str(url)):
            raise BadArguments("A secret does not belong in an address; write it in a header or the body.")
        if arguments.body and arguments.method in {"GET", "HEAD"}:
            raise BadArguments(f"A {arguments.method} request has no body.")
        context.broker.check("\n".join((*arguments.headers.values(), arguments.body)), url.origin)
        return arguments.model_copy(update={"url": str(url)})

    def repeatable(self, arguments: HttpArguments) -> bool:
        """A read, by what its method says."""
        return _EFFECTS[arguments.method] is Effect.READ

    async def facts(self, arguments: HttpArguments, context: ToolContext) -> Facts:
        """What the method says, and where it goes."""
        context.egress.allowed(arguments.method, read_url(arguments.url))
        facts = http_facts(arguments.method, arguments.url, arguments.body)
        # Who configures a place names it on purpose, also one in a network of their own or at an odd port; addresses
        # that are written to deceive never get as far as this.
        flags = (*(flag for flag in facts.flags if flag not in {"private_host", "odd_address"}), "allowed_host")
        return facts.model_copy(update={"flags": flags})

    async def preview(self, arguments: HttpArguments, context: ToolContext) -> Preview:
        """The request as it would be sent, with the names of secrets."""
        del context
        lines = [f"{arguments.method} {arguments.url}"]
        lines += [f"{name}: {value}" for name, value in arguments.headers.items()]
        text = "\n".join(lines) + (f"\n\n{arguments.body}" if arguments.body else "")
        return Preview(kind="request", text=text, count=1)

    def headline(self, arguments: HttpArguments, preview: Preview) -> str:
        """Such as "Send POST https://api.example.com/orders"."""
        del preview
        verb = "Get" if arguments.method in {"GET", "HEAD"} else f"Send {arguments.method} to"
        return f"{verb} {arguments.url}"[:150]

    def service(self, arguments: HttpArguments) -> str:
        """Each place stands for itself."""
        return f"{self.name} {read_url(arguments.url).origin}"

    async def run(self, arguments: HttpArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """The answer; raises HostNotAllowed, SecretNotAllowed, ToolFailed, ToolTimedOut."""
        del preview
        first, broker = read_url(arguments.url), context.broker

        def headers(url: Url) -> Mapping[str, str]:
            named = arguments.headers.items()
            if url.origin != first.origin:  # a redirect to another allowed place takes nothing private along
                return {name: value for name, value in named if not _is_private(name, value)}
            return {name: broker.fill(value, url.origin) for name, value in named}

        escape = _in_json if _is_json(arguments.headers) else str
        body = await asyncio.to_thread(broker.fill, arguments.body, first.origin, escape)
        client = HttpClient(
            context.egress, resolver=self._resolver, timeout_s=max(_MARGIN_S, self.timeout_s - _MARGIN_S)
        )
        reply = await client.request(arguments.method, first, headers, body.encode())
        return _result(arguments, reply)


class _HttpRead(HttpRequest):
    async def bind(self, arguments: HttpArguments, context: ToolContext) -> HttpArguments:
        """As its parent's; raises ToolNotAllowed for what does not only read."""
        if _EFFECTS[arguments.method] is not Effect.READ:
            raise ToolNotAllowed(f"This worker only reads, so it makes no {arguments.method} requests.")
        return await super().bind(arguments, context)

    async def run(self, arguments: HttpArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """As its parent's; raises ToolNotAllowed for what does not only read."""
        if _EFFECTS[arguments.method] is not Effect.READ:
            raise ToolNotAllowed("This worker only reads.")
        return await super().run(arguments, context, preview)


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise BadArguments for headers that are not the agent's to set."""
    if len(headers) > _MOST_HEADERS:
        raise BadArguments(f"There are more than {_MOST_HEADERS} headers.")
    for name, value in headers.items():
        lower = name.lower()
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value) or len(value) > _MOST_VALUE:
            raise BadArguments(f"The header {name[:60]!r} is not one line of plain text.")
        if lower in _OURS or lower.startswith(("proxy-", "sec-", ":")):
            raise BadArguments(f"The header {name} is not for the agent to set.")
    if len({name.lower() for name in headers}) != len(headers):
        raise BadArguments("A header stands there twice.")


def _is_private(name: str, value: str) -> bool:
    return name.lower() == "authorization" or bool(references(value))


def _is_json(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "content-type" and "json" in value.lower() for name, value in headers.items())


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _result(arguments: HttpArguments, reply: Reply) -> ToolResult:
    kind = next((value for name, value in reply.headers.items() if name.lower() == "content-type"), "")
    text = _text(reply, kind)
    given = text[:_MOST_GIVEN]
    cut = reply.cut or len(given) < len(text)
    ok = 200 <= reply.status < 400  # noqa: PLR2004 - what HTTP calls a success or a redirect
    head = f"{reply.status} {kind}".strip()
    return ToolResult(
        text=f"{head}\n\n{given}" + ("\n(cut here)" if cut else ""),
        data={
            "status": reply.status,
            "content_type": kind,
            "body": given,
            "json": _parsed(text, kind) if not cut else None,
            "url": str(reply.url),
            "cut": cut,
        },
        summary=f"{arguments.method} {arguments.url[:150]} answered {reply.status}",
        ok=ok,
    )


def _text(reply: Reply, kind: str) -> str:
    if reply.body and not _TEXTUAL.match(kind.lower()) and b"\0" in reply.body:
        return f"({len(reply.body):,} bytes that are no text)"
    return reply.body.decode(errors="replace")


def _parsed(text: str, kind: str) -> object:
    if "json" not in kind.lower():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None

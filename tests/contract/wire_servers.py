"""Servers on the loopback that speak the wire formats of model services, with the shapes of recorded replies."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

Format = Literal["anthropic", "openai", "openai-chat"]
FORMATS: tuple[Format, ...] = ("anthropic", "openai", "openai-chat")
PATHS = {"anthropic": "/v1/messages", "openai": "/v1/responses", "openai-chat": "/v1/chat/completions"}
MODELS = {"anthropic": "claude-haiku-5-5", "openai": "gpt-6-luna", "openai-chat": "gpt-6-luna"}


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call in a reply; `arguments` is the JSON text as the service sends it."""

    id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Canned:
    """One HTTP reply. `hangs` never answers; `cut` closes the connection after so many bytes of the body.

    `drips` sends one byte each so many seconds, which keeps a time limit between two bytes from ever being reached.
    """

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hangs: bool = False
    cut: int = 0
    drips: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One HTTP request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class WireServer:
    """A service that gives the canned replies in turn and keeps what it was sent."""

    url: str = ""
    replies: deque[Canned] = field(default_factory=deque[Canned])
    seen: list[Seen] = field(default_factory=list[Seen])
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.seen.append(Seen(request.path, dict(request.headers), json.loads(await request.text() or "{}")))
        self.asked.set()
        # A second request of one call must show as a count, not as an error of the test's server.
        canned = self.replies.popleft() if self.replies else Canned(status=500, body="{}")
        if canned.hangs:
            await self.closing.wait()
        if canned.drips:
            return await self._drip(request, canned)
        if not canned.cut:
            headers = {"content-type": "application/json", **canned.headers}
            return web.Response(status=canned.status, text=canned.body, headers=headers)
        response = web.StreamResponse(status=canned.status, headers={"content-type": "application/json"})
        response.content_length = len(canned.body.encode())
        await response.prepare(request)
        await response.write(canned.body.encode()[: canned.cut])
        assert request.transport is not None
        request.transport.close()
        return response

    async def _drip(self, request: web.Request, canned: Canned) -> web.StreamResponse:
        body = canned.body.encode()
        response = web.StreamResponse(status=canned.status, headers={"content-type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        for at in range(len(body)):
            try:
                await response.write(body[at : at + 1])
            except ConnectionError:
                break  # whoever asked has had enough
            try:
                async with asyncio.timeout(canned.drips):
                    await self.closing.wait()
                break
            except TimeoutError:
                continue
        return response


@asynccontextmanager
async def wire_server() -> AsyncGenerator[WireServer]:
    """Serve on a free port of the loopback."""
    server = WireServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.closing.set()
        await runner.cleanup()


def base_url(wire: Format, server: WireServer) -> str:
    """The address as a person would configure it."""
    return server.url if wire == "anthropic" else f"{server.url}/v1"


def reply(wire: Format, text: str = "", calls: Sequence[Call] = (), *, tokens: tuple[int, int] = (25, 11)) -> Canned:
    """A good reply of this format."""
    made = {"anthropic": _anthropic, "openai": _responses, "openai-chat": _chat}[wire](text, calls, tokens)
    return Canned(body=json.dumps(made))


def cut_off(wire: Format, call: Call) -> Canned:
    """A reply that ran into the limit of output tokens within a tool call."""
    body = json.loads(reply(wire, calls=[call]).body)
    if wire == "anthropic":
        body["stop_reason"] = "max_tokens"
    elif wire == "openai":
        body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    else:
        body["choices"][0]["finish_reason"] = "length"
    return Canned(body=json.dumps(body))


def cached(wire: Format, text: str, *, fresh: int, read: int, written: int = 0) -> Canned:
    """A reply to a request of which so many tokens came from the provider's cache; Anthropic alone counts writes."""
    body = json.loads(reply(wire, text).body)
    usage = body["usage"]
    if wire == "anthropic":
        usage |= {
            "input_tokens": fresh,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        }
    elif wire == "openai":
        usage |= {"input_tokens": fresh + read, "input_tokens_details": {"cached_tokens": read}}
    else:
        usage |= {"prompt_tokens": fresh + read, "prompt_tokens_details": {"cached_tokens": read}}
    return Canned(body=json.dumps(body))


def reasoned(wire: Format, text: str, *, thought: int, said: int) -> Canned:
    """A reply for which the model thought first; what it thought is billed as written."""
    body = json.loads(reply(wire, text).body)
    if wire == "anthropic":
        thinking = {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCkYIBxgCKkD"}
        body["content"].insert(0, thinking)
        body["usage"]["output_tokens"] = thought + said
    elif wire == "openai":
        reasoning = {"type": "reasoning", "id": "rs_67ccd3acc8d4", "summary": [], "status": "completed"}
        body["output"].insert(0, reasoning)
        body["usage"] |= {
            "output_tokens": thought + said,
            "output_tokens_details": {"reasoning_tokens": thought},
        }
    else:
        body["usage"] |= {
            "completion_tokens": thought + said,
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
    return Canned(body=json.dumps(body))


def refused(wire: Format, words: str) -> Canned:
    """A reply in which the model will not do it."""
    body = json.loads(reply(wire, "" if wire == "anthropic" else words).body)
    if wire == "anthropic":
        body |= {"content": [], "stop_reason": "refusal"}
    elif wire == "openai":
        body["output"][0]["content"] = [{"type": "refusal", "refusal": words}]
    else:
        body["choices"][0]["message"] |= {"content": None, "refusal": words}
    return Canned(body=json.dumps(body))


def empty(wire: Format) -> Canned:
    """A reply with nothing in it."""
    body = json.loads(reply(wire, "").body)
    body |= {"content": []} if wire == "anthropic" else {"output": []} if wire == "openai" else {"choices": []}
    return Canned(body=json.dumps(body))


def filtered(wire: Format) -> Canned:
    """A reply that the provider's own filter stopped."""
    body = json.loads(reply(wire, "The begin").body)
    if wire == "anthropic":
        body["stop_reason"] = "refusal"
    elif wire == "openai":
        body |= {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    else:
        body["choices"][0]["finish_reason"] = "content_filter"
    return Canned(body=json.dumps(body))


def cut_short(wire: Format, text: str) -> Canned:
    """A text that ran into the limit of output tokens."""
    body = json.loads(reply(wire, text).body)
    if wire == "anthropic":
        body["stop_reason"] = "max_tokens"
    elif wire == "openai":
        body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    else:
        body["choices"][0]["finish_reason"] = "length"
    return Canned(body=json.dumps(body))


def counted(wire: Format, tokens: int) -> Canned:
    """What a service says of the length of a request."""
    kind = {} if wire == "anthropic" else {"object": "response.input_tokens"}
    return Canned(body=json.dumps({**kind, "input_tokens": tokens}))


def without_usage(wire: Format, text: str) -> Canned:
    """A reply of a careless gateway that does not count tokens."""
    body = json.loads(reply(wire, text).body)
    if wire == "anthropic":
        body["usage"] = {"input_tokens": 0, "output_tokens": 0}
    else:
        del body["usage"]
    return Canned(body=json.dumps(body))


def failure(wire: Format, status: int, kind: str, message: str, **headers: str) -> Canned:
    """An error in the shape of this format; underscores in the names of headers stand for dashes."""
    error: dict[str, Any] = {"type": kind, "message": message}
    body: dict[str, Any] = {"error": error}
    if wire == "anthropic":
        body |= {"type": "error", "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}
    else:
        error |= {"param": None, "code": kind}
    return Canned(status, json.dumps(body), {name.replace("_", "-"): value for name, value in headers.items()})


def tool_results(wire: Format, body: dict[str, Any]) -> list[tuple[str, str]]:
    """The (call id, text) pairs of the tool results in a request of this format."""
    match wire:
        case "anthropic":
            blocks = [
                block
                for message in body["messages"]
                if isinstance(message["content"], list)
                for block in message["content"]
                if block["type"] == "tool_result"
            ]
            return [(block["tool_use_id"], _block_text(block["content"])) for block in blocks]
        case "openai":
            items = [item for item in body["input"] if item.get("type") == "function_call_output"]
            return [(item["call_id"], item["output"]) for item in items]
        case "openai-chat":
            items = [item for item in body["messages"] if item["role"] == "tool"]
            return [(item["tool_call_id"], item["content"]) for item in items]


def _block_text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def _anthropic(text: str, calls: Sequence[Call], tokens: tuple[int, int]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [
        {"type": "tool_use", "id": call.id, "name": call.tool, "input": json.loads(call.arguments)} for call in calls
    ]
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": MODELS["anthropic"],
        "content": content,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "service_tier": "standard",
        },
    }


def _responses(text: str, calls: Sequence[Call], tokens: tuple[int, int]) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    if text:
        output.append(
            {
                "type": "message",
                "id": "msg_67ccd3acc8d48190a77525dc6de64b4104becb25c45c1d41",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        )
    output += [
        {
            "type": "function_call",
            "id": f"fc_{call.id}",
            "call_id": call.id,
            "name": call.tool,
            "arguments": call.arguments,
            "status": "completed",
        }
        for call in calls
    ]
    return {
        "id": "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
        "object": "response",
        "created_at": 1_795_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODELS["openai"],
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": tokens[0],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": tokens[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(tokens),
        },
    }


def _chat(text: str, calls: Sequence[Call], tokens: tuple[int, int]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.tool, "arguments": call.arguments}}
            for call in calls
        ]
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1_795_000_000,
        "model": MODELS["openai-chat"],
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if calls else "stop",
            }
        ],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }

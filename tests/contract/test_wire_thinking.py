"""What goes over the wire besides words: marks for a service's cache, and thinking that a service wants back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic_ai import models

from agent.fakes import ManualClock
from agent.model import WireModel
from agent.ports import Message, ModelReply, ModelRequest, Thought, ToolCall, ToolSpec
from agent.resilience import Breakers
from tests.contract import wire_servers as wires
from tests.contract.wire_servers import Call, Canned, Format, WireServer

READ_FILE = ToolSpec("read_file", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
HELLO = (Message(role="system", text="You help."), Message(role="user", text="Hello"))
CALL = Call("call_1", "read_file", '{"path": "a.md"}')
SEAL = "EqQBCkYIBxgCKkDsealed"


@dataclass
class Talk:
    """A model before a server that keeps what it is sent."""

    format: Format
    server: WireServer
    model: WireModel

    async def ask(self, canned: Canned, *messages: Message, goes_on: bool = True) -> ModelReply:
        self.server.replies.append(canned)
        name = f"{self.format}:{wires.MODELS[self.format]}"
        request = ModelRequest(name, (*HELLO, *messages), (READ_FILE,), timeout_s=5.0, goes_on=goes_on)
        return await self.model.complete(request)

    async def then(self, reply: ModelReply) -> str:
        """Answer the reply's call and ask on; what was sent, as text."""
        said = Message(role="assistant", text=reply.text, calls=reply.calls, thoughts=reply.thoughts)
        got = Message(role="tool", text="hello", call_id=reply.calls[0].id, tool="read_file")
        await self.ask(wires.reply(self.format, "Done."), said, got)
        return json.dumps(self.server.seen[-1].body)


@pytest.fixture(params=["anthropic", "openai"])
async def talk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Talk]:
    monkeypatch.setattr(models, "ALLOW_MODEL_REQUESTS", True)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    kind, prefix = request.param, request.param.upper()
    async with wires.wire_server() as server:
        environment = {f"{prefix}_API_KEY": "k" * 20, f"{prefix}_BASE_URL": wires.base_url(kind, server)}
        clock = ManualClock()
        chain = (f"{kind}:{wires.MODELS[kind]}",)
        model = WireModel(chain, environment=environment, prices={}, clock=clock, breakers=Breakers(clock))
        yield Talk(kind, server, model)
        await model.aclose()


def thinking(format_: Format) -> Canned:
    """A reply in which the model thinks, and then calls a tool."""
    body = json.loads(wires.reply(format_, "", [CALL]).body)
    if format_ == "anthropic":
        body["content"].insert(0, {"type": "thinking", "thinking": "I shall read it.", "signature": SEAL})
    else:
        body["output"].insert(0, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEAL})
    return Canned(body=json.dumps(body))


async def test_thinking_goes_back_sealed_before_the_call_that_followed_it(talk: Talk) -> None:
    reply = await talk.ask(thinking(talk.format))
    assert [thought.signature for thought in reply.thoughts] == [SEAL]
    sent = await talk.then(reply)
    assert sent.index(SEAL) < sent.index("call_1")


async def test_thinking_of_one_provider_is_not_shown_to_another(talk: Talk) -> None:
    foreign = Thought("Only for me.", SEAL, "somebody-else")
    reply = ModelReply("", (ToolCall("call_1", "read_file", {"path": "a.md"}),), thoughts=(foreign,))
    sent = await talk.then(reply)
    assert SEAL not in sent
    assert "Only for me." not in sent


def marks(body: Any) -> int:  # whatever JSON
    if isinstance(body, dict):
        return ("cache_control" in body) + sum(marks(item) for item in body.values())
    return sum(marks(item) for item in body) if isinstance(body, list) else 0


async def test_a_conversation_that_goes_on_is_kept_by_anthropic_and_a_single_question_is_not(talk: Talk) -> None:
    await talk.ask(wires.reply(talk.format, "Hi."))
    body = talk.server.seen[-1].body
    if talk.format == "anthropic":
        assert "cache_control" in body["tools"][-1]
        assert "cache_control" in body["system"][-1]
        assert "cache_control" in body["messages"][-1]["content"][-1]
    assert marks(body) == (3 if talk.format == "anthropic" else 0)  # at most four are allowed; OpenAI keeps by itself
    await talk.ask(wires.reply(talk.format, "Hi."), goes_on=False)
    assert marks(talk.server.seen[-1].body) == 0


async def test_what_was_read_from_the_cache_costs_less(talk: Talk) -> None:
    fresh = await talk.ask(wires.cached(talk.format, "Hi.", fresh=10_000, read=0))
    read = await talk.ask(wires.cached(talk.format, "Hi.", fresh=100, read=9_900))
    assert 0 < read.cost_micro_usd < fresh.cost_micro_usd / 2

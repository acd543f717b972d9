"""The port ChatModel: the scripted fake and the real one, over each wire format, against the same tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import pytest
from pydantic_ai import models

from agent.errors import (
    CircuitOpen,
    ModelError,
    ModelMisconfigured,
    ModelRateLimited,
    ModelReplyInvalid,
    ModelUnavailable,
    UnknownPrice,
)
from agent.fakes import ManualClock, ScriptedModel
from agent.model import WireModel
from agent.ports import ChatModel, Message, ModelReply, ModelRequest, ToolCall, ToolSpec
from agent.resilience import Breakers
from tests.contract import wire_servers as wires
from tests.contract.wire_servers import Call, Canned, Format, WireServer

KEY = "PLANTED-canary-0123456789"  # of no shape that a pattern would know
READ_FILE = ToolSpec(
    "read_file",
    "Read a file of the project.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
HELLO = (Message(role="system", text="You help."), Message(role="user", text="Hello"))


class Changes(TypedDict, total=False):
    """What a test asks differently."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    must_call_tool: bool
    max_tokens: int
    timeout_s: float


@dataclass
class Subject:
    """A model under test and how to make it say something."""

    model: ChatModel
    name: str
    says: Callable[..., None]
    fails: Callable[[type[ModelError]], None]
    calls_made: Callable[[], int]

    def request(self, **changes: Unpack[Changes]) -> ModelRequest:
        return replace(ModelRequest(model=self.name, messages=HELLO, timeout_s=5.0), **changes)


@dataclass
class Wire:
    """The real model before a server of one format."""

    format: Format
    server: WireServer
    model: WireModel
    clock: ManualClock

    @property
    def name(self) -> str:
        return f"{self.format}:{wires.MODELS[self.format]}"

    def request(self, **changes: Unpack[Changes]) -> ModelRequest:
        return replace(ModelRequest(model=self.name, messages=HELLO, timeout_s=5.0), **changes)

    async def ask(self, canned: Canned, **changes: Unpack[Changes]) -> ModelReply:
        self.server.replies.append(canned)
        return await self.model.complete(self.request(**changes))

    async def refused(self, canned: Canned, kind: type[ModelError], **changes: Unpack[Changes]) -> ModelError:
        """Ask, and expect this very kind of error after exactly one request."""
        before = len(self.server.seen)
        with pytest.raises(ModelError) as caught:
            await self.ask(canned, **changes)
        assert type(caught.value) is kind, (canned, caught.value)
        assert len(self.server.seen) == before + 1
        assert_keeps_the_secret(caught.value)
        return caught.value


def assert_keeps_the_secret(error: BaseException | None) -> None:
    while error is not None:
        assert KEY not in str(error)
        assert KEY not in repr(error)
        assert "PLANTED" not in repr(error.__dict__)
        assert error.__cause__ is None
        error = error.__context__


def environment(wire: Format, url: str, key: str = KEY) -> dict[str, str]:
    prefix = "ANTHROPIC" if wire == "anthropic" else "OPENAI"
    return {f"{prefix}_API_KEY": key, f"{prefix}_BASE_URL": url}


@pytest.fixture
def real_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ALLOW_MODEL_REQUESTS", True)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=wires.FORMATS)
async def wire(request: pytest.FixtureRequest, real_calls: None) -> AsyncGenerator[Wire]:
    del real_calls
    async with wires.wire_server() as server:
        clock = ManualClock()
        name = f"{request.param}:{wires.MODELS[request.param]}"
        model = WireModel(
            (name,),
            environment=environment(request.param, wires.base_url(request.param, server)),
            prices={},
            clock=clock,
            breakers=Breakers(clock),
        )
        yield Wire(request.param, server, model, clock)
        await model.aclose()


STATUS = {ModelRateLimited: 429, ModelUnavailable: 503, ModelMisconfigured: 401}


@pytest.fixture(params=["scripted", *wires.FORMATS])
async def subject(request: pytest.FixtureRequest, real_calls: None) -> AsyncGenerator[Subject]:
    del real_calls
    if request.param == "scripted":
        fake = ScriptedModel(replies=[])

        def say(text: str = "", *calls: Call) -> None:
            made = tuple(ToolCall(call.id, call.tool, {"path": "a.md"}) for call in calls)
            fake.replies.append(ModelReply(text, made, input_tokens=25, output_tokens=11, cost_micro_usd=10))

        yield Subject(
            fake, fake.chain[0], say, lambda kind: fake.replies.append(kind("no")), lambda: len(fake.requests)
        )
        return
    async with wires.wire_server() as server:
        clock = ManualClock()
        name = f"{request.param}:{wires.MODELS[request.param]}"
        env = environment(request.param, wires.base_url(request.param, server))
        model = WireModel((name,), environment=env, prices={}, clock=clock, breakers=Breakers(clock))
        yield Subject(
            model,
            name,
            lambda text="", *calls: server.replies.append(wires.reply(request.param, text, calls)),
            lambda kind: server.replies.append(wires.failure(request.param, STATUS[kind], "error", "no")),
            lambda: len(server.seen),
        )
        await model.aclose()


# -- what both the fake and the real one do


async def test_a_reply_has_its_text_its_tokens_and_a_cost_below_the_highest(subject: Subject) -> None:
    subject.says("Hello back")
    reply = await subject.model.complete(subject.request())
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("Hello back", 25, 11)
    assert 0 < reply.cost_micro_usd <= subject.model.highest_cost(subject.request())


async def test_tool_calls_come_back_with_arguments_as_an_object(subject: Subject) -> None:
    subject.says("Let me look", Call("c1", "read_file", '{"path": "a.md"}'))
    reply = await subject.model.complete(subject.request(tools=(READ_FILE,)))
    assert reply.calls == (ToolCall("c1", "read_file", {"path": "a.md"}),)


@pytest.mark.parametrize("kind", list(STATUS))
async def test_an_error_is_raised_after_exactly_one_call(subject: Subject, kind: type[ModelError]) -> None:
    subject.fails(kind)
    with pytest.raises(kind):
        await subject.model.complete(subject.request())
    assert subject.calls_made() == 1


def test_the_chain_names_the_models_in_order(subject: Subject) -> None:
    assert subject.model.chain == (subject.name,)


# -- what only a wire has


async def test_the_request_carries_the_conversation_the_tools_and_the_key(wire: Wire) -> None:
    conversation = (
        *HELLO,
        Message(
            role="assistant",
            text="I look.",
            calls=(ToolCall("c1", "read_file", {"path": "a.md"}), ToolCall("c2", "read_file", "not json")),
        ),
        Message(role="tool", text="alpha", call_id="c1", tool="read_file"),
        Message(role="tool", text="", call_id="c2", tool="read_file"),
    )
    await wire.ask(wires.reply(wire.format, "Done"), messages=conversation, tools=(READ_FILE,), max_tokens=77)
    (seen,) = wire.server.seen
    assert seen.path == wires.PATHS[wire.format]
    assert KEY in (seen.headers.get("x-api-key") or seen.headers["Authorization"])
    assert seen.body["model"] == wires.MODELS[wire.format]
    assert wires.tool_results(wire.format, seen.body) == [("c1", "alpha"), ("c2", "(no output)")]
    limits = ("max_tokens", "max_output_tokens", "max_completion_tokens")
    assert [seen.body[name] for name in limits if name in seen.body] == [77]
    assert "read_file" in str(seen.body["tools"])
    assert "You help." in str(seen.body)
    assert not seen.body.get("stream")


async def test_parallel_tool_calls_all_come_back_in_order_with_ids_of_their_own(wire: Wire) -> None:
    calls = [Call("same", "read_file", '{"path": "a"}'), Call("same", "read_file", '{"path": "b"}')]
    reply = await wire.ask(wires.reply(wire.format, "", calls), tools=(READ_FILE,))
    assert [call.arguments for call in reply.calls] == [{"path": "a"}, {"path": "b"}]
    assert len({call.id for call in reply.calls}) == 2
    assert reply.finish_reason in {"tool_call", "stop"}  # the Responses format has one word for both


async def test_usage_is_priced_and_the_service_named(wire: Wire) -> None:
    reply = await wire.ask(wires.reply(wire.format, "x", tokens=(1_000_000, 1_000)))
    # USD for a million in: luna and haiku 0.1 below the long-context tier, which a million is above.
    assert reply.cost_micro_usd >= 100_000
    assert (reply.input_tokens, reply.output_tokens) == (1_000_000, 1_000)
    assert reply.model == wires.MODELS[wire.format]
    assert reply.response_id
    assert reply.finish_reason == "stop"


async def test_a_reply_without_usage_costs_the_most_it_can(wire: Wire) -> None:
    reply = await wire.ask(wires.without_usage(wire.format, "x"))
    assert reply.cost_micro_usd == wire.model.highest_cost(wire.request()) > 0


async def test_a_call_that_was_cut_off_is_never_taken_for_whole(wire: Wire) -> None:
    reply = await wire.ask(wires.cut_off(wire.format, Call("c1", "read_file", '{"path": "a"}')), tools=(READ_FILE,))
    assert isinstance(reply.calls[0].arguments, str)
    assert reply.finish_reason == "length"


UNCLEAN = ('["a"]', '{"path": "a"', '{"path": NaN}', '{"path": "\\ud800"}', '"x"', "9" * 5000, "[" * 100_000)


async def test_arguments_that_are_no_clean_object_come_back_as_text(wire: Wire) -> None:
    # Anthropic's format sends objects, so only their content can be unclean.
    for arguments in UNCLEAN[3:4] if wire.format == "anthropic" else UNCLEAN:
        reply = await wire.ask(wires.reply(wire.format, "", [Call("c1", "read_file", arguments)]), tools=(READ_FILE,))
        assert isinstance(reply.calls[0].arguments, str), arguments[:40]
        assert reply.calls[0].arguments.encode()


async def test_a_call_without_arguments_has_an_empty_object(wire: Wire) -> None:
    for arguments in ("{}",) if wire.format == "anthropic" else ("{}", ""):
        reply = await wire.ask(wires.reply(wire.format, "", [Call("c1", "read_file", arguments)]), tools=(READ_FILE,))
        assert reply.calls[0].arguments == {}


async def test_a_tool_call_is_forced_where_the_model_can_be_forced(wire: Wire) -> None:
    call = Call("c1", "read_file", '{"path": "a"}')
    await wire.ask(wires.reply(wire.format, "", [call]), tools=(READ_FILE,), must_call_tool=True)
    assert wire.server.seen[0].body["tool_choice"] in ("required", {"type": "any"})


async def test_a_reply_that_ignores_the_demand_is_returned_and_priced(wire: Wire) -> None:
    reply = await wire.ask(wires.reply(wire.format, "I would rather talk"), tools=(READ_FILE,), must_call_tool=True)
    assert reply.calls == ()
    assert reply.cost_micro_usd > 0


async def test_a_wrong_key_is_a_matter_of_configuration_and_is_not_repeated(wire: Wire) -> None:
    error = await wire.refused(
        wires.failure(wire.format, 401, "authentication_error", f"invalid key {KEY}"), ModelMisconfigured
    )
    assert not error.retryable
    assert "key" in str(error)


async def test_an_unknown_model_is_a_matter_of_configuration(wire: Wire) -> None:
    error = await wire.refused(wires.failure(wire.format, 404, "not_found_error", f"model: {KEY}"), ModelMisconfigured)
    assert "name" in str(error)


async def test_a_refused_request_says_why_without_the_key(wire: Wire) -> None:
    error = await wire.refused(
        wires.failure(wire.format, 400, "invalid_request_error", f"bad field {KEY} or sk-other-123456"),
        ModelMisconfigured,
    )
    assert "bad field" in str(error)
    assert "sk-other" not in str(error)


async def test_what_the_library_would_mend_by_asking_again_is_asked_once(wire: Wire) -> None:
    # This sentence makes the Anthropic adapter ask again; the second request must not leave.
    message = "messages.1.content.0: The block is bound to a different conversation"
    canned = wires.failure(wire.format, 400, "invalid_request_error", message)
    kind, name = (
        (ModelUnavailable, "anthropic:claude-sonnet-5-5")
        if wire.format == "anthropic"
        else (ModelMisconfigured, wire.name)
    )
    await wire.refused(canned, kind, model=name)


async def test_a_conversation_that_is_too_long_is_no_failure_of_the_service(wire: Wire) -> None:
    kind = "invalid_request_error" if wire.format == "anthropic" else "context_length_exceeded"
    error = await wire.refused(wires.failure(wire.format, 400, kind, "prompt is too long: 9 > 8"), ModelError)
    assert "too long" in str(error)
    assert not error.retryable


async def test_a_used_up_account_is_not_asked_again(wire: Wire) -> None:
    status, kind = (402, "billing_error") if wire.format == "anthropic" else (429, "insufficient_quota")
    error = await wire.refused(wires.failure(wire.format, status, kind, KEY), ModelMisconfigured)
    assert "quota" in str(error)


async def test_a_rate_limit_says_when_to_come_back(wire: Wire) -> None:
    error = await wire.refused(
        wires.failure(wire.format, 429, "rate_limit_error", KEY, retry_after="7"), ModelRateLimited
    )
    assert isinstance(error, ModelRateLimited)
    assert error.retry_after_s == 7.0


async def test_a_failing_or_overloaded_service_is_asked_once(wire: Wire) -> None:
    for status, kind in ((500, "api_error"), (503, "busy"), (529, "overloaded_error"), (408, "x")):
        # The headers ask the SDK to retry at once; it must not.
        canned = wires.failure(wire.format, status, kind, KEY, retry_after_ms="1", x_should_retry="true")
        error = await wire.refused(canned, ModelUnavailable)
        assert error.retryable


async def test_garbage_is_an_invalid_reply(wire: Wire) -> None:
    for body in ("<html>502</html>", "{}", "[]", '{"choices": [], "output": null, "content": 5}'):
        await wire.refused(Canned(body=body), ModelReplyInvalid)


async def test_half_a_json_text_is_an_invalid_reply(wire: Wire) -> None:
    whole = wires.reply(wire.format, "hello").body
    await wire.refused(Canned(body=whole[: len(whole) // 2]), ModelReplyInvalid)


async def test_a_connection_that_breaks_within_the_body_is_an_unavailable_service(wire: Wire) -> None:
    await wire.refused(Canned(body=wires.reply(wire.format, "hello").body, cut=40), ModelUnavailable)


async def test_a_redirect_is_not_followed_so_that_the_key_stays_here(wire: Wire) -> None:
    async with wires.wire_server() as elsewhere:
        moved = Canned(status=307, headers={"location": f"{elsewhere.url}/v1/messages"})
        await wire.refused(moved, ModelReplyInvalid)
        assert elsewhere.seen == []


async def test_a_service_that_never_answers_is_given_up_after_the_timeout(wire: Wire) -> None:
    error = await wire.refused(Canned(hangs=True), ModelUnavailable, timeout_s=0.1)
    assert "in time" in str(error)


async def test_a_cancelled_call_ends_at_once_and_counts_for_nothing(wire: Wire) -> None:
    wire.server.replies.append(Canned(hangs=True))
    task = asyncio.create_task(wire.model.complete(wire.request()))
    await wire.server.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await wire.ask(wires.reply(wire.format, "fine"))).text == "fine"


async def test_a_refused_connection_is_an_unavailable_service(wire: Wire) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can have the port, and nobody answers
        taken.bind(("127.0.0.1", 0))
        env = environment(wire.format, f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        model = WireModel((wire.name,), environment=env, prices={}, clock=wire.clock, breakers=Breakers(wire.clock))
        with pytest.raises(ModelUnavailable) as caught:
            await model.complete(wire.request())
        assert_keeps_the_secret(caught.value)
        await model.aclose()


async def test_five_failures_open_the_circuit_and_one_probe_closes_it(wire: Wire) -> None:
    for _ in range(5):
        await wire.refused(Canned(status=500, body="{}"), ModelUnavailable)
    with pytest.raises(CircuitOpen):
        await wire.ask(wires.reply(wire.format, "back"))
    assert len(wire.server.seen) == 5
    wire.clock.advance(30.0)
    assert (await wire.model.complete(wire.request())).text == "back"
    assert (await wire.ask(wires.reply(wire.format, "again"))).text == "again"


async def test_a_model_without_a_price_is_never_called(wire: Wire) -> None:
    with pytest.raises(UnknownPrice):
        await wire.model.complete(wire.request(model=f"{wire.format}:home-made"))
    assert wire.server.seen == []


async def test_a_model_that_cannot_be_forced_is_asked_and_not_refused(wire: Wire) -> None:
    model = "claude-sonnet-5-5" if wire.format == "anthropic" else wires.MODELS[wire.format]
    await wire.ask(
        wires.reply(wire.format, "ok"), model=f"{wire.format}:{model}", tools=(READ_FILE,), must_call_tool=True
    )
    assert len(wire.server.seen) == 1

"""The real model before services that are slow, full, odd or dear: what each fault means to us, and what it costs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

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
from agent.fakes import ManualClock
from agent.model import WireModel, chain_from, most_tokens
from agent.ports import CountsTokens, Message, ModelReply, ModelRequest, ToolSpec
from agent.prices import Price
from agent.resilience import Breakers, retry_delay
from tests.contract import wire_servers as wires
from tests.contract.wire_servers import Call, Canned, Format, WireServer

LOOK = ToolSpec("look", "Look.", {"type": "object", "properties": {"path": {"type": "string"}}})
HELLO = (Message(role="system", text="You help."), Message(role="user", text="Hello"))


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

    def request(self, **changes: Any) -> ModelRequest:  # fields of ModelRequest
        return replace(ModelRequest(model=self.name, messages=HELLO, timeout_s=5.0), **changes)

    async def ask(self, canned: Canned, **changes: Any) -> ModelReply:
        self.server.replies.append(canned)
        return await self.model.complete(self.request(**changes))

    async def fails(self, canned: Canned, **changes: Any) -> ModelError:
        before = len(self.server.seen)
        with pytest.raises(ModelError) as caught:
            await self.ask(canned, **changes)
        assert len(self.server.seen) == before + 1
        return caught.value


def made(
    wire: Format, url: str, clock: ManualClock, prices: dict[str, Price] | None = None, key: str = "k"
) -> WireModel:
    prefix = "ANTHROPIC" if wire == "anthropic" else "OPENAI"
    environment = {f"{prefix}_BASE_URL": url} | ({f"{prefix}_API_KEY": key} if key else {})
    name = f"{wire}:{wires.MODELS[wire]}"
    return WireModel((name,), environment=environment, prices=prices or {}, clock=clock, breakers=Breakers(clock))


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
        model = made(request.param, wires.base_url(request.param, server), clock)
        yield Wire(request.param, server, model, clock)
        await model.aclose()


# -- slow and full


async def test_a_reply_that_drips_is_given_up_after_the_whole_time_and_may_have_cost(wire: Wire) -> None:
    error = await wire.fails(replace(wires.reply(wire.format, "hello"), drips=0.02), timeout_s=0.3)
    assert isinstance(error, ModelUnavailable)
    assert error.may_be_charged


async def test_a_rate_limit_without_a_time_is_waited_for_as_any_failure(wire: Wire) -> None:
    error = await wire.fails(wires.failure(wire.format, 429, "rate_limit_error", "slow down"))
    assert isinstance(error, ModelRateLimited)
    assert error.retry_after_s is None
    assert [retry_delay(attempt, error) for attempt in range(3)] == [1.0, 2.0, None]


@pytest.mark.parametrize(("after", "wait"), [("12", 12.0), ("0", 1.0), ("3600", None), ("soon", 1.0), ("-3", 1.0)])
async def test_a_rate_limit_is_waited_for_as_long_as_is_reasonable(wire: Wire, after: str, wait: float | None) -> None:
    error = await wire.fails(wires.failure(wire.format, 429, "rate_limit_error", "slow down", retry_after=after))
    assert isinstance(error, ModelRateLimited)
    assert retry_delay(0, error) == wait


async def test_a_rate_limit_is_no_failure_of_the_service(wire: Wire) -> None:
    for _ in range(6):
        await wire.fails(wires.failure(wire.format, 429, "rate_limit_error", "slow down"))
    assert (await wire.ask(wires.reply(wire.format, "at last"))).text == "at last"


@pytest.mark.parametrize(("status", "charged"), [(500, False), (502, False), (503, False), (529, False), (504, True)])
async def test_an_error_at_once_costs_nothing_and_a_gateway_that_gave_up_may(
    wire: Wire, status: int, charged: bool
) -> None:  # fmt: skip
    error = await wire.fails(wires.failure(wire.format, status, "api_error", "oh"))
    assert isinstance(error, ModelUnavailable)
    assert error.may_be_charged is charged


async def test_a_service_that_was_never_reached_costs_nothing(wire: Wire) -> None:
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        model = made(wire.format, f"http://127.0.0.1:{taken.getsockname()[1]}/v1", wire.clock)
        with pytest.raises(ModelUnavailable) as caught:
            await model.complete(wire.request())
        assert not caught.value.may_be_charged
        await model.aclose()


async def test_a_connection_that_broke_off_or_a_time_out_may_have_cost(wire: Wire) -> None:
    for canned in (Canned(body=wires.reply(wire.format, "hello").body, cut=30), Canned(hangs=True)):
        error = await wire.fails(canned, timeout_s=0.3)
        assert isinstance(error, ModelUnavailable)
        assert error.may_be_charged


async def test_ten_calls_at_a_breaker_that_is_half_open_are_one_probe(wire: Wire) -> None:
    for _ in range(5):
        await wire.fails(wires.failure(wire.format, 500, "api_error", "oh"))
    wire.clock.advance(30)
    wire.server.replies.append(wires.reply(wire.format, "back"))
    outcomes = await asyncio.gather(*(wire.model.complete(wire.request()) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(item, ModelReply) for item in outcomes) == 1
    assert sum(isinstance(item, CircuitOpen) for item in outcomes) == 9
    assert len(wire.server.seen) == 6


# -- odd


@pytest.mark.parametrize("number", range(6))
async def test_garbage_of_every_kind_is_an_invalid_reply_and_counts_against_the_service(
    wire: Wire, number: int
) -> None:
    whole = wires.reply(wire.format, "hello").body
    body = (
        "",
        "null",
        "\x00\x01",
        "<html><body>Bad gateway</body></html>",
        whole[:-20],
        json.dumps({"object": "error", "message": "CUDA out of memory"}),
    )[number]
    for _ in range(5):
        assert isinstance(await wire.fails(Canned(body=body)), ModelReplyInvalid)
    with pytest.raises(CircuitOpen):
        await wire.model.complete(wire.request())


async def test_a_reply_with_nothing_in_it_is_invalid_or_empty_and_never_a_crash(wire: Wire) -> None:
    try:
        reply = await wire.ask(wires.empty(wire.format))
    except ModelReplyInvalid:
        return
    assert (reply.text, reply.calls) == ("", ())
    assert reply.cost_micro_usd > 0


async def test_a_text_that_was_cut_off_says_so(wire: Wire) -> None:
    reply = await wire.ask(wires.cut_short(wire.format, "Once upon a"))
    assert (reply.text, reply.finish_reason) == ("Once upon a", "length")


async def test_a_refusal_is_no_answer_and_no_failure_of_the_service(wire: Wire) -> None:
    for _ in range(6):
        try:
            reply = await wire.ask(wires.refused(wire.format, "I will not."))
        except ModelError as error:
            assert not error.retryable  # noqa: PT017  # either way is fine, but never a retry
        else:
            assert reply.calls == ()
            assert reply.finish_reason == "content_filter"
    assert (await wire.ask(wires.reply(wire.format, "fine"))).text == "fine"


async def test_a_reply_that_the_provider_filtered_is_told_apart_from_a_whole_one(wire: Wire) -> None:
    try:
        reply = await wire.ask(wires.filtered(wire.format))
    except ModelError as error:
        assert not error.retryable  # noqa: PT017  # as above
    else:
        assert reply.finish_reason == "content_filter"


async def test_a_call_with_broken_json_comes_back_as_its_text_beside_the_whole_one(wire: Wire) -> None:
    if wire.format == "anthropic":
        return  # its format carries objects
    calls = [Call("c1", "look", '{"path": "a"'), Call("c2", "look", '{"path": "b"}')]
    reply = await wire.ask(wires.reply(wire.format, "", calls), tools=(LOOK,))
    assert [item.arguments for item in reply.calls] == ['{"path": "a"', {"path": "b"}]


async def test_a_call_of_a_tool_that_nobody_offered_comes_back_as_it_is(wire: Wire) -> None:
    reply = await wire.ask(wires.reply(wire.format, "", [Call("c1", "rm_rf", '{"path": "/"}')]), tools=(LOOK,))
    assert [(item.tool, item.arguments) for item in reply.calls] == [("rm_rf", {"path": "/"})]


# -- dear


async def test_tokens_from_the_cache_are_read_and_cost_less_than_fresh_ones(wire: Wire) -> None:
    fresh = await wire.ask(wires.cached(wire.format, "x", fresh=100_000, read=0))
    cheap = await wire.ask(wires.cached(wire.format, "x", fresh=10_000, read=90_000))
    assert cheap.input_tokens == fresh.input_tokens == 100_000
    assert (cheap.cache_read_tokens, fresh.cache_read_tokens) == (90_000, 0)
    assert fresh.cost_micro_usd * 0.1 < cheap.cost_micro_usd < fresh.cost_micro_usd * 0.6


async def test_tokens_written_to_the_cache_cost_more_and_stay_within_the_bound(wire: Wire) -> None:
    if wire.format != "anthropic":
        return  # nobody else bills writes
    fresh = await wire.ask(wires.cached(wire.format, "x", fresh=1_000, read=0))
    written = await wire.ask(wires.cached(wire.format, "x", fresh=0, read=0, written=1_000))
    assert (written.input_tokens, written.cache_write_tokens, fresh.cache_write_tokens) == (1_000, 1_000, 0)
    assert written.cost_micro_usd > fresh.cost_micro_usd
    assert written.cost_micro_usd <= wire.model.highest_cost(wire.request())


async def test_what_a_model_thought_is_paid_as_written_and_is_no_part_of_the_answer(wire: Wire) -> None:
    quick = await wire.ask(wires.reply(wire.format, "42", tokens=(25, 10)))
    slow = await wire.ask(wires.reasoned(wire.format, "42", thought=990, said=10))
    assert (slow.text, slow.output_tokens) == ("42", 1_000)
    assert slow.cost_micro_usd > quick.cost_micro_usd


async def test_a_configured_price_is_what_counts_and_zero_must_be_said(wire: Wire) -> None:
    url, home = wires.base_url(wire.format, wire.server), f"{wire.format}:home-made"
    with pytest.raises(UnknownPrice):
        wire.model.highest_cost(wire.request(model=home))
    dear = made(wire.format, url, wire.clock, {"home-made": (1.0, 2.0)})
    wire.server.replies.append(wires.reply(wire.format, "x", tokens=(1_000, 100)))
    assert (await dear.complete(wire.request(model=home))).cost_micro_usd == 1_200
    free = made(wire.format, url, wire.clock, {home: (0.0, 0.0)})
    assert free.highest_cost(wire.request(model=home)) == 0
    for model in (dear, free):
        await model.aclose()


async def test_the_services_own_count_is_a_closer_bound_that_costs_nothing(wire: Wire) -> None:
    request = wire.request(messages=(Message(role="user", text="é" * 50_000),), tools=(LOOK,), max_tokens=100)
    assert isinstance(wire.model, CountsTokens)
    if wire.format == "openai-chat":
        with pytest.raises(ModelMisconfigured, match="does not count"):
            await wire.model.counted_cost(request)
        assert wire.server.seen == []
        return
    wire.server.replies.append(wires.counted(wire.format, 12_000))
    counted = await wire.model.counted_cost(request)
    assert 0 < counted < wire.model.highest_cost(request) / 4
    (seen,) = wire.server.seen
    assert seen.path.endswith(("/count_tokens", "/input_tokens"))
    assert "look" in str(seen.body["tools"])


async def test_a_count_above_the_bound_by_bytes_is_not_believed(wire: Wire) -> None:
    if wire.format == "openai-chat":
        return  # nobody counts there
    wire.server.replies.append(wires.counted(wire.format, 10**9))
    assert await wire.model.counted_cost(wire.request()) == wire.model.highest_cost(wire.request())


async def test_a_count_that_fails_is_a_typed_error_and_no_failure_of_the_model(wire: Wire) -> None:
    for _ in range(6):
        wire.server.replies.append(wires.failure(wire.format, 500, "api_error", "oh"))
        with pytest.raises(ModelError):
            await wire.model.counted_cost(wire.request())
    wire.server.replies.clear()
    assert (await wire.ask(wires.reply(wire.format, "fine"))).text == "fine"


# -- self-hosted: Ollama, vLLM and others behind their own address


async def test_a_model_on_ones_own_machine_needs_no_key(real_calls: None) -> None:
    del real_calls
    async with wires.wire_server() as server:
        clock, name = ManualClock(), "openai-chat:llama3.3:70b"
        environment = {"OPENAI_BASE_URL": f"{server.url}/v1", "SECONDKEY_MODELS": name}
        assert chain_from(environment) == (name,)
        model = WireModel(
            (name,), environment=environment, prices={"llama3.3:70b": (0, 0)}, clock=clock, breakers=Breakers(clock)
        )
        body = json.loads(wires.reply("openai-chat", "", [Call("call_abc", "look", '{"path": "a"}')]).body)
        # As Ollama spells it: no details of usage, a fingerprint, a `null` refusal left out, and `stop` for a call.
        body |= {"model": "llama3.3:70b", "system_fingerprint": "fp_ollama"}
        body["choices"][0]["finish_reason"] = "stop"
        del body["choices"][0]["message"]["refusal"]
        server.replies.append(Canned(body=json.dumps(body)))
        reply = await model.complete(ModelRequest(name, HELLO, (LOOK,), timeout_s=5.0))
        assert [(item.tool, item.arguments) for item in reply.calls] == [("look", {"path": "a"})]
        assert (reply.cost_micro_usd, reply.model) == (0, "llama3.3:70b")
        assert server.seen[0].body["model"] == "llama3.3:70b"
        await model.aclose()


def test_the_bound_of_tokens_counts_bytes_and_what_may_be_written() -> None:
    request = ModelRequest("openai:luna", (Message(role="user", text="é" * 1_000),), max_tokens=500)
    assert 2_500 < most_tokens(request) < 5_000

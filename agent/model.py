"""The door to the models: one wire call, its price, one circuit breaker a model, and the chain to try.

Nothing here retries or falls back: each attempt is the caller's, so that each is one row in the journal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.errors import ConfigurationError, ModelMisconfigured, ModelReplyInvalid, ModelUnavailable
from agent.ports import Clock, Message, ModelReply, ModelRequest, ToolCall
from agent.resilience import Breakers

if TYPE_CHECKING:
    from agent.prices import Price, Prices
    from agent.wire import Service

MODELS = "SECONDKEY_MODELS"
# What a provider adds around a conversation: its own words about tools, and the marks around messages and tools.
_TOKENS_A_REQUEST = 1024
_TOKENS_A_PIECE = 32
_COUNT_MARGIN = 1.1


@dataclass(frozen=True, slots=True)
class Provider:
    """Where the key and the address of a provider stand in the environment, and the model that a key alone implies."""

    key: str
    url: str
    default_url: str
    default_model: str = ""
    priced_as: Literal["anthropic", "openai"] = "openai"
    keyless: bool = True
    """Whether a base URL without a key will do, as for a model that runs on one's own machine."""


#: `openai` speaks the Responses format; `openai-chat` the older one, which most self-hosted servers understand.
PROVIDERS: Mapping[str, Provider] = {
    "anthropic": Provider(
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "https://api.anthropic.com",
        "claude-sonnet-5-5",
        priced_as="anthropic",
        keyless=False,
    ),
    "openai": Provider("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1", "gpt-6-luna"),
    "openai-chat": Provider("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1"),
}


def chain_from(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The models to try, in order: those of SECONDKEY_MODELS that can be called, else what the keys present imply.

    Empty when no key is there. Raises ConfigurationError when SECONDKEY_MODELS cannot be read.
    """
    wanted = [name.strip() for name in environment.get(MODELS, "").split(",") if name.strip()]
    if not wanted:
        return tuple(
            f"{kind}:{provider.default_model}"
            for kind, provider in PROVIDERS.items()
            if provider.default_model and _setting(environment, provider.key)
        )
    for name in wanted:
        kind, _, model = name.partition(":")
        if kind not in PROVIDERS or not model:
            raise ConfigurationError(
                f"{MODELS} names {name!r}, which is not a model.",
                fix=f"Write PROVIDER:NAME, where PROVIDER is one of {', '.join(PROVIDERS)}.",
            )
    return tuple(dict.fromkeys(name for name in wanted if _callable(environment, name)))


def _setting(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip()


def _callable(environment: Mapping[str, str], name: str) -> bool:
    provider = PROVIDERS[name.partition(":")[0]]
    return bool(
        _setting(environment, provider.key) or (provider.keyless and _setting(environment, provider.url))
    )  # fmt: skip


class WireModel:
    """`ChatModel` over real services. A reply that ignores `must_call_tool` is returned: some models cannot be forced.

    Keys and addresses come from `environment`; `prices` holds USD for a million tokens in and out, by model name.
    """

    def __init__(
        self,
        chain: Sequence[str],
        *,
        environment: Mapping[str, str],
        prices: Mapping[str, Price],
        clock: Clock,
        breakers: Breakers,
    ) -> None:
        self._chain = tuple(chain)
        names = {name for provider in PROVIDERS.values() for name in (provider.key, provider.url)}
        self._environment = {name: _setting(environment, name) for name in names}
        self._configured_prices = {**_by_price_list(prices), **prices}
        self._clock = clock
        self._breakers = breakers
        self._prices: Prices | None = None
        self._services: dict[str, Service] = {}
        self._building = asyncio.Lock()

    @property
    def chain(self) -> tuple[str, ...]:
        """Model names in the order of trying; empty when no model is configured."""
        return self._chain

    def highest_cost(self, request: ModelRequest) -> int:
        """Upper bound of what the call can cost, micro-USD: no token is shorter than a byte. Raises UnknownPrice."""
        kind, name = _split(request.model)
        return self._price_list().highest(
            PROVIDERS[kind].priced_as, name, _most_input_tokens(request), request.max_tokens
        )

    async def counted_cost(self, request: ModelRequest) -> int:
        """As `highest_cost`, by the service's own count, which counts for nothing; never above that bound.

        Raises ModelError where the service does not count, and CircuitOpen when it is left alone.
        """
        kind, name = _split(request.model)
        service, most = await self._service(request.model), _most_input_tokens(request)
        self._breakers.of(request.model).check()
        counted = await service.count(request)
        # A service calls its own count an estimate.
        tokens = min(most, int(counted * _COUNT_MARGIN) + _TOKENS_A_REQUEST)
        return self._price_list().highest(PROVIDERS[kind].priced_as, name, tokens, request.max_tokens)

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Make exactly one wire call; raises ModelError or CircuitOpen, before the call when nobody knows its price."""
        kind, name = _split(request.model)
        service = await self._service(request.model)
        highest = self.highest_cost(request)
        with self._breakers.of(request.model).guard(counts=(ModelUnavailable, ModelReplyInvalid)):
            answer = await service.ask(request)
        # Without a count of tokens the highest cost is the only honest one.
        cost = (
            self._price_list().cost(PROVIDERS[kind].priced_as, name, answer.usage, answer.context)
            if answer.measured
            else highest
        )
        return ModelReply(
            text=answer.text,
            calls=answer.calls,
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            cost_micro_usd=cost,
            model=answer.model or name,
            response_id=answer.response_id,
            finish_reason=answer.finish_reason,
            thoughts=answer.thoughts,
            cache_read_tokens=answer.usage.cache_read_tokens,
            cache_write_tokens=answer.usage.cache_write_tokens,
        )

    async def prepare(self) -> None:
        """Import what the chain needs, in a thread, so that the first call does not pay for it (2 to 6 s).

        Raises ModelMisconfigured when a model of the chain cannot be called as it is configured.
        """
        for name in self._chain:
            await self._service(name)

    async def aclose(self) -> None:
        """Close all connections."""
        services, self._services = list(self._services.values()), {}
        for service in services:
            await service.close()

    async def _service(self, model: str) -> Service:
        async with self._building:
            if model not in self._services:
                self._services[model] = await asyncio.to_thread(self._build, model)
            return self._services[model]

    def _build(self, model: str) -> Service:
        from agent.wire import Service  # noqa: PLC0415  # takes seconds, and a run without models never needs it

        self._price_list()
        kind, name = _split(model)
        provider = PROVIDERS[kind]
        key, url = self._environment[provider.key], self._environment[provider.url]
        if not key and not (provider.keyless and url):
            raise ModelMisconfigured(f"{model} cannot be called: {provider.key} is not set.")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ModelMisconfigured(f"{model} cannot be called: {provider.key} holds characters that no key has.")
        if url and not url.startswith(("http://", "https://")):
            raise ModelMisconfigured(f"{model} cannot be called: {provider.url} is not an http or https address.")
        return Service(kind, name, key=key or "none", base_url=url or provider.default_url)

    def _price_list(self) -> Prices:
        if self._prices is None:
            from agent.prices import Prices  # noqa: PLC0415  # loads the price table, about 1 s

            self._prices = Prices(self._configured_prices, self._clock)
        return self._prices


def _by_price_list(prices: Mapping[str, Price]) -> dict[str, Price]:
    """The prices under the names that price lists use: `openai-chat:NAME` is another way to the same `openai:NAME`."""
    found: dict[str, Price] = {}
    for name, price in prices.items():
        kind, _, model = name.partition(":")
        if kind in PROVIDERS and model:
            found[f"{PROVIDERS[kind].priced_as}:{model}"] = price
    return found


def _split(model: str) -> tuple[Literal["anthropic", "openai", "openai-chat"], str]:
    kind, _, name = model.partition(":")
    if kind not in PROVIDERS or not name:
        raise ModelMisconfigured(f"{model!r} is not a model: write PROVIDER:NAME, such as openai:gpt-6-luna.")
    match kind:
        case "anthropic":
            return "anthropic", name
        case "openai":
            return "openai", name
        case _:
            return "openai-chat", name


def most_tokens(request: ModelRequest) -> int:
    """Upper bound of what a call can use, read and written together: no token is shorter than a byte."""
    return _most_input_tokens(request) + request.max_tokens


def _most_input_tokens(request: ModelRequest) -> int:
    pieces = [_message_bytes(message) for message in request.messages] + [tool.size for tool in request.tools]
    return sum(pieces) + _TOKENS_A_PIECE * len(pieces) + _TOKENS_A_REQUEST


def _message_bytes(message: Message) -> int:
    said = _bytes(message.text, message.call_id, message.tool)
    thought = [_bytes(item.text, item.signature, item.id) + _TOKENS_A_PIECE for item in message.thoughts]
    return said + sum([_call_bytes(call) for call in message.calls]) + sum(thought)


def _call_bytes(call: ToolCall) -> int:
    return _bytes(call.id, call.tool, json.dumps(call.arguments, default=str)) + _TOKENS_A_PIECE


def _bytes(*texts: str) -> int:
    text = "".join(texts)
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

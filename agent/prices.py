"""What a wire call costs: integer micro-USD, always rounded up. Importing this loads the price table (about 1 s)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Protocol

from genai_prices import Usage, calc_price

from agent.errors import UnknownPrice
from agent.ports import Clock

#: USD for a million input tokens, USD for a million output tokens.
Price = tuple[float, float]


class Tokens(Protocol):
    """How many tokens a call used."""

    @property
    def input_tokens(self) -> int:
        """What was read, from the cache or not."""
        ...

    @property
    def output_tokens(self) -> int:
        """What was written, thinking included."""
        ...


class Prices:
    """The configured prices first, then the public price table; a model in neither has no price, and is never free."""

    def __init__(self, configured: Mapping[str, Price], clock: Clock) -> None:
        self._configured = {name: (_usd(pair[0]), _usd(pair[1])) for name, pair in configured.items()}
        self._clock = clock

    def cost(self, provider: str, model: str, usage: Tokens, context: Mapping[str, object] | None = None) -> int:
        """What the usage of one call costs, micro-USD; raises UnknownPrice.

        `usage` may have further counts that genai-prices reads, such as tokens read from a cache, which `input_tokens`
        includes. `context` is what the service said of the call that changes its price, such as its tier.
        """
        if configured := self._pair(provider, model):
            return _micro(configured, usage.input_tokens, usage.output_tokens)
        return self._listed(provider, model, usage, context or {})

    def highest(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost: each input token may also be billed as a write to the cache."""
        if configured := self._pair(provider, model):
            return _micro(configured, input_tokens, output_tokens)
        usages = (
            Usage(input_tokens=input_tokens, output_tokens=output_tokens),
            Usage(input_tokens=input_tokens, cache_write_tokens=input_tokens, output_tokens=output_tokens),
        )
        return max(self._listed(provider, model, usage, {}) for usage in usages)

    def _listed(self, provider: str, model: str, usage: object, context: Mapping[str, object]) -> int:
        when = datetime.fromtimestamp(self._clock.transport(), UTC)
        texts = {key: value for key, value in context.items() if isinstance(value, str)}
        try:
            price = calc_price(usage, model, provider_id=provider, genai_request_timestamp=when, price_context=texts)
        except (LookupError, ValueError) as error:
            raise UnknownPrice(
                f"Nobody knows what {provider}:{model} costs; set a price for it in the configuration."
            ) from error
        return int((price.total_price * 1_000_000).to_integral_value(ROUND_CEILING))

    def _pair(self, provider: str, model: str) -> tuple[Decimal, Decimal] | None:
        return self._configured.get(f"{provider}:{model}") or self._configured.get(model)


def _usd(value: float) -> Decimal:
    amount = Decimal(str(value))
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"not a price: {value!r}")
    return amount


def _micro(price: tuple[Decimal, Decimal], input_tokens: int, output_tokens: int) -> int:
    # USD a million tokens is micro-USD a token.
    return int((price[0] * input_tokens + price[1] * output_tokens).to_integral_value(ROUND_CEILING))

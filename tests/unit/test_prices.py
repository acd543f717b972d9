"""What a call costs: whole micro-USD, rounded up, never free for want of knowledge."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from genai_prices import Usage

from agent.errors import UnknownPrice
from agent.fakes import ManualClock
from agent.prices import Price, Prices


@dataclass(frozen=True)
class Count:
    input_tokens: int
    output_tokens: int


def prices(**configured: Price) -> Prices:
    return Prices({name.replace("_", "-"): price for name, price in configured.items()}, ManualClock())


def test_a_known_model_costs_what_the_public_table_says() -> None:
    # USD 2 and 10 for a million tokens.
    assert prices().cost("anthropic", "claude-sonnet-5-5", Count(1000, 1000)) == 12_000


def test_the_smallest_fraction_of_a_micro_usd_is_rounded_up() -> None:
    assert prices().cost("openai", "gpt-6-luna", Count(1, 0)) == 1
    assert prices(home=(0.000001, 0.0)).cost("openai", "home", Count(1, 0)) == 1
    assert prices(home=(0.1, 0.2)).cost("openai", "home", Count(10, 5)) == 2  # 1 + 1 exactly, with no float's dust


def test_tokens_from_the_cache_cost_less_than_fresh_ones() -> None:
    cached = Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000, output_tokens=0)
    assert 0 < prices().cost("anthropic", "claude-sonnet-5-5", cached) < 2_000_000


def test_a_model_that_nobody_knows_is_not_free() -> None:
    with pytest.raises(UnknownPrice, match=r"openai:home-made .* set a price"):
        prices().cost("openai", "home-made", Count(1, 1))
    with pytest.raises(UnknownPrice):
        prices().highest("openai", "home-made", 1, 1)


def test_a_configured_price_counts_before_the_public_table() -> None:
    dear = prices(gpt_6_luna=(100.0, 1000.0))
    assert dear.cost("openai", "gpt-6-luna", Count(10, 1)) == 2000
    assert dear.highest("openai", "gpt-6-luna", 10, 1) == 2000


def test_a_price_may_be_configured_for_the_full_name() -> None:
    assert Prices({"openai:home": (1, 2)}, ManualClock()).cost("openai", "home", Count(3, 4)) == 11


def test_a_model_may_be_free_when_it_is_said_to_be() -> None:
    assert prices(home=(0, 0)).cost("openai", "home", Count(1000, 1000)) == 0


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused_at_once(bad: float) -> None:
    with pytest.raises(ValueError, match="not a price"):
        prices(home=(bad, 1.0))


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5"])
@pytest.mark.parametrize("tokens", [1, 1000, 150_000, 250_000, 900_000])
def test_the_highest_cost_covers_a_write_to_the_cache_at_every_length(model: str, tokens: int) -> None:
    highest = prices().highest("anthropic", model, tokens, 4096)
    for written in (0, tokens // 2, tokens):
        usage = Usage(input_tokens=tokens, cache_write_tokens=written, output_tokens=4096)
        assert prices().cost("anthropic", model, usage) <= highest

"""The chain of models, their configuration, and the upper bound of what a call can cost."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ConfigurationError, ModelMisconfigured, UnknownPrice
from agent.fakes import ManualClock
from agent.model import WireModel, chain_from
from agent.ports import Message, ModelRequest, ToolCall, ToolSpec
from agent.resilience import Breakers

HELLO = ModelRequest(model="openai:gpt-6-luna", messages=(Message(role="user", text="Hello"),))
BOTH = {"ANTHROPIC_API_KEY": "a-key", "OPENAI_API_KEY": "o-key"}


def model(**environment: str) -> WireModel:
    clock = ManualClock()
    return WireModel((), environment=environment, prices={"free": (0, 0)}, clock=clock, breakers=Breakers(clock))


def test_without_a_key_there_is_no_chain() -> None:
    assert chain_from({}) == ()
    assert chain_from({"ANTHROPIC_API_KEY": "  ", "OPENAI_API_KEY": ""}) == ()
    assert chain_from({"SECONDKEY_MODELS": "anthropic:claude-sonnet-5-5,openai:gpt-6-luna"}) == ()


def test_the_keys_present_imply_the_chain() -> None:
    assert chain_from({"OPENAI_API_KEY": "k"}) == ("openai:gpt-6-luna",)
    assert chain_from(BOTH) == ("anthropic:claude-sonnet-5-5", "openai:gpt-6-luna")


def test_a_chain_that_is_written_down_keeps_its_order_and_drops_doubles() -> None:
    names = " openai:gpt-6-luna , anthropic:claude-haiku-5-5,, openai:gpt-6-luna"
    assert chain_from({**BOTH, "SECONDKEY_MODELS": names}) == ("openai:gpt-6-luna", "anthropic:claude-haiku-5-5")


def test_a_model_without_its_key_is_left_out_of_the_chain() -> None:
    names = "anthropic:claude-sonnet-5-5,openai:gpt-6-luna"
    assert chain_from({"OPENAI_API_KEY": "k", "SECONDKEY_MODELS": names}) == ("openai:gpt-6-luna",)


def test_a_server_of_ones_own_needs_an_address_and_no_key() -> None:
    home = {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "SECONDKEY_MODELS": "openai-chat:qwen3:8b"}
    assert chain_from(home) == ("openai-chat:qwen3:8b",)


@pytest.mark.parametrize("name", ["gpt-6-luna", "mistral:large", "openai:", ":x"])
def test_a_name_that_is_no_model_is_refused_with_the_fix(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a model") as caught:
        chain_from({**BOTH, "SECONDKEY_MODELS": name})
    assert "PROVIDER:NAME" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "environment", "sentence"),
    [
        ("openai:free", {}, "OPENAI_API_KEY is not set"),
        ("anthropic:free", {"ANTHROPIC_BASE_URL": "http://x"}, "ANTHROPIC_API_KEY is not set"),
        ("openai:free", {"OPENAI_API_KEY": "sk-a\nb"}, "characters that no key has"),
        ("openai:free", {"OPENAI_API_KEY": "sk-ключ"}, "characters that no key has"),
        ("openai:free", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "ftp://x"}, "OPENAI_BASE_URL is not"),
        ("mistral:free", {}, "is not a model"),
    ],
)
async def test_a_bad_configuration_is_told_before_any_call(
    name: str, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ModelMisconfigured, match=sentence) as caught:
        await model(**environment).complete(replace(HELLO, model=name))
    assert not any(value in str(caught.value) for key, value in environment.items() if key.endswith("KEY"))


def test_nothing_shows_the_key_of_a_model() -> None:
    assert "planted" not in repr(model(OPENAI_API_KEY="planted"))


def test_the_highest_cost_grows_with_everything_that_is_sent() -> None:
    subject = model()
    least = subject.highest_cost(HELLO)
    assert least > 0
    long = (Message(role="tool", text="x" * 100_000, call_id="c", tool="read_file"),)
    calls = (Message(role="assistant", calls=(ToolCall("c", "write_file", {"text": "x" * 100_000}),)),)
    tool = ToolSpec("t", "d", {"description": "x" * 100_000})
    for bigger in (
        replace(HELLO, messages=long),
        replace(HELLO, messages=calls),
        replace(HELLO, tools=(tool,)),
        replace(HELLO, max_tokens=100_000),
    ):
        assert subject.highest_cost(bigger) >= least + 9_000


def test_the_highest_cost_counts_bytes_and_not_characters() -> None:
    def cost(text: str) -> int:
        return model().highest_cost(replace(HELLO, messages=(Message(role="user", text=text),)))

    assert cost("語" * 10_000) == cost("x" * 30_000)
    assert cost("\ud800") > 0


def test_an_unknown_model_has_no_highest_cost() -> None:
    with pytest.raises(UnknownPrice):
        model().highest_cost(replace(HELLO, model="openai:home-made"))
    with pytest.raises(ModelMisconfigured):
        model().highest_cost(replace(HELLO, model="home-made"))


def test_starting_without_a_model_loads_no_provider_and_no_prices() -> None:
    code = (
        "import sys, agent.model, agent.workers, agent.resilience;"
        "slow = {'pydantic_ai', 'anthropic', 'openai', 'genai_prices'} & set(sys.modules);"
        "sys.exit(', '.join(slow) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])  # noqa: S603  # our own interpreter and text

"""Tools of one's own: what a function must say, and what becomes of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.domain import Principal, Tier, Worker
from agent.errors import ConfigurationError, ToolFailed, ToolTimedOut
from agent.policy import load_policy
from agent.sandbox.fake import FakeSandbox
from agent.tools.base import ToolContext, ToolResult
from agent.tools.own import OwnTool, load_tools, tool
from agent.tools.registry import Registry


@tool
async def shout(text: str, times: int = 1) -> str:
    """Shout a text."""
    return text.upper() * times


@tool(reads=True, target="ticket:{number}")
def look_up(number: int, context: ToolContext) -> dict[str, Any]:
    """Look up a ticket."""
    return {"number": number, "run": context.run}


@tool
def breaks() -> str:
    """Break."""
    raise KeyError("gone")


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    return ToolContext(run="r1", workspace=tmp_path / "w", project=tmp_path, sandbox=FakeSandbox())


async def call(one: OwnTool, context: ToolContext, **arguments: Any) -> ToolResult:
    given = await one.bind(one.parse(arguments), context)
    return await one.run(given, context, await one.preview(given, context))


async def tier(one: OwnTool, context: ToolContext, **arguments: Any) -> Tier:
    facts = await one.facts(one.parse(arguments), context)
    who = Principal(team="T1", user="U1")
    return load_policy().rate(one.name, arguments, facts, who, read_only=one.read_only).tier


async def test_a_function_is_a_tool_and_stays_a_function(context: ToolContext) -> None:
    assert (await call(shout, context, text="a", times=2)).text == "AA"
    assert await shout("b") == "B"
    assert shout.spec().schema["properties"]["times"]["default"] == 1
    assert shout.description == "Shout a text."


async def test_it_is_asked_unless_it_only_reads(context: ToolContext) -> None:
    assert await tier(shout, context, text="a") is Tier.MEDIUM
    assert await tier(look_up, context, number=7) is Tier.LOW


async def test_arguments_that_do_not_fit_are_refused() -> None:
    for wrong in ({"text": 1}, {}, {"text": "a", "more": 1}, {"text": "a", "times": "2"}):
        with pytest.raises(ValidationError):
            shout.parse(wrong)


async def test_it_is_given_the_context_and_its_result_is_data(context: ToolContext) -> None:
    result = await call(look_up, context, number=7)
    assert result.data == {"number": 7, "run": "r1"}
    assert (await look_up.facts(look_up.parse({"number": 7}), context)).effects[0].target == "ticket:7"
    assert "context" not in look_up.spec().schema["properties"]


async def test_an_exception_is_a_failed_action(context: ToolContext) -> None:
    with pytest.raises(ToolFailed, match="KeyError"):
        await call(breaks, context)


async def test_a_plain_function_that_does_not_end_is_not_said_to_have_ended(context: ToolContext) -> None:
    free = threading.Event()

    @tool(timeout_s=0.6)
    def waits() -> str:
        """Wait."""
        free.wait(20)
        return "done"

    try:
        with pytest.raises(ToolTimedOut, match="may still be at it"):
            await call(waits, context)
    finally:
        free.set()


def test_workers_that_only_read_have_those_that_only_read() -> None:
    registry = Registry([shout, look_up])
    assert registry.allows("look_up", Worker.RESEARCH)
    assert not registry.allows("shout", Worker.RESEARCH)
    assert registry.allows("shout", Worker.CODE)


def test_a_function_that_does_not_say_enough_is_no_tool() -> None:
    def silent(text: str) -> str:
        return text

    def untyped(text):  # type: ignore[no-untyped-def]  # the point  # noqa: ANN001, ANN202
        """Say."""
        return text

    def Loud(text: str) -> str:  # noqa: N802 - the point
        """Say."""
        return text

    for function in (silent, untyped, Loud, lambda: ""):
        with pytest.raises(ConfigurationError):
            tool(function)


def test_tools_are_found_in_modules_files_and_nowhere_else(tmp_path: Path) -> None:
    assert {one.name for one in load_tools([__name__])} >= {"shout", "look_up", "breaks"}
    (tmp_path / "broken.py").write_text("1 / 0\n")
    for wrong in ("no_such_module", str(tmp_path / "broken.py"), str(tmp_path / "missing.py"), "json"):
        with pytest.raises(ConfigurationError):
            load_tools([wrong])

"""Tools whose service fails for a moment: what may be done twice is tried again, each attempt with a row of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent import events as ev
from agent.errors import McpUnavailable, ToolError, ToolFailed, ToolTimedOut, ToolUnavailable
from agent.ports import ModelReply
from agent.tools.base import Preview, ToolContext, ToolResult
from tests.scenario.script import end, plan, say, use
from tests.scenario.table import Case, check
from tests.scenario.touch import Touch, TouchArguments

PASSING = [ToolUnavailable("It is away."), McpUnavailable(), ConnectionResetError()]
LASTING = [ToolFailed("No such thing."), ToolTimedOut("Too slow."), ToolError(), ValueError("a bug"), OSError("disk")]


@dataclass
class Shaky:
    """What happens to each attempt, in order; afterwards all goes well."""

    faults: list[Exception]
    tried: int = 0
    tier: str = "low"
    idempotent: bool = True
    ends: list[str] = field(default_factory=list[str])

    def tool(self) -> Touch:
        shaky = self

        class ShakyTouch(Touch):
            async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
                shaky.tried += 1
                if shaky.tried <= len(shaky.faults):
                    raise shaky.faults[shaky.tried - 1]
                return await super().run(arguments, context, preview)

        made = ShakyTouch("touch_low" if self.tier == "low" else "touch_medium", self.tier)
        made.idempotent = self.idempotent
        return made


def touch(tier: str = "low") -> ModelReply:
    return use((f"touch_{tier}", {"name": "a"}))


def says(tier: str = "low") -> list[ModelReply]:
    return [plan(), touch(tier), end(), say("That is all.")]


BEGUN, ENDED = "task begin plan? ok plan step1 work? ok", "work? ok done continue/rule answer? ok COMPLETED"


@pytest.mark.parametrize("fault", PASSING, ids=repr)
async def test_what_may_be_done_twice_is_tried_again_after_a_passing_fault(fault: Exception, tmp_path: Path) -> None:
    shaky = Shaky([fault])
    journal = f"{BEGUN} touch_low low start action_resumed start succeeded {ENDED}"
    case = Case("once away", says(), journal, 4_000, ["That is all."], tools=[shaky.tool()], effects=1)
    world = await check(tmp_path, case)
    (again,) = [event for event in world.told if isinstance(event, ev.ActionResumed)]
    assert again.code in {"TOOL_UNAVAILABLE", "MCP_UNAVAILABLE"}
    assert again.summary
    assert world.naps == [0.5]
    starts = [event.attempt for event in world.told if isinstance(event, ev.ActionStarted)]
    assert starts == [0, 1]


async def test_the_third_fault_is_the_outcome_and_the_worker_hears_of_it(tmp_path: Path) -> None:
    shaky = Shaky([ToolUnavailable("It is away.")] * 5)
    tries = "start action_resumed start action_resumed start failed"
    case = Case(
        "away for good", says(), f"{BEGUN} touch_low low {tries} {ENDED}", 4_000, ["That is all."],
        tools=[shaky.tool()], effects=0, hears={2: "It is away."},
    )  # fmt: skip
    world = await check(tmp_path, case)
    assert (shaky.tried, world.naps) == (3, [0.5, 1.0])


@pytest.mark.parametrize("fault", LASTING, ids=repr)
async def test_other_faults_are_not_tried_again(fault: Exception, tmp_path: Path) -> None:
    shaky = Shaky([fault])
    outcome = "timed_out" if isinstance(fault, ToolTimedOut) else "failed"
    journal = f"{BEGUN} touch_low low start {outcome} {ENDED}"
    await check(tmp_path, Case("no use", says(), journal, 4_000, ["That is all."], tools=[shaky.tool()], effects=0))
    assert shaky.tried == 1


async def test_what_may_have_had_an_effect_is_not_tried_again(tmp_path: Path) -> None:
    shaky = Shaky([ToolUnavailable()], idempotent=False)
    journal = f"{BEGUN} touch_low low start failed {ENDED}"
    await check(tmp_path, Case("no word", says(), journal, 4_000, ["That is all."], tools=[shaky.tool()], effects=0))
    assert shaky.tried == 1


async def test_a_yes_of_people_is_for_one_start_only(tmp_path: Path) -> None:
    shaky = Shaky([ToolUnavailable()], tier="medium")
    journal = f"{BEGUN} touch_medium medium asked approve approved start failed {ENDED}"
    case = Case(
        "one yes", says("medium"), journal, 4_000, ["That is all."], tools=[shaky.tool()], people=["yes"], effects=0
    )  # fmt: skip
    await check(tmp_path, case)
    assert shaky.tried == 1

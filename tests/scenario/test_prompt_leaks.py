"""A call that gives the agent's instructions away is refused, and counted where an alert hears of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.ports import ModelReply, ModelRequest, Stored
from agent.sealing import mark_of
from agent.spans import RunSpans
from agent.state import RunState
from bot.metrics import Metrics
from tests.scenario.script import end, plan, say, use
from tests.scenario.table import Case, Speaks, check
from tests.scenario.touch import Touch

SAMPLE = "agent_prompt_leaks_total "


def counted(metrics: Metrics) -> float:
    return next(float(line[len(SAMPLE) :]) for line in metrics.page().decode().splitlines() if line.startswith(SAMPLE))


def writes(*, mark: bool) -> Speaks:
    def speak(request: ModelRequest, state: RunState) -> ModelReply:
        del request
        return use(("touch_low", {"name": mark_of(state) if mark else "sk2-0000"}))

    return speak


@pytest.mark.parametrize("mark", [True, False])
async def test_a_leak_is_counted_once_and_nothing_else_is(tmp_path: Path, *, mark: bool) -> None:
    went = "high refused" if mark else "low start succeeded"
    case = Case(
        "a leak", [plan(), writes(mark=mark), end(), say("No.")],
        f"task begin plan? ok plan step1 work? ok touch_low {went} work? ok done continue/rule answer? ok COMPLETED",
        4_000, ["No."], tools=[Touch("touch_low", "low")], effects=0 if mark else 1,
    )  # fmt: skip
    world = await check(tmp_path, case)
    spans, metrics = RunSpans("r1", redact=lambda text: text), Metrics(tools=("touch_low",))
    assert counted(metrics) == 0  # `increase` does not see a series' first event
    for seq, event in enumerate(world.told, 1):
        for span in spans.feed(Stored(seq, 100.0 + seq, event)):
            metrics.told(span)
    assert counted(metrics) == (1 if mark else 0)

"""An action is rated when it is proposed and when it starts: the policy is asked again for whatever changed between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Action, Effect, Intent, Plan, PlannedStep, Principal, Risk, Task, Tier, Worker
from agent.equipment import Equipment
from agent.facts.model import Facts
from agent.fakes import CountingIds, ManualClock, MemoryJournal
from agent.policy import Policy, load_policy
from agent.rating import RATINGS_KEPT, Rater
from agent.runbooks import Runbooks
from agent.sandbox.fake import FakeSandbox
from agent.secrets import find_secret, redact
from agent.state import ActionState, RunState, StepState
from agent.telemetry import Telemetry
from agent.tools.base import Arguments, Preview, Tool, ToolContext
from agent.tools.registry import Registry

RULES = "version = 1\n[people]\napprovers = ['U2']\n"
RULE = '[[rule]]\nname = "touch"\nwhen = "tool == \'touch\'"\ntier = "low"\nsay = "It touches."\n'
NIGHT = '[[rule]]\nname = "night"\nwhen = "time.hour < 6"\ntier = "medium"\nsay = "It is night."\n'


class TouchArguments(Arguments):
    name: str = "a"


class Touch(Tool[TouchArguments]):
    name = "touch"
    description = "Touch."
    arguments = TouchArguments
    seen = Facts(effects=(Intent(effect=Effect.CREATE, target="touch:a"),), where="workspace")

    async def facts(self, arguments: TouchArguments, context: ToolContext) -> Facts:
        del arguments, context
        return self.seen

    def headline(self, arguments: TouchArguments, preview: Preview) -> str:
        del arguments, preview
        return "Touch"


class Asked:
    """A rater that knows how often it asked which policy."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.policy, self.touch, self.clock = _policy(RULES + RULE), Touch(), ManualClock()
        self.times = 0
        rate = Policy.rate

        def counted(policy: Policy, *given: Any, **named: Any) -> Risk:
            self.times += 1
            return rate(policy, *given, **named)

        patch.setattr(Policy, "rate", counted)
        self.rater = Rater(
            Equipment(
                journal=MemoryJournal(self.clock),
                clock=self.clock,
                ids=CountingIds(),
                registry=Registry([self.touch]),
                policy=lambda: self.policy,
                runbooks=Runbooks(()),
                context=lambda state: ToolContext(
                    run=state.run, workspace=folder, project=folder, sandbox=FakeSandbox()
                ),
                find_secret=find_secret,
                redact=redact,
                telemetry=Telemetry(),
            )
        )

    async def tier(self, state: RunState, item: ActionState) -> Tier:
        return (await self.rater.rating(state, item)).verdict.risk.tier


def _policy(rules: str) -> Policy:
    own = load_policy(rules)
    return replace(own, shipped=(*own.shipped, *own.own), own=())


def _item(key: str = "a1") -> ActionState:
    arguments = {"name": "a"}
    return ActionState(Action(id=key, step=0, turn=0, tool="touch", arguments=arguments, digest="d", schema_hash="s"))


def _state(*items: ActionState) -> RunState:
    task = Task(id="t1", text="touch", principal=Principal(team="T1", user="U1"))
    plan = Plan(planner="model", steps=(PlannedStep(worker=Worker.CODE, instruction="Touch."),))
    step = StepState(number=0, planned=0)
    return RunState(run="r1", task=task, plan=plan, steps=(step,), actions={item.action.id: item for item in items})


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path, monkeypatch)


async def test_what_has_not_changed_is_not_put_to_the_policy_a_second_time(asked: Asked) -> None:
    item = _item()
    assert await asked.tier(_state(item), item) is Tier.LOW
    assert await asked.tier(_state(item), item) is Tier.LOW
    assert asked.times == 1


async def test_other_facts_are_rated_anew(asked: Asked) -> None:
    item = _item()
    assert await asked.tier(_state(item), item) is Tier.LOW
    asked.touch.seen = Facts(effects=asked.touch.seen.effects, where="workspace", flags=("seed_pattern",))
    assert await asked.tier(_state(item), item) is Tier.HIGH


async def test_another_policy_rates_anew(asked: Asked) -> None:
    item = _item()
    assert await asked.tier(_state(item), item) is Tier.LOW
    asked.policy = _policy(RULES + RULE.replace("low", "high"))
    assert await asked.tier(_state(item), item) is Tier.HIGH


async def test_what_the_run_did_in_between_is_rated_with_it(asked: Asked) -> None:
    item = _item()
    assert await asked.tier(_state(item), item) is Tier.LOW
    done = replace(_item("a0"), phase="started", rows=5_000)
    assert await asked.tier(_state(done, item), item) is Tier.HIGH


async def test_other_arguments_under_the_same_id_are_rated_anew(asked: Asked) -> None:
    item = _item()
    await asked.tier(_state(item), item)
    other = ActionState(item.action.model_copy(update={"arguments": {"name": "b"}}))
    await asked.tier(_state(other), other)
    assert asked.times == 2


async def test_a_policy_that_looks_at_the_clock_is_asked_each_time(asked: Asked) -> None:
    item = _item()
    asked.policy = _policy(RULES + RULE + NIGHT)
    asked.clock.at = 1_800_014_400.0  # noon
    assert await asked.tier(_state(item), item) is Tier.LOW
    asked.clock.advance(13 * 3600)
    assert await asked.tier(_state(item), item) is Tier.MEDIUM


async def test_ratings_that_nobody_starts_are_not_kept_for_ever(asked: Asked) -> None:
    items = [_item(f"a{number}") for number in range(RATINGS_KEPT + 1)]
    for item in (*items, items[-1], items[0]):
        await asked.tier(_state(item), item)
    assert asked.times == RATINGS_KEPT + 2  # the newest was known, the oldest not any more

"""Runs of the supervisor at their limits: circles, turns, steps, money, time, long conversations, hostile replies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ModelMisconfigured, ModelRateLimited, ModelUnavailable
from agent.moves import Limits
from agent.ports import ModelReply
from tests.scenario.script import end, plan, planned, raw, say, step, use
from tests.scenario.table import Case, World, check
from tests.scenario.touch import Touch

SUM = use(("calculate", {"expression": "2 + 3"}))


def sums(*numbers: int, cost: int = 1_000) -> list[ModelReply]:
    return [use(("calculate", {"expression": f"{number} + 1"}), cost=cost) for number in numbers]


def low(**more: Any) -> Touch:  # as Touch
    return Touch("touch_low", "low", **more)


def touch(name: str, spaces: str = "") -> ModelReply:
    return use(("touch_low", {"name": name + spaces}))


def long(reply: ModelReply, tokens: int = 9_000) -> ModelReply:
    return replace(reply, input_tokens=tokens)


async def stop(world: World) -> None:
    await world.store.control.stop(world.run, by="slack:T1:U1")
    await world.store.control.take()


async def take_long(world: World) -> None:
    world.store.clock.advance(1.5)
    world.case.tools[0].release()


CASES = [
    Case(
        "the same call for ever is refused at the third time and the step ends at the fourth",
        [plan(), *[SUM] * 4, raw("submit_plan", {}), ModelMisconfigured(), say("I went in circles.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate refused work? ok calculate refused failed replan/rule plan?
        model_reply_invalid plan? model_misconfigured stop/rule answer? ok PARTIAL""",
        7_000,
        ["I went in circles.", "Only a part is done."],
        hears={4: "Outcome: refused"},
    ),
    Case(
        "a worker that heeds the word of warning goes on",
        [plan(), *[SUM] * 3, end("5."), say("5.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate refused work? ok done continue/rule answer? ok COMPLETED""",
        6_000,
        ["5."],
    ),
    Case(
        "after a circle there may be another way",
        [plan(), *[SUM] * 4, plan("Otherwise."), end("Done."), say("Otherwise.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate refused work? ok calculate refused failed replan/rule plan? ok plan
        step2 work? ok done continue/rule answer? ok COMPLETED""",
        8_000,
        ["Otherwise."],
        hears={5: "went round in circles"},
    ),
    Case(
        "two calls in turn are a circle too",
        [
            plan(),
            *[reply for _ in range(2) for reply in (SUM, *sums(7))],
            end("Enough."),
            say("Enough."),
        ],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate low start succeeded work? ok calculate refused work? ok done
        continue/rule answer? ok COMPLETED""",
        7_000,
        ["Enough."],
        hears={5: "Two calls are made in turn"},
    ),
    Case(
        "blanks make no other call",
        [plan(), touch("a"), touch("a", " "), touch("a", "  "), end(), say()],
        """task begin plan? ok plan step1 work? ok touch_low low start succeeded work? ok touch_low low start
        succeeded work? ok touch_low refused work? ok done continue/rule answer? ok COMPLETED""",
        6_000,
        tools=[low()],
        effects=2,
    ),
    Case(
        "a test between changes is no circle",
        [
            plan(),
            *[reply for n in range(3) for reply in (touch(f"change {n}"), SUM)],
            end("Green."),
            say("Green."),
        ],
        """task begin plan? ok plan step1 work? ok touch_low low start succeeded work? ok calculate low start
        succeeded work? ok touch_low low start succeeded work? ok calculate low start succeeded work? ok
        touch_low low start succeeded work? ok calculate low start succeeded work? ok done continue/rule
        answer? ok COMPLETED""",
        9_000,
        ["Green."],
        tools=[low()],
        effects=3,
    ),
    Case(
        "three of the same in one reply",
        [plan(), use(*[("calculate", {"expression": "2 + 3"})] * 3), end("5."), say("5.")],
        """task begin plan? ok plan step1 work? ok calculate calculate calculate refused low low start
        succeeded start succeeded work? ok done continue/rule answer? ok COMPLETED""",
        4_000,
    ),
    Case(
        "eight turns are enough",
        [plan(), *sums(*range(9))],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate low start succeeded work? ok calculate low start succeeded work? ok
        calculate low start succeeded work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate low start succeeded failed stop/rule answer? ok PARTIAL""",
        10_000,
        ["Only a part is done."],
    ),
    Case(
        "twenty actions are enough",
        [plan(), use(*[("calculate", {"expression": f"{n} + 1"}) for n in range(25)]), say("Twenty.")],
        """task begin plan? ok plan step1 work? ok calculate calculate calculate calculate calculate calculate
        calculate calculate calculate calculate calculate calculate calculate calculate calculate calculate
        calculate calculate calculate calculate low low low low low low low low low low low low low low low
        low low low low low start succeeded start succeeded start succeeded start succeeded start succeeded
        start succeeded start succeeded start succeeded start succeeded start succeeded start succeeded
        start succeeded start succeeded start succeeded start succeeded start succeeded start succeeded
        start succeeded start succeeded start succeeded failed stop/rule answer? ok PARTIAL""",
        3_000,
        ["Twenty.", "Only a part is done."],
    ),
    Case(
        "ten steps are enough, retries and new plans among them",
        [
            plan("A.", "B.", "C."),
            *[end("No.", "blocked")] * 2,
            plan("D.", "E.", "F."),
            *[end("No.", "blocked")] * 2,
            plan("G.", "H.", "I.", "J.", "K.", "L."),
            *[end()] * 4,
            say("Ten."),
        ],
        """task begin plan? ok plan step1 work? ok blocked retry/rule step1 work? ok blocked replan/rule plan?
        ok plan step4 work? ok blocked retry/rule step4 work? ok blocked replan/rule plan? ok plan step7
        work? ok done continue/rule step8 work? ok done continue/rule step9 work? ok done continue/rule
        step10 work? ok done continue/rule answer? ok PARTIAL""",
        12_000,
        ["Ten.", "10 of 10 steps", "not begun"],
    ),
    Case(
        "with two steps there is no room for a retry and a new plan",
        [plan(), *[end("No.", "blocked")] * 2, say("No.")],
        """task begin plan? ok plan step1 work? ok blocked retry/rule step1 work? ok blocked stop/rule answer?
        ok PARTIAL""",
        4_000,
        limits=Limits(steps=2),
    ),
    Case(
        "the budget ends in the middle of a step",
        [plan(), *sums(1, 2), say()],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? budget_exceeded failed replan/rule stop/rule answer? budget_exceeded PARTIAL""",
        3_000,
        ["Only a part is done.", "= 2"],
        limits=Limits(micro_usd=3_500),
        hides=["That is all."],
    ),
    Case(
        "the budget ends before the judge",
        [planned(step("Add.", expected="a sum")), end("5.")],
        """task begin plan? ok plan step1 work? ok done judge? budget_exceeded continue/rule answer?
        budget_exceeded COMPLETED""",
        2_000,
        limits=Limits(micro_usd=2_000),
    ),
    Case(
        "the time is up in the middle of a step",
        [plan("A.", "B."), touch("a"), end(), end(), say()],
        """task begin plan? ok plan step1 work? ok touch_low low start succeeded time_ran_out failed stop/rule
        PARTIAL""",
        2_000,
        ["time was used up", "Touched a"],
        tools=[low()],
        limits=Limits(active_s=1),
        meanwhile=take_long,
    ),
    Case(
        "a plan that is no JSON is mended once",
        [raw("submit_plan", '{"steps": [{"worker": "code"'), plan(), end(), say("Done.")],
        """task begin plan? model_reply_invalid plan? ok plan step1 work? ok done continue/rule answer? ok
        COMPLETED""",
        4_000,
        ["Done."],
        hears={1: "one complete JSON object"},
    ),
    Case(
        "a call that is no JSON is refused and the worker told",
        [plan(), raw("calculate", '{"expression": "2 +'), SUM, end("5."), say("5.")],
        """task begin plan? ok plan step1 work? ok calculate refused work? ok calculate low start succeeded
        work? ok done continue/rule answer? ok COMPLETED""",
        5_000,
        hears={2: "no JSON object"},
    ),
    Case(
        "arguments of the wrong type are refused and the worker told",
        [plan(), raw("calculate", {"expression": 5}), raw("calculate", {"expresion": "5"}), SUM, end("5."), say("5.")],
        """task begin plan? ok plan step1 work? ok calculate refused work? ok calculate refused work? ok
        calculate low start succeeded work? ok done continue/rule answer? ok COMPLETED""",
        6_000,
        hears={2: "valid string", 3: "Field required"},
    ),
    Case(
        "a tool that is not there is refused and the worker told",
        [plan(), raw("launch_rocket", {"to": "moon"}), end("No rocket."), say("No.")],
        """task begin plan? ok plan step1 work? ok launch_rocket refused work? ok done continue/rule answer? ok
        COMPLETED""",
        4_000,
        hears={2: "not on the allowlist"},
    ),
    Case(
        "a worker is refused a tool that is not its own",
        [plan("Look.", worker="research"), raw("run_shell", {"command": "ls"}), end("No."), say("No.")],
        """task begin plan? ok plan step1 work? ok run_shell refused work? ok done continue/rule answer? ok
        COMPLETED""",
        4_000,
        hears={2: "not on the allowlist"},
    ),
    Case(
        "a result that cannot be read is mended once",
        [plan(), raw("submit_result", {"status": "perhaps", "summary": "x"}), end("Yes."), say("Yes.")],
        """task begin plan? ok plan step1 work? model_reply_invalid work? ok done continue/rule answer? ok
        COMPLETED""",
        4_000,
        ["Yes."],
        hears={2: "status"},
    ),
    Case(
        "two results that cannot be read and the next model goes on",
        [
            plan(),
            raw("submit_result", "no"),
            raw("submit_result", "no"),
            end("Yes."),
            say("Yes."),
        ],
        """task begin plan? ok plan step1 work? model_reply_invalid work? model_reply_invalid work? ok done
        continue/rule answer? ok COMPLETED""",
        5_000,
        ["Yes."],
        chain=("scripted:one", "scripted:two"),
    ),
    Case(
        "an empty answer is asked for once more, then the state tells it",
        [plan(), SUM, end("5."), say(" "), say("\n")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok done continue/rule
        answer? model_reply_invalid answer? model_reply_invalid COMPLETED""",
        5_000,
        ["2 + 3 = 5"],
    ),
    Case(
        "words alone are no end of a step",
        [plan(), say("I think about it."), SUM, end("5."), say("5.")],
        """task begin plan? ok plan step1 work? ok work? ok calculate low start succeeded work? ok done
        continue/rule answer? ok COMPLETED""",
        5_000,
        hears={2: "Go on with the step"},
    ),
    Case(
        "the first model is tried twice, then the second goes on",
        [ModelRateLimited(retry_after_s=1), ModelUnavailable(), plan(), end(), say("Done.")],
        """task begin plan? model_rate_limited plan? model_unavailable plan? ok plan step1 work? ok done
        continue/rule answer? ok COMPLETED""",
        4_000,
        ["Done."],
        chain=("scripted:one", "scripted:two"),
    ),
    Case(
        "no model at all and no runbook",
        [ModelMisconfigured()],
        "task begin plan? model_misconfigured plan_failed FAILED",
        0,
        ["add 2 and 3"],
    ),
    Case(
        "a long conversation is told in short from its fourth turn on",
        [plan(), *[long(reply) for reply in sums(1, 2, 3, 4)], end("Done."), say("Done.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate low start succeeded work? ok calculate low start succeeded trimmed
        work? ok done continue/rule answer? ok COMPLETED""",
        7_000,
        ["Done."],
        limits=Limits(history_tokens=8_000),
        hears={5: "Your first turns in this step, in short"},
    ),
    Case(
        "a conversation that stays long is told in short again and again",
        [plan(), *[long(reply) for reply in sums(1, 2, 3, 4, 5, 6)], end("Done."), say("Done.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok calculate low start
        succeeded work? ok calculate low start succeeded work? ok calculate low start succeeded trimmed
        work? ok calculate low start succeeded trimmed work? ok calculate low start succeeded trimmed work?
        ok done continue/rule answer? ok COMPLETED""",
        9_000,
        limits=Limits(history_tokens=8_000),
        hears={7: "Turn 3:"},
    ),
    Case(
        "a huge output is shown in part, and all of it is in the workspace",
        [
            plan(),
            touch("a"),
            use(("read_file", {"path": "outputs/a5-touch_low.txt", "start": 2_000, "end": 2_001})),
            end(),
            say(),
        ],
        """task begin plan? ok plan step1 work? ok touch_low low start succeeded work? ok read_file low start
        succeeded work? ok done continue/rule answer? ok COMPLETED""",
        5_000,
        tools=[low(text="\n".join(f"row {n}" for n in range(4_000)))],
        hears={2: "read_file shows the lines", 3: "row 1999"},
    ),
    Case(
        "a plan of a hundred thousand characters",
        [plan("x" * 100_000), end(), say("Done.")],
        "task begin plan? ok plan step1 work? ok done continue/rule answer? ok COMPLETED",
        3_000,
        ["Done."],
    ),
    Case(
        "an answer of a hundred thousand characters",
        [plan(), end(), say("word " * 20_000)],
        "task begin plan? ok plan step1 work? ok done continue/rule answer? ok COMPLETED",
        3_000,
        ["more characters are left out"],
    ),
    Case(
        "letters of every script and signs that are none",
        [plan("Überprüfe 価格 🍵"), end("مرحبا שלום"), say("Fertig: 価格 🍵 مرحبا")],
        "task begin plan? ok plan step1 work? ok done continue/rule answer? ok COMPLETED",
        3_000,
        ["Fertig: 価格"],
    ),
    Case(
        "stopped in the middle of an action",
        [plan(), touch("a")],
        "task begin plan? ok plan step1 work? ok touch_low low start stop_requested unknown CANCELLED",
        2_000,
        ["It was stopped."],
        tools=[low()],
        meanwhile=stop,
        effects=0,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_supervisor_at_its_limits(case: Case, tmp_path: Path) -> None:
    await check(tmp_path, case)

"""Runs of the supervisor: plans, evaluation, retries, new plans, steps at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import ModelMisconfigured, ModelUnavailable
from agent.moves import Limits
from tests.scenario.script import end, given, plan, planned, raw, say, step, use, verdict
from tests.scenario.table import Case, at, check
from tests.scenario.touch import Touch

SUM = use(("calculate", {"expression": "2 + 3"}))
DIVIDE = use(("calculate", {"expression": "1 / 0"}))
BEGUN = "task begin plan? ok plan"
ADDED = "work? ok calculate low start succeeded"
DONE = "work? ok done continue/rule"
ANSWERED = "answer? ok COMPLETED"


def touched(*names: str) -> list[tuple[str, dict[str, str]]]:
    return [("touch_low", {"name": name}) for name in names]


CASES = [
    Case(
        "one step, one look, one answer",
        [plan(), SUM, end("5."), say("It is 5.")],
        f"{BEGUN} step1 {ADDED} {DONE} {ANSWERED}",
        4_000,
        ["It is 5.", "done · Do it.", "1 of 10 steps"],
    ),
    Case(
        "two steps one after the other, the second told of the first",
        [plan("Add.", "Tell."), SUM, end("The sum is 5."), end("Told."), say("5, and told.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok done continue/rule
        step2 work? ok done continue/rule answer? ok COMPLETED""",
        5_000,
        ["5, and told."],
        hears={3: "The sum is 5."},
    ),
    Case(
        "steps that do not need each other are open at the same time",
        [
            planned(step("Here look.", "research", needs=[]), step("There look.", "research", needs=[])),
            *[at(Here=end("Here."), There=end("There."))] * 2,
            say("Both."),
        ],
        """task begin plan? ok plan step1 work? step2 ok done work? continue/rule ok done continue/rule answer?
        ok COMPLETED""",
        4_000,
        ["Both."],
        together=True,
    ),
    Case(
        "three at once and the fourth when one of them is over",
        [
            planned(*[step(f"Look {n}.", "research", needs=[]) for n in range(4)]),
            *[end()] * 4,
            say(),
        ],
        """task begin plan? ok plan step1 work? step2 ok done work? step3 ok done work? continue/rule step4
        continue/rule ok done work? ok done continue/rule continue/rule answer? ok COMPLETED""",
        6_000,
        together=True,
    ),
    Case(
        "two steps that write the workspace are never open at the same time",
        [planned(step("Write a.", needs=[]), step("Write b.", needs=[])), end("a"), end("b"), say()],
        """task begin plan? ok plan step1 work? ok done continue/rule step2 work? ok done continue/rule answer?
        ok COMPLETED""",
        4_000,
    ),
    Case(
        "a step that reads is open beside one that writes",
        [planned(step("Write.", needs=[]), step("Read.", "research", needs=[])), *[end()] * 2, say()],
        """task begin plan? ok plan step1 work? step2 ok done work? ok done continue/rule continue/rule answer?
        ok COMPLETED""",
        4_000,
        together=True,
    ),
    Case(
        "a step waits for the two that it needs",
        [
            planned(
                step("Here look.", "research", needs=[]),
                step("There look.", "research", needs=[]),
                step("Compare.", "research", needs=[1, 2]),
            ),
            *[at(Here=end("Here."), There=end("There."))] * 2,
            end("Same."),
            say(),
        ],
        """task begin plan? ok plan step1 work? step2 ok done work? ok done continue/rule continue/rule step3
        work? ok done continue/rule answer? ok COMPLETED""",
        5_000,
        together=True,
        hears={3: "There."},
    ),
    Case(
        "when one branch fails the other is still done",
        [
            planned(
                step("Try.", "research", needs=[]), step("Look.", "research", needs=[]), step("Use it.", needs=[1])
            ),
            *[at(Try=end("None.", "blocked"), Look=end("Found."))] * 3,
            raw("submit_plan", {"steps": []}),
            ModelMisconfigured(),
            say("Half."),
        ],
        """task begin plan? ok plan step1 work? step2 ok blocked work? ok done retry/rule continue/rule step1
        work? ok blocked replan/rule plan? model_reply_invalid plan? model_misconfigured stop/rule answer?
        ok PARTIAL""",
        6_000,
        ["Half.", "not begun"],
        together=True,
    ),
    Case(
        "needs that point forward are sent back to the planner once",
        [planned(step("A.", needs=[1])), planned(step("A.", needs=[])), end(), say()],
        """task begin plan? model_reply_invalid plan? ok plan step1 work? ok done continue/rule answer? ok
        COMPLETED""",
        4_000,
        hears={1: "steps.0.needs"},
    ),
    Case(
        "a retry with feedback that works",
        [plan(), end("The file is missing.", "blocked"), SUM, end("Now it is there."), say("Done after all.")],
        """task begin plan? ok plan step1 work? ok blocked retry/rule step1 work? ok calculate low start
        succeeded work? ok done continue/rule answer? ok COMPLETED""",
        5_000,
        ["Done after all.", "2 of 10 steps"],
        hears={2: "The file is missing."},
    ),
    Case(
        "a retry that does not work leads to a new plan that does",
        [
            plan("Use the map."),
            end("No map.", "blocked"),
            end("Still no map.", "blocked"),
            plan("Ask the way."),
            end("Asked."),
            say("Found it by asking."),
        ],
        """task begin plan? ok plan step1 work? ok blocked retry/rule step1 work? ok blocked replan/rule plan?
        ok plan step2 work? ok done continue/rule answer? ok COMPLETED""",
        6_000,
        ["Found it by asking.", "4 of 10 steps"],
        hears={3: "Still no map."},
    ),
    Case(
        "after two new plans there is no third",
        [
            *[reply for n in range(3) for reply in (plan(f"Way {n}."), end("No.", "blocked"), end("No.", "blocked"))],
            say("There is no way."),
        ],
        """task begin plan? ok plan step1 work? ok blocked retry/rule step1 work? ok blocked replan/rule plan?
        ok plan step2 work? ok blocked retry/rule step2 work? ok blocked replan/rule plan? ok plan step3
        work? ok blocked retry/rule step3 work? ok blocked stop/rule answer? ok PARTIAL""",
        10_000,
        ["There is no way.", "Only a part is done."],
    ),
    Case(
        "a model judges what the record leaves in doubt",
        [planned(step("Add.", expected="a sum")), end("I thought of 5."), verdict("met"), say("5.")],
        "task begin plan? ok plan step1 work? ok done judge? ok continue/model answer? ok COMPLETED",
        4_000,
        ["5."],
        hears={2: "a sum"},
    ),
    Case(
        "no model is asked where the record speaks for itself",
        [planned(step("Add.", expected="a sum")), SUM, end("5."), say("5.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok done continue/rule
        answer? ok COMPLETED""",
        4_000,
    ),
    Case(
        "a judge is always asked where that is set",
        [planned(step("Add.", expected="a sum")), SUM, end("5."), verdict("met"), say("5.")],
        """task begin plan? ok plan step1 work? ok calculate low start succeeded work? ok done judge? ok
        continue/model answer? ok COMPLETED""",
        5_000,
        limits=Limits(judge="always"),
    ),
    Case(
        "no judge is asked where that is set",
        [planned(step("Add.", expected="a sum")), end("I thought of 5."), say("5.")],
        "task begin plan? ok plan step1 work? ok done continue/rule answer? ok COMPLETED",
        3_000,
        limits=Limits(judge="never"),
    ),
    Case(
        "the judge wants it once more, and then it is good",
        [
            planned(step("Add.", expected="a sum")),
            end("Surely 6."),
            verdict("retry", "Nothing was added.", "Use calculate."),
            SUM,
            end("5."),
            verdict("met"),
            say("5."),
        ],
        """task begin plan? ok plan step1 work? ok done judge? ok retry/model step1 work? ok calculate low
        start succeeded work? ok done judge? ok continue/model answer? ok COMPLETED""",
        7_000,
        ["5."],
        hears={3: "Use calculate."},
    ),
    Case(
        "the judge is never content",
        [
            planned(step("Add.", expected="a sum")),
            end("6."),
            verdict("retry"),
            end("7."),
            verdict("retry"),
            planned(step("Add otherwise.", expected="a sum")),
            end("8."),
            verdict("retry"),
            end("9."),
            verdict("retry"),
            planned(step("Add in the end.", expected="a sum")),
            end("10."),
            verdict("stop", "It cannot add."),
            say("I could not add."),
        ],
        """task begin plan? ok plan step1 work? ok done judge? ok retry/model step1 work? ok done judge? ok
        replan/model plan? ok plan step2 work? ok done judge? ok retry/model step2 work? ok done judge? ok
        replan/model plan? ok plan step3 work? ok done judge? ok stop/model answer? ok PARTIAL""",
        14_000,
        ["I could not add.", "Only a part is done."],
    ),
    Case(
        "the judge wants another plan",
        [
            planned(step("Add.", expected="a sum")),
            end("I cannot."),
            verdict("replan", "It takes a calculator."),
            plan("Use calculate."),
            SUM,
            end("5."),
            say("5."),
        ],
        """task begin plan? ok plan step1 work? ok done judge? ok replan/model plan? ok plan step2 work? ok
        calculate low start succeeded work? ok done continue/rule answer? ok COMPLETED""",
        7_000,
        ["5."],
        hears={3: "It takes a calculator."},
    ),
    Case(
        "the judge stops it",
        [planned(step("Fly.", expected="altitude")), end("Flew."), verdict("stop", "Nobody can."), say("No flight.")],
        "task begin plan? ok plan step1 work? ok done judge? ok stop/model answer? ok PARTIAL",
        4_000,
        ["No flight.", "Only a part is done."],
    ),
    Case(
        "a judge whose words cannot be used is asked once more, then a rule decides",
        [
            planned(step("Add.", expected="a sum")),
            end("5."),
            say("looks fine"),
            verdict("perhaps"),
            say("5."),
        ],
        """task begin plan? ok plan step1 work? ok done judge? model_reply_invalid judge? model_reply_invalid
        continue/rule answer? ok COMPLETED""",
        5_000,
        ["5."],
        hears={3: "could not be used"},
    ),
    Case(
        "without a model to judge the worker's word counts",
        [planned(step("Add.", expected="a sum")), end("5."), ModelMisconfigured(), say("5.")],
        """task begin plan? ok plan step1 work? ok done judge? model_misconfigured continue/rule answer? ok
        COMPLETED""",
        3_000,
        ["5."],
    ),
    Case(
        "a failed call leaves doubt",
        [planned(step("Divide.", expected="a number")), DIVIDE, end("1."), verdict("met"), say("1?")],
        """task begin plan? ok plan step1 work? ok calculate low start failed work? ok done judge? ok
        continue/model answer? ok COMPLETED""",
        5_000,
    ),
    Case(
        "review sends work back, and is content with the second try",
        [
            planned(step("Write."), step("Check.", "review")),
            use(*touched("a")),
            end("Written."),
            given(summary="The end is missing.", send_back=1),
            use(*touched("b")),
            end("Now whole."),
            given(summary="Fine now."),
            say("Written and checked."),
        ],
        """task begin plan? ok plan step1 work? ok touch_low low start succeeded work? ok done continue/rule
        step2 work? ok blocked send_back/review step1 work? ok touch_low low start succeeded work? ok done
        continue/rule step2 work? ok done continue/rule answer? ok COMPLETED""",
        8_000,
        ["Written and checked.", "4 of 10 steps"],
        tools=[Touch("touch_low", "low")],
        hears={3: "Touch a: succeeded", 4: "The end is missing.", 6: "check it anew"},
        effects=2,
    ),
    Case(
        "review that is never content stops after two times",
        [
            planned(step("Write."), step("Check.", "review")),
            *[reply for n in range(3) for reply in (end(f"Try {n}."), given(summary=f"No {n}.", send_back=1))],
            say("It was never right."),
        ],
        """task begin plan? ok plan step1 work? ok done continue/rule step2 work? ok blocked send_back/review
        step1 work? ok done continue/rule step2 work? ok blocked send_back/review step1 work? ok done
        continue/rule step2 work? ok blocked stop/review answer? ok PARTIAL""",
        8_000,
        ["It was never right.", "Only a part is done."],
    ),
    Case(
        "review that sends back what is not there is told so",
        [
            planned(step("Write."), step("Check.", "review")),
            end("Written."),
            given(summary="No.", send_back=7),
            given(summary="Fine."),
            say(),
        ],
        """task begin plan? ok plan step1 work? ok done continue/rule step2 work? model_reply_invalid work? ok
        done continue/rule answer? ok COMPLETED""",
        5_000,
        hears={3: "send_back: name a step"},
    ),
    Case(
        "review reports what holds and what does not",
        [
            planned(step("Write."), step("Check.", "review")),
            end("Written."),
            given(checked=[{"claim": "a.md is whole", "holds": "no", "evidence": "a.md:3"}]),
            say("Not whole."),
        ],
        """task begin plan? ok plan step1 work? ok done continue/rule step2 work? ok done continue/rule answer?
        ok COMPLETED""",
        4_000,
        hears={3: "no: a.md is whole [a.md:3]"},
    ),
    Case(
        "findings come with their sources, and one that nobody read is marked",
        [
            plan("Look.", worker="research"),
            use(("read_file", {"path": "a.md"})),
            given(findings=[{"claim": "It is 3.", "source": "a.md:1"}, {"claim": "It is 4.", "source": "b.md:1"}]),
            say("3 [1]."),
        ],
        """task begin plan? ok plan step1 work? ok read_file low start succeeded work? ok done continue/rule
        answer? ok COMPLETED""",
        4_000,
        files={"a.md": "three"},
        hears={3: "[2] b.md:1 (no action of the run touched it)"},
    ),
    Case(
        "an empty plan is mended once",
        [raw("submit_plan", {"steps": []}), plan(), end(), say("Done.")],
        """task begin plan? model_reply_invalid plan? ok plan step1 work? ok done continue/rule answer? ok
        COMPLETED""",
        4_000,
        ["Done."],
        hears={1: "at least 1"},
    ),
    Case(
        "two empty plans and the runbook does it",
        [raw("submit_plan", {"steps": []}), raw("submit_plan", {"steps": []})],
        """task begin plan? model_reply_invalid plan? model_reply_invalid plan step1 calculate low start
        succeeded done COMPLETED""",
        2_000,
        ["It is 5.", "runbook"],
        task="add 2 and 3",
    ),
    Case(
        "when the models go away at work the runbook does it from the start",
        [plan("Add."), *[ModelUnavailable()] * 2],
        """task begin plan? ok plan step1 work? model_unavailable work? model_unavailable failed replan/rule
        plan step2 calculate low start succeeded done COMPLETED""",
        3_000,
        ["It is 5.", "runbook"],
        task="add 2 and 3",
    ),
    Case(
        "when the models go away after an effect no runbook begins anew",
        [plan("Add."), use(*touched("a")), *[ModelUnavailable()] * 4],
        """task begin plan? ok plan step1 work? ok touch_low low start succeeded work? model_unavailable work?
        model_unavailable failed stop/rule answer? model_unavailable answer? model_unavailable PARTIAL""",
        6_000,
        ["Touched a", "Only a part is done."],
        tools=[Touch("touch_low", "low")],
        task="add 2 and 3",
        effects=1,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_supervisor_and_its_plans(case: Case, tmp_path: Path) -> None:
    await check(tmp_path, case)

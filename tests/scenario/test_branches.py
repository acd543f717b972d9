"""Every branch of the supervisor has a scenario, and there are enough of them: a list that readers can go by."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest

from tests.scenario import (
    test_chain_and_money,
    test_faults_of_limits,
    test_faults_of_models,
    test_faults_of_tools,
    test_supervisor_fooled,
    test_supervisor_limits,
    test_supervisor_plans,
)

CASES = (*test_supervisor_plans.CASES, *test_supervisor_limits.CASES, *test_supervisor_fooled.CASES)
FAULTS = test_faults_of_models.FAULTS
LONGER = {
    name.removeprefix("test_").replace("_", " "): inspect.getsource(function)
    for module in (test_faults_of_models, test_faults_of_limits, test_faults_of_tools, test_chain_and_money)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if name.startswith("test_")
}
BRANCHES = {
    "an infinite looper": [
        "the same call for ever is refused at the third time and the step ends at the fourth",
        "two calls in turn are a circle too",
        "eight turns are enough",
    ],
    "a hallucinated tool": ["a tool that is not there is refused and the worker told"],
    "invalid JSON": ["a plan that is no JSON is mended once", "a call that is no JSON is refused and the worker told"],
    "wrong types": ["arguments of the wrong type are refused and the worker told"],
    "one correction round, then the fallback": [
        "two results that cannot be read and the next model goes on",
        "two empty plans and the runbook does it",
    ],
    "over budget in the middle of a step": ["the budget ends in the middle of a step"],
    "a cheaper model further on": ["a model further on that fits the budget does the run"],
    "a provider's 429": [
        "a 429 is waited for as long as it says",
        "a 429 for an hour goes to the other provider at once",
    ],
    "a provider's 500": ["a 500 is tried again after a second", "two 500s in a row go to the other provider"],
    "a provider that times out": ["no answer at all is tried again"],
    "garbage": ["garbage is tried once more", "a truncated body is tried once more"],
    "slow drip": ["an answer that drips is given up and tried again"],
    "a breaker opens": ["five failures open the breaker and the other model works without a delay"],
    "a breaker recovers": [
        "half a minute later one probe finds the model well again",
        "a restart with an open breaker leaves the model alone for the rest of the time",
    ],
    "all providers down, so a runbook": ["an outage costs nothing and the runbooks do what they can"],
    "the step limit": ["ten steps are enough, retries and new plans among them"],
    "a retry with feedback that works": ["a retry with feedback that works"],
    "a retry with feedback that does not": ["a retry that does not work leads to a new plan that does"],
    "a new plan": ["the judge wants another plan", "after two new plans there is no third"],
    "steps at the same time": ["steps that do not need each other are open at the same time"],
    "two that write": ["two steps that write the workspace are never open at the same time"],
    "a denied action": ["a no is told to the worker with its reason, and not asked a second time"],
    "an expired action": ["silence is no yes and no denial"],
    "injection in a file": ["orders in a file are data, and what they ask for goes to a person all the same"],
    "injection in a page": ["orders in a page make no tool of another worker's"],
    "the prompt leaks": ["a call that gives the instructions away is refused, base64"],
    "a huge output": ["a huge output is shown in part, and all of it is in the workspace"],
    "unicode": [
        "letters of every script and signs that are none",
        "signs that nobody sees do not reach the model, from a file or the task",
    ],
    "an empty plan": ["an empty plan is mended once"],
    "an empty answer": ["an empty answer is asked for once more, then the state tells it"],
    "cancelled midway": ["stopped in the middle of an action", "stopped while it waits for people"],
    "the time is up": ["the time is up in the middle of a step"],
    "a long conversation": ["a long conversation is told in short from its fourth turn on"],
    "two users at their limits": ["two people at their limits are told when each of them may try again"],
    "a tool away for a moment": ["what may be done twice is tried again after a passing fault"],
    "review sends back": ["review sends work back, and is content with the second try"],
}  # fmt: skip


def known() -> list[str]:
    return [*(case.name for case in CASES), *(fault.name for fault in FAULTS), *LONGER]


def test_there_are_enough_scenarios_and_no_two_have_the_same_name() -> None:
    assert len(CASES) + len(FAULTS) >= 100
    assert [name for name, times in Counter(known()).items() if times > 1] == []


@pytest.mark.parametrize("branch", list(BRANCHES))
def test_each_branch_has_its_scenarios(branch: str) -> None:
    assert [name for name in BRANCHES[branch] if name not in known()] == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_case_of_the_table_has_a_whole_journal_and_its_cost(case: test_supervisor_plans.Case) -> None:
    """What the thread shows of every run is looked at by `table.check` (`always_shown`), the rest is the case's."""
    words = case.journal.split()
    assert words[:2] == ["task", "begin"]
    assert words[-1] in {"COMPLETED", "PARTIAL", "FAILED", "CANCELLED"}
    asked = sum(word.endswith("?") for word in words)
    assert asked >= 1
    assert 0 <= case.cost <= asked * max(case.price, 1_000)


@pytest.mark.parametrize("branch", list(BRANCHES))
def test_the_longer_scenarios_look_at_journal_cost_and_thread_too(branch: str) -> None:
    for name in BRANCHES[branch]:
        if name in LONGER:
            source = LONGER[name]
            looked = ("story(" in source, "cost(" in source, "thread(" in source)
            assert all(looked) or "check(" in source, (name, looked)

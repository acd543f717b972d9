"""User groups: believed for a minute, nobody when Slack does not answer; and the policy when its file is broken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slack_sdk.errors import SlackClientError

from agent.errors import ConfigurationError
from agent.fakes import ManualClock
from agent.policy import Policy, load_policy
from bot.groups import BELIEVED_S, UserGroups
from bot.policies import Policies


class Slack:
    def __init__(self) -> None:
        self.groups: dict[str, Any] = {"S1": ["U1", "U2"]}
        self.fails = False
        self.calls = 0
        self.asked = asyncio.Event()

    async def usergroups_users_list(self, *, usergroup: str) -> dict[str, Any]:
        self.calls += 1
        self.asked.set()
        if self.fails or usergroup not in self.groups:
            raise SlackClientError("no_such_subteam")
        return {"users": self.groups[usergroup]}


async def test_members_are_believed_for_a_minute_and_no_longer() -> None:
    slack, clock = Slack(), ManualClock()
    groups = UserGroups(slack, clock)
    assert groups.members("S1") == frozenset()
    await groups.refresh(["S1"])
    assert groups.members("S1") == {"U1", "U2"}
    clock.advance(BELIEVED_S - 1)
    assert groups.members("S1") == {"U1", "U2"}
    clock.advance(1)
    assert groups.members("S1") == frozenset()


async def test_when_slack_does_not_answer_a_group_is_empty_before_long_and_says_so() -> None:
    slack, clock = Slack(), ManualClock()
    groups = UserGroups(slack, clock)
    await groups.refresh(["S1"])
    slack.fails = True
    clock.advance(30)
    await groups.refresh(["S1"])
    assert groups.members("S1") == {"U1", "U2"}
    assert "S1" in groups.problem
    clock.advance(31)
    assert groups.members("S1") == frozenset()
    slack.fails = False
    await groups.refresh(["S1"])
    assert (groups.members("S1"), groups.problem) == ({"U1", "U2"}, "")


@pytest.mark.parametrize("answer", [None, "U1", {"U1": 1}, 7])
async def test_an_answer_that_is_no_list_of_people_makes_the_group_empty(answer: object) -> None:
    slack = Slack()
    slack.groups["S1"] = answer
    groups = UserGroups(slack, ManualClock())
    await groups.refresh(["S1", "S404"])
    assert groups.members("S1") == frozenset()
    assert groups.members("S404") == frozenset()
    assert "S404" in groups.problem


async def test_a_group_that_changed_is_asked_again_at_once() -> None:
    slack = Slack()
    groups = UserGroups(slack, ManualClock())
    keeping = asyncio.create_task(groups.keep(lambda: ["S1"]))
    await slack.asked.wait()
    slack.groups["S1"] = ["U2"]
    slack.asked.clear()
    groups.changed()
    assert groups.members("S1") == frozenset()
    async with asyncio.timeout(5):
        await slack.asked.wait()
    await groups.refresh(["S1"])
    keeping.cancel()
    assert groups.members("S1") == {"U2"}


GOOD = "version = 1\n[people]\napprovers = ['U1']\n"


@pytest.mark.parametrize("text", ["version = ", "version = 1\n", GOOD + "[[rule]]\nname = 'x'\n", "\0"])
def test_a_broken_policy_keeps_the_one_before_it_and_says_so(text: str) -> None:
    texts = [GOOD, text, GOOD.replace("U1", "U2")]
    told: list[tuple[str, str]] = []
    policies = Policies(lambda: load_policy(texts[0]))
    policies.told = lambda version, problem: told.append((version, problem))
    before = policies()
    texts.pop(0)
    assert not policies.reload()
    assert policies() is before
    assert policies.problem
    texts.pop(0)
    assert policies.reload()
    assert (policies.problem, policies().deciders("T1")) == ("", ("slack:T1:U2",))
    assert [bool(problem) for _, problem in told] == [True, False]


def test_whatever_goes_wrong_at_a_reload_the_old_policy_stays() -> None:
    calls = 0

    def load() -> Policy:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise RuntimeError
        return load_policy(GOOD)

    policies = Policies(load)
    assert not policies.reload()
    assert "RuntimeError" in policies.problem


def test_a_broken_policy_at_the_start_is_an_error_with_its_fix() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policies(lambda: load_policy("version = 2"))
    assert caught.value.fix

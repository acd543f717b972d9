"""Who somebody is: full members of the home team only, believed for five minutes, and no when Slack does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slack_sdk.errors import SlackClientError

from agent.domain import Principal
from agent.errors import NotEntitled
from agent.fakes import ManualClock
from bot.identity import FRESH_S, Identity, NotVerified


class Directory:
    """Slack's users.info."""

    def __init__(self, **more: object) -> None:
        self.more = more
        self.calls = 0
        self.fails = False

    async def users_info(self, *, user: str) -> dict[str, Any]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.fails:
            raise SlackClientError("down")
        return {"user": {"id": user, "team_id": "T1", "name": "omar", "profile": {"display_name": "Omar"}, **self.more}}


def identity(directory: Directory, clock: ManualClock | None = None) -> Identity:
    return Identity(directory, "T1", clock or ManualClock(), decides=lambda who: who.user == "U1")


async def test_a_full_member_may_ask_and_the_policy_says_who_may_decide() -> None:
    who = identity(Directory())
    assert await who.may_ask("U1", "T1") == Principal(team="T1", user="U1")
    await who.may_ask("U2")
    assert who.may_decide(Principal(team="T1", user="U1"))
    assert not who.may_decide(Principal(team="T1", user="U2"))
    assert who.name("slack:T1:U1") == "Omar"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"is_restricted": True}, "Guests"),
        ({"is_ultra_restricted": True}, "Guests"),
        ({"is_bot": True}, "Bots"),
        ({"deleted": True}, "deactivated"),
        ({"team_id": "T2"}, "Only members"),
        ({"is_stranger": True}, "Only members"),
        ({"team_id": None}, "know you"),
        ({"id": "U9"}, "know you"),
    ],
)
async def test_nobody_else_may_ask_or_decide(more: dict[str, object], words: str) -> None:
    who = identity(Directory(**more))
    with pytest.raises(NotEntitled, match=words):
        await who.may_ask("U1")
    assert not who.may_decide(Principal(team="T1", user="U1"))


async def test_somebody_who_acts_from_another_team_is_refused_whatever_the_directory_says() -> None:
    who = identity(Directory())
    with pytest.raises(NotEntitled, match="Only members"):
        await who.may_ask("U1", "T2")
    assert not who.may_decide(Principal(team="T2", user="U1"))


async def test_when_slack_does_not_answer_the_answer_is_no() -> None:
    directory = Directory()
    directory.fails = True
    who = identity(directory)
    with pytest.raises(NotVerified):
        await who.may_ask("U1")
    assert not who.may_decide(Principal(team="T1", user="U1"))


async def test_what_slack_said_is_believed_for_five_minutes_and_no_longer() -> None:
    directory, clock = Directory(), ManualClock()
    who = identity(directory, clock)
    await who.person("U1")
    clock.advance(FRESH_S - 1)
    await who.person("U1")
    assert directory.calls == 1
    clock.advance(2)
    assert not who.may_decide(Principal(team="T1", user="U1"))
    directory.more["is_restricted"] = True
    with pytest.raises(NotEntitled):
        await who.may_ask("U1")


async def test_many_questions_about_one_person_are_one_call() -> None:
    directory = Directory()
    who = identity(directory)
    await asyncio.gather(*(who.person("U1") for _ in range(20)))
    assert directory.calls == 1


async def test_an_admin_is_one_only_as_a_full_member() -> None:
    assert await identity(Directory(is_admin=True)).is_admin("U1")
    assert not await identity(Directory(is_admin=True, team_id="T2")).is_admin("U1")


async def test_people_can_be_learnt_beforehand_and_who_is_unknown_stays_an_id() -> None:
    directory = Directory()
    who = identity(directory)
    await who.learn(["slack:T1:U1", "local:1000"])
    assert who.name("slack:T1:U1") == "Omar"
    assert who.name("slack:T1:U7") == "U7"
    directory.fails = True
    await who.learn(["slack:T1:U8"])

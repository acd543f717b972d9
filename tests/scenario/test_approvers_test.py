"""`secondkey approvers test` asks Slack who somebody is and who is in a user group, and says what it cannot know."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bot import cli_entitled
from bot.cli_approvers import Entry, add
from bot.cli_entitled import Question
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import INES, MAYA, OMAR, THEO

GROUP = "S0APPROVERS"
RULE = (
    "[[rule]]\nname = 'orders'\nwhen = \"tool == 'query_sql' && facts.targets.exists(t, t == 'db:shop/orders')\"\n"
    f"tier = 'medium'\nsay = 'Ours.'\ndeciders = ['{GROUP}']\n"
)
ORDERS = json.dumps({"database": "shop", "sql": "UPDATE orders SET paid = 1 WHERE id = 1"})
DRINKS = json.dumps({"database": "shop", "sql": "UPDATE drinks SET price = 1 WHERE id = 1"})


async def told(
    house: House, capsys: pytest.CaptureFixture[str], question: Question, **settings: Any
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = await asyncio.to_thread(cli_entitled.test, house.settings(**settings), question, as_json=True)
    out = capsys.readouterr().out
    return code, dict(json.loads(out[out.index("{\n") :]))


async def test_the_members_of_a_rules_group_are_asked_of_slack(
    open_house: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await open_house(approvers=(MAYA,), policy=RULE)
    for person, arguments, may in (
        (OMAR, ORDERS, True),
        (MAYA, ORDERS, False),
        (MAYA, DRINKS, True),
        (OMAR, DRINKS, False),
    ):
        code, body = await told(house, capsys, Question(person=person, tool="query_sql", arguments=arguments))
        assert (code, body["may"]) == (int(not may), may), (person, arguments, body)
    code, body = await told(house, capsys, Question(person=OMAR, tool="query_sql"))
    assert (code, body["may"], body["rules"]["orders"]) == (1, False, True)


async def test_a_guest_decides_nothing_whatever_the_registry_says(
    open_house: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await open_house(approvers=(OMAR,))
    for person in (THEO, INES):
        await asyncio.to_thread(add, house.settings(), Entry(person=person, tool="query_*"))
    code, body = await told(house, capsys, Question(person=THEO, tool="query_sql"))
    assert (code, body["may"]) == (1, False)
    assert "Guests" in body["why"]
    code, body = await told(house, capsys, Question(person=INES, tool="query_sql"))
    assert (code, body["may"], body["why"]) == (0, True, "the registry names them for this.")
    code, body = await told(house, capsys, Question(person=INES, tool="run_shell"))
    assert (code, body["may"]) == (1, False)


async def test_without_a_token_it_says_what_it_cannot_know(
    open_house: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await open_house(approvers=(MAYA,), policy=RULE)
    question = Question(person=OMAR, tool="query_sql", arguments=ORDERS)
    code, body = await told(house, capsys, question, slack_bot_token="")
    assert (code, body["may"]) == (1, None)
    assert GROUP in body["unknown"][0]


async def test_when_slack_tells_nothing_of_a_group_nothing_is_claimed(
    open_house: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await open_house(approvers=(MAYA,), policy=RULE)
    await house.slack.fault("usergroups.users.list", "error", error="internal_error", times=100)
    question = Question(person=OMAR, tool="query_sql", arguments=ORDERS)
    code, body = await told(house, capsys, question)
    assert (code, body["may"]) == (1, None)
    assert "cannot be read" in body["unknown"][0]
    await house.slack.fault("auth.test", "error", error="internal_error", times=100)
    code, body = await told(house, capsys, question)
    assert (code, body["may"]) == (1, None)
    assert "Slack did not answer" in body["unknown"][0]

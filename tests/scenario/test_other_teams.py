"""One installation, one workspace: what is delivered for another team is refused and audited, whatever its kind."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from simulator import payloads
from tests.scenario.house import House
from tests.scenario.world import BOT, DATA, MAYA, OMAR, TEAM, words

ELSEWHERE = "T0ELSEWHERE"
PRICE = "price of Oat flat to 410"


def elsewhere(body: dict[str, Any]) -> dict[str, Any]:
    """The same payload as the other team's workspace would have it sent."""
    return json.loads(json.dumps(body).replace(TEAM, ELSEWHERE))


async def deliver(house: House, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    return await house.sim.services.delivery.request(kind, body)


def event(house: House, **fields: Any) -> dict[str, Any]:
    return {
        "type": "event_callback",
        "team_id": TEAM,
        "api_app_id": house.sim.workspace.app.id,
        "event_id": f"Ev{fields.get('event_ts', '1')}",
        "event_time": 1,
        "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True, "is_enterprise_install": False}],
        "event": fields,
    }


def only_row(house: House) -> tuple[str, str, str]:
    (row,) = house.audit()
    return row.kind, row.principal, row.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "app_mention", "user": MAYA, "text": f"<@{BOT}> add 1 and 1", "ts": "1.1", "channel": DATA},
        {"type": "message", "user": MAYA, "text": "add 1 and 1", "ts": "1.1", "channel": "D1", "channel_type": "im"},
        {"type": "app_home_opened", "user": OMAR, "channel": "D1", "tab": "home"},
        {
            "type": "function_executed",
            "function": {"callback_id": "run_agent_task"},
            "inputs": {"task": "add 1 and 1", "user": MAYA, "channel": DATA},
            "function_execution_id": "Fx1",
        },
    ],
    ids=lambda fields: str(fields["type"]),
)
async def test_an_event_of_another_team_is_acked_and_does_nothing(house: House, fields: dict[str, Any]) -> None:
    await house.sim.services.delivery.request("events_api", elsewhere(event(house, **fields)))
    await house.until(house.audit)
    kind, principal, detail = only_row(house)
    assert (kind, detail) == ("other_team", "event_callback")
    assert ELSEWHERE in principal or not principal
    assert house.queries.runs() == ()
    calls = [e["method"] for e in await house.slack.log() if e["direction"] == "api"]
    assert not {"views.publish", "chat.postMessage", "functions.completeError"} & set(calls)


async def test_an_event_that_names_no_team_is_refused(house: House) -> None:
    body = event(house, type="app_mention", user=MAYA, text=f"<@{BOT}> add 1 and 1", ts="1.1", channel=DATA)
    del body["team_id"], body["authorizations"]
    await deliver(house, "events_api", body)
    await house.until(house.audit)
    assert house.audit()[0].kind == "other_team"
    assert house.queries.runs() == ()


async def test_a_shared_channels_event_counts_for_the_team_that_installed_us(house: House) -> None:
    text = f"<@{BOT}> add 1 and 1"
    body = event(house, type="app_mention", user=MAYA, team=TEAM, text=text, ts="1.1", channel=DATA)
    body["team_id"] = ELSEWHERE  # where the message was written; the authorisation says for whom it is
    await deliver(house, "events_api", body)
    await house.until(house.queries.runs)


async def test_a_command_of_another_team_is_answered_and_does_nothing(house: House) -> None:
    services = house.sim.services
    person, channel = services.workspace.person(OMAR), services.workspace.channel(DATA)
    body = elsewhere(payloads.command(services, person, channel, "/agent", "pause"))
    answer = await deliver(house, "slash_commands", body)
    assert "Only members of the workspace" in json.dumps(answer)
    assert only_row(house) == ("may_not_ask", f"slack:{ELSEWHERE}:{OMAR}", "pause")
    assert house.control.standing() == ()


async def test_a_command_that_names_no_team_is_refused(house: House) -> None:
    services = house.sim.services
    person, channel = services.workspace.person(OMAR), services.workspace.channel(DATA)
    body = payloads.command(services, person, channel, "/agent", "pause") | {"team_id": ""}
    assert "another workspace" in json.dumps(await deliver(house, "slash_commands", body))
    assert house.audit()[0].kind == "other_team"
    assert house.control.standing() == ()


async def test_a_click_of_another_team_decides_nothing(house: House) -> None:
    await house.ask(PRICE)
    card = await house.card("Oat flat")
    services = house.sim.services
    channel, person = services.workspace.channel(card["channel"]), services.workspace.person(OMAR)
    row = next(block for block in card["blocks"] if block["type"] == "actions")
    one = payloads.action(row, row["elements"][0], {}, services.workspace.next_ts())
    body = payloads.message_action(services, person, channel, card, one_action=one, state={})
    await deliver(house, "interactive", elsewhere(body))
    await house.told(OMAR, "Only members of the workspace")
    assert house.approvals()[0].state == "pending"
    assert house.audit()[0].kind == "not_entitled"
    assert ELSEWHERE in house.audit()[0].principal


async def test_a_click_in_another_teams_home_decides_nothing(house: House) -> None:
    await house.ask(PRICE)
    await house.card("Oat flat")
    await house.slack.open_home(OMAR)
    view = await house.slack.wait_for_home(OMAR, lambda v: "approve" in json.dumps(v))
    services = house.sim.services
    row = next(b for b in view["blocks"] if b["type"] == "actions")
    one = payloads.action(row, row["elements"][0], {}, services.workspace.next_ts())
    body = payloads.view_action(services, services.workspace.person(OMAR), copy.deepcopy(view), one)
    await deliver(house, "interactive", elsewhere(body))
    assert house.approvals()[0].state == "pending"
    assert only_row(house)[0] == "other_team"


async def test_a_window_of_another_team_saves_nothing_and_says_so(house: House) -> None:
    await house.slack.shortcut(MAYA, "give_task")
    view = await house.slack.wait_for_view(MAYA)
    services = house.sim.services
    view["state"]["values"] = {"task": {"value": {"type": "plain_text_input", "value": "add 1 and 1"}}}
    body = payloads.view_submission(services, services.workspace.person(MAYA), view)
    answer = await deliver(house, "interactive", elsewhere(body))
    assert answer["response_action"] == "update"
    assert "another workspace" in json.dumps(answer)
    assert house.queries.runs() == ()
    assert only_row(house) == ("other_team", f"slack:{ELSEWHERE}:{MAYA}", "view_submission")


async def test_a_window_of_our_people_that_another_team_opened_is_refused(house: House) -> None:
    await house.slack.shortcut(MAYA, "give_task")
    view = await house.slack.wait_for_view(MAYA)
    view["app_installed_team_id"] = ELSEWHERE
    body = payloads.view_submission(house.sim.services, house.sim.workspace.person(MAYA), view)
    answer = await deliver(house, "interactive", body)
    assert answer["response_action"] == "update"
    assert house.audit()[0].kind == "other_team"


async def test_shortcuts_of_another_team_open_nothing(house: House) -> None:
    ts = await house.slack.post(OMAR, DATA, "Hm")
    services = house.sim.services
    person, channel = services.workspace.person(MAYA), services.workspace.channel(DATA)
    message = services.workspace.message(channel, ts)
    await deliver(house, "interactive", elsewhere(payloads.shortcut(services, person, "give_task")))
    made = payloads.message_shortcut(services, person, "ask_about_message", channel, message)
    await deliver(house, "interactive", elsewhere(made))
    assert [row.detail for row in house.audit()] == ["message_action", "shortcut"]
    assert house.slack.views.get(MAYA, []) == []


async def test_people_of_the_home_team_are_not_kept_from_anything(house: House) -> None:
    ts = await house.ask("add 1 and 1")
    assert "It is 2" in await house.answer(ts)
    assert house.audit() == []
    assert words(await house.slack.wait_for_message(DATA, lambda m: m["ts"] == ts))

"""The same round over signed HTTP, and requests that Slack did not sign."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from agent.domain import RunStatus
from simulator import payloads
from simulator.clock import Timing
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import ACTIONS, DATA, INES, MAYA, OMAR, SECRET, TEAM

TASK = "price of Tea to 260"


@pytest.fixture
async def web(open_house: Opened) -> House:
    return await open_house(over_http=True, timing=Timing(redeliver=0.1, redeliveries=30))


async def test_a_task_its_card_a_yes_and_the_answer(web: House) -> None:
    assert web.sim.services.delivery.link == "http"
    ts = await web.ask(TASK)
    card = await web.card("Tea")
    await web.click(OMAR, card, "approve")
    await web.shows(card, f"Approved by <@{OMAR}>", "Done")
    await web.answer(ts)
    assert web.prices()["Tea"] == 260


async def test_a_no_with_its_reason(web: House) -> None:
    ts = await web.ask(TASK)
    card = await web.card("Tea")
    await web.click(INES, card, "deny")
    view = await web.slack.wait_for_view(INES)
    assert (await web.slack.submit(INES, view["id"], {"reason": {"value": "Not this week."}}))["ok"]
    await web.shows(card, f"Denied by <@{INES}>", "Not this week.")
    await web.answer(ts)
    assert web.prices()["Tea"] == 250


async def test_a_takeover_with_errors_in_its_form(web: House) -> None:
    ts = await web.ask("wipe the drinks")
    packet = await web.card("A person has to do this")
    await web.click(OMAR, packet, "takeover_claim")
    await web.shows(packet, "has it")
    await web.click(OMAR, packet, "takeover_done")
    view = await web.slack.wait_for_view(OMAR)
    values = {key: {"value": " "} for key in ("what", "reference", "evidence")}
    assert "Please say what you did." in str((await web.slack.submit(OMAR, view["id"], values))["errors"])
    values = {key: {"value": "all"} for key in ("what", "reference", "evidence")}
    assert (await web.slack.submit(OMAR, view["id"], values))["ok"]
    await web.run_at(ts, RunStatus.COMPLETED)


async def test_the_command_and_a_private_refusal(web: House) -> None:
    assert "/agent help" in await web.command("help")
    await web.ask(TASK)
    await web.click(MAYA, await web.card("Tea"), "approve")
    await web.told(MAYA, "Nobody decides on their own request")


async def test_a_doubled_event_is_one_run(web: House) -> None:
    await web.slack.fault("events", "duplicate", times=2)
    await web.answer(await web.ask("add 1 and 1"))
    assert len(web.queries.runs()) == 1


@pytest.mark.parametrize(
    ("timestamp", "secret"),
    [
        ("", "another-secret"),
        ("-400", SECRET),
        ("+400", SECRET),
        ("yesterday", SECRET),
        ("1e9", SECRET),
        ("٣", SECRET),
        ("99999999999999999999999999", SECRET),
        ("0", SECRET),
    ],
)
async def test_a_request_that_slack_did_not_sign_just_now_is_401_and_changes_nothing(
    web: House, timestamp: str, secret: str
) -> None:
    if timestamp[:1] in {"-", "+"}:
        timestamp = str(int(web.clock.transport()) + int(timestamp))
    try:
        status, _ = await web.signed(json.dumps(_event("add 1 and 1")), timestamp=timestamp, secret=secret)
    except UnicodeEncodeError:
        pytest.fail("the header could not even be sent")
    assert status == 401
    assert web.queries.runs() == ()


async def test_a_request_without_any_signature_is_401(web: House) -> None:
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"X-Slack-Signature": "v0=00"}, {"X-Slack-Request-Timestamp": "1800000000"}):
            async with session.post(f"{web.app.url}/slack/events", json=_event("hi"), headers=headers) as answer:
                assert answer.status == 401
        async with session.get(f"{web.app.url}/slack/events") as answer:
            assert answer.status == 405
    assert web.queries.runs() == ()


async def test_the_challenge_of_slack_is_answered(web: House) -> None:
    status, body = await web.signed(json.dumps({"type": "url_verification", "challenge": "c-1", "token": "t"}))
    assert (status, "c-1" in body) == (200, True)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type": "event_callback"}',
        '{"type": "event_callback", "event": 7}',
        '{"type": "event_callback", "event": {"type": "app_mention"}}',
        '{"type": "event_callback", "event": {"type": "app_mention", "user": "U0MAYA", "text": 7, "ts": []}}',
        '{"type": "nothing_known", "x": ["' + "y" * 100_000 + '"]}',
    ],
)
async def test_a_body_with_missing_fields_crashes_nothing(web: House, body: str) -> None:
    status, _ = await web.signed(body)
    assert status in {200, 400, 404}, status
    assert web.queries.runs() == ()
    assert "It is 2" in await web.answer(await web.ask("add 1 and 1"))


@pytest.mark.parametrize(
    "missing", ["user", "team", "channel", "message", "container", "trigger_id", "response_url", "actions", "type"]
)
async def test_a_click_with_a_missing_field_is_answered_or_dropped_and_never_decides_by_accident(
    web: House, missing: str
) -> None:
    await web.ask(TASK)
    card = await web.card("Tea")
    payload = _click(web, card)
    del payload[missing]
    status, _ = await web.interaction(payload)
    assert status in {200, 400, 404}
    if missing in {"user", "actions", "type"}:
        assert web.approvals()[0].state == "pending"
    else:
        await web.until(lambda: web.approvals()[0].state == "approved")


@pytest.mark.parametrize("missing", ["action_id", "value", "block_id"])
async def test_a_button_without_its_parts_decides_nothing_or_exactly_what_it_says(web: House, missing: str) -> None:
    await web.ask(TASK)
    card = await web.card("Tea")
    payload = _click(web, card)
    del payload["actions"][0][missing]
    status, _ = await web.interaction(payload)
    assert status == 200
    if missing == "block_id":
        await web.until(lambda: web.approvals()[0].state == "approved")
    else:
        await web.told(OMAR, "without all of its parts")
        assert web.approvals()[0].state == "pending"


@pytest.mark.parametrize("missing", ["user", "view", "id", "callback_id", "private_metadata", "state"])
async def test_a_form_with_a_missing_field_changes_nothing(web: House, missing: str) -> None:
    await web.ask("wipe the drinks")
    packet = await web.card("A person has to do this")
    await web.click(OMAR, packet, "takeover_claim")
    await web.shows(packet, "has it")
    await web.click(OMAR, packet, "takeover_abort")
    view = await web.slack.wait_for_view(OMAR)
    services = web.sim.services
    _, held = services.views.find(view["id"])
    held["state"]["values"] = {"reason": {"value": {"type": "plain_text_input", "value": "because"}}}
    payload = payloads.view_submission(services, services.workspace.person(OMAR), held)
    del (payload if missing in payload else payload["view"])[missing]
    status, _ = await web.interaction(payload)
    assert status in {200, 400, 404}
    assert web.takeover().state == "claimed"


def _event(text: str) -> dict[str, Any]:
    event = {"type": "app_mention", "user": MAYA, "text": text, "ts": "1800000000.000100", "channel": DATA}
    return {"type": "event_callback", "team_id": TEAM, "event_id": "Ev1", "event": event}


def _click(house: House, card: dict[str, Any]) -> dict[str, Any]:
    services = house.sim.services
    row = next(block for block in card["blocks"] if block["type"] == "actions")
    one = payloads.action(row, row["elements"][0], {}, services.workspace.next_ts())
    who, channel = services.workspace.person(OMAR), services.workspace.channel(ACTIONS)
    return payloads.message_action(services, who, channel, card, one_action=one, state={})

"""Signed payloads with a wrong type in each of their fields, and bodies that are no payload: never a 500."""

from __future__ import annotations

import copy
import hmac
import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from simulator import payloads
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.test_http import _click, _event
from tests.scenario.world import ACTIONS, BOT, DATA, MAYA, OMAR, SECRET, TEAM

TASK = "price of Tea to 260"
WRONG = (None, 7, [None], {"id": 7}, "\ud83d", "x" * 10_000)
FORM = "application/x-www-form-urlencoded"
FINE = {200, 400, 401, 404}


@pytest.fixture
async def web(open_house: Opened) -> House:
    return await open_house(over_http=True)


def fields(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field, down to four levels."""
    if len(path) > 3:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from fields(inner, (*path, key))


def all_changed(payload: dict[str, Any], *, besides: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The payload with each of its fields wrong, each another delivery."""
    for number, (path, wrong) in enumerate(itertools.product(fields(payload), WRONG)):
        if path[0] == besides:
            continue
        again = copy.deepcopy(payload)
        if "event" in again:
            again["event_id"], again["event"]["ts"] = f"Ev{number}", f"18000000{number:02}.000100"
        else:
            again["trigger_id"] = f"{number}.1.abc"
        if "view" in again:
            again["view"]["hash"] = f"{number}.abc"
        yield f"{path} {wrong!r:.20}", changed(again, path, wrong)


def changed(result: dict[str, Any], path: tuple[str | int, ...], wrong: object) -> dict[str, Any]:
    found: Any = result
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = wrong
    return result


async def test_an_event_with_any_field_of_a_wrong_type_is_never_a_500(web: House) -> None:
    event = _event("hello") | {"authorizations": [{"team_id": TEAM, "user_id": BOT}], "event_context": "x"}
    event["event"] |= {"files": [{"id": "F1"}], "blocks": [{"type": "rich_text"}], "channel_type": "channel"}
    bad = [name for name, body in all_changed(event) if (await web.signed(json.dumps(body)))[0] not in FINE]
    assert bad == []
    assert "It is 2" in await web.answer(await web.ask("add 1 and 1"))


async def test_a_click_with_any_field_of_a_wrong_type_is_never_a_500(web: House) -> None:
    await web.ask(TASK)
    click = _click(web, await web.card("Tea"))
    bad = [name for name, body in all_changed(click, besides="message") if (await web.interaction(body))[0] not in FINE]
    assert bad == []


async def test_a_form_with_any_field_of_a_wrong_type_is_never_a_500(web: House) -> None:
    await web.ask("wipe the drinks")
    packet = await web.card("A person has to do this")
    await web.click(OMAR, packet, "takeover_claim")
    await web.shows(packet, "has it")
    await web.click(OMAR, packet, "takeover_abort")
    view = await web.slack.wait_for_view(OMAR)
    services = web.sim.services
    _, held = services.views.find(view["id"])
    held["state"]["values"] = {"reason": {"value": {"type": "plain_text_input", "value": "because"}}}
    form = payloads.view_submission(services, services.workspace.person(OMAR), held)
    form["view"].pop("blocks")
    bad = [name for name, body in all_changed(form) if (await web.interaction(body))[0] not in FINE]
    assert bad == []


async def test_a_command_with_any_field_of_a_wrong_type_is_never_a_500(web: House) -> None:
    services = web.sim.services
    who, channel = services.workspace.person(OMAR), services.workspace.channel(ACTIONS)
    command = payloads.command(services, who, channel, "/agent", "runs")
    bad = []
    for name in command:
        for wrong in ("", "\udcff", "x" * 10_000, '{"id": 7}', "٣", "\0"):
            form = urlencode(command | {name: wrong}, errors="surrogateescape")
            if (status := (await web.signed(form, content_type=FORM))[0]) not in FINE:
                bad.append((name, wrong[:20], status))
    assert bad == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xfe\x00", "application/json"),
        (b'{"type": "event_callback", "event": {"type": "\xff"}}', "application/json"),
        (b"payload=%FF%FE", FORM),
        (b"payload=7&payload=8", FORM),
        (b"payload=" + b"%7B%22a%22%3A" * 50_000, FORM),
        (b'{"a": "' + b"x" * 1_000_000 + b'"}', "application/json"),
        (b'{"type": "event_callback", "event": ' + b"[" * 100_000, "application/json"),
        (b'{"type": ' + b"1" * 100_000 + b"}", "application/json"),
        (b'{"type": NaN, "event": Infinity}', "application/json"),
        (b"{}", "text/html"),
        (b"{}", "application/json; charset=utf-16"),
        (b"command=/agent", "multipart/form-data"),
    ],
)
async def test_a_body_that_is_no_payload_is_never_a_500(web: House, body: bytes, kind: str) -> None:
    stamp = str(int(web.clock.transport()))
    digest = hmac.new(SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, "sha256").hexdigest()
    headers = {
        "Content-Type": kind,
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{web.app.url}/slack/events", data=body, headers=headers) as answer,
    ):
        assert answer.status in FINE
    async with aiohttp.ClientSession() as session, session.get(f"{web.app.url}/healthz") as answer:
        assert answer.status == 200


async def test_half_a_character_in_a_task_is_replaced_and_the_task_done(web: House) -> None:
    said = _event("add 1 and 1 \ud83d")
    said["event"]["ts"] = await web.slack.post(MAYA, DATA, "beside")
    assert (await web.signed(json.dumps(said)))[0] == 200
    await web.until(web.queries.runs)
    assert web.queries.runs()[0].title.endswith("\ufffd")

"""Tools that reach out of the workspace: requests with secrets, and tools of one's own, through gate and journal."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.domain import Outcome
from agent.errors import ConfigurationError
from agent.fakes import ScriptedModel
from bot.app import App
from bot.config import Settings
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import OMAR, words

TOKEN = 'tr0ub4dor&3/"quoted"\\canary'
DOC = Path(__file__).parents[2] / "docs" / "own-tool.md"


class Desk:
    """A web service on this machine that tells its secret back, as careless services do."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, str, str, bytes]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append((request.method, request.path, request.headers.get("X-Key", ""), body))
        key = request.headers.get("X-Key", "")
        return web.json_response({"echo": key, "body": body.decode(), "hex": TOKEN.encode().hex()})


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://localhost:{listener.getsockname()[1]}"
    await web.SockSite(runner, listener).start()
    yield made
    await runner.cleanup()


def settings(desk: Desk, **more: Any) -> dict[str, Any]:
    return {
        "egress": {desk.url: {"methods": ["GET", "POST"], "private": True}},
        "secrets": {"DESK_KEY": {"from": "env:DESK", "hosts": [desk.url]}},
        **more,
    }


def _files(house: House) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((house.folder / "data").rglob("*")) if path.is_file())


async def test_invariant_9_a_secret_joins_a_request_at_the_edge_and_is_seen_nowhere_else(
    open_house: Opened, desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    call = {
        "method": "POST",
        "url": f"{desk.url}/tickets",
        "headers": {"X-Key": "secret:DESK_KEY", "Content-Type": "application/json"},
        "body": '{"key": "secret:DESK_KEY"}',
    }
    model = ScriptedModel([script.plan(), script.use(("http_request", call)), script.end(), script.say("Sent.")])
    house = await open_house(model=model, settings=settings(desk), environment={"DESK": TOKEN})
    ts = await house.ask("open a ticket")
    card = await house.card("POST", "/tickets")
    assert "secret:DESK_KEY" in words(card)
    assert desk.seen == []
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    body = json.dumps({"key": TOKEN}).encode()
    assert desk.seen == [("POST", "/tickets", TOKEN, body)]
    told = "\n".join(script.heard(request) for request in model.requests)
    assert "secrets: DESK_KEY" in str([request.tools for request in model.requests])
    assert "[redacted: secret:DESK_KEY]" in told
    everything = told + json.dumps(await house.slack.log()) + "".join(capfd.readouterr())
    everything += _files(house).decode(errors="replace")
    for spelling in (TOKEN, json.dumps(TOKEN)[1:-1], json.dumps(json.dumps(TOKEN))[3:-3], TOKEN.encode().hex()):
        assert spelling not in everything


async def test_reading_an_allowed_place_asks_nobody_and_any_other_is_refused(open_house: Opened, desk: Desk) -> None:
    calls = (
        ("http_request", {"url": f"{desk.url}/status"}),
        ("http_request", {"url": "http://169.254.169.254/latest/meta-data"}),
        ("http_request", {"url": "https://evil.example/"}),
        ("http_request", {"method": "DELETE", "url": f"{desk.url}/status"}),
    )
    model = ScriptedModel([script.plan(), script.use(*calls), script.end(), script.say("Read.")])
    house = await open_house(model=model, settings=settings(desk), environment={"DESK": TOKEN})
    ts = await house.ask("how is the desk")
    await house.answer(ts)
    run = await house.run_at(ts)
    ended = [event for event in house.events(run.id) if event.type == "action_finished"]
    assert sorted((event.outcome, event.code) for event in ended) == [
        (Outcome.REFUSED, "BAD_ARGUMENTS"),
        (Outcome.REFUSED, "HOST_NOT_ALLOWED"),
        (Outcome.REFUSED, "HOST_NOT_ALLOWED"),
        (Outcome.SUCCEEDED, ""),
    ]
    assert [(method, path) for method, path, _, _ in desk.seen] == [("GET", "/status")]


async def test_the_tool_of_the_documentation_works_as_it_says(open_house: Opened, tmp_path: Path) -> None:
    text = DOC.read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    (tmp_path / "ticket_tools.py").write_text(code[1])
    model = ScriptedModel(
        [
            script.plan(),
            script.use(("close_ticket", {"number": 7, "note": "Extinguished."}), ("close_ticket", {"number": "x"})),
            script.end(),
            script.say("Closed."),
        ]
    )
    house = await open_house(model=model, settings={"tools": (str(tmp_path / "ticket_tools.py"),)})
    ts = await house.ask("close ticket 7")
    card = await house.card("close_ticket", "Close a ticket of the help desk", "Extinguished.")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    heard = "\n".join(script.heard(request) for request in model.requests)
    assert "Closed 7 (The printer is on fire.) Extinguished." in heard
    run = await house.run_at(ts)
    rated = [event for event in house.events(run.id) if event.type == "action_rated"]
    assert [(event.tier, event.reasons[0].rule) for event in rated] == [("medium", "own_tool")]
    assert rated[0].intents[0].target == "ticket:7"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tools": ("no_such_module_at_all",)}, "cannot be loaded"),
        ({"tools": ("json",)}, "no tool in"),
        ({"tool_timeouts": {"no_such": 9.0}}, "no tool 'no_such'"),
        ({"egress": {"https://x.example/path": {}}}, "a path"),
        ({"secrets": {"A_KEY": {"from": "env:NOT_SET"}}}, "is not set"),
        ({"secrets": {"A_KEY": {"from": "file:/etc/passwd"}}}, "readable for everybody"),
        ({"secrets": {"A_KEY": {"from": "command:false"}}}, "did not give it"),
        ({"secrets": {"lower": {"from": "env:PATH"}}}, "cannot be called"),
    ],
)
async def test_a_configuration_that_is_wrong_stops_the_start_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await App.start(Settings(**wrong), environment={})

"""What keeps it from starting is said with its fix, and what does not keep it from starting is said all the same."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.errors import ConfigurationError
from agent.fakes import ScriptedModel
from agent.sandbox.none import NoSandbox
from bot import __main__ as command_line
from bot.app import App
from bot.composition import driving
from bot.config import Settings
from simulator.server import Simulator
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.world import MAYA, words

ROOT = Path(__file__).parents[2]
TOKENS = {"SLACK_BOT_TOKEN": "xoxb-simulator", "SLACK_APP_TOKEN": "xapp-simulator"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with await Simulator.start(rates=False) as simulator:
        yield simulator


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def _serve(folder: Path, text: str | None, monkeypatch: pytest.MonkeyPatch, *more: str, tokens: bool = True) -> int:
    """`secondkey serve` in this process, as far as it comes before anything is served."""
    for name in [name for name in os.environ if name.startswith(("SLACK_", "SECONDKEY_", "PORT"))]:
        monkeypatch.delenv(name)
    for name, value in TOKENS.items() if tokens else ():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    if text is not None:
        (folder / "secondkey.toml").write_text(text)
    return command_line.main(["serve", *more])


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("approvers = [", (), "cannot be read"),
        ("aprovers = []", (), "aprovers"),
        ("budget_usd = -1", (), "budget_usd"),
        ('command = "agent"', (), "command"),
        ("port = 70000", (), "port"),
        ('slack_bot_token = "xoxb-1"', (), "a token does not belong in a file"),
        (None, ("--config", "nowhere.toml"), "nowhere.toml is not there"),
        ('project = "nowhere"', (), "is not a folder"),
        ('[databases]\nshop = "nowhere.db"', (), "database 'shop' is not at"),
        ('policy = "nowhere.toml"', (), "cannot be read"),
        ('policy = "secondkey.toml"', (), "not valid"),
        ('runbooks = ["nowhere.toml"]', (), "cannot be read"),
        ('runbooks = ["secondkey.toml"]', (), "secondkey.toml"),
        ('models = "nobody"', (), "nobody"),
        ('data = "secondkey.toml/inside"', (), "cannot be made"),
        ('slack_api_url = "http://127.0.0.1:9/api/"', (), "Slack cannot be reached"),
    ],
)
def test_a_configuration_that_is_not_usable_is_exit_2_with_the_fix(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    text: str | None,
    more: tuple[str, ...],
    said: str,
) -> None:
    whole = text if text is None or "slack_api_url" in text else f'slack_api_url = "http://127.0.0.1:9/api/"\n{text}'
    assert _serve(tmp_path, whole, monkeypatch, *more) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Fix: " in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("more", "named"), [((), "SLACK_APP_TOKEN"), (("--http",), "SLACK_SIGNING_SECRET")])
def test_missing_tokens_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    named: str,
) -> None:
    assert _serve(tmp_path, "", monkeypatch, *more, tokens=False) == 2
    error = capsys.readouterr().err
    assert f"SLACK_BOT_TOKEN and {named} are not set" in error
    assert "Fix: Copy" in error


async def _process(folder: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    """`python -m bot serve` as a process of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLACK_", "SECONDKEY_", "PORT"))}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve",
        cwd=folder, env={**kept, "PYTHONPATH": str(ROOT), **TOKENS, **environment},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, error = await asyncio.wait_for(child.communicate(), 30)
    return child.returncode, error.decode()


async def test_real_processes_end_with_2_and_one_sentence_on_stderr(sim: Simulator, taken: int, tmp_path: Path) -> None:
    base = {"SECONDKEY_SLACK_API_URL": sim.api_url, "SECONDKEY_APPROVERS": '["U0OMAR"]', "SECONDKEY_PORT": "0"}
    cases = {
        "Slack refuses the token (invalid_auth)": {"SLACK_BOT_TOKEN": "xoxb-wrong"},
        "SLACK_APP_TOKEN": {"SLACK_APP_TOKEN": "xapp-wrong"},
        "cannot be listened on": {"SECONDKEY_PORT": str(taken)},
        "Nobody may approve anything": {"SECONDKEY_APPROVERS": "[]"},
    }
    folders = [tmp_path / str(number) for number in range(len(cases))]
    for folder in folders:
        folder.mkdir()
    ends = await asyncio.gather(
        *(_process(folder, base | more) for folder, more in zip(folders, cases.values(), strict=True))
    )
    for said, (code, error) in zip(cases, ends, strict=True):
        assert code == 2, error
        assert said in error
        assert "  Fix: " in error
        assert "Traceback" not in error
        assert "xoxb" not in error
        assert "xapp-" not in error


def _settings(sim: Simulator, folder: Path, **other: Any) -> Settings:  # settings
    given: dict[str, Any] = {
        "data": folder / "data",
        "project": folder,
        "approvers": ("U0OMAR",),
        "port": 0,
        "slack_api_url": sim.api_url,
        "slack_bot_token": "xoxb-simulator",
        "slack_app_token": "xapp-simulator",
    }
    return Settings(**(given | other))


async def test_a_taken_port_leaves_nothing_behind_that_keeps_the_next_start_waiting(
    sim: Simulator, taken: int, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be listened on") as refused:
        await App.start(_settings(sim, tmp_path, port=taken), environment={})
    assert "another port" in refused.value.fix
    async with asyncio.timeout(8):
        app = await App.start(_settings(sim, tmp_path), environment={})
    assert app is not None
    await app.stop()


async def test_a_second_process_stands_by_without_a_socket_and_ends_when_told(sim: Simulator, tmp_path: Path) -> None:
    app = await App.start(_settings(sim, tmp_path), environment={})
    assert app is not None
    stop = asyncio.Event()
    second = asyncio.create_task(App.start(_settings(sim, tmp_path), environment={}, stop=stop))
    await asyncio.wait({second}, timeout=0.5)
    assert not second.done()
    assert len(sim.services.sockets._sockets) == 1
    stop.set()
    assert await second is None
    await app.stop()


async def _ready(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
        return answer.status, (await answer.json())["parts"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "ai-actions", "archived": True}, "no channel #ai-actions"),
        ({"name": "ai-actions", "bot_member": False}, "not in #ai-actions"),
    ],
)
async def test_without_the_approvals_channel_it_serves_says_so_and_asks_directly(
    open_house: Opened, change: dict[str, Any], said: str
) -> None:
    house: House = await open_house()
    await house.app.stop()
    await house.slack.call("channel", change)
    await house.start()
    status, parts = await _ready(house.app.url)
    assert status == 503
    assert said in parts["delivery"]
    await house.ask("price of Tea to 260")
    await house.card("Tea", channel=await house.dm("U0OMAR"))


async def test_when_all_is_well_it_is_ready(house: House) -> None:
    await house.answer(await house.ask("add 1 and 1"))
    status, parts = await _ready(house.app.url)
    assert (status, set(parts.values())) == (200, {"ok"})


async def test_without_a_sandbox_code_is_refused_with_a_sentence_and_everything_else_works(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    house: House = await open_house()

    async def none() -> NoSandbox:
        return NoSandbox("bwrap: not found")

    monkeypatch.setattr(driving, "choose", none)
    await house.restart()
    ts = await house.ask("Run this Python: print(1)")
    answer = await house.answer(ts)
    assert "No sandbox works on this machine" in answer
    assert house.started() == 0
    assert "It is 2" in await house.answer(await house.ask("add 1 and 1"))


async def test_a_model_that_does_not_answer_leaves_the_task_to_the_runbooks(open_house: Opened) -> None:
    house = await open_house(model=ScriptedModel([]))
    assert "It is 2" in await house.answer(await house.ask("add 1 and 1"))
    ts = await house.slack.post(MAYA, await house.dm(MAYA), "compose a symphony")
    found = await house.slack.wait_for_message(await house.dm(MAYA), lambda m: "Written " in words(m))
    assert "No model could be reached" in words(found)
    assert ts


async def test_a_model_that_answers_nonsense_is_told_so_once_and_then_left(open_house: Opened) -> None:
    model = ScriptedModel([script.say("no plan"), script.say("still no plan")])
    house = await open_house(model=model)
    assert "It is 2" in await house.answer(await house.ask("add 1 and 1"))
    assert "could not be used" in script.heard(model.requests[1])


async def test_with_nothing_to_do_it_stops_at_once(open_house: Opened) -> None:
    house = await open_house()
    began = asyncio.get_running_loop().time()
    await house.app.stop()
    assert asyncio.get_running_loop().time() - began < 1.5

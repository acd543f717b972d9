"""The doctor asks Slack: tokens, scopes, clock, channels, people and groups; a real process prints it all."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from agent.clock import SystemClock
from agent.sandbox.none import NoSandbox
from bot.cli_doctor import report
from bot.composition import driving
from bot.config import Settings
from bot.doctor.finding import Finding
from bot.doctor.workspace import look_at_slack
from bot.init import manifest_text
from simulator.driver import Driver
from simulator.server import Simulator
from tests.scenario.conftest import Opened
from tests.scenario.world import ACTIONS, BOT, SECRET

ROOT = Path(__file__).parents[2]
TOKENS = {"slack_bot_token": "xoxb-simulator", "slack_app_token": "xapp-simulator"}


class SkewedClock(SystemClock):
    """A machine whose clock goes wrong by some seconds."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead
        super().__init__()

    def transport(self) -> float:
        return super().transport() + self.ahead


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with await Simulator.start(rates=False) as simulator:
        yield simulator


def settings(sim: Simulator, folder: Path, **other: Any) -> Settings:
    given: dict[str, Any] = {
        "data": folder / "data",
        "project": folder,
        "approvers": ("U0OMAR", "U0INES"),
        "slack_api_url": sim.api_url,
        **TOKENS,
    }
    return Settings(**(given | other))


def of(found: Iterable[Finding], part: str, said: str = "") -> list[Finding]:
    return [item for item in found if item.part == part and said in item.text]


async def look(settings: Settings, *, over_http: bool = False, ahead: float = 0.0) -> list[Finding]:
    return list(await look_at_slack(settings, SkewedClock(ahead), over_http=over_http))


def grant(sim: Simulator, scopes: Iterable[str]) -> None:
    here = sim.services.workspace
    here.app = replace(here.app, scopes=",".join(scopes))


def manifest_scopes() -> list[str]:
    return list(yaml.safe_load(manifest_text())["oauth_config"]["scopes"]["bot"])


async def test_in_a_workspace_that_is_set_up_only_the_manifest_cannot_be_read(sim: Simulator, tmp_path: Path) -> None:
    grant(sim, manifest_scopes())
    found = await look(settings(sim, tmp_path))
    assert {item.part for item in found if item.level != "ok"} == {"manifest"}
    assert of(found, "manifest")[0].level == "unknown"
    assert of(found, "tokens", "Socket Mode is on")
    assert of(found, "approvers", "2 people")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"slack_bot_token": "xoxb-wrong"}, "refuses SLACK_BOT_TOKEN (invalid_auth)"),
        ({"slack_app_token": "xapp-wrong"}, "refuses SLACK_APP_TOKEN"),
        ({"slack_app_token": ""}, "SLACK_APP_TOKEN is not set"),
        ({"slack_bot_token": "xapp-simulator"}, "does not begin with xoxb-"),
    ],
)
async def test_a_token_that_is_not_right_is_named(
    sim: Simulator, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    found = of(await look(settings(sim, tmp_path, **other)), "tokens", said)
    assert [item.level for item in found] == ["broken"]
    assert found[0].fix


async def test_without_tokens_it_says_what_cannot_be_known(sim: Simulator, tmp_path: Path) -> None:
    found = await look(settings(sim, tmp_path, slack_bot_token="", slack_app_token=""))
    assert of(found, "slack")[0].level == "unknown"
    assert len(of(found, "tokens", "is not set")) == 2


async def test_the_manifest_is_compared_when_a_configuration_token_is_there(sim: Simulator, tmp_path: Path) -> None:
    here = sim.services.workspace
    here.manifest = yaml.safe_load(manifest_text())
    token = here.app.config_token

    async def manifest(token: str, **other: Any) -> list[tuple[str, str]]:
        found = await look_at_slack(
            settings(sim, tmp_path, **other), SystemClock(), over_http=False, config_token=token
        )
        return [(item.level, item.text) for item in of(found, "manifest")]

    assert [level for level, _ in await manifest(token)] == ["ok"]
    here.manifest["settings"]["event_subscriptions"]["bot_events"].remove("app_mention")
    here.manifest["features"]["shortcuts"].append({"callback_id": "left_over"})
    ((lacks, first), (has, second)) = await manifest(token)
    assert (lacks, "the event app_mention" in first) == ("broken", True)
    assert (has, "the shortcut left_over" in second) == ("mend", True)
    assert "the command /robot" in (await manifest(token, command="/robot"))[0][1]
    assert [level for level, _ in await manifest("xoxe.xoxp-wrong")] == ["unknown"]
    assert [level for level, _ in await manifest("xoxb-simulator")] == ["unknown"]


async def test_trouble_of_slacks_own_is_not_laid_at_the_tokens_door(sim: Simulator, tmp_path: Path) -> None:
    async with Driver(sim.url) as driver:
        await driver.fault("auth.test", "rate_limit", retry_after=1)
        found = await look(settings(sim, tmp_path))
    assert [(item.part, item.level) for item in found] == [("slack", "unknown")]
    found = await look(settings(sim, tmp_path, slack_api_url="http://127.0.0.1:9/api/"))
    assert [(item.part, item.level) for item in found] == [("slack", "broken")]


async def test_a_workspace_that_calls_itself_a_screenful_is_cut_and_shown_plainly(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = sim.services.workspace
    here.team = replace(here.team, name="\x1b[2J\u202e" + "x" * 100_000)
    found = await look(settings(sim, tmp_path))
    report(found, as_json=False)
    printed = capsys.readouterr().out
    assert len(printed) < 10_000
    assert not {"\x1b", "\u202e"} & set(printed)


async def test_over_http_the_signing_secret_is_wanted_and_no_app_token(sim: Simulator, tmp_path: Path) -> None:
    here = {"slack_app_token": "", "slack_signing_secret": SECRET}
    found = await look(settings(sim, tmp_path, **here), over_http=True)
    assert all(item.level == "ok" for item in of(found, "tokens"))
    found = await look(settings(sim, tmp_path, slack_app_token=""), over_http=True)
    assert of(found, "tokens", "SLACK_SIGNING_SECRET is not set")
    found = await look(settings(sim, tmp_path, slack_signing_secret="xoxb-1"), over_http=True)
    assert of(found, "tokens", "holds a token")


async def test_scopes_that_lack_or_are_too_many_are_named(sim: Simulator, tmp_path: Path) -> None:
    grant(sim, [*(set(manifest_scopes()) - {"chat:write"}), "admin"])
    found = of(await look(settings(sim, tmp_path)), "scopes")
    assert [(item.level, "chat:write" in item.text, "admin" in item.text) for item in found] == [
        ("broken", True, False),
        ("mend", False, True),
    ]


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (-40.0, "mend"), (400.0, "broken")])
async def test_a_clock_that_goes_wrong_is_found_by_slacks(
    sim: Simulator, tmp_path: Path, ahead: float, level: str
) -> None:
    assert of(await look(settings(sim, tmp_path), ahead=ahead), "clock")[0].level == level


async def test_a_channel_without_the_bot_or_without_existence_is_found(sim: Simulator, tmp_path: Path) -> None:
    sim.services.workspace.channels[ACTIONS].members.remove(BOT)
    (found,) = of(await look(settings(sim, tmp_path)), "channels")
    assert (found.level, "not in #ai-actions" in found.text, "/invite" in found.fix) == ("broken", True, True)
    (found,) = of(await look(settings(sim, tmp_path, actions_channel="nowhere")), "channels")
    assert "no channel #nowhere" in found.text


async def test_approvers_who_cannot_decide_are_named(sim: Simulator, tmp_path: Path) -> None:
    found = of(await look(settings(sim, tmp_path, approvers=("U0OMAR", "U0NOBODY", "U0EVE"))), "approvers")
    assert [item.level for item in found] == ["mend", "mend", "mend"]
    assert "U0EVE" in found[0].text
    assert "U0NOBODY" in found[1].text
    assert "Only one person" in found[2].text
    found = of(await look(settings(sim, tmp_path, approvers=("U0NOBODY",))), "approvers")
    assert found[-1].level == "broken"


async def test_user_groups_are_read_as_slack_has_them(sim: Simulator, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('version = 1\n[people]\napprovers = ["S0APPROVERS", "S0GONE"]\n')
    here = settings(sim, tmp_path, approvers=(), policy=tmp_path / "policy.toml", on_call="S0APPROVERS")
    found = await look(here)
    assert [(item.level, item.text[:11]) for item in of(found, "groups")] == [
        ("broken", "The members"),
        ("ok", "S0APPROVERS"),
    ]
    assert of(found, "approvers", "2 people")


async def test_the_real_command_prints_it_all_beside_a_running_server(open_house: Opened, tmp_path: Path) -> None:
    house = await open_house()
    grant(house.sim, manifest_scopes())
    config = tmp_path / "secondkey.toml"
    config.write_text(
        f'data = "{house.folder / "data"}"\nproject = "{house.project}"\npolicy = "{house.folder / "policy.toml"}"\n'
        f'slack_api_url = "{house.sim.api_url}"\n'
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLACK_", "SECONDKEY_", "PORT"))}
    port = house.app.url.rpartition(":")[2]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "doctor", "--json", "--config", str(config), "--port", port,
        env={**kept, "PYTHONPATH": str(ROOT), **{name.upper(): value for name, value in TOKENS.items()}},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await asyncio.wait_for(child.communicate(), 60)
    assert error == b""
    body = json.loads(out)
    found = {item["part"]: item for item in body["findings"] if item["level"] in {"mend", "broken"}}
    # What this machine itself may lack: no model key, and perhaps a sandbox, a disk that stays, or room on it.
    assert set(found) <= {"models", "sandbox", "disk", "room"}
    assert child.returncode == body["exit_code"] == 1
    server = next(item for item in body["findings"] if item["part"] == "server")
    assert "is ready" in server["text"]
    assert "xoxb" not in out.decode()


async def test_readiness_names_the_sandbox_and_its_lack_is_a_warning(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none() -> NoSandbox:
        return NoSandbox("bwrap: not found")

    house = await open_house()
    monkeypatch.setattr(driving, "choose", none)
    await house.restart()
    async with aiohttp.ClientSession() as session, session.get(f"{house.app.url}/readyz") as answer:
        body = await answer.json()
    assert (answer.status, body["parts"]["sandbox"]) == (200, "ok")
    assert "no code runs: bwrap: not found" in body["warnings"]["sandbox"]
    house.app.sandbox = None
    assert house.app.problems()["sandbox"] == "not tried yet"

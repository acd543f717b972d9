"""`secondkey replay`: a recorded run again, offline, beside other prompts and another policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent import prompting
from agent.domain import Worker
from agent.sandbox.none import NoSandbox
from agent.tools.registry import Registry
from bot import cli_replay_run
from bot.cli_replay_run import Wanted
from bot.composition import driving
from bot.config import Settings
from tests.scenario.script import end, plan, say, sql, use
from tests.scenario.terminal import RAISE, Terminal, Typist
from tests.scenario.world import make_project, make_shop

pytestmark = pytest.mark.needs("git")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    async def none() -> NoSandbox:
        return NoSandbox()

    monkeypatch.setattr(driving, "choose", none)
    make_project(tmp_path / "project")
    make_shop(tmp_path / "shop.db")
    made = Terminal(tmp_path)
    replies = [
        plan("Look.", "Raise it."),
        use(("calculate", {"expression": "400 + 10"})),
        end("410."),
        use(("no_such_tool", {"a": 1})),
        sql(RAISE),
        end("It costs 410 now."),
        say("The Oat flat costs 410."),
    ]
    assert made.run(replies, Typist("y"), task="Raise the Oat flat by 10.") == 0
    return made


def again(terminal: Terminal, capsys: Capture, **wanted: Any) -> Any:
    ((run,),) = terminal.rows("SELECT id FROM runs")
    settings = Settings(
        data=terminal.folder / "data", project=terminal.folder / "project", policy=terminal.folder / "policy.toml",
        databases={"shop": terminal.folder / "shop.db"},
    )  # fmt: skip
    capsys.readouterr()
    assert cli_replay_run.replay_run(settings, {}, Wanted(run=run[:6], **wanted)) == 0
    said = capsys.readouterr().out
    return json.loads(said) if wanted.get("as_json") else said


def test_nothing_changed_so_every_move_comes_out_as_it_did_and_nothing_is_touched(
    terminal: Terminal, capsys: Capture
) -> None:
    (terminal.folder / "shop.db").unlink()  # no tool runs: there is nothing to run it on
    told = again(terminal, capsys, as_json=True)
    calls = [move for move in told["moves"] if move["purpose"] != "judge"]
    assert [move["purpose"] for move in calls] == ["plan", "work", "work", "work", "work", "work", "answer"]
    assert all(move["rebuilt"] and move["same_reading"] and not move["request_changed"] for move in told["moves"])
    said = [line.partition(" (")[0] for line in calls[3]["then"]]
    assert said == ["propose: no_such_tool", "refused: TOOL_NOT_ALLOWED"]
    assert told["first_request_changed"] is None
    assert (told["decisions_changed"], told["skipped"]) == ([], 0)
    assert told["ratings"] == 2


def test_the_first_request_that_other_prompts_alter_is_shown_as_a_diff(
    terminal: Terminal, capsys: Capture, tmp_path: Path
) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "code.md").write_text("You are a careful barista.\n")
    told = again(terminal, capsys, prompts=folder, as_json=True)
    changed = [(move["purpose"], move["step"]) for move in told["moves"] if move["request_changed"]]
    assert changed[0] == ("work", 0)
    assert "+You are a careful barista." in told["first_request_changed"]["diff"]
    assert "--- then" in told["first_request_changed"]["diff"]
    said = again(terminal, capsys, prompts=folder)
    assert "+You are a careful barista." in said
    assert said.count("ANOTHER REQUEST") == len(changed)


def test_prompts_that_changed_since_the_run_are_found_without_being_told(
    terminal: Terminal, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prompting.shipped
    monkeypatch.setattr(
        prompting, "shipped", lambda name: f"{before(name)}\nBe brief." if name == "answer" else before(name)
    )
    told = again(terminal, capsys, as_json=True)
    assert [move["purpose"] for move in told["moves"] if move["request_changed"]] == ["answer"]
    assert "+Be brief." in told["first_request_changed"]["diff"]


def test_each_decision_that_another_policy_changes_is_told_in_full(
    terminal: Terminal, capsys: Capture, tmp_path: Path
) -> None:
    file = tmp_path / "strict.toml"
    file.write_text(
        'version = 1\n[limits]\nquorum = 2\n[[rule]]\nname = "sums"\nwhen = "tool == \'calculate\'"\ntier = "high"\n'
        'say = "Nobody does sums here."\n'
    )
    told = again(terminal, capsys, policy=file, as_json=True)
    sums, update = told["decisions_changed"]
    assert (sums["tool"], sums["then"]["door"], sums["now"]["door"]) == ("calculate", "go", "person")
    assert sums["arguments"] == {"expression": "400 + 10"}
    assert sums["now"]["reasons"] == [["sums", "Nobody does sums here."]]
    assert (update["then"]["quorum"], update["now"]["quorum"], update["decided"]) == (1, 2, "approved")
    said = again(terminal, capsys, policy=file)
    assert RAISE in said
    assert "sums: Nobody does sums here." in said
    assert "2 of 2 decisions would be another one" in said


def test_code_that_reads_a_reply_otherwise_is_told(
    terminal: Terminal, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allows(registry: Registry, name: str, worker: Worker | None) -> bool:
        return name in registry.names and (worker is None or name != "query_sql")

    monkeypatch.setattr(Registry, "allows", allows)
    told = again(terminal, capsys, as_json=True)
    elsewhere = [move for move in told["moves"] if not move["same_reading"]]
    assert [move["then"][0].partition(" (")[0] for move in elsewhere] == ["propose: query_sql"]
    assert elsewhere[0]["now"][1] == "refused: TOOL_NOT_ALLOWED"

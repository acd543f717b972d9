"""Recorded runs, had again: `secondkey replay RUN --to-scenario tests/scenario/recorded/NAME.json` adds one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigurationError
from agent.sandbox.none import NoSandbox
from bot import cli_replay_run
from bot.cli_replay_run import Wanted
from bot.composition import driving
from bot.config import Settings
from tests.scenario.rerun import rerun
from tests.scenario.script import end, plan, say, sql, use
from tests.scenario.terminal import RAISE, Terminal, Typist
from tests.scenario.world import make_project, make_shop

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
SECRET = "ghp_" + "a1B2" * 9
RUNS: dict[str, tuple[Sequence[Any], Typist | None]] = {
    "approved": ([plan("Raise."), sql(RAISE), end("It costs 410."), say("It costs 410 now.")], Typist("y")),
    "denied": ([plan("Raise."), sql(RAISE), end("No.", "blocked"), say("Not done.")], Typist("n", "May only.")),
    "taken over": ([plan("Wipe."), sql("DELETE FROM drinks"), end("Gone."), say("Done.")], Typist("d", "Did it.")),
    "handed back": ([plan("Wipe."), sql("DELETE FROM drinks"), end("Left."), say("Left.")], Typist("h", "Leave them.")),
    "aborted": ([plan("Wipe."), sql("DELETE FROM drinks")], Typist("a", "No.")),
    "no such tool": ([plan("Do."), use(("no_such", {"a": 1})), use(("read_file", {"path": 3})), end(), say()], None),
    "several": (
        [plan("Look.", "Sum."), use(("list_files", {"pattern": "*"}), ("calculate", {"expression": "1"})), end("1."),
         use(("write_file", {"path": "a.txt", "content": "x"})), use(("apply_changes", {})), end("In."), say("All.")],
        Typist("y"),
    ),
    "stopped": ([plan("Raise."), sql(RAISE)], Typist("s")),
}  # fmt: skip


@pytest.mark.parametrize("file", RECORDED, ids=[path.stem for path in RECORDED])
def test_a_recorded_run_comes_to_the_same_again(file: Path, tmp_path: Path) -> None:
    body = json.loads(file.read_text(encoding="utf-8"))
    assert asyncio.run(rerun(body, tmp_path)) == body["expected"]


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    async def none() -> NoSandbox:
        return NoSandbox()

    monkeypatch.setattr(driving, "choose", none)
    make_project(tmp_path / "project")
    make_shop(tmp_path / "shop.db")
    return Terminal(tmp_path)


def record(terminal: Terminal, target: Path) -> dict[str, Any]:
    ((run,),) = terminal.rows("SELECT id FROM runs ORDER BY created_at DESC LIMIT 1")
    settings = Settings(data=terminal.folder / "data", project=terminal.folder / "project")
    assert cli_replay_run.replay_run(settings, {}, Wanted(run=run, scenario=target)) == 0
    return json.loads(target.read_text(encoding="utf-8"))


@pytest.mark.needs("git")
@pytest.mark.parametrize("name", list(RUNS))
def test_a_run_can_be_written_down_and_had_again(name: str, terminal: Terminal, tmp_path: Path) -> None:
    replies, typist = RUNS[name]
    terminal.run(list(replies), typist, task=f"Go on, with {SECRET}.")
    body = record(terminal, tmp_path / "one.json")
    assert SECRET not in json.dumps(body)
    assert asyncio.run(rerun(body, tmp_path)) == body["expected"]
    body["expected"]["answer"] += "!"
    assert asyncio.run(rerun(body, tmp_path)) != body["expected"]


@pytest.mark.needs("git")
def test_a_scenario_names_nobody_and_a_run_that_is_not_over_is_none(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(list(RUNS["denied"][0]), Typist("n", "No."))
    body = record(terminal, tmp_path / "one.json")
    assert body["actions"][0]["decision"] == [{"state": "denied", "by": "slack:TEAM:PERSON1", "reason": "No."}]
    terminal.rows("SELECT 1")
    with pytest.raises(ConfigurationError):
        record(terminal, tmp_path / "no" / "folder.json")

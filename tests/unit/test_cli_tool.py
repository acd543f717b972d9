"""`secondkey tool call`: what it ends with, and that a person's yes does not go further than it may."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    (made / "a.txt").write_text("hello\n")
    (made / ".env").write_text("PASSWORD=hunter2\n")
    subprocess.run(("git", "init", "-q", str(made)), check=True)  # noqa: S603, S607 - git as the machine has it
    return made


def call(
    folder: Path, capsys: pytest.CaptureFixture[str], tool: str, *options: str, **arguments: Any
) -> tuple[int, dict[str, Any]]:
    words = ("tool", "call", tool, "--args", json.dumps(arguments), "--workspace", str(folder), "--json", *options)
    code = main(words)
    told = json.loads(capsys.readouterr().out)
    assert told["code"] == code
    return code, told


def test_what_is_low_runs_and_leaves_nothing_but_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = call(folder, capsys, "read_file", path="a.txt")
    assert (code, told["text"], told["tier"]) == (0, "hello\n", "low")
    code, _ = call(folder, capsys, "write_file", path="b.txt", content="new")
    assert code == 0
    assert {one.name for one in folder.iterdir()} == {"a.txt", ".env", ".git", "b.txt"}


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("no_such", {}, "TOOL_NOT_ALLOWED"),
        ("read_file", {"path": "../x"}, "BAD_ARGUMENTS"),
        ("read_file", {"path": 1}, "path"),
        ("http_request", {"url": "http://169.254.169.254/"}, "TOOL_NOT_ALLOWED"),
        ("apply_changes", {}, "TOOL_NOT_ALLOWED"),
        ("run_python", {"code": "x = 'ghp_" + "a1B2" * 9 + "'"}, "SECRET_IN_ARGUMENTS"),
    ],
)
def test_what_is_refused_ends_with_three(
    folder: Path, capsys: pytest.CaptureFixture[str], tool: str, arguments: dict[str, Any], said: str
) -> None:
    code, told = call(folder, capsys, tool, "--approve", **arguments)
    assert code == 3
    assert said in told["error"]


def test_a_medium_call_needs_a_yes_and_a_high_one_a_person(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder, capsys, "run_python", code="import os; os.remove('a.txt')")[0] == 4
    assert (folder / "a.txt").exists()
    assert call(folder, capsys, "run_shell", "--approve", command="rm -rf *")[0] == 4
    assert (folder / "a.txt").exists()


def test_what_fails_ends_with_one_and_without_a_sandbox_nothing_is_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, capsys, "read_file", path=".env")[0] == 1
    code, told = call(folder, capsys, "run_python", "--sandbox", "none", code="print(1)")
    assert (code, "SANDBOX_UNAVAILABLE" in told["error"]) == (3, True)


@pytest.mark.parametrize("sandbox", [pytest.param("bubblewrap", marks=pytest.mark.needs("bwrap")), "landlock"])
def test_the_repositorys_own_folder_can_be_read_and_not_written_moved_or_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], sandbox: str
) -> None:
    before = (folder / ".git" / "config").read_text()
    command = """
echo evil > .git/hooks/post-checkout; echo evil >> .git/config; mv .git away; rm -r .git/hooks; ln -s /tmp .git
mkdir .git.new && mv -T .git.new .git; cat .git/config > copied; echo end
"""
    code, told = call(folder, capsys, "run_shell", "--approve", "--sandbox", sandbox, command=command)
    if sandbox == "landlock" and os.getuid():
        assert code == 3  # without root it cannot be protected there
        return
    assert code == 0, told
    assert told["text"].startswith("end")
    assert (folder / ".git" / "config").read_text() == before
    assert not (folder / ".git" / "hooks" / "post-checkout").exists()
    assert not (folder / "away").exists()
    assert (folder / "copied").read_text() == before

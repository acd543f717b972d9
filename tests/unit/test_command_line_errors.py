"""Whatever an operator's files are like: a sentence, the fix and exit 2, never a traceback."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot import __main__ as command_line

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("SLACK_", "SECONDKEY_", "PORT"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says when it ends with 2."""
    assert command_line.main(words) == 2
    said = capsys.readouterr().err
    assert "  Fix: " in said
    return said


def database(folder: Path, content: bytes) -> None:
    (folder / ".secondkey").mkdir()
    (folder / ".secondkey" / "secondkey.db").write_bytes(content)


READERS = [
    ("status",),
    ("approvals",),
    ("budget",),
    ("approvers", "list"),
    ("grants", "list"),
    ("mcp", "list"),
    ("audit", "verify"),
    ("policy", "replay"),
    ("trace", "x"),
    ("tool", "call", "calculate"),
]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_database_that_is_none_is_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    database(folder, b"no database at all " * 500)
    told(capsys, *words)


def test_a_database_of_another_program_is_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".secondkey").mkdir()
    other = sqlite3.connect(folder / ".secondkey" / "secondkey.db")
    other.execute("CREATE TABLE runs (a)")
    other.close()
    assert "database cannot be read" in told(capsys, "status")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not UTF-8"])
def test_tests_of_a_policy_that_cannot_be_read_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (folder / "tests.toml").write_bytes(content)
    assert "The tests tests.toml cannot be read" in told(capsys, "policy", "test", "--tests", "tests.toml")


def test_a_folder_in_the_place_of_the_configuration_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "secondkey.toml").mkdir()
    assert "secondkey.toml cannot be read" in told(capsys, "status")


def test_what_stands_in_the_place_of_a_file_to_write_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "secondkey.toml").write_bytes(b"\xff")
    told(capsys, "init")
    assert (folder / "secondkey.toml").read_bytes() == b"\xff"


def test_a_path_that_no_system_takes_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "secondkey.toml").write_text('data = "a\\u0000b"\n')
    assert "'data' holds a NUL character" in told(capsys, "status")
    (folder / "secondkey.toml").write_text(f'data = "{"a" * 5_000}"\n')
    assert "file name too long" in told(capsys, "status")


@pytest.mark.usefixtures("folder")
def test_a_span_that_is_no_number_of_days_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--days must be more than 0" in told(capsys, "audit", "retain", "--days", "nan")


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bot.cli_policy.test", full)
    assert "no space left on device" in told(capsys, "policy", "test")


def test_a_reader_that_goes_away_ends_it_quietly(folder: Path) -> None:
    line = f"{sys.executable} -m bot prompts code | true"
    ended = subprocess.run(  # noqa: S603  our own command and a shell's pipe
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in ended.stderr
    assert b"BrokenPipe" not in ended.stderr

"""What a program left over its limit is taken away again in no time, however it is laid out."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import quota
from agent.sandbox.census import tree
from agent.sandbox.quota import Quota

DEEP = 150


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were started for it."""
    started: list[str] = []
    real = subprocess.run

    def noted(command: tuple[str, ...], **more: Any) -> Any:
        started.append(command[0])
        return real(command, **more)

    monkeypatch.setattr(quota.subprocess, "run", noted)
    return started


def test_a_thousand_folders_are_not_taken_away_one_by_one(tmp_path: Path, commands: list[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_text("kept")
    looked = Quota.of(tmp_path, size=1 << 30, entries=100)
    for number in range(1_000):
        (tmp_path / f"empty{number}").mkdir()
        (tmp_path / "mine" / f"-rf {number}" / "more").mkdir(parents=True)
        (tmp_path / "mine" / f"-rf {number}" / "more" / "file").write_text("x")
    assert looked.keep() == 2_000
    assert len(commands) <= 12
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["mine", "mine/kept"]


def test_counting_ends_where_it_is_too_much_already(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"d{number}").mkdir()
    looked = Quota.of(tmp_path, size=1 << 30, entries=10)
    assert looked.entries == 300
    (tmp_path / "d0" / "one").mkdir()
    assert looked.is_over()
    assert tree(tmp_path, 10).entries == 11
    assert tree(tmp_path).entries == 301


def test_what_is_deep_or_closed_goes_too(tmp_path: Path, commands: list[str]) -> None:
    looked = Quota.of(tmp_path, size=1 << 30, entries=10)
    deep = tmp_path
    for _ in range(DEEP):
        deep /= "d"
        deep.mkdir()
    (tmp_path / "closed" / "in").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    assert looked.keep() == 2
    assert list(tmp_path.iterdir()) == []
    assert commands == ["chmod", "rm"]

"""The thread that looks after sandboxes never ends while there are any, whatever it cannot look at."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import monitor
from agent.sandbox.monitor import Monitor, Watched
from agent.sandbox.quota import Quota

_WAIT_S = 10.0


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(("sleep", "60"), start_new_session=True)  # noqa: S607  as the machine has it
    yield started
    started.kill()
    started.wait()


def watched(looking: Monitor, program: subprocess.Popen[bytes], *folders: Path, tasks: int = 10) -> Watched:
    quotas = tuple(Quota.of(folder, size=1 << 30, entries=1_000) for folder in folders)
    return looking.watch(program.pid, tasks=tasks, memory=1 << 30, quotas=quotas)


def test_a_folder_that_is_gone_ends_the_program_and_not_the_watch(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    looking = Monitor()
    with tempfile.TemporaryDirectory() as gone:
        quota = Quota.of(Path(gone), size=1 << 30, entries=1_000)
    one = looking.watch(program.pid, tasks=10, memory=1 << 30, quotas=(quota,))
    assert program.wait(_WAIT_S) != 0
    assert looking.release(one) == "disk"
    with subprocess.Popen(("sh", "-c", "sleep 60 & sleep 60"), start_new_session=True) as second:  # noqa: S607  as above
        other = watched(looking, second, tmp_path, tasks=0)
        assert second.wait(_WAIT_S) != 0
        assert looking.release(other) == "processes"


def test_a_folder_of_a_program_that_was_released_meanwhile_ends_nobody(
    program: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when a short program ends during the look."""
    looking = Monitor()
    real, looks = monitor.usage, list[int]()

    def late(pid: int, seen: Any) -> Any:
        looks.append(pid)
        if len(looks) == 1:
            looking.release(one)
            raise FileNotFoundError
        return real(pid, seen)

    monkeypatch.setattr(monitor, "usage", late)
    one = watched(looking, program, tmp_path)
    with subprocess.Popen(("sh", "-c", "sleep 60 & sleep 60"), start_new_session=True) as second:  # noqa: S607  as above
        other = watched(looking, second, tmp_path, tasks=0)
        assert second.wait(_WAIT_S) != 0
        assert looking.release(other) == "processes"
    assert (program.poll(), one.excess) == (None, "")


def test_when_processes_cannot_be_counted_nothing_is_left_running(
    program: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise OSError

    monkeypatch.setattr(monitor, "processes", fails)
    looking = Monitor()
    one = watched(looking, program, tmp_path)
    assert program.wait(_WAIT_S) != 0
    assert looking.release(one) == "processes"

"""What every sandboxed call pays for is kept small, and what could hold the event loop up is done beside it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from agent.ports import Sandbox, SandboxCall
from agent.sandbox import landlock, launcher, monitor
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.landlock import Landlock

#: What the launcher cannot do without, and what these bring along themselves.
_NEEDED = {"ctypes", "ctypes._endian", "_ctypes", "struct", "_struct", "types", "resource", "select", "__future__"}


@pytest.fixture(
    params=[pytest.param(Bubblewrap, marks=pytest.mark.needs("bwrap")), Landlock], ids=["bubblewrap", "landlock"]
)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return request.param()


def test_the_launcher_imports_nothing_that_takes_longer_than_python_itself() -> None:
    code = (
        "import os, stat, sys; before = set(sys.modules); scope = {'__name__': 'launcher'}\n"
        f"exec(open({str(launcher.__file__)!r}).read(), scope)\n"
        "print(*(set(sys.modules) - before))"
    )
    words = (str(Landlock()._python), "-I", "-S", "-c", code)
    done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603  fixed words
    assert set(done.stdout.split()) <= _NEEDED


async def test_the_scratch_folder_goes_with_the_call_and_is_emptied_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    emptied: list[threading.Thread] = []
    mkdtemp, remove = tempfile.mkdtemp, landlock.remove_tree

    def noted(prefix: str) -> str:
        made.append(mkdtemp(prefix=prefix))
        return made[-1]

    def beside(folder: Path) -> None:
        emptied.append(threading.current_thread())
        remove(folder)

    monkeypatch.setattr(landlock.tempfile, "mkdtemp", noted)
    monkeypatch.setattr(landlock, "remove_tree", beside)
    one = Landlock()
    await one.run(SandboxCall(("/usr/bin/true",), tmp_path))
    assert emptied == []
    leave = "mkdir -p $HOME/a/b && echo x > $HOME/a/b/c && chmod 0 $HOME/a/b; exit 0"
    assert (await one.run(SandboxCall(("/bin/sh", "-c", leave), tmp_path))).exit_code == 0
    assert [thread is threading.main_thread() for thread in emptied] == [False]
    assert not any(os.access(folder, os.F_OK) for folder in made)
    assert len(made) == 2


async def test_what_runs_comes_behind_everything_else(sandbox: Sandbox, tmp_path: Path) -> None:
    result = await sandbox.run(SandboxCall(("/usr/bin/nice",), tmp_path))
    assert int(result.stdout) == min(19, os.nice(0) + 10)


async def test_processes_are_not_looked_through_for_a_program_that_has_ended(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    ended = threading.Event()
    monkeypatch.setattr(monitor, "_TICK_S", 30.0)
    monkeypatch.setattr(monitor, "processes", lambda: looked.append(1) or {})
    done = monitor.Monitor._is_done

    def noted(one: monitor.Monitor) -> bool:
        is_done = done(one)
        if is_done:
            ended.set()
        return is_done

    monkeypatch.setattr(monitor.Monitor, "_is_done", noted)
    await sandbox.run(SandboxCall(("/usr/bin/true",), tmp_path))
    assert ended.wait(10)
    assert looked == []

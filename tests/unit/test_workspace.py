"""The run's own copy of the project."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import pytest

from agent.errors import PreviewMismatch, ToolFailed
from agent.tools.beneath import Beneath
from agent.tools.diffing import unified
from agent.tools.threads import Stop, to_the_end
from agent.workspace import Workspace


def make(tmp_path: Path, *, git: bool = False) -> tuple[Workspace, Path]:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "a.py").write_text("one\n")
    (project / "b.txt").write_text("two\n")
    for folder in (".venv", "node_modules", ".hidden"):
        (project / folder).mkdir()
        (project / folder / "x.py").write_text("no\n")
    if git:
        (project / ".gitignore").write_text("*.log\n.venv\nnode_modules\n.hidden\n")
        subprocess.run(("git", "init", "-q"), cwd=project, check=True)  # noqa: S607 - git as the machine has it
    return Workspace(tmp_path / "workspaces" / "r1", project), project


@pytest.mark.parametrize("git", [False, True])
async def test_a_copy_holds_the_files_and_no_hidden_folders(tmp_path: Path, *, git: bool) -> None:
    workspace, _ = make(tmp_path, git=git)
    assert not workspace.exists
    files = await workspace.ensure()
    names = {path for path, _ in Beneath(files).walk()}
    assert names == {"src/a.py", "b.txt"} | ({".gitignore"} if git else set())
    assert (await workspace.diff()).changes == ()


async def test_two_who_need_the_copy_at_once_get_the_same_one(tmp_path: Path) -> None:
    workspace, _ = make(tmp_path)
    first, second = await asyncio.gather(workspace.ensure(), workspace.ensure())
    assert first == second
    assert sorted(path.name for path in first.parent.parent.iterdir()) == ["r1"]


async def test_build_products_that_git_ignores_are_no_changes(tmp_path: Path) -> None:
    workspace, _ = make(tmp_path, git=True)
    files = await workspace.ensure()
    (files / "out.log").write_text("noise")
    (files / "src" / "__pycache__").mkdir()
    (files / "src" / "__pycache__" / "a.pyc").write_bytes(b"\0")
    (files / "new.txt").write_text("news\n")
    assert (await workspace.diff()).paths == ("new.txt",)


async def test_links_and_pipes_made_in_the_copy_are_left_out(tmp_path: Path) -> None:
    workspace, _ = make(tmp_path)
    files = await workspace.ensure()
    (files / "link").symlink_to("/etc/passwd")
    (files / "folder").symlink_to("/etc")
    os.mkfifo(files / "pipe")
    diff = await workspace.diff()
    assert diff.changes == ()
    assert diff.left_out == ("folder", "link", "pipe")


async def test_a_diff_names_binaries_and_modes(tmp_path: Path) -> None:
    workspace, _ = make(tmp_path)
    files = await workspace.ensure()
    (files / "image").write_bytes(b"\0\1")
    (files / "b.txt").chmod(0o755)
    diff = await workspace.diff()
    assert [(one.path, one.kind, one.binary) for one in diff.changes] == [
        ("b.txt", "changed", False),
        ("image", "added", True),
    ]
    assert diff.text == "b.txt: now executable\nBinary file image: 0 bytes before, 2 after\n"


async def test_a_project_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = make(tmp_path)
    monkeypatch.setattr("agent.tools.bases.MAX_BYTES", 5)
    with pytest.raises(ToolFailed, match="limit"):
        await workspace.ensure()
    assert list((tmp_path / "workspaces").iterdir()) == []


async def test_a_file_that_cannot_be_written_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, project = make(tmp_path)
    files = await workspace.ensure()
    (files / "b.txt").write_text("changed\n")
    (files / "src" / "a.py").write_text("changed\n")
    (files / "added.txt").write_text("added\n")
    sha256 = (await workspace.diff()).sha256
    write = Beneath.write

    def fails(self: Beneath, path: str, data: bytes, mode: int = 0o644) -> None:
        if data == b"changed\n" and path == "src/a.py":
            raise ToolFailed("The disk is full.")
        write(self, path, data, mode)

    monkeypatch.setattr(Beneath, "write", fails)
    with pytest.raises(ToolFailed, match="full"):
        await workspace.apply(sha256)
    assert (project / "b.txt").read_text() == "two\n"
    assert (project / "src" / "a.py").read_text() == "one\n"
    assert not (project / "added.txt").exists()
    monkeypatch.undo()
    await workspace.apply(sha256)
    assert (project / "src" / "a.py").read_text() == "changed\n"


async def test_a_link_in_the_project_is_never_written_through(tmp_path: Path) -> None:
    workspace, project = make(tmp_path)
    files = await workspace.ensure()
    (files / "out").mkdir()
    (files / "out" / "x").write_text("x")
    sha256 = (await workspace.diff()).sha256
    (tmp_path / "elsewhere").mkdir()
    (project / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PreviewMismatch):
        await workspace.apply(sha256)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_last_line_without_an_end_is_marked() -> None:
    text = unified("a", b"x\ny", b"x\nz\n", modes=(False, False))
    assert text.endswith("-y\n\\ No newline at end of file\n+z\n")


async def test_a_cancelled_caller_waits_until_the_thread_has_ended() -> None:
    started, ended = threading.Event(), threading.Event()

    def work(stop: Stop) -> None:
        started.set()
        while not stop.stopped:
            threading.Event().wait(0.001)
        ended.set()

    task = asyncio.create_task(to_the_end(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_that_was_kept_already_is_told_in_spite_of_a_cancellation() -> None:
    started = threading.Event()

    def work(stop: Stop) -> str:
        stop.kept = True
        started.set()
        while not stop.stopped:
            threading.Event().wait(0.001)
        return "done"

    task = asyncio.create_task(to_the_end(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    assert await task == "done"
    assert task.cancelling() == 0

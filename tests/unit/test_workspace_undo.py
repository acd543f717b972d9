"""What was put into the project is taken back: all of it, only as it was left, and once an order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.applying import write_note
from agent.errors import PreviewMismatch, ToolFailed
from agent.tools.bases import load_bases
from agent.tools.beneath import Beneath
from agent.workspace import Workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "a.txt").write_text("one\n")
    (folder / "gone.txt").write_text("gone\n")
    (folder / "src" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "src" / "run.sh").chmod(0o755)
    return folder


@pytest.fixture
async def applied(tmp_path: Path, project: Path) -> Workspace:
    workspace = Workspace(tmp_path / "w" / "r1", project)
    files = await workspace.ensure()
    (files / "a.txt").write_text("two\n")
    (files / "gone.txt").unlink()
    (files / "src" / "run.sh").chmod(0o644)
    (files / "new").mkdir()
    (files / "new" / "b.txt").write_text("new\n")
    await workspace.apply((await workspace.diff()).sha256)
    assert (project / "a.txt").read_text() == "two\n"
    return workspace


def state(project: Path) -> dict[str, tuple[str, bool]]:
    paths = (path for path in project.rglob("*") if path.is_file())
    return {str(path.relative_to(project)): (path.read_text(), os.access(path, os.X_OK)) for path in paths}


async def test_everything_is_as_it_was_and_the_copy_still_shows_its_changes(applied: Workspace, project: Path) -> None:
    files = await applied.take_back("order1")
    assert files == ("a.txt", "gone.txt", "new/b.txt", "src/run.sh")
    assert state(project) == {
        "a.txt": ("one\n", False),
        "gone.txt": ("gone\n", False),
        "src/run.sh": ("#!/bin/sh\n", True),
    }
    diff = await applied.diff()
    assert diff.paths == files
    assert diff.conflicts == ()


async def test_the_same_order_twice_is_carried_out_once_and_another_finds_nothing(
    applied: Workspace, project: Path
) -> None:
    first = await applied.take_back("order1")
    (project / "a.txt").write_text("three\n")
    assert await applied.take_back("order1") == first
    assert (project / "a.txt").read_text() == "three\n"
    with pytest.raises(ToolFailed, match="no changes"):
        await applied.take_back("order2")


async def test_a_file_that_changed_since_keeps_everything_as_it_is(applied: Workspace, project: Path) -> None:
    (project / "new" / "b.txt").write_text("edited by somebody\n")
    before = state(project)
    with pytest.raises(PreviewMismatch, match=r"new/b\.txt"):
        await applied.take_back("order1")
    assert state(project) == before


async def test_a_kept_file_that_is_another_by_now_keeps_everything_as_it_is(
    applied: Workspace, project: Path, tmp_path: Path
) -> None:
    for kept in (tmp_path / "w" / "r1" / "backup").rglob("gone.txt"):
        kept.write_text("tampered\n")
    before = state(project)
    with pytest.raises(ToolFailed, match="not what was there"):
        await applied.take_back("order1")
    assert state(project) == before


async def test_the_newest_changes_are_taken_back_first(applied: Workspace, project: Path) -> None:
    (applied.files / "a.txt").write_text("three\n")
    await applied.apply((await applied.diff()).sha256)
    assert await applied.take_back("order1") == ("a.txt",)
    assert (project / "a.txt").read_text() == "two\n"
    await applied.take_back("order2")
    assert (project / "a.txt").read_text() == "one\n"


async def test_half_of_a_change_that_a_dead_process_left_is_taken_back_too(tmp_path: Path, project: Path) -> None:
    workspace = Workspace(tmp_path / "w" / "r1", project)
    files = await workspace.ensure()
    (files / "a.txt").write_text("two\n")
    (files / "gone.txt").unlink()
    diff = await workspace.diff()
    backup = tmp_path / "w" / "r1" / "backup" / "x"
    backup.mkdir(parents=True)
    write_note(backup, diff.changes)
    (backup / "a.txt").write_text("one\n")
    (project / "a.txt").write_text("two\n")  # and here the power went
    assert await workspace.take_back("order1") == ("a.txt",)
    assert state(project)["a.txt"] == ("one\n", False)
    assert state(project)["gone.txt"] == ("gone\n", False)


async def test_what_lies_in_a_repositorys_own_folder_is_never_taken_over(tmp_path: Path, project: Path) -> None:
    workspace = Workspace(tmp_path / "w" / "r1", project)
    files = await workspace.ensure()
    for name in (".git", ".GIT", "src/.git"):
        (files / name / "hooks").mkdir(parents=True)
        (files / name / "hooks" / "pre-commit").write_text("#!/bin/sh\nevil\n")
    (files / "src" / "c.txt").write_text("c\n")
    diff = await workspace.diff()
    assert diff.paths == ("src/c.txt",)
    assert len(diff.left_out) == 3


async def test_a_file_that_changes_while_it_is_copied_is_copied_as_one_of_both(tmp_path: Path, project: Path) -> None:
    workspace = Workspace(tmp_path / "w" / "r1", project)
    files = await workspace.ensure()
    assert (files / "src" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (await workspace.diff()).changes == ()
    assert set(load_bases(tmp_path / "w" / "r1" / "manifest.json")) == {"a.txt", "gone.txt", "src/run.sh"}


def test_a_copy_takes_regular_files_only_and_follows_nothing(tmp_path: Path, project: Path) -> None:
    (project / "link").symlink_to("/etc/passwd")
    (project / "way").symlink_to("/etc")
    os.mkfifo(project / "pipe")
    target = tmp_path / "target"
    target.mkdir()
    with Beneath(project) as source, Beneath(target) as into:
        for path in ("link", "way/passwd", "pipe", "src", "missing"):
            with pytest.raises(ToolFailed):
                into.take(source, path, 1_000_000)
        with pytest.raises(ToolFailed, match="limit"):
            into.take(source, "a.txt", 3)
        size, _, executable = into.take(source, "src/run.sh", 1_000)
    assert (size, executable) == (10, True)
    assert (target / "src" / "run.sh").read_text() == "#!/bin/sh\n"

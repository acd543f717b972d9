"""Copies of the project are removed a week after their runs, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import RunStatus
from agent.ports import Fact
from bot.tidying import Tidying
from storage.fakes import Store
from storage.retention import DAY_S


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def ended(store: Store) -> str:
    run = await store.run()
    await store.journal.commit(run, [ev.RunFinished(status=RunStatus.COMPLETED)], Fact())
    return run


def folder(root: Path, name: str) -> Path:
    (root / name / "files" / "src").mkdir(parents=True)
    (root / name / "files" / "src" / "a.py").write_text("x")
    return root / name


async def test_a_workspace_goes_a_week_after_its_run_and_those_of_younger_or_waiting_runs_stay(
    store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "workspaces"
    old = folder(root, await ended(store))
    waiting = folder(root, await store.run())
    store.clock.advance(6 * DAY_S)
    young = folder(root, await ended(store))
    tidying = Tidying(store.db, root, days=7)
    assert await tidying.tidy() == 0
    store.clock.advance(1.5 * DAY_S)
    assert await tidying.tidy() == 1
    assert (old.exists(), waiting.exists(), young.exists()) == (False, True, True)


async def test_what_is_no_runs_folder_is_left_alone_and_a_link_is_not_followed(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "workspaces"
    project = folder(tmp_path, "project")
    own = folder(root, "notes-of-the-operator")
    linked, inside = await ended(store), await ended(store)
    (root / linked).symlink_to(project)
    (root / inside).mkdir()
    (root / inside / "files").symlink_to(project)
    store.clock.advance(30 * DAY_S)
    assert await Tidying(store.db, root, days=7).tidy() == 1
    assert own.exists()
    assert (root / linked).is_symlink()
    assert not (root / inside).exists()
    assert (project / "files" / "src" / "a.py").read_text() == "x"


async def test_before_the_first_workspace_there_is_nothing_to_do(store: Store, tmp_path: Path) -> None:
    assert await Tidying(store.db, tmp_path / "none", days=7).tidy() == 0

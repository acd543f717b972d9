"""Databases of earlier releases: they open, migrate, fold and verify with the code of today."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.events import decode, encode
from agent.state import fold
from bot.__main__ import main
from storage.archive import check, migrations_of
from storage.audit import verify_file
from storage.database import Database, read_only
from storage.journal import read_events
from storage.queries import Queries
from storage.tables import STATEMENTS

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.sql"))
pytestmark = pytest.mark.parametrize("golden", GOLDEN, ids=[path.stem for path in GOLDEN])
STATUSES = ["cancelled", "completed", "running", "running", "running", "running", "waiting"]


@pytest.fixture
def folder(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder as that release left it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "secondkey.db")) as conn:
        conn.executescript(golden.read_text(encoding="utf-8"))
    for source, name in ((".jsonl", "audit-heads.jsonl"), (".pub", "audit.pub")):
        (tmp_path / name).write_bytes(golden.with_suffix(source).read_bytes())
    return tmp_path


def runs(folder: Path) -> list[str]:
    with closing(read_only(folder / "secondkey.db")) as conn:
        return [run for (run,) in conn.execute("SELECT id FROM runs ORDER BY id")]


def test_it_verifies_before_and_after_and_a_copy_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = check(folder)
    assert (before.ok, before.runs) == (True, len(STATUSES))
    there = migrations_of(folder / "secondkey.db")
    assert main(["migrate", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in STATEMENTS if name not in there)
    assert migrations_of(folder / "secondkey.db") == there
    assert main(["migrate"]) == 0
    assert set(migrations_of(folder / "secondkey.db")) == set(STATEMENTS)
    after = check(folder)
    assert (after.ok, after.runs, after.events) == (True, before.runs, before.events)
    (copy,) = folder.glob("secondkey.db.before-*")
    assert migrations_of(copy) == there
    assert verify_file(copy, folder / "audit-heads.jsonl", folder / "audit.pub").ok
    assert main(["migrate"]) == 0
    assert "Nothing to do" in capsys.readouterr().out.splitlines()[-1]


def test_every_journal_of_it_folds_and_every_event_is_written_as_it_was(folder: Path) -> None:
    assert main(["migrate"]) == 0
    with closing(read_only(folder / "secondkey.db")) as conn:
        rows = conn.execute("SELECT payload FROM events ORDER BY run, seq").fetchall()
        assert [encode(decode(payload)) for (payload,) in rows] == [payload for (payload,) in rows]
        states = [fold(run, read_events(conn, run)) for run in runs(folder)]
        kept = [status for (status,) in conn.execute("SELECT status FROM runs ORDER BY id")]
    assert [state.status.value for state in states] == kept
    assert sorted(kept) == STATUSES


def test_a_server_opens_it_and_shows_every_run(folder: Path) -> None:
    async def look() -> int:
        db = await Database.open(folder / "secondkey.db", clock=SystemClock())
        queries = Queries(db)
        views = [queries.run_view(run) for run in runs(folder)]
        approvals = [queries.approval_view(row.id) for view in views if view for row in view.approvals]
        takeovers = [queries.takeover_view(row.id) for view in views if view for row in view.takeovers]
        await db.close()
        assert all((*views, *approvals, *takeovers))
        return len(approvals)

    assert asyncio.run(look()) == 4

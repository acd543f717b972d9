"""An earlier release's database, met by `serve`, `run` and `migrate`: checked, kept and upgraded, or refused."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.errors import ConfigurationError
from bot.config import Settings
from bot.doctor.store import look_at_database
from storage import upgrade
from storage.archive import alone
from storage.audit import verify_file
from storage.restored import hold_back
from storage.schema import applied, migrate
from storage.tables import STATEMENTS
from storage.upgrade import missing, upgraded

GOLDEN = Path(__file__).parents[1] / "golden"
NOW = SystemClock().transport


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data folder as an earlier release left it."""
    path = tmp_path / "secondkey.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript((GOLDEN / "m008.sql").read_text(encoding="utf-8"))
    for name, source in (("audit-heads.jsonl", "m008.jsonl"), ("audit.pub", "m008.pub")):
        (tmp_path / name).write_bytes((GOLDEN / source).read_bytes())
    return path


def names(path: Path) -> tuple[str, ...]:
    with closing(sqlite3.connect(path)) as conn:
        return applied(conn)


def runs(path: Path) -> list[tuple[str, bytes]]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute("SELECT id, head_hash FROM runs ORDER BY id").fetchall()


def test_it_is_brought_up_to_date_and_what_stood_there_is_kept_beside_it(old: Path) -> None:
    before, heads = names(old), runs(old)
    done = upgraded(old, NOW)
    assert done is not None
    assert set(names(old)) == set(STATEMENTS)
    assert done.copy.name == f"secondkey.db.before-{tuple(STATEMENTS)[-1]}"
    assert names(done.copy) == before
    assert runs(old) == runs(done.copy) == heads
    assert verify_file(old, old.parent / "audit-heads.jsonl", old.parent / "audit.pub").ok
    assert upgraded(old, NOW) is None


def test_a_database_that_is_not_there_is_empty_or_current_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "secondkey.db"
    assert upgraded(path, NOW) is None
    path.touch()
    assert upgraded(path, NOW) is None
    migrate(path)
    assert upgraded(path, NOW) is None
    assert {one.name for one in tmp_path.iterdir()} <= {"secondkey.db", "secondkey.db-wal", "secondkey.db-shm"}


def later(path: Path) -> str:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("INSERT INTO _sqlite_migrations VALUES (99, 'secondkey', 'm999_later', '2030-01-01')")
    return "newer release"


def foreign(path: Path) -> str:
    path.unlink()
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE letters (text)")
    return "something else than Second Key"


def letter(path: Path) -> str:
    path.write_text("a letter to my aunt " * 1000)
    return "cannot be read"


def edited(path: Path) -> str:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("UPDATE events SET at = at + 1 WHERE seq = 2")
    return "does not verify"


@pytest.mark.parametrize("change", [later, foreign, letter, edited])
def test_what_is_newer_of_others_or_was_changed_is_refused_and_not_touched(
    change: Callable[[Path], str], old: Path
) -> None:
    why = change(old)
    before = old.read_bytes()
    with pytest.raises(ConfigurationError, match=why) as told:
        upgraded(old, NOW)
    assert told.value.fix
    assert list(old.parent.glob("*.before-*")) == []
    if change is not edited:  # the lease's row was written and given back
        assert old.read_bytes() == before


def test_a_disk_without_room_for_the_copy_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(28, "No space left on device")

    before = names(old)
    monkeypatch.setattr(upgrade, "copy_database", full)
    with pytest.raises(ConfigurationError, match=r"changed nothing: .*No space left"):
        upgraded(old, NOW)
    assert names(old) == before
    monkeypatch.undo()
    assert upgraded(old, NOW) is not None  # over the half of a copy, and the lease is free


def test_a_migration_that_breaks_in_the_middle_leaves_the_old_database(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(old)
    broken = {**STATEMENTS, "m998_bad": ("CREATE TABLE fine (a)", "CREATE TABLE bad (")}
    monkeypatch.setattr("storage.schema.STATEMENTS", broken)
    monkeypatch.setattr(upgrade, "STATEMENTS", broken)
    with pytest.raises(ConfigurationError, match="changed nothing"):
        upgraded(old, NOW)
    assert names(old) == before
    assert missing(old)[-1] == "m998_bad"


def test_beside_a_server_it_waits_and_then_gives_up_and_after_its_end_it_goes_on(old: Path) -> None:
    holds, let_go = threading.Event(), threading.Event()

    def serve() -> None:
        with alone(old, NOW, "ship:1"):
            holds.set()
            let_go.wait(10)

    server = threading.Thread(target=serve)
    server.start()
    assert holds.wait(10)
    with pytest.raises(ConfigurationError, match="ship:1 drives the runs"):
        upgraded(old, NOW, patience_s=0.1)
    assert missing(old)
    threading.Timer(0.3, let_go.set).start()
    assert upgraded(old, NOW, patience_s=10) is not None
    server.join()


def test_an_earlier_releases_backup_is_held_back_as_this_ones_are_and_twice_is_once(old: Path) -> None:
    for _ in range(2):
        assert hold_back(old, by="local:0", now=5.0, transport=6.0) == 5
    with closing(sqlite3.connect(old)) as conn:
        assert conn.execute("SELECT kind, run, at, lifted_at FROM control WHERE kind = 'pause'").fetchall() == [
            ("pause", "", 5.0, None)
        ]
        shown = "SELECT message_key FROM outbox WHERE wanted > 1000 AND wanted_at = 6.0"
        pending = "SELECT 'card:' || id FROM approvals WHERE state = 'pending'"
        assert conn.execute(shown).fetchall() == conn.execute(pending).fetchall() != []
    assert upgraded(old, NOW) is not None


async def test_doctor_says_of_an_older_one_that_serve_upgrades_it_and_of_a_newer_one_that_serve_ends(old: Path) -> None:
    async def said() -> dict[str, tuple[str, str]]:
        settings = Settings(data=old.parent)
        return {one.part: (one.level, one.text) for one in await look_at_database(settings, SystemClock())}

    level, found = (await said())["schema"]
    assert level == "mend"
    assert "migrations to apply" in found
    later(old)
    assert (await said())["schema"] == ("broken", f"{old} is of a newer release.")


def test_two_that_start_at_once_upgrade_it_once_and_keep_the_copy_of_before(old: Path) -> None:
    before, done = names(old), list[object]()
    starts = [
        threading.Thread(target=lambda: done.append(upgraded(old, NOW, patience_s=10)), daemon=True) for _ in range(3)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join(20)
    assert len(done) == 3
    (copy,) = old.parent.glob("*.before-*")
    assert names(copy) == before
    assert sum(one is not None for one in done) == 1

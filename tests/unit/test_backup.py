"""`secondkey backup` and `restore`: beside a server, checked, and nothing that was there is lost."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.fakes import CountingIds, ManualClock
from bot.__main__ import main
from storage import archive
from storage.fakes import DECIDERS, Store
from storage.signer import Signer

Capture = pytest.CaptureFixture[str]


async def open_store(folder: Path, ids: int = 0) -> Store:
    clock = ManualClock(at=SystemClock().transport())
    return await Store.open(folder / "secondkey.db", clock=clock, ids=CountingIds(ids))


async def fill(folder: Path) -> None:
    store = await open_store(folder)
    signer = Signer(store.db, folder=folder, heads_file=folder / "audit-heads.jsonl")
    store.db.subscribe("head", signer.moved)
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await signer.sign()
    await store.lease.release()
    await store.close()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    asyncio.run(fill(tmp_path / "data"))
    return tmp_path / "data"


def events(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "secondkey.db")) as conn:
        return int(conn.execute("SELECT count(*) FROM events").fetchone()[0])


def test_a_backup_is_one_file_for_its_owner_alone_without_the_private_key(data: Path, capsys: Capture) -> None:
    assert main(["backup", "b.tar"]) == 0
    assert "audit.key (fingerprint " in capsys.readouterr().out
    assert stat.S_IMODE(Path("b.tar").stat().st_mode) == 0o600
    with tarfile.open("b.tar") as tar:
        assert sorted(tar.getnames()) == ["audit-heads.jsonl", "audit.pub", "backup.json", "secondkey.db"]
    assert {path.name for path in data.parent.iterdir()} == {"data", "b.tar"}
    assert main(["backup", "b.tar"]) == 2
    assert main(["backup", "b.tar", "--force", "--with-key"]) == 0
    with tarfile.open("b.tar") as tar:
        assert "audit.key" in tar.getnames()


def test_it_is_made_beside_a_server_that_goes_on_writing(data: Path) -> None:
    async def beside() -> tuple[int, int]:
        store = await open_store(data, 1_000)
        run = await store.run()
        stop = asyncio.Event()

        async def write() -> int:
            done = 0
            while not stop.is_set():
                await store.propose(run)
                done += 1
            return done

        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        code = await asyncio.to_thread(main, ["backup", "b.tar"])
        stop.set()
        done = await writing
        await store.close()
        return code, done

    code, done = asyncio.run(beside())
    assert code == 0
    assert done > 0


def test_a_restore_brings_back_exactly_what_was_saved_and_keeps_what_stood_there(data: Path, capsys: Capture) -> None:
    saved = events(data)
    assert main(["backup", "b.tar"]) == 0
    asyncio.run(fill_more(data))
    assert events(data) > saved
    assert main(["restore", "b.tar"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["restore", "b.tar", "--force"]) == 0
    assert "checked before and after" in capsys.readouterr().out
    assert events(data) == saved
    (aside,) = data.glob("before-restore-*")
    assert events(aside) > saved
    assert main(["audit", "verify"]) == 0


async def fill_more(folder: Path) -> None:
    store = await open_store(folder, 1_000)
    await store.run()
    await store.lease.release()
    await store.close()


def test_while_a_process_drives_the_runs_nothing_is_restored_or_migrated(data: Path, capsys: Capture) -> None:
    assert main(["backup", "b.tar"]) == 0

    async def beside() -> Store:
        store = await Store.open(
            data / "secondkey.db", clock=ManualClock(at=SystemClock().transport()), holder="ship:1"
        )
        await store.close()
        return store

    asyncio.run(beside())
    before = events(data)
    assert main(["restore", "b.tar", "--force"]) == 2
    assert "ship:1 drives the runs" in capsys.readouterr().err
    assert events(data) == before
    with closing(sqlite3.connect(data / "secondkey.db")) as conn, conn:
        conn.execute("DELETE FROM _sqlite_migrations WHERE name = 'm013_receipts'")
        conn.execute("DROP TABLE receipts")
    assert main(["migrate"]) == 2
    assert "ship:1 drives the runs" in capsys.readouterr().err


def test_elsewhere_the_key_that_signed_must_be_there_or_be_given_up(
    data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["backup", "b.tar"]) == 0
    new = data.with_name("new")
    monkeypatch.setenv("SECONDKEY_DATA", str(new))
    assert main(["restore", "b.tar"]) == 2
    assert "is not in the backup" in capsys.readouterr().err
    assert not (new / "secondkey.db").exists()
    shutil.copy(data / "audit.key", new / "audit.key")
    assert main(["restore", "b.tar"]) == 0
    assert main(["audit", "verify"]) == 0
    other = data.with_name("other")
    monkeypatch.setenv("SECONDKEY_DATA", str(other))
    capsys.readouterr()
    assert main(["restore", "b.tar", "--new-key"]) == 0
    assert "A new key signs from now on" in capsys.readouterr().out
    assert not (other / "audit.pub").exists()
    assert len(list(other.glob("audit-heads-*.jsonl"))) == 1


def test_a_backup_with_the_key_is_all_that_another_machine_needs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["backup", "b.tar", "--with-key"]) == 0
    monkeypatch.setenv("SECONDKEY_DATA", str(data.with_name("new")))
    assert main(["restore", "b.tar"]) == 0
    assert stat.S_IMODE((data.with_name("new") / "audit.key").stat().st_mode) == 0o600
    assert main(["audit", "verify"]) == 0


def test_a_journal_that_was_changed_is_neither_saved_nor_restored(data: Path, capsys: Capture) -> None:
    assert main(["backup", "good.tar"]) == 0
    with closing(sqlite3.connect(data / "secondkey.db")) as conn, conn:
        conn.execute("UPDATE events SET at = at + 1 WHERE seq = 2")
    assert main(["backup", "b.tar"]) == 2
    assert "row 2: edited" in capsys.readouterr().err
    assert not Path("b.tar").exists()
    rebuild("good.tar", "bad.tar", database=data / "secondkey.db")
    assert main(["restore", "bad.tar", "--force"]) == 2
    assert "row 2: edited" in capsys.readouterr().err
    assert list(data.glob("before-restore-*")) == []


def rebuild(source: str, target: str, *, database: Path | None = None, name: str = "", honest: bool = True) -> None:
    """The same archive with another database, or another member."""
    with tarfile.open(source) as tar:
        parts = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # regular
    if database is not None:
        copy = database.with_name("copy.db")
        archive.copy_database(database, copy)
        parts["secondkey.db"] = copy.read_bytes()
        copy.unlink()
    manifest = json.loads(parts["backup.json"])
    if honest and database is not None:
        import hashlib  # noqa: PLC0415  # only here

        body = parts["secondkey.db"]
        manifest["files"]["secondkey.db"] = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    if name:
        manifest["files"][name] = {"bytes": 1, "sha256": "x"}
        parts[name] = b"x"
    parts["backup.json"] = json.dumps(manifest).encode()
    with tarfile.open(target, "w") as tar:
        for member, body in parts.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))


def test_an_archive_that_is_none_or_was_changed_is_refused(data: Path, capsys: Capture) -> None:
    assert main(["backup", "good.tar"]) == 0
    Path("letter.tar").write_text("a letter to my aunt " * 1000)
    Path("half.tar").write_bytes(Path("good.tar").read_bytes()[:50_000])
    whole = Path("good.tar").read_bytes()
    Path("bit.tar").write_bytes(whole[:40_000] + bytes([whole[40_000] ^ 1]) + whole[40_001:])
    rebuild("good.tar", "path.tar", name="../escaped")
    for name in ("letter.tar", "half.tar", "bit.tar", "path.tar", "nowhere.tar"):
        assert main(["restore", name, "--force"]) == 2, name
    assert "Fix: " in capsys.readouterr().err
    assert not Path("escaped").exists()
    assert list(data.glob("before-restore-*")) == []
    assert main(["audit", "verify"]) == 0


def test_what_cannot_be_put_in_place_leaves_everything_as_it_was(
    data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["backup", "b.tar"]) == 0
    before = events(data)
    move, moves = Path.replace, list[Path]()

    def full(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == 4:
            raise OSError(28, "No space left on device")
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert main(["restore", "b.tar", "--force"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert events(data) == before
    assert main(["audit", "verify"]) == 0


def test_a_backup_that_does_not_fit_leaves_no_half_one(
    data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        del arguments
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_pack", full)
    assert main(["backup", "b.tar"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in data.parent.iterdir()] == ["data"]


def test_a_backup_of_a_newer_release_is_not_restored(data: Path, capsys: Capture) -> None:
    with closing(sqlite3.connect(data / "secondkey.db")) as conn, conn:
        conn.execute("INSERT INTO _sqlite_migrations VALUES (99, 'secondkey', 'm999_later', '2030-01-01')")
    assert main(["backup", "b.tar"]) == 0
    assert main(["restore", "b.tar", "--force"]) == 2
    assert "newer release" in capsys.readouterr().err
    assert main(["migrate"]) == 2

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import events as ev
from agent.clock import SystemClock
from agent.domain import RunStatus
from agent.fakes import ManualClock
from agent.ports import Fact
from bot.__main__ import main
from storage.fakes import Store
from storage.signer import Signer

OLD = 1_700_000_000.0
"""A business time longer ago than any retention."""


@dataclass(frozen=True)
class Place:
    """A data folder as a server leaves it: one run that ended long ago and one that waits for a yes."""

    folder: Path
    ended: str
    waiting: str

    @property
    def database(self) -> Path:
        return self.folder / "secondkey.db"

    def tamper(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database)) as conn, conn:
            conn.execute(statement)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path / "data"))
    folder = tmp_path / "data"
    folder.mkdir()
    return asyncio.run(build(folder))


async def build(folder: Path) -> Place:
    clock = ManualClock(at=OLD)
    store = await Store.open(folder / "secondkey.db", clock=clock)
    signer = Signer(store.db, folder=folder, heads_file=folder / "audit-heads.jsonl")
    store.db.subscribe("head", signer.moved)
    ended = await store.run("=1+1")
    over = ev.RunFinished(status=RunStatus.COMPLETED, summary="two")
    await store.journal.commit(ended, (over,), Fact())
    clock.at = SystemClock().now() - 60
    waiting = await store.run()
    await store.ask(waiting)
    await signer.sign()
    await store.lease.release()
    await store.close()
    return Place(folder, ended, waiting)


def test_verify_says_what_it_saw_and_what_it_cannot_find(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify"]) == 0
    said = capsys.readouterr().out
    assert "The journal verifies: 2 runs, 12 events, 2 chained heads; payloads dropped in 0 runs." in said
    assert "Signed heads: 1 line up to row 2, the newest " in said
    assert "put back to the same earlier state" in said
    (place.folder / "audit-heads.jsonl").unlink()
    assert main(["audit", "verify"]) == 0
    assert "Without the file of signed heads" in capsys.readouterr().out


def test_verify_names_the_first_bad_row_and_ends_with_1(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.tamper("UPDATE events SET at = at + 1 WHERE seq = 3 AND run = (SELECT max(id) FROM runs)")
    assert main(["audit", "verify", "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["ok"], verdict["run"], verdict["seq"], verdict["why"]) == (False, place.waiting, 3, "edited")
    assert main(["audit", "verify"]) == 1
    assert f"run {place.waiting}, row 3: edited: " in capsys.readouterr().out


def test_verify_of_a_copy_elsewhere_needs_no_configuration(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECONDKEY_DATA")
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(place.database)) as conn, closing(sqlite3.connect(copy)) as other:
        conn.backup(other)
    given = ["--heads", str(place.folder / "audit-heads.jsonl"), "--public-key", str(place.folder / "audit.pub")]
    assert main(["audit", "verify", "--database", str(copy), *given]) == 0
    assert "Signed heads: 1 line" in capsys.readouterr().out


@pytest.mark.parametrize("words", [
    ["--database", "nowhere.db"],
    ["--database", "letter.db"],
    ["--heads", "nowhere.jsonl"],
    ["--public-key", "letter.db"],
])  # fmt: skip
def test_verify_ends_with_2_when_the_files_cannot_be_used(
    place: Place, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.db").write_text("a letter to my aunt " * 100)
    assert main(["audit", "verify", *words]) == 2
    assert "Fix: " in capsys.readouterr().err
    assert place.database.exists()


def test_export_writes_what_is_wanted(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "export", "--until", "2024-01-01"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["run"] for record in records} == {place.ended}
    assert main(["audit", "export", "--run", place.waiting, "--since", "2024-01-01T00:00:00Z"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7
    target = tmp_path / "journal.csv"
    assert main(["audit", "export", "--format", "csv", "--principal", "U1", "--output", str(target)]) == 0
    assert capsys.readouterr().out == f"Wrote 12 records to {target}.\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(target.read_text().splitlines()) == 13


@pytest.mark.parametrize(("words", "code"), [
    (["--since", "yesterday"], 2),
    (["--output", "no/such/folder.csv"], 2),
    (["--run", "nobody"], 1),
    (["--database", "nowhere.db"], 2),
])  # fmt: skip
def test_export_says_what_was_wrong_with_what_was_typed(
    place: Place, words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "export", *words]) == code
    assert capsys.readouterr().err.startswith("secondkey: ")
    assert place.database.exists()


@pytest.mark.usefixtures("place")
def test_retain_drops_what_is_old_and_the_rest_still_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "retain", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("Would drop the payloads of 1 run (5 events): ")
    assert main(["audit", "retain"]) == 0
    said = "Dropped the payloads of 1 run (5 events) and 0 bodies that nothing else names: "
    assert capsys.readouterr().out == f"{said}what ended more than 396 days ago. Hashes stay.\n"
    assert main(["audit", "retain"]) == 0
    assert capsys.readouterr().out.startswith("Dropped the payloads of 0 runs")
    assert main(["audit", "verify"]) == 0
    assert "payloads dropped in 1 run." in capsys.readouterr().out
    assert main(["status"]) == 0
    assert "payload dropped" in capsys.readouterr().out
    assert main(["audit", "retain", "--days", "0"]) == 2


def test_approvals_tells_age_and_who_may_decide(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approvals", "--json"]) == 0
    (pending,) = json.loads(capsys.readouterr().out)
    assert (pending["run"], pending["headline"]) == (place.waiting, "Would mark order 7 as paid")
    assert 60 <= pending["age_s"] < 90
    assert pending["may_decide"] == ["slack:T1:U2", "slack:T1:U3"]
    assert main(["approvals"]) == 0
    assert "U2, U3" in capsys.readouterr().out


def test_without_a_server_a_stop_is_stored_and_honoured_at_the_next_start(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", place.waiting, "--reason", "enough"]) == 0
    assert capsys.readouterr().out == f"Stop of run {place.waiting}: stored; honoured at the next start.\n"

    async def next_start() -> list[str]:
        store = await Store.open(place.database)
        await store.control.take()
        events = [stored.event for stored in await store.journal.read(place.waiting)]
        await store.close()
        return [event.reason for event in events if isinstance(event, ev.StopRequested)]

    assert "enough" in asyncio.run(next_start())
    assert main(["stop", place.ended]) == 0
    assert capsys.readouterr().out == f"Run {place.ended} is over already: completed.\n"


def test_a_kill_file_is_named_by_resume(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.folder / "KILL").touch()
    assert main(["pause"]) == 0
    assert capsys.readouterr().out == "Pause: stored; honoured at the next start.\n"
    assert main(["resume"]) == 1
    said = capsys.readouterr().out
    assert f"The file {place.folder / 'KILL'} stops everything; remove it to go on." in said
    assert "Resume: stored; honoured at the next start." in said
    (place.folder / "KILL").unlink()
    assert main(["resume"]) == 0


def test_a_running_server_that_does_not_obey_is_told_of(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.cli_control.PATIENCE_S", 0.05)

    async def hold() -> None:
        store = await Store.open(place.database, clock=ManualClock(at=SystemClock().now()), holder="stuck:1")
        await store.db.close()

    asyncio.run(hold())
    assert main(["stop", "--all"]) == 1
    assert "stuck:1, which drives the runs, has not obeyed" in capsys.readouterr().out

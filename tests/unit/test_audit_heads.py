from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent import events as ev
from agent.domain import RunStatus, content_hash
from agent.errors import ConfigurationError, StorageUnavailable
from agent.fakes import CountingIds, ManualClock
from agent.ports import Fact
from storage.audit import Verdict, verify_file
from storage.fakes import Store
from storage.heads import head_row
from storage.journal import header
from storage.signer import Signer


@dataclass
class Kept:
    """A store whose heads are signed, as a server does every minute."""

    store: Store
    signer: Signer
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "store.db"

    @property
    def heads(self) -> Path:
        return self.folder / "audit-heads.jsonl"

    @property
    def key(self) -> Path:
        return self.folder / "audit.pub"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.heads.read_text().splitlines()]

    def verdict(self, *, alone: bool = False) -> Verdict:
        return verify_file(self.database) if alone else verify_file(self.database, self.heads, self.key)

    def tamper(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Change the file as somebody with an editor for databases does."""
        with closing(sqlite3.connect(self.database)) as conn, conn:
            work(conn)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    store = await Store.open(tmp_path / "store.db")
    signer = Signer(store.db, folder=tmp_path, heads_file=tmp_path / "audit-heads.jsonl")
    store.db.subscribe("head", signer.moved)
    yield Kept(store, signer, tmp_path)
    await store.close()


def rechain_heads(conn: sqlite3.Connection) -> None:
    """Number and hash the rows of the chain over the heads anew, so that it holds within itself."""
    rows = conn.execute("SELECT run, seq, head, dropped FROM heads ORDER BY n").fetchall()
    conn.execute("DELETE FROM heads")
    prev = bytes(32)
    for n, row in enumerate(rows, 1):
        prev = head_row(n, *row, prev)
        conn.execute("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?)", (n, *row, prev))


def rechain_run(conn: sqlite3.Connection, run: str) -> None:
    """Hash a run's rows anew, and put its new head wherever it is repeated."""
    prev = bytes(32)
    names = "seq, type, version, at, epoch, payload"
    for seq, kind, version, at, epoch, payload in conn.execute(
        f"SELECT {names} FROM events WHERE run = ? ORDER BY seq",  # noqa: S608  # a constant
        (run,),
    ).fetchall():
        payload_hash = hashlib.sha256(payload.encode()).digest()
        digest = hashlib.sha256(header(run, seq, kind, version, at, epoch, payload_hash, prev)).digest()
        conn.execute(
            "UPDATE events SET payload_hash = ?, prev_hash = ?, hash = ? WHERE run = ? AND seq = ?",
            (payload_hash, prev, digest, run, seq),
        )
        conn.execute("UPDATE heads SET head = ? WHERE run = ? AND seq = ?", (digest, run, seq))
        prev = digest
    conn.execute("UPDATE runs SET head_hash = ? WHERE id = ?", (prev, run))


def delete_run(conn: sqlite3.Connection, run: str) -> None:
    for statement in ("DELETE FROM events WHERE run = ?", "DELETE FROM runs WHERE id = ?"):
        conn.execute(statement, (run,))


async def test_heads_are_chained_once_for_each_run_that_moved_and_their_end_is_signed_outside(kept: Kept) -> None:
    first, second = await kept.store.run(), await kept.store.run()
    await kept.signer.sign()
    await kept.signer.sign()
    (line,) = kept.lines()
    assert (line["n"], set(line["runs"])) == (2, {first, second})
    await kept.store.propose(second)
    await kept.signer.sign()
    assert list(kept.lines()[1]["runs"]) == [second]
    verdict = kept.verdict()
    assert verdict.ok
    assert (verdict.runs, verdict.heads) == (2, 3)
    assert verdict.signed is not None
    assert (verdict.signed.lines, verdict.signed.n) == (2, 3)


async def test_the_key_is_its_owners_alone_and_stays_the_same(kept: Kept) -> None:
    await kept.store.run()
    await kept.signer.sign()
    private = kept.folder / "audit.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    again = Signer(kept.store.db, folder=kept.folder, heads_file=kept.heads)
    await kept.store.run()
    await again.sign()
    assert private.read_bytes() == before
    assert b"PRIVATE" not in kept.key.read_bytes()
    assert kept.verdict().ok
    assert sorted(path.name for path in kept.folder.iterdir() if path.name.startswith(".")) == []


async def test_a_key_that_others_may_read_is_refused_with_the_fix(kept: Kept) -> None:
    await kept.store.run()
    await kept.signer.sign()
    (kept.folder / "audit.key").chmod(0o644)
    with pytest.raises(ConfigurationError) as caught:
        await Signer(kept.store.db, folder=kept.folder, heads_file=kept.heads).sign()
    assert "chmod 600" in caught.value.fix


async def test_what_moved_before_a_crash_is_signed_by_the_next_process(kept: Kept) -> None:
    await kept.signer.sign()
    run = await kept.store.run()  # and the process dies here, before its minute is over
    await Signer(kept.store.db, folder=kept.folder, heads_file=kept.heads).sign()
    assert [list(line["runs"]) for line in kept.lines()] == [[], [run]]
    assert kept.verdict().ok


async def test_a_line_that_a_crash_tore_is_told_and_the_next_one_counts(kept: Kept) -> None:
    await kept.store.run()
    await kept.signer.sign()
    with kept.heads.open("ab") as file:
        file.write(b'{"v":1,"at":17')
    await kept.store.run()
    await Signer(kept.store.db, folder=kept.folder, heads_file=kept.heads).sign()
    verdict = kept.verdict()
    assert verdict.ok
    assert verdict.signed is not None
    assert (verdict.signed.lines, verdict.signed.unreadable, verdict.signed.n) == (3, 1, 2)


async def test_when_nothing_moves_a_line_an_hour_says_so(kept: Kept) -> None:
    await kept.store.run()
    await kept.signer.sign()
    kept.store.clock.advance(3599)
    await kept.signer.sign()
    assert len(kept.lines()) == 1
    kept.store.clock.advance(1)
    await kept.signer.sign()
    assert [line["n"] for line in kept.lines()] == [1, 1]
    assert kept.verdict().ok


async def test_what_a_read_only_database_kept_from_being_chained_is_chained_the_next_time(kept: Kept) -> None:
    await kept.signer.sign()
    run = await kept.store.run()
    kept.store.db._writer.execute("PRAGMA query_only=1")
    with pytest.raises(StorageUnavailable):
        await kept.signer.sign()
    kept.store.db._writer.execute("PRAGMA query_only=0")
    await kept.signer.sign()
    assert list(kept.lines()[-1]["runs"]) == [run]


async def test_a_deleted_run_is_found_and_named(kept: Kept) -> None:
    run, other = await kept.store.run(), await kept.store.run()
    await kept.signer.sign()
    kept.tamper(lambda conn: delete_run(conn, run))
    for verdict in (kept.verdict(), kept.verdict(alone=True)):
        assert (verdict.ok, verdict.run, verdict.why) == (False, run, "run deleted")
        assert other not in {item.run for item in verdict.findings}


async def test_a_run_deleted_with_its_heads_is_named_by_the_signed_file_and_only_by_it(kept: Kept) -> None:
    run, _ = await kept.store.run(), await kept.store.run()
    await kept.signer.sign()

    def tamper(conn: sqlite3.Connection) -> None:
        delete_run(conn, run)
        conn.execute("DELETE FROM heads WHERE run = ?", (run,))
        rechain_heads(conn)

    kept.tamper(tamper)
    verdict = kept.verdict()
    assert (verdict.ok, verdict.run, verdict.why) == (False, run, "run deleted")
    alone = kept.verdict(alone=True)
    assert alone.ok
    assert "Without the file of signed heads" in alone.cannot_find[0]


async def test_a_tail_cut_off_with_the_runs_own_count_is_found(kept: Kept) -> None:
    run = await kept.store.run()
    await kept.signer.sign()

    def tamper(conn: sqlite3.Connection) -> None:
        conn.execute("DELETE FROM events WHERE run = ? AND seq > 2", (run,))
        conn.execute(
            "UPDATE runs SET seq = 2, head_hash = (SELECT hash FROM events WHERE run = runs.id AND seq = 2)"
        )  # fmt: skip

    kept.tamper(tamper)
    verdict = kept.verdict(alone=True)
    assert (verdict.run, verdict.seq, verdict.why) == (run, 3, "tail missing")


async def test_a_journal_whose_hashes_were_all_computed_anew_is_found_by_the_signed_file(kept: Kept) -> None:
    run, _ = await kept.store.run(), await kept.store.run()
    await kept.signer.sign()

    def tamper(conn: sqlite3.Connection) -> None:
        conn.execute("UPDATE events SET payload = replace(payload, 'order 7', 'order 8') WHERE run = ?", (run,))
        rechain_run(conn, run)
        rechain_heads(conn)

    kept.tamper(tamper)
    assert kept.verdict(alone=True).ok
    verdict = kept.verdict()
    assert (verdict.ok, verdict.run, verdict.why) == (False, run, "edited")


async def test_rows_swapped_removed_and_edited_are_told_apart(kept: Kept) -> None:
    runs = [await kept.store.run() for _ in range(4)]

    def tamper(conn: sqlite3.Connection) -> None:
        conn.execute("UPDATE events SET seq = -2 WHERE run = ? AND seq = 2", (runs[0],))
        conn.execute("UPDATE events SET seq = 2 WHERE run = ? AND seq = 3", (runs[0],))
        conn.execute("UPDATE events SET seq = 3 WHERE run = ? AND seq = -2", (runs[0],))
        conn.execute("DELETE FROM events WHERE run = ? AND seq = 2", (runs[1],))
        conn.execute("UPDATE events SET at = at + 1 WHERE run = ? AND seq = 3", (runs[2],))
        conn.execute("DELETE FROM events WHERE run = ? AND seq = 2", (runs[3],))
        conn.execute("UPDATE events SET seq = seq - 1 WHERE run = ? AND seq > 2", (runs[3],))

    kept.tamper(tamper)
    found = {item.run: (item.seq, item.why) for item in kept.verdict(alone=True).findings}
    assert found == {
        runs[0]: (2, "reordered"),
        runs[1]: (2, "removed"),
        runs[2]: (3, "edited"),
        runs[3]: (2, "removed"),
    }


async def test_a_body_that_was_changed_or_taken_away_is_found_where_it_is_named(kept: Kept) -> None:
    runs: list[str] = []
    for text in ("four", "five"):
        runs.append(await kept.store.run())
        finished = ev.RunFinished(status=RunStatus.COMPLETED, answer_blob=content_hash(text))
        await kept.store.journal.commit(runs[-1], (finished,), Fact(), blobs={content_hash(text): text})

    def tamper(conn: sqlite3.Connection) -> None:
        conn.execute("UPDATE blobs SET body = x'00' WHERE body = CAST('four' AS BLOB)")
        conn.execute("DELETE FROM blobs WHERE body = CAST('five' AS BLOB)")

    kept.tamper(tamper)
    found = {item.run: (item.seq, item.why) for item in kept.verdict(alone=True).findings}
    assert found == {runs[0]: (5, "edited"), runs[1]: (5, "removed")}


async def test_a_payload_that_retention_never_dropped_is_missed(kept: Kept) -> None:
    run = await kept.store.run()
    kept.tamper(lambda conn: conn.execute("UPDATE events SET payload = NULL WHERE seq = 2"))
    verdict = kept.verdict(alone=True)
    assert (verdict.run, verdict.seq, verdict.why) == (run, 2, "removed")


async def test_a_line_that_somebody_else_signed_is_found(kept: Kept) -> None:
    await kept.store.run()
    await kept.signer.sign()
    line = kept.lines()[0]
    kept.heads.write_text(json.dumps({**line, "at": 1.0}) + "\n")
    verdict = kept.verdict()
    assert (verdict.ok, verdict.why) == (False, "not signed")


@pytest.mark.parametrize("statement", ["DELETE FROM heads WHERE n = 1", "UPDATE heads SET seq = 9 WHERE n = 1"])
async def test_the_chain_over_the_heads_guards_itself(kept: Kept, statement: str) -> None:
    await kept.store.run()
    await kept.store.run()
    await kept.signer.sign()
    kept.tamper(lambda conn: conn.execute(statement))
    assert not kept.verdict(alone=True).ok


def put_back(copy: Path, database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    copy.rename(database)


async def test_a_database_put_back_to_yesterday_is_found_and_signing_goes_on(kept: Kept) -> None:
    await kept.store.run()
    await kept.signer.sign()
    yesterday = kept.folder / "yesterday.db"
    with closing(sqlite3.connect(kept.database)) as conn, closing(sqlite3.connect(yesterday)) as copy:
        conn.backup(copy)
    lost = await kept.store.run()
    await kept.signer.sign()
    await kept.store.close()
    put_back(yesterday, kept.database)
    verdict = kept.verdict()
    assert (verdict.ok, verdict.run, verdict.why) == (False, lost, "run deleted")
    again = await Store.open(kept.database, clock=ManualClock(at=1_900_000_000.0), ids=CountingIds(count=100))
    await again.run()
    await Signer(again.db, folder=kept.folder, heads_file=kept.heads).sign()
    assert kept.lines()[-1]["n"] == 2
    await again.close()


async def test_a_server_that_signs_meanwhile_does_not_look_like_a_thief(kept: Kept) -> None:
    async def work() -> None:
        for _ in range(30):
            await kept.store.run()
            await kept.signer.sign()

    working = asyncio.ensure_future(work())
    verdicts: list[Verdict] = []
    await kept.store.run()
    await kept.signer.sign()
    while not working.done():
        verdicts.append(await asyncio.to_thread(kept.verdict))
    await working
    assert verdicts
    assert all(verdict.ok for verdict in verdicts), verdicts[-1]

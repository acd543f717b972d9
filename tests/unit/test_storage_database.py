from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.errors import StorageUnavailable
from agent.fakes import ManualClock
from storage.database import Database, Tx, connect
from storage.schema import migrate, migrations


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "store.db", clock=ManualClock())
    yield opened
    await opened.close()


def add(key: str) -> Callable[[Tx], int]:
    return lambda tx: tx.conn.execute("INSERT INTO inbox VALUES (?, ?)", (key, tx.now)).rowcount


def keys(db: Database) -> list[str]:
    return [key for (key,) in db.read(lambda conn: conn.execute("SELECT key FROM inbox ORDER BY key").fetchall())]


async def hold_the_writer(db: Database) -> tuple[threading.Event, asyncio.Future[None]]:
    """Keep the writer busy until the event is set, so that what comes meanwhile makes one batch."""
    entered, go_on = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        del tx
        entered.set()
        go_on.wait()

    waiting = asyncio.ensure_future(db.write(wait))
    await asyncio.to_thread(entered.wait)
    return go_on, waiting


async def test_what_was_written_can_be_read_when_write_returns(db: Database) -> None:
    assert await db.write(add("a")) == 1
    assert keys(db) == ["a"]


async def test_a_failing_write_fails_only_itself_within_its_batch(db: Database) -> None:
    def half(tx: Tx) -> None:
        tx.conn.execute("INSERT INTO inbox VALUES ('half', 0)")
        raise LookupError("on purpose")

    go_on, waiting = await hold_the_writer(db)
    batch = [asyncio.ensure_future(db.write(work)) for work in (add("a"), half, add("b"), add("a"), add("c"))]
    await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(*batch, return_exceptions=True)
    await waiting
    assert [type(item) for item in results] == [int, LookupError, int, sqlite3.IntegrityError, int]
    assert keys(db) == ["a", "b", "c"]


async def test_a_batch_is_one_transaction(db: Database) -> None:
    changes: list[int] = []

    def see(conn: sqlite3.Connection) -> int:
        return conn.execute("SELECT count(*) FROM inbox").fetchone()[0]

    other = connect(db.path, check_same_thread=False)
    go_on, waiting = await hold_the_writer(db)

    def look(tx: Tx) -> None:
        changes.extend((see(tx.conn), see(other)))

    batch = [asyncio.ensure_future(db.write(work)) for work in (add("a"), add("b"), look)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*batch, waiting)
    other.close()
    assert changes == [2, 0]


async def test_when_the_database_is_locked_every_caller_is_told_and_the_writer_lives_on(db: Database) -> None:
    await db.write(lambda tx: tx.conn.execute("PRAGMA busy_timeout=1"))
    other = connect(db.path)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(db.write(add("a")), db.write(add("b")), return_exceptions=True)
    assert [type(item) for item in results] == [StorageUnavailable, StorageUnavailable]
    other.execute("ROLLBACK")
    other.close()
    await db.write(add("c"))
    assert keys(db) == ["c"]


async def test_a_full_disk_is_storage_unavailable_and_later_writes_work(db: Database) -> None:
    def cap(tx: Tx) -> None:
        (pages,) = tx.conn.execute("PRAGMA page_count").fetchone()
        tx.conn.execute(f"PRAGMA max_page_count={pages + 2}")

    await db.write(cap)
    with pytest.raises(StorageUnavailable):
        await db.write(lambda tx: tx.conn.execute("INSERT INTO blobs VALUES (x'00', zeroblob(100000))"))
    await db.write(add("a"))
    assert keys(db) == ["a"]


async def test_a_fault_in_the_sql_is_not_called_an_unavailable_disk(db: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await db.write(lambda tx: tx.conn.execute("SELECT * FROM nowhere"))


async def test_a_caller_that_goes_away_does_not_take_its_write_back(db: Database) -> None:
    go_on, waiting = await hold_the_writer(db)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(db.write(add("a")), 0.001)
    go_on.set()
    await waiting
    await db.write(add("b"))
    assert keys(db) == ["a", "b"]


async def test_subscribers_hear_of_a_topic_after_the_commit_once_a_batch(db: Database) -> None:
    heard: list[tuple[str, int]] = []
    end = db.subscribe("run", lambda key: heard.append((key, len(keys(db)))))

    def write(tx: Tx) -> None:
        tx.conn.execute("INSERT INTO inbox VALUES ('a', 0)")
        tx.signal("run", "r1")
        tx.signal("run", "r1")
        tx.signal("outbox")

    await db.write(write)
    end()
    await db.write(lambda tx: tx.signal("run", "r2"))
    assert heard == [("r1", 1)]


async def test_a_write_that_fails_signals_nothing(db: Database) -> None:
    heard: list[str] = []
    db.subscribe("run", heard.append)

    def write(tx: Tx) -> None:
        tx.signal("run", "r1")
        raise LookupError("on purpose")

    with pytest.raises(LookupError):
        await db.write(write)
    assert heard == []


async def test_a_subscriber_that_fails_does_not_keep_others_from_hearing(db: Database) -> None:
    heard: list[str] = []
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["message"]))  # noqa: ARG005  # the handler's shape

    def fail(key: str) -> None:
        raise LookupError(key)

    db.subscribe("run", fail)
    db.subscribe("run", heard.append)
    await db.write(lambda tx: tx.signal("run", "r1"))
    assert heard == ["r1"]
    assert faults == ["a subscriber of 'run' failed"]


async def test_reads_cannot_write_and_see_one_snapshot(db: Database) -> None:
    with pytest.raises(StorageUnavailable):
        db.read(lambda conn: conn.execute("INSERT INTO inbox VALUES ('a', 0)"))
    other = connect(db.path)

    def read(conn: sqlite3.Connection) -> tuple[int, int]:
        before = conn.execute("SELECT count(*) FROM inbox").fetchone()[0]
        other.execute("INSERT INTO inbox VALUES ('b', 0)")
        return before, conn.execute("SELECT count(*) FROM inbox").fetchone()[0]

    assert db.read(read) == (0, 0)
    other.close()
    assert keys(db) == ["b"]


async def test_closing_writes_what_is_queued_and_refuses_what_comes_later(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "store.db", clock=ManualClock())
    go_on, waiting = await hold_the_writer(db)
    queued = asyncio.ensure_future(db.write(add("a")))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(db.close())
    go_on.set()
    await asyncio.gather(waiting, queued, closing)
    with pytest.raises(StorageUnavailable):
        await db.write(add("b"))
    with pytest.raises(StorageUnavailable):
        db.read(lambda conn: conn.execute("SELECT 1"))
    conn = sqlite3.connect(tmp_path / "store.db")
    assert conn.execute("SELECT key FROM inbox").fetchall() == [("a",)]
    conn.close()


async def test_a_file_that_is_no_database_is_storage_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_text("this is a letter to my aunt, " * 50)
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        await Database.open(path, clock=ManualClock())


async def test_the_writer_survives_a_power_cut_by_full_synchronisation(db: Database) -> None:
    pragmas = await db.write(
        lambda tx: [tx.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    assert pragmas == ["wal", 2]


def test_migrating_twice_and_by_two_at_once_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    together = [threading.Thread(target=migrate, args=(path,)) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    migrate(path)
    conn = sqlite3.connect(path)
    applied = [name for (name,) in conn.execute("SELECT name FROM _sqlite_migrations")]
    tables = [
        sql
        for (sql,) in conn.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'")
    ]
    conn.close()
    assert applied == [migration.name for migration in migrations()._migrations]
    assert all("STRICT" in sql for sql in tables if "_sqlite_migrations" not in sql)


@pytest.mark.parametrize("works", [True, False])
async def test_a_write_to_the_end_says_to_whom_it_was_cancelled_whether_it_was_written(
    db: Database, *, works: bool
) -> None:
    entered, free = threading.Event(), threading.Event()

    def work(tx: Tx) -> None:
        entered.set()
        free.wait()
        add("kept")(tx)
        if not works:
            raise KeyError("it does not fit")

    task = asyncio.ensure_future(db.write(work, to_the_end=True))
    await asyncio.to_thread(entered.wait)
    task.cancel()
    free.set()
    with pytest.raises(asyncio.CancelledError if works else KeyError):
        await task
    assert keys(db) == (["kept"] if works else [])


async def batch_of(db: Database, *works: Callable[[Tx], object]) -> list[object]:
    """Do these in one transaction, after one that only held the writer up."""
    go_on, waiting = await hold_the_writer(db)
    batch = [asyncio.ensure_future(db.write(work)) for work in works]
    await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(*batch, waiting, return_exceptions=True)
    return list(results[:-1])


def spoil(tx: Tx) -> None:
    """Write, then fail."""
    tx.conn.execute("INSERT INTO inbox VALUES ('spoilt', 0)")
    raise LookupError("on purpose")


async def test_signals_of_writes_that_were_done_twice_are_heard_once(db: Database) -> None:
    heard: list[str] = []
    db.subscribe("run", heard.append)

    def told(tx: Tx) -> None:
        add(f"k{len(heard)}")(tx)
        tx.signal("run", "r1")

    await batch_of(db, told, spoil, add("b"))
    assert (heard, keys(db)) == (["r1"], ["b", "k0"])


async def test_writes_behind_one_that_failed_are_done_once(db: Database) -> None:
    times: list[int] = []

    def count(tx: Tx) -> None:
        times.append(add("a")(tx))

    results = await batch_of(db, spoil, spoil, count)
    assert [type(item) for item in results] == [LookupError, LookupError, type(None)]
    assert (times, keys(db)) == ([1], ["a"])


async def test_after_a_spoilt_batch_the_next_ones_have_a_way_back_before_each_write(db: Database) -> None:
    times: list[int] = []

    def count(tx: Tx) -> None:
        times.append(add(f"n{len(times)}")(tx))

    await batch_of(db, count, spoil)
    assert len(times) == 2
    await batch_of(db, count, spoil)
    assert len(times) == 3
    assert keys(db) == ["n1", "n2"]


async def test_a_write_that_fails_before_it_wrote_costs_the_others_nothing(db: Database) -> None:
    times: list[int] = []

    def refuse(tx: Tx) -> None:
        tx.conn.execute("SELECT 1 FROM inbox")
        raise LookupError("on purpose")

    await batch_of(db, lambda tx: times.append(add("a")(tx)), refuse, add("b"))
    assert (times, keys(db)) == ([1], ["a", "b"])


async def test_when_the_transaction_is_lost_while_a_batch_is_redone_every_caller_is_told(db: Database) -> None:
    times: list[int] = []

    def lose(tx: Tx) -> None:
        times.append(1)
        if len(times) == 2:  # as SQLite itself does after some errors of the disk
            tx.conn.execute("ROLLBACK")
            raise sqlite3.OperationalError("on purpose")

    results = await asyncio.wait_for(batch_of(db, lose, add("a"), spoil, add("b")), 10)
    assert [type(item) for item in results[:3]] == [StorageUnavailable] * 3
    await db.write(add("later"))
    assert "later" in keys(db)
    assert "a" not in keys(db)

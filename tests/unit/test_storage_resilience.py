"""A disk that is full, a file that is locked or read-only: typed, shown, and over by itself when it is over."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent import events as ev
from agent.errors import LeaseLost, StorageUnavailable
from agent.fakes import CountingIds
from agent.ports import Intention
from bot.app import App
from bot.config import Settings
from bot.keeper import Keeper
from simulator.driver import Driver
from simulator.server import Simulator
from storage.database import Database, Tx
from storage.fakes import Store
from storage.lease import LEASE_S, Lease

ANOTHER_PROCESS = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
PATIENCE_S = 20.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    with subprocess.Popen(  # noqa: S603  # our own words
        [sys.executable, "-c", ANOTHER_PROCESS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


@contextmanager
def full(db: Database) -> Iterator[None]:
    """No page more fits."""
    (pages,) = db._writer.execute("PRAGMA page_count").fetchone()
    (before,) = db._writer.execute("PRAGMA max_page_count").fetchone()
    db._writer.execute(f"PRAGMA max_page_count={pages}")
    yield
    db._writer.execute(f"PRAGMA max_page_count={before}")


@contextmanager
def read_only(db: Database) -> Iterator[None]:
    """Nothing can be written."""
    db._writer.execute("PRAGMA query_only=1")
    yield
    db._writer.execute("PRAGMA query_only=0")


def big(tx: Tx) -> None:
    tx.conn.execute("INSERT INTO blobs VALUES (randomblob(32), zeroblob(200000))")


def small(tx: Tx) -> None:
    tx.conn.execute("INSERT INTO inbox VALUES (hex(randomblob(8)), 0)")


def nothing(tx: Tx) -> None:
    tx.conn.execute("SELECT 1")


async def come(condition: Callable[[], Any]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what other threads and processes do sets no event here
            await asyncio.sleep(0.01)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    opened.db._writer.execute("PRAGMA busy_timeout=20")
    yield opened
    await opened.close()


async def test_a_full_disk_is_said_until_a_write_reaches_it_again(store: Store) -> None:
    with full(store.db):
        with pytest.raises(StorageUnavailable):
            await store.db.write(big)
        assert store.db.problem == "the disk is full"
    await store.db.write(nothing)
    assert store.db.problem == "the disk is full"  # a transaction that wrote nothing proves nothing
    await store.db.write(big)
    assert store.db.problem == ""


async def test_a_file_locked_by_another_process_is_said_until_it_lets_go(store: Store) -> None:
    run = await store.run()
    with locked(store.db.path):
        with pytest.raises(StorageUnavailable):
            await store.db.write(small)
        assert store.db.problem == "another process holds the database locked"
        assert store.queries.run(run) is not None  # reading goes on
    await store.db.write(small)
    assert store.db.problem == ""


async def test_a_read_only_file_is_said_until_it_can_be_written(store: Store) -> None:
    with read_only(store.db):
        with pytest.raises(StorageUnavailable):
            await store.db.write(small)
        assert store.db.problem == "the database is read-only"
    await store.db.write(small)
    assert store.db.problem == ""


async def test_a_fault_of_ours_is_no_problem_of_the_database(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await store.db.write(lambda tx: tx.conn.execute("INSERT INTO inbox VALUES (NULL, 0)"))
    assert store.db.problem == ""


async def test_a_command_beside_a_server_neither_makes_nor_migrates_a_database(store: Store, tmp_path: Path) -> None:
    beside = await Database.join(store.db.path, clock=store.clock)
    await beside.close()
    with pytest.raises(StorageUnavailable):
        await Database.join(tmp_path / "nothing.db", clock=store.clock)
    with closing(sqlite3.connect(tmp_path / "other.db")) as conn:
        conn.execute("CREATE TABLE events (run TEXT)")
    with pytest.raises(StorageUnavailable, match="another release"):
        await Database.join(tmp_path / "other.db", clock=store.clock)
    assert not await asyncio.to_thread((tmp_path / "nothing.db").exists)


async def kept(store: Store, resumed: list[float]) -> Keeper:
    keeper = Keeper(store.lease, store.control, store.clock, resumed=lambda: resumed.append(time.monotonic()))
    assert await keeper.acquire(asyncio.Event())
    keeper.start()
    return keeper


async def test_a_lease_that_ran_out_while_nothing_could_be_written_is_held_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.keeper.RENEW_EVERY_S", 0.02)
    resumed: list[float] = []
    keeper = await kept(store, resumed)
    with locked(store.db.path):
        await come(lambda: store.db.problem)
        store.clock.advance(LEASE_S + 1)
        assert store.lease.current() is None
    await come(store.lease.current)
    await come(lambda: resumed)  # drivers that found no lease are woken
    assert store.db.problem == ""
    assert not keeper.lost.is_set()
    await keeper.stop()


async def test_a_lease_that_ran_out_and_went_to_another_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.keeper.RENEW_EVERY_S", 0.02)
    resumed: list[float] = []
    successor = Lease(store.db, CountingIds(count=100), holder="another")
    store.clock.advance(LEASE_S + 1)
    assert await successor.acquire()
    assert not await store.lease.regain()
    with pytest.raises(LeaseLost):
        await store.journal.commit("r-new", (ev.TimeRanOut(active_s=1.0),), Intention(epoch=0))
    keeper = Keeper(store.lease, store.control, store.clock, resumed=lambda: resumed.append(0.0))
    keeper.standing_by = False
    keeper.start()
    async with asyncio.timeout(PATIENCE_S):
        await keeper.lost.wait()
    await keeper.stop()
    holder = store.lease.current()
    assert holder is not None
    assert (holder.holder, resumed) == ("another", [])


async def test_a_stand_by_outlives_a_database_that_is_locked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.keeper.STANDBY_EVERY_S", 0.02)
    keeper = Keeper(store.lease, store.control, store.clock, resumed=lambda: None)
    with locked(store.db.path):
        waiting = asyncio.ensure_future(keeper.acquire(asyncio.Event()))
        await come(lambda: store.db.problem)
        assert not waiting.done()
    assert await waiting


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[tuple[App, Driver]]:
    async with await Simulator.start(rates=False) as sim, Driver(sim.url) as driver:
        settings = Settings(
            data=tmp_path / "data",
            project=tmp_path,
            approvers=("U0OMAR",),
            port=0,
            slack_api_url=sim.api_url,
            slack_bot_token="xoxb-simulator",
            slack_app_token="xapp-simulator",
        )
        running = await App.start(settings, environment={})
        assert running is not None
        yield running, driver
        await running.stop()


async def readiness(app: App) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{app.url}/readyz") as answer:
        return answer.status, (await answer.json())["parts"]["database"]


async def test_a_database_out_of_order_shows_in_readyz_and_work_goes_on_when_it_is_mended(
    app: tuple[App, Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.keeper.RENEW_EVERY_S", 0.02)
    running, driver = app
    await come(lambda: not any(running.problems().values()))
    running.db._writer.execute("PRAGMA busy_timeout=20")
    with locked(running.db.path):
        # The first look after the next renewal; the loop that sleeps now still has the interval of before.
        await come(lambda: running.db.problem)
        assert await readiness(running) == (503, "another process holds the database locked")
        await driver.post("U0MAYA", "C0DATA", "<@U0SECONDKEY> calculate 2 + 3")
    await come(lambda: not running.db.problem)
    assert await readiness(running) == (200, "ok")
    ts = await driver.post("U0MAYA", "C0DATA", "<@U0SECONDKEY> calculate 2 + 3")
    await driver.wait_for_message("C0DATA", lambda item: item.get("thread_ts") == ts, timeout=PATIENCE_S)
    assert not running.keeper.lost.is_set()

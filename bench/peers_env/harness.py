"""One contender, measured: start runs that wait for a yes, say yes from outside, wait until results are durable.

Standard library only: every contender's own interpreter imports this beside its worker script. A worker calls `main`
with its contender; the figures are the last line on stdout, one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE_S = 120.0
"""How long one run may take before the contender is called broken."""


class Contender(Protocol):
    """What is measured. A run's number is in its arguments, so that no two runs are the same."""

    width: int
    """How many runs are started or decided at once; what is fastest for this contender."""
    effects: Counter[int]
    """How often the tool ran, by the run's number."""

    async def open(self, path: Path) -> None:
        """Open the database, with WAL and synchronous=FULL."""
        ...

    async def start(self, number: int) -> str:
        """Start a run; returns the id to decide by, once the wait for a yes is durable."""
        ...

    async def decide(self, key: str) -> float:
        """Say yes; returns, once the run is over and that is durable, when the tool's result was (perf_counter)."""
        ...

    async def close(self) -> None:
        """Stop everything."""
        ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    latency: int
    """Runs one after another."""
    runs: int
    """Runs that are all in flight at once."""
    warm: int
    """Runs before anything is measured."""


def main(make: Callable[[], Contender]) -> None:
    """Measure as the command line says, and print the figures."""
    parser = argparse.ArgumentParser()
    for name in ("latency", "runs", "warm"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    sizes = Sizes(arguments.latency, arguments.runs, arguments.warm)
    with tempfile.TemporaryDirectory(prefix="secondkey-bench-") as folder:
        figures = asyncio.run(_measure(make(), Path(folder) / "bench.db", sizes))
    print(json.dumps(figures), flush=True)
    os._exit(0)  # what a library still has running in the background is not ours to wait for


async def _measure(contender: Contender, path: Path, sizes: Sizes) -> dict[str, float]:
    await contender.open(path)
    warmed = await _all(contender, range(sizes.warm))
    await _decide_all(contender, warmed)
    to_result: list[float] = []
    to_end: list[float] = []
    for number in range(sizes.warm, sizes.warm + sizes.latency):
        key = await contender.start(number)
        await asyncio.sleep(0)
        began = time.perf_counter()
        durable = await asyncio.wait_for(contender.decide(key), PATIENCE_S)
        ended = time.perf_counter()
        to_result.append((durable - began) * 1000)
        to_end.append((ended - began) * 1000)
    first = sizes.warm + sizes.latency
    rss, size, blobs_before = resident(), database_bytes(path), table_bytes(path, "blobs")
    began = time.perf_counter()
    keys = await _all(contender, range(first, first + sizes.runs))
    started_s = time.perf_counter() - began
    blobs = table_bytes(path, "blobs")
    figures = {
        "decision_p50_ms": statistics.median(to_result),
        "over_p50_ms": statistics.median(to_end),
        "db_bytes_pending": (database_bytes(path) - size - (blobs - blobs_before)) / sizes.runs,
        "blob_bytes_pending": (blobs - blobs_before) / sizes.runs,
        "rss_bytes_pending": (resident() - rss) / sizes.runs,
    }
    began = time.perf_counter()
    await _decide_all(contender, keys)
    decided_s = time.perf_counter() - began
    figures["runs_per_s"] = sizes.runs / (started_s + decided_s)
    figures["starts_per_s"] = sizes.runs / started_s
    figures["decisions_per_s"] = sizes.runs / decided_s
    figures["effects"] = contender.effects.total()
    figures["not_once"] = sum(1 for number in range(first + sizes.runs) if contender.effects[number] != 1)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(contender.close(), 10)
    return figures


async def _all(contender: Contender, numbers: Iterable[int]) -> list[str]:
    return await _at_once(contender.width, (lambda number=number: contender.start(number) for number in numbers))


async def _decide_all(contender: Contender, keys: Iterable[str]) -> None:
    await _at_once(contender.width, (lambda key=key: contender.decide(key) for key in keys))


async def _at_once(width: int, calls: Iterable[Callable[[], Awaitable[object]]]) -> list[object]:
    """Make the calls, `width` of them at a time, and return what they gave in their order."""
    waiting = enumerate(calls)
    results: dict[int, object] = {}

    async def worker() -> None:
        for index, call in waiting:
            results[index] = await asyncio.wait_for(call(), PATIENCE_S)

    await asyncio.gather(*(worker() for _ in range(width)))
    return [results[index] for index in range(len(results))]


def resident() -> int:
    """Memory of this process now, bytes."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # what is free goes back to the system, where the C library can
        ctypes.CDLL(None).malloc_trim(0)
    return pages_resident() * PAGE


def pages_resident() -> int:
    """Memory of this process now, pages."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])


def database_bytes(path: Path) -> int:
    """Size of the database once its write-ahead log has gone into it, bytes; fails when somebody is in the way."""
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise RuntimeError("The write-ahead log could not be emptied.")
    return path.stat().st_size


def table_bytes(path: Path, table: str) -> int:
    """Pages of a table and its indexes, bytes; 0 when there is none, or when this SQLite cannot say."""
    query = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ? OR name LIKE ?"
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        try:
            return int(connection.execute(query, (table, f"sqlite_autoindex_{table}%")).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def tune(connection: sqlite3.Connection) -> None:
    """Give a connection the settings that all contenders have."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=30000")

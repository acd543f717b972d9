"""100,000 approvals that wait: how soon a fresh process is armed after SIGKILL, and all of them due at one instant.

One process writes them and is killed. Another opens the file; once it is armed its business clock jumps past every
deadline. The sweep expires them, and each run then ends with a partial answer. A ticker of 5 ms measures how long the
event loop ever kept others waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench._engine import Engine, JumpClock, task
from bench._pending import Copies, add_pending
from bench._report import judge, table, tell
from bench._threads import waited_s
from bench.peers_env.harness import PAGE, database_bytes, pages_resident, resident, table_bytes
from storage.lease import LEASE_S

MANY, FEW = 100_000, 5_000
TICK_S = 0.005
AHEAD_S = 7_200.0
"""The jump: past every deadline, which is at most two hours after the asking."""
TARGET_ARMED_S, TARGET_STALL_MS, TARGET_RSS, TARGET_DB = 1.0, 50.0, 1024.0, 4096.0
LIMIT_S = 3_600.0

_OVER = """SELECT count(*) FROM runs r JOIN approvals a ON a.run = r.id
  WHERE r.status = 'partial' AND a.state = 'expired'"""

Figures = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="Many pending approvals: restart, and all of them due at once.")
    parser.add_argument("--quick", action="store_true", help="at most 45 s, and no target is judged")
    parser.add_argument("--pending", type=int, default=0, help=f"approvals that wait (default: {MANY:,})")
    arguments = parser.parse_args(argv)
    quick = bool(arguments.quick)
    wanted = arguments.pending or (FEW if quick else MANY)
    with tempfile.TemporaryDirectory(prefix="secondkey-bench-") as folder:
        path = Path(folder) / "bench.db"
        seeded_s = _seed_and_kill(path, wanted)
        found = _child("measure", path, wanted)
    figures = {
        "pending": wanted,
        "open_to_armed_s": round(found["open_to_armed_s"], 3),
        "all_due_drain_s": round(found["all_due_drain_s"], 2),
        "max_stall_ms": round(found["max_stall_ms"], 1),
        "rss_bytes_pending": round(found["rss_bytes_pending"], 1),
        "db_bytes_pending": round(found["db_bytes_pending"], 1),
    }
    rows = [
        ("opened → deadlines armed", f"{figures['open_to_armed_s']:.3f} s", f"≤ {TARGET_ARMED_S:g} s"),
        ("all due → all expired", f"{found['expired_s']:.2f} s", ""),
        ("all due → every run over", f"{figures['all_due_drain_s']:.2f} s", ""),
        ("longest stall of the loop", f"{figures['max_stall_ms']:.1f} ms", f"≤ {TARGET_STALL_MS:g} ms"),
        ("of it not for want of a core", f"{found['own_stall_ms']:.1f} ms", "others' work taken out"),
        ("99.9 % of the ticks waited at most", f"{found['p999_stall_ms']:.1f} ms", ""),
        ("most drivers that wanted the loop at once", f"{found['most_drivers']:,.0f}", ""),
        ("memory while all ended, at most", f"{found['rss_peak'] / 2**20:,.0f} MiB", ""),
        ("memory a pending run", f"{figures['rss_bytes_pending']:,.0f} B", f"≤ {TARGET_RSS:g} B"),
        ("database a pending run", f"{figures['db_bytes_pending']:,.0f} B", f"≤ {TARGET_DB:g} B"),
    ]
    notes = [
        f"Written in {seeded_s:.0f} s by copying one real run's events through the journal; then SIGKILL.",
        f"The dead process's lease ({LEASE_S:g} s) is waited for before the file is opened. Nothing is delivered.",
        f"Database without blobs ({found['blob_bytes_pending']:,.0f} B a run besides).",
    ]
    tell(
        [table(f"{wanted:,} pending approvals", ("", "", "no target judged" if quick else "target"), rows)],
        notes,
        figures,
    )
    if found["left"]:
        sys.stderr.write(f"{found['left']:g} runs were not over at the end.\n")
        return 1
    verdicts = [
        judge("open_to_armed_s", figures["open_to_armed_s"], TARGET_ARMED_S, "s"),
        judge("max_stall_ms", figures["max_stall_ms"], TARGET_STALL_MS, "ms"),
        judge("rss_bytes_pending", figures["rss_bytes_pending"], TARGET_RSS, "B"),
        judge("db_bytes_pending", figures["db_bytes_pending"], TARGET_DB, "B"),
    ] if not quick else []  # fmt: skip
    return 0 if all(verdicts) else 1


def _command(what: str, path: Path, wanted: int) -> list[str]:
    return [sys.executable, "-m", "bench.scale", "--child", what, str(path), str(wanted)]


def _seed_and_kill(path: Path, wanted: int) -> float:
    """Have a process write everything, kill it, and wait until its lease has run out; seconds of the writing."""
    began = time.perf_counter()
    with subprocess.Popen(_command("seed", path, wanted), stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # ourselves
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        process.send_signal(signal.SIGKILL)
    if line.strip() != "seeded":
        raise RuntimeError("The writing process ended early.")
    time.sleep(LEASE_S + 0.2)
    return seconds


def _child(what: str, path: Path, wanted: int) -> Figures:
    done = subprocess.run(  # noqa: S603  # ourselves
        _command(what, path, wanted), stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True
    )
    return json.loads(done.stdout.rstrip("\n").rpartition("\n")[2])


async def _seed(path: Path, wanted: int) -> None:
    engine = await Engine.open(path)
    run, _ = await engine.start(0)
    await engine.runtime.settled(run)
    copies = Copies(engine.touch.schema_hash, task, lambda number: {"number": number})
    await add_pending(engine.db, run, copies, range(1, wanted))
    print("seeded", flush=True)
    await asyncio.Event().wait()


async def _measure(path: Path, wanted: int) -> Figures:
    clock = JumpClock()
    before = resident()
    began = time.perf_counter()
    engine = await Engine.open(path, clock=clock)
    armed_s = time.perf_counter() - began
    figures = {"open_to_armed_s": armed_s, "rss_bytes_pending": (resident() - before) / wanted}
    blobs = table_bytes(path, "blobs")
    figures["blob_bytes_pending"] = blobs / wanted
    figures["db_bytes_pending"] = (database_bytes(path) - blobs) / wanted
    ticker = Ticker(engine)
    watching = asyncio.create_task(ticker.run())
    began = time.perf_counter()
    clock.ahead = AHEAD_S
    await engine.deadlines.sweep()
    await idle_of_pending(engine)
    figures["expired_s"] = time.perf_counter() - began
    while not engine.runtime.is_idle:
        await asyncio.sleep(0.05)
    figures["all_due_drain_s"] = time.perf_counter() - began
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    ticker.waits.sort()
    figures["max_stall_ms"] = ticker.waits[-1] * 1000
    figures["own_stall_ms"] = max(ticker.own, default=0.0) * 1000
    figures["p999_stall_ms"] = ticker.waits[int(len(ticker.waits) * 0.999)] * 1000
    figures["most_drivers"], figures["rss_peak"] = ticker.most_drivers, ticker.rss_peak
    figures["left"] = _left(path, wanted)
    await engine.close()
    return figures


class Ticker:
    """Wants to wake every 5 ms, and notes how late it was."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waits: list[float] = [0.0]
        self.own: list[float] = []
        """The same without the time in which the loop could go on and had no core."""
        self.most_drivers, self.rss_peak = 0, 0

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            began, waited = time.perf_counter(), waited_s()
            await asyncio.sleep(TICK_S)
            self.waits.append(time.perf_counter() - began - TICK_S)
            self.own.append(self.waits[-1] - (waited_s() - waited))
            self.most_drivers = max(self.most_drivers, self._engine.runtime.at_work)
            if len(self.waits) % 200 == 0:
                self.rss_peak = max(self.rss_peak, pages_resident() * PAGE)


async def idle_of_pending(engine: Engine) -> None:
    """Return once no approval waits any more; the scheduler sweeps on by itself."""
    query = "SELECT EXISTS (SELECT 1 FROM approvals WHERE state = 'pending')"
    while engine.db.read(lambda conn: conn.execute(query).fetchone()[0]):
        await asyncio.sleep(0.05)


def _left(path: Path, wanted: int) -> int:
    """Runs that did not end as they should."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return wanted - int(connection.execute(_OVER).fetchone()[0])


def _as_child() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", choices=("seed", "measure"), required=True)
    parser.add_argument("path", type=Path)
    parser.add_argument("wanted", type=int)
    arguments = parser.parse_args()
    if arguments.child == "seed":
        asyncio.run(_seed(arguments.path, arguments.wanted))
    else:
        print(json.dumps(asyncio.run(_measure(arguments.path, arguments.wanted))), flush=True)


if __name__ == "__main__":
    if "--child" in sys.argv:
        _as_child()
    else:
        sys.exit(main())

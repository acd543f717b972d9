"""What telemetry costs: runs a second without any, and with traces over OTLP, metrics and a scrape a second.

Each run is planned by a runbook, asks for a yes, gets it and runs an instant tool: nothing else takes time, so the
share is the highest that telemetry can have. Rounds without and with it alternate in one process; the collector is a
process of its own on the loopback, as it would be.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from agent.secrets import redact
from bench._engine import Engine
from bench._report import is_quick, judge, table, tell
from bot.exporting import exporter_from
from bot.metrics import Metrics
from bot.tracing import Traces
from bot.watching import Watch, watch_loop

RUNS, FEW = 1_500, 300
PAIRS, FEW_PAIRS = 4, 2
WIDTH = 64
"""Runs at once."""
SCRAPE_S = 1.0
TARGET = 0.25


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the target is missed."""
    quick = is_quick("What telemetry costs in throughput.", argv)
    runs, pairs = (FEW, FEW_PAIRS) if quick else (RUNS, PAIRS)
    collector = subprocess.Popen(
        (sys.executable, "-m", "bench.telemetry", "--collector"), stdout=subprocess.PIPE, text=True
    )  # ours
    try:
        assert collector.stdout is not None  # noqa: S101  # as asked for
        url = collector.stdout.readline().strip()
        off: list[float] = []
        on: list[Round] = []
        asyncio.run(_round(FEW // 3, ""))  # imports and caches
        for number in range(pairs):
            for with_it in (number % 2 == 0, number % 2 == 1):  # so that neither is always the first
                done = asyncio.run(_round(runs, url if with_it else ""))
                if with_it:
                    on.append(done)
                else:
                    off.append(done.runs_per_s)
    finally:
        collector.kill()
        collector.wait()
    without, with_it_all = median(off), median(one.runs_per_s for one in on)
    figures = {
        "runs_per_s_off": round(without, 1),
        "runs_per_s_on": round(with_it_all, 1),
        "cost_ratio": round(max(0.0, 1 - with_it_all / without), 3),
    }
    spans = median(one.spans for one in on) / runs
    cpu = median(one.thread_s for one in on) / runs * 1000
    rows = [
        ("runs a second without", f"{without:,.1f}", ""),
        ("runs a second with", f"{with_it_all:,.1f}", ""),
        ("cost", f"{figures['cost_ratio']:.1%}", f"≤ {TARGET:.0%}"),
        ("spans a run", f"{spans:.1f}", ""),
        ("processor time of the thread that makes them, a run", f"{cpu:.2f} ms", ""),
        ("of that, a span", f"{cpu / spans * 1000:,.0f} µs", ""),
    ]
    notes = [f"{runs:,} runs a round, {WIDTH} at once, {pairs} rounds each, to the last span taken; the medians."]
    tell([table("Telemetry", ("", "", "no target judged" if quick else "target"), rows)], notes, figures)
    return 0 if quick or judge("cost_ratio", figures["cost_ratio"], TARGET, "") else 1


class Round:
    """What one round came to."""

    def __init__(self, runs_per_s: float, spans: int, thread_s: float) -> None:
        self.runs_per_s, self.spans, self.thread_s = runs_per_s, spans, thread_s


async def _round(runs: int, url: str) -> Round:
    with tempfile.TemporaryDirectory(prefix="secondkey-bench-") as folder:
        engine = await Engine.open(Path(folder) / "bench.db")
        traces: Traces | None = None
        looks: list[asyncio.Task[None]] = []
        if url:
            metrics = Metrics(tools=("touch",))
            engine.db.observe = metrics.committed
            Watch(engine.db, engine.clock, budget_micro_usd=500_000).into(metrics)
            exporter = exporter_from({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, None, redact)
            traces = Traces(engine.db, engine.clock, redact, exporter=exporter, told=metrics.told)
            traces.start()
            looks = [asyncio.create_task(watch_loop(metrics, engine.clock)), asyncio.create_task(_scraped(metrics))]
        numbers = iter(range(runs))

        async def worker() -> None:
            for number in numbers:
                await engine.decide(*await engine.start(number))

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(WIDTH)))
        spans, thread_s = 0, 0.0
        if traces is not None:
            while not traces.is_idle:  # what is left to be handed over is part of what it costs
                await asyncio.sleep(0.01)
        took = time.perf_counter() - began
        for look in looks:
            look.cancel()
        if traces is not None:
            spans, thread_s = traces.exported, traces.cpu_s
            if traces.dropped:
                raise RuntimeError(f"{traces.dropped} spans were dropped.")
            await traces.stop()
        await engine.close()
    return Round(runs / took, spans, thread_s)


async def _scraped(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(SCRAPE_S)
        metrics.page()


class _Collector(BaseHTTPRequestHandler):
    """Takes everything, as a collector does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read it and say yes."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the standard library
        """Say nothing."""
        del format, args


def _collect() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    if "--collector" in sys.argv:
        _collect()
    else:
        sys.exit(main())

"""Telemetry when things break: a process killed while people are asked, a collector that is silent, full or away."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from agent.clock import SystemClock
from bench._engine import Engine
from bot import tracing
from tests.scenario.collector import Collector
from tests.scenario.telemetry_contract import Capture, violations
from tests.scenario.traced import traces_of

ROOT = Path(__file__).parents[2]


class LaterClock(SystemClock):
    """A clock of after the dead process's lease."""

    def transport(self) -> float:
        return super().transport() + 11.0


async def handed_over(traces: tracing.Traces) -> None:
    async with asyncio.timeout(30):
        while not traces.is_idle:  # noqa: ASYNC110  # a thread's work has no event in the loop
            await asyncio.sleep(0.02)


async def killed(path: Path, collector: Collector) -> list[tuple[str, str]]:
    """Runs that wait in a database whose process was killed, with their approvals."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.scenario.killed_child", str(path),
        cwd=ROOT, env={**os.environ, **collector.environment}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    said = (await asyncio.wait_for(child.stdout.readline(), 30)).decode().split()
    child.kill()
    await child.wait()
    return [(said[0], said[1]), (said[2], said[3])]


async def test_the_contract_holds_for_runs_whose_process_was_killed_while_people_were_asked(tmp_path: Path) -> None:
    path = tmp_path / "secondkey.db"
    with Collector() as collector:
        runs = await killed(path, collector)
        before = collector.spans()
        assert {span.attributes["gen_ai.conversation.id"] for span in before} >= {runs[0][0]}
        assert not any(span.name.startswith(("approval ", "invoke_workflow")) for span in before)
        engine = await Engine.open(path, clock=LaterClock())
        traces = traces_of(engine.db, collector.environment)
        for run, approval in runs:
            await engine.decide(run, approval)
        await handed_over(traces)
        await traces.stop()
        await engine.close()
        capture = Capture.of(path, collector.spans(), bodies=collector.bodies)
    assert violations(capture) == {}
    waits = {span.attributes["gen_ai.conversation.id"]: span for span in capture.named("approval")}
    assert {run for run, _ in runs} == set(waits)
    assert all(span.end - span.start > 11e9 for span in waits.values())
    assert len(capture.named("run.started")) == 2


async def test_what_was_handed_over_is_not_handed_over_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "secondkey.db"
    with Collector() as collector:
        for number in (1, 2):
            engine = await Engine.open(path)
            traces = traces_of(engine.db, collector.environment)
            await engine.decide(*await engine.start(number))
            await handed_over(traces)
            await traces.stop()
            await engine.close()
            assert traces.exported == len(collector.spans()) // number
        assert sum(body.count(b"invoke_workflow secondkey") for body in collector.bodies) == 2


async def test_a_silent_collector_slows_no_run_and_the_end_takes_less_than_five_seconds(tmp_path: Path) -> None:
    path = tmp_path / "secondkey.db"
    with Collector(silent=True) as collector:
        engine = await Engine.open(path)
        traces = traces_of(engine.db, collector.environment)
        await engine.decide(*await engine.start(1))
        await asyncio.to_thread(collector._asked.wait, 10)  # from now on the thread is held
        began = time.monotonic()
        for number in range(2, 12):
            await engine.decide(*await engine.start(number))
        took, lost = time.monotonic() - began, traces.exported
        began = time.monotonic()
        await traces.stop()
        stopped = time.monotonic() - began
        await engine.close()
    assert (lost, collector.bodies) == (0, [])
    assert took < 5
    assert stopped < 5
    with Collector() as collector:  # the next process finds them in the journal
        engine = await Engine.open(path)
        traces = traces_of(engine.db, collector.environment)
        await handed_over(traces)
        await traces.stop()
        await engine.close()
        assert violations(Capture.of(path, collector.spans())) == {}


async def test_what_a_collector_does_not_take_is_tried_again_and_the_oldest_are_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "BATCHES", 2)
    monkeypatch.setattr(tracing, "SPANS_A_BATCH", 4)
    path = tmp_path / "secondkey.db"
    with Collector(status=400) as collector:
        engine = await Engine.open(path)
        traces = traces_of(engine.db, collector.environment)
        for number in (1, 2, 3):
            await engine.decide(*await engine.start(number))
        async with asyncio.timeout(30):
            while not traces.dropped:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.02)
        collector.status = 200
        await handed_over(traces)
        await traces.stop()
        await engine.close()
        assert 0 < len(collector.spans()) <= 8
        assert traces.exported == len(collector.spans())

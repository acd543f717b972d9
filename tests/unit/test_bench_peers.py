from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench import _environments, peers
from bench._engine import Engine, task
from bench._models import ScriptedChat
from bench._pending import Copies, add_pending
from storage.audit import verify

KEYS = {
    "ours",
    "ours_function_model",
    "floor",
    "floor_group_commit",
    "langgraph",
    "pydantic_ai",
    "openai_agents",
    "dbos",
    "best_peer_runs_per_s",
    "ratio_to_best_peer",
    "ratio_to_floor_p50",
}


def figures(runs_per_s: float, p50: float) -> dict[str, float]:
    return {
        "decision_p50_ms": p50,
        "over_p50_ms": p50,
        "runs_per_s": runs_per_s,
        "db_bytes_pending": 1.0,
        "rss_bytes_pending": 1.0,
        "blob_bytes_pending": 0.0,
        "not_once": 0.0,
    }


def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", _environments.FOLDER / "harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_the_figures_have_the_keys_of_the_issue_and_the_ratios_follow_from_them() -> None:
    medians = {item.key: figures(50.0, 8.0) for item in peers.CONTENDERS}
    medians["ours"], medians["floor"] = figures(600.0, 3.0), figures(1_000.0, 1.5)
    medians["dbos"], medians["langgraph_exit"] = figures(40.0, 20.0), figures(60.0, 2.0)
    summary = peers.summary(medians)
    assert set(summary) == KEYS
    assert summary["ours"] == {key: medians["ours"][key] for key in peers.KEYS}
    assert (summary["best_peer_runs_per_s"], summary["ratio_to_best_peer"]) == (60.0, 10.0)
    assert summary["ratio_to_floor_p50"] == 2.0
    json.dumps(summary)


def test_a_peer_whose_environment_is_missing_is_null_and_not_the_best() -> None:
    medians = {item.key: figures(50.0, 8.0) for item in peers.CONTENDERS if not item.environment}
    summary = peers.summary(medians)
    assert summary["langgraph"] is None
    assert summary["ratio_to_best_peer"] is None


def test_the_figure_of_several_rounds_is_their_median_but_a_doubled_effect_is_never_averaged_away() -> None:
    rounds = [figures(10.0, 1.0), figures(30.0, 3.0), figures(20.0, 9.0)]
    rounds[1]["not_once"] = 1.0
    median = peers.median_of(rounds)
    assert (median["runs_per_s"], median["decision_p50_ms"], median["not_once"]) == (20.0, 3.0, 1.0)


def test_every_round_has_everybody_and_begins_with_another() -> None:
    orders = [peers.rotated(peers.CONTENDERS, number) for number in range(peers.ROUNDS)]
    assert all(set(order) == set(peers.CONTENDERS) for order in orders)
    assert len({order[0].key for order in orders}) == peers.ROUNDS


def test_an_environment_is_another_one_when_its_pins_or_the_python_change(tmp_path: Path) -> None:
    first = _environments.wanted("dbos", "dbos==1\n", "3.11", tmp_path)
    assert first == _environments.wanted("dbos", "dbos==1\n", "3.11", tmp_path)
    assert first != _environments.wanted("dbos", "dbos==2\n", "3.11", tmp_path)
    assert first != _environments.wanted("dbos", "dbos==1\n", "3.12", tmp_path)


def test_requirements_are_pinned_and_hold_no_address() -> None:
    files = sorted(_environments.FOLDER.glob("*.txt"))
    assert {item.environment for item in peers.CONTENDERS if item.environment} == {path.stem for path in files}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "==" in line
            assert "/" not in line


@pytest.mark.parametrize("worker", ["with_sqlite3", "with_group_commit"])
def test_the_floors_do_every_effect_once(worker: str) -> None:
    command = [sys.executable, str(_environments.FOLDER / f"{worker}.py"), "--latency=2", "--runs=4", "--warm=1"]
    done = subprocess.run(  # noqa: S603  # our own worker
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    found = json.loads(done.stdout)
    assert (found["effects"], found["not_once"]) == (7, 0)
    assert found["runs_per_s"] > 0


def test_a_contender_that_runs_its_tool_twice_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    doubled = {item.key: figures(50.0, 8.0) for item in peers.CONTENDERS}
    doubled["langgraph"]["not_once"] = 2.0
    assert peers.broken(doubled) == ["langgraph"]
    assert "langgraph" in capsys.readouterr().err


async def test_the_engine_runs_a_decided_task_once_and_tells_when_its_result_is_durable(tmp_path: Path) -> None:
    engine = await Engine.open(tmp_path / "bench.db")
    run, approval = await engine.start(7)
    assert not engine.touch.effects
    at = await engine.decide(run, approval)
    assert at > 0
    assert engine.touch.effects == {7: 1}
    await engine.close()


async def test_the_engine_runs_with_a_model_that_answers_from_a_script(tmp_path: Path) -> None:
    engine = await Engine.open(tmp_path / "bench.db", model=ScriptedChat())
    run, approval = await engine.start(7)
    await engine.decide(run, approval)
    assert engine.touch.effects == {7: 1}
    assert (await engine.runtime.settled(run)).status.value == "completed"
    await engine.close()


async def test_copies_of_a_waiting_run_can_be_decided_like_any_other(tmp_path: Path) -> None:
    engine = await Engine.open(tmp_path / "bench.db")
    run, _ = await engine.start(0)
    await engine.runtime.settled(run)
    copies = Copies(engine.touch.schema_hash, task, lambda number: {"number": number})
    made = await add_pending(engine.db, run, copies, range(1, 4))
    (copied,) = engine.db.fetch("SELECT run FROM approvals WHERE id = ?", (made[2].approval,))
    await engine.decide(str(copied[0]), made[2].approval)
    assert engine.touch.effects == {3: 1}
    assert verify(engine.db).ok
    await engine.close()


def test_the_harness_starts_no_more_at_once_than_the_contender_wants() -> None:
    module = harness()
    running = most = 0

    async def one() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await module.asyncio.sleep(0)
        running -= 1
        return most

    found = module.asyncio.run(module._at_once(3, (one for _ in range(10))))
    assert len(found) == 10
    assert most == 3

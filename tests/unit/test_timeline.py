"""`secondkey trace`: the tree of a run, from the journal alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Outcome, RunStatus
from agent.ports import Fact, Stored
from agent.timeline import Node, timeline
from bot.__main__ import main
from storage.fakes import DECIDERS, Store


def found(node: Node, kind: str) -> list[Node]:
    return [*([node] if node.kind == kind else []), *(one for child in node.children for one in found(child, kind))]


async def build(folder: Path) -> str:
    """A run with two model calls, an approved action that was run, a takeover, and a step that is still open."""
    store = await Store.open(folder / "secondkey.db")
    run = await store.run("put \x1b[2Jorder 7 right, ghp_" + "a1B2" * 9)
    call = ev.ModelCallStarted(call="c1", purpose="work", step=0, model="m:one", reserved_micro_usd=900)
    came = ev.ModelCallFinished(
        call="c1", reply_blob="", input_tokens=1_200, output_tokens=34, cost_micro_usd=700, duration_ms=1_500
    )
    lost = ev.ModelCallStarted(call="c2", purpose="work", step=0, turn=1, model="m:two", reserved_micro_usd=900)
    failed = ev.ModelCallFailed(call="c2", code="MODEL_UNAVAILABLE", cost_micro_usd=50, duration_ms=20)
    await store.journal.commit(run, (call, came, lost, failed), Fact())
    asked = await store.ask(run)
    store.clock.advance(61)
    await store.lease.regain()
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.start(run, store.approval(asked.id))
    done = ev.ActionFinished(action=asked.action, outcome=Outcome.SUCCEEDED, summary="Paid", duration_ms=40)
    await store.journal.commit(run, (done,), Fact())
    await store.take_over(run)
    await store.close()
    return run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return asyncio.run(build(tmp_path / "data"))


def test_the_tree_has_calls_waits_and_decisions_with_times_tokens_and_cost(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", run]) == 0
    lines = capsys.readouterr().out.splitlines()

    def line(part: str) -> str:
        return next(one for one in lines if part in one)

    assert "1,200 + 34 tokens · $0.0008" in line(run)  # summed up to the root: 700 + 50 micro-USD
    assert "still open" in line("step 1 code")
    assert "ok · 1.5 s · 1,200 + 34 tokens · $0.0007" in line("work m:one")
    assert "failed · 20 ms · $0.0001" in line("work m:two")
    assert "approved · 1 min" in line("approval")
    assert "slack:T1:U2" in line("decision: approved")
    assert "succeeded · 40 ms" in line("query_sql")
    assert "still open" in line("takeover (high)")
    assert lines.index(line("approval")) > lines.index(line("query_sql"))


def test_json_has_the_same_tree_and_nothing_moves_the_cursor_or_shows_a_secret(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", run[:2], "--json"]) == 0
    said = capsys.readouterr().out
    body = json.loads(said)
    assert body["cost_micro_usd"] == 750
    assert "ghp_" not in said
    assert main(["trace", run]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "ghp_" not in said


def test_a_run_that_is_not_there_is_said(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    del run
    assert main(["trace", "zzz"]) == 1
    assert "There is no run zzz" in capsys.readouterr().err


def test_a_journal_with_holes_is_still_shown() -> None:
    over = ev.RunFinished(status=RunStatus.PARTIAL)
    orphan = ev.ActionFinished(action="a9", outcome=Outcome.FAILED)
    closed = ev.StepFinished(step=3, status="done", summary="")
    root = timeline("r1", [Stored(1, 5.0, orphan), Stored(2, 6.0, closed), Stored(3, 7.0, over)])
    assert (root.status, root.children) == ("partial", [])
    assert found(root, "tool") == []

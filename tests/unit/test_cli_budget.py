"""`secondkey budget` on the command line: the day's ledger beside its limits, and limits that mean nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent import events as ev
from agent.clock import SystemClock
from agent.domain import Principal
from agent.fakes import ManualClock
from agent.ports import Fact, Intention
from bot.__main__ import main
from storage.fakes import Store

HOSTILE = Principal(team="T1", user="[bold red]x[/]")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secondkey.toml").write_text('data = "data"\nbudget_usd_a_day = 2\nbudget_usd_a_day_global = 0\n')
    (tmp_path / "data").mkdir()
    return tmp_path


async def spend(folder: Path) -> None:
    store = await Store.open(folder / "data" / "secondkey.db", clock=ManualClock(SystemClock(1.0).now()))
    for who, held, cost in (
        (Principal(team="T1", user="U1"), 500_000, 300_000),
        (HOSTILE, 40_000, 0),
    ):
        run, call = await store.run(requester=who), store.ids.new("call")
        begun = ev.ModelCallStarted(call=call, purpose="work", model="openai:luna", reserved_micro_usd=held)
        await store.journal.commit(run, [begun], Intention(epoch=0, budget_micro_usd=500_000))
        if cost:
            done = ev.ModelCallFinished(call=call, reply_blob="", cost_micro_usd=cost)
            await store.journal.commit(run, [done], Fact())
    await store.close()


def test_budget_prints_who_spent_what_today_and_what_is_left(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    asyncio.run(spend(folder))
    assert main(["budget"]) == 0
    said = capsys.readouterr().out
    assert "A run: at most $0.50." in said
    lines = {line.split("│")[1].strip(): line for line in said.splitlines() if line.startswith("│")}
    assert "no limit" in lines["everybody"]
    assert "$1.70 of $2.00" in lines["slack:T1:U1"]
    assert "$0.04" in lines["slack:T1:[bold red]x[/]"]  # nobody's name is markup
    assert "$0.30" in lines["model openai:luna"]


def test_budget_prints_whole_micro_usd_for_scripts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(spend(folder))
    assert main(["budget", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run_micro_usd"], found["person_day_micro_usd"], found["everybody_day_micro_usd"]) == (
        500_000,
        2_000_000,
        0,
    )
    assert found["everybody"] == {"name": "", "spent_micro_usd": 300_000, "reserved_micro_usd": 40_000, "calls": 2}
    assert [item["name"] for item in found["people"]] == ["slack:T1:U1", HOSTILE.key]


@pytest.mark.parametrize(
    "line", ["budget_usd_a_day = -1", "budget_usd = 0", "model_timeout = 0", "runs_waiting = -1", "tokens_a_run = -5"]
)
def test_a_limit_that_is_none_is_refused_with_its_place(
    folder: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "secondkey.toml").write_text(f"{line}\n")
    assert main(["budget"]) == 2
    assert line.split(maxsplit=1)[0] in capsys.readouterr().err

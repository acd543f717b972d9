"""Against rubber stamps: a yes to what cannot be undone needs time to read, and who says yes to everything is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.errors import TooSoon
from agent.policy import load_policy
from agent.ports import Fact
from bot.__main__ import main
from bot.cli_stats import stats_of
from bot.words import sentence
from storage.audit import refusals
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.rows import ApprovalRow

FIRST, SECOND = DECIDERS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def asked(store: Store, floor_s: float = 3.0) -> ApprovalRow:
    return await store.ask(await store.run(), floor_s=floor_s)


async def test_a_yes_to_what_cannot_be_undone_counts_only_after_the_floor(store: Store) -> None:
    row = await asked(store)
    store.clock.advance(2.9)
    with pytest.raises(TooSoon) as told:
        await store.decisions.vote(row.id, FIRST, "approve", via="card")
    assert "press Approve again" in sentence(told.value)
    assert store.approval(row.id).state == "pending"
    assert [item.kind for item in refusals(store.db, subject=row.id)] == ["too_soon"]
    store.clock.advance(0.2)
    assert (await store.decisions.vote(row.id, FIRST, "approve")).state == "approved"


async def test_the_floor_begins_when_the_card_was_seen_standing(store: Store) -> None:
    row = await asked(store)
    store.clock.advance(10)
    assert await store.decisions.delivered(row.id, store.clock.now())
    with pytest.raises(TooSoon):
        await store.decisions.vote(row.id, FIRST, "approve")
    store.clock.advance(3)
    assert (await store.decisions.vote(row.id, FIRST, "approve")).state == "approved"


async def test_a_no_counts_at_once(store: Store) -> None:
    row = await asked(store)
    assert (await store.decisions.vote(row.id, FIRST, "deny")).state == "denied"


async def test_a_floor_is_of_real_seconds_also_when_business_time_runs_faster(store: Store) -> None:
    store.clock.rate = 60.0
    row = await asked(store)
    store.clock.advance(60)
    with pytest.raises(TooSoon):
        await store.decisions.vote(row.id, FIRST, "approve")
    store.clock.advance(121)
    assert (await store.decisions.vote(row.id, FIRST, "approve")).state == "approved"


async def test_without_a_floor_a_yes_counts_at_once(store: Store) -> None:
    row = await asked(store, 0.0)
    assert (await store.decisions.vote(row.id, FIRST, "approve")).state == "approved"


def test_the_policy_sets_the_floor() -> None:
    assert load_policy().limits.approve_floor_s == 0
    assert load_policy("version = 1\n[limits]\napprove_floor_s = 4\n").limits.approve_floor_s == 4


def test_who_says_yes_to_everything_at_once_is_seen() -> None:
    reader = [("slack:T1:U2", "approve" if n % 3 else "deny", 60.0 + n, "r") for n in range(30)]
    stamper = [("slack:T1:U3", "approve", 1.0, "r") for _ in range(25)]
    few = [("slack:T1:U4", "approve", 1.0, "r")]
    own = [("local:1", "approve", 0.1, "local:1")]
    found = {item.who: item for item in stats_of([*reader, *stamper, *few, *own], {"slack:T1:U3": 4, "slack:T1:U9": 1})}
    assert [item.who for item in found.values() if item.is_rubber_stamp] == ["slack:T1:U3"]
    stamped, read = found["slack:T1:U3"], found["slack:T1:U2"]
    assert (stamped.approval_rate, stamped.quick, stamped.too_soon, stamped.latency_p50_s) == (1.0, 25, 4, 1.0)
    assert (read.approved, read.denied, round(read.approval_rate, 2), read.quick) == (20, 10, 0.67, 0)
    assert read.latency_p10_s < read.latency_p50_s
    assert (found["slack:T1:U9"].approved, found["slack:T1:U9"].too_soon) == (0, 1)
    assert "local:1" not in found


def test_latency_is_told_in_real_seconds() -> None:
    (found,) = stats_of([("slack:T1:U2", "approve", 60.0, "r")], {}, rate=10.0)
    assert found.latency_p50_s == 6.0


async def votes(folder: Path) -> None:
    store = await Store.open(folder / "secondkey.db")
    for delay, who, vote in ((40.0, FIRST, "approve"), (2.0, FIRST, "approve"), (9.0, SECOND, "deny")):
        row = await store.ask(await store.run())
        await store.decisions.delivered(row.id, store.clock.now())
        store.clock.advance(delay)
        await store.decisions.vote(row.id, who, "approve" if vote == "approve" else "deny")
    row = await store.ask(await store.run(), floor_s=5)
    with pytest.raises(TooSoon):
        await store.decisions.vote(row.id, FIRST, "approve")
    store.clock.advance(3600)
    await store.decisions.sweep(store.clock.now())
    assert store.approval(row.id).state == "expired"
    await store.journal.commit(await store.run(requester=REQUESTER), (), Fact())
    await store.close()


def test_the_command_prints_latency_and_approval_rate_of_each_decider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path))
    asyncio.run(votes(tmp_path))
    assert main(["approvals", "--stats", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["expired"] == 1
    first, second = body["deciders"]
    assert (first["who"], first["approved"], first["approval_rate"]) == (FIRST.key, 2, 1.0)
    assert (first["latency_p50_s"], first["quick"], first["too_soon"]) == (21.0, 1, 1)
    assert (second["denied"], second["approval_rate"], second["latency_p50_s"]) == (1, 0.0, 9.0)
    assert main(["approvals", "--stats"]) == 0
    assert "100%" in capsys.readouterr().out
    assert main(["approvals", "--stats", "--since", "2190-01-01"]) == 0
    assert "Nobody has voted yet" in capsys.readouterr().out
    assert main(["approvals", "--stats", "--since", "yesterday"]) == 2

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import runtime
from agent.events import Event
from agent.ports import Committed, Condition
from bench._engine import Engine, WatchedJournal, task
from storage.inbox import Accepted


async def test_what_follows_without_anybodys_help_is_written_in_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[list[str]] = []
    commit = WatchedJournal.commit

    async def noted(
        self: WatchedJournal,
        run: str,
        events: Sequence[Event],
        condition: Condition,
        *,
        blobs: Mapping[str, str] | None = None,
    ) -> Committed:
        commits.append([event.type for event in events])
        return await commit(self, run, events, condition, blobs=blobs)

    monkeypatch.setattr(WatchedJournal, "commit", noted)
    engine = await Engine.open(tmp_path / "bench.db")
    run, approval = await engine.start(1)
    await engine.decide(run, approval)
    await engine.close()
    assert commits == [
        ["run_started", "plan_made", "step_started", "action_proposed", "action_rated", "approval_requested"],
        ["action_started"],
        ["action_finished", "step_finished", "run_finished"],
    ]


async def test_never_more_drivers_want_the_loop_than_it_can_take_and_all_runs_come_to_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await Engine.open(tmp_path / "bench.db")
    loop, most, everybody_is_there = asyncio.get_running_loop(), 0, asyncio.Event()
    write = WatchedJournal.commit

    async def commit(*given: Any, **named: Any) -> Committed:
        await everybody_is_there.wait()
        return await write(*given, **named)

    monkeypatch.setattr(WatchedJournal, "commit", commit)
    asked: list[asyncio.Future[str]] = []

    def look(_: str) -> None:
        nonlocal most
        most = max(most, engine.runtime.at_work)

    engine.db.subscribe("run", look)

    async def one(number: int) -> None:
        accepted = await engine.inbox.accept("", task(number))
        assert isinstance(accepted, Accepted)
        future: asyncio.Future[str] = loop.create_future()
        asked.append(engine.milestones.asked.setdefault(accepted.run, future))

    wanted = 3 * runtime.DRIVERS_AT_WORK
    await asyncio.gather(*(one(number) for number in range(wanted)))
    async with asyncio.timeout(5):
        while engine.runtime.at_work < runtime.DRIVERS_AT_WORK:  # noqa: ASYNC110  # they begin a few at a turn
            await asyncio.sleep(0)
    everybody_is_there.set()
    await asyncio.gather(*asked)
    assert len(asked) == wanted
    assert 0 < most <= runtime.DRIVERS_AT_WORK
    await engine.close()

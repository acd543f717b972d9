"""With a model that answers: what follows from a reply without anybody's help is written with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agent.events import Event
from agent.ports import Committed, Condition
from bench._engine import Engine, WatchedJournal, task
from bench._models import ScriptedChat
from storage.inbox import Accepted


async def test_a_call_is_rated_in_the_commit_that_proposes_it_and_a_result_is_kept_with_the_next_reservation(
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
    engine = await Engine.open(tmp_path / "bench.db", model=ScriptedChat(), tier="low")
    accepted = await engine.inbox.accept("Ev1", task(1))
    assert isinstance(accepted, Accepted)
    over = engine.milestones.over[accepted.run] = asyncio.get_running_loop().create_future()
    await asyncio.wait_for(over, 20)
    await engine.close()
    assert commits == [
        ["run_started", "model_call_started"],
        ["model_call_finished", "plan_made", "step_started", "model_call_started"],
        ["model_call_finished", "action_proposed", "action_rated"],
        ["action_started"],
        ["action_finished", "model_call_started"],
        ["model_call_finished", "step_finished", "step_evaluated", "model_call_started"],
        ["model_call_finished", "run_finished"],
    ]

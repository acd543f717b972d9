"""What came of a tool or a model is written whatever happens to the moves that were to be written with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from agent.errors import EpochMoved, JournalError, LeaseLost, StorageUnavailable
from agent.events import Event
from agent.planner import Planner
from agent.ports import Committed, Condition, Fact
from bench._engine import OMAR, Engine, WatchedJournal
from bench._models import ScriptedChat

Refuse = Callable[[Sequence[str], Condition], None]
APART = [["action_finished"], ["step_finished", "run_finished"]]


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Refuse], list[list[str]]]:
    """The types of the events of each commit; what is to be refused raises."""

    def watch(refuse: Refuse) -> list[list[str]]:
        seen: list[list[str]] = []
        real = WatchedJournal.commit

        async def commit(
            self: WatchedJournal,
            run: str,
            events: Sequence[Event],
            condition: Condition,
            *,
            blobs: Mapping[str, str] | None = None,
        ) -> Committed:
            types = [event.type for event in events]
            refuse(types, condition)
            committed = await real(self, run, events, condition, blobs=blobs)
            seen.append(types)
            return committed

        monkeypatch.setattr(WatchedJournal, "commit", commit)
        return seen

    return watch


def once(error: Exception, when: Callable[[Sequence[str], Condition], bool]) -> Refuse:
    """Raise the error the first time that a commit is like this."""
    left = [error]

    def refuse(types: Sequence[str], condition: Condition) -> None:
        if left and when(types, condition):
            raise left.pop()

    return refuse


def a_result_with_more(types: Sequence[str], condition: Condition) -> bool:
    del condition
    return "action_finished" in types and len(types) > 1


def nothing(types: Sequence[str], condition: Condition) -> None:
    """Refuse nothing."""
    del types, condition


@pytest.mark.parametrize("error", [EpochMoved(), JournalError("overtaken"), StorageUnavailable()])
async def test_a_result_is_written_alone_when_it_cannot_be_written_with_what_follows(
    tmp_path: Path, commits: Callable[[Refuse], list[list[str]]], error: Exception
) -> None:
    seen = commits(once(error, a_result_with_more))
    engine = await Engine.open(tmp_path / "bench.db")
    await engine.decide(*await engine.start(1))
    await engine.close()
    assert seen[-2:] == APART
    assert engine.touch.effects[1] == 1


async def test_a_result_is_written_when_what_follows_cannot_even_be_thought(
    tmp_path: Path, commits: Callable[[Refuse], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = commits(nothing)
    real, broken = Planner.write_answer, [RuntimeError("a template's own fault")]

    async def write_answer(self: Planner, *args: object) -> object:
        if broken:
            raise broken.pop()
        return await real(self, *args)

    monkeypatch.setattr(Planner, "write_answer", write_answer)
    engine = await Engine.open(tmp_path / "bench.db")
    await engine.decide(*await engine.start(1))
    await engine.close()
    assert seen[-2:] == APART


async def test_a_result_waits_for_a_disk_that_is_full_for_a_while(
    tmp_path: Path, commits: Callable[[Refuse], list[list[str]]]
) -> None:
    full = [StorageUnavailable(), StorageUnavailable(), StorageUnavailable()]

    def refuse(types: Sequence[str], condition: Condition) -> None:
        del condition
        if full and "action_finished" in types:
            raise full.pop()

    seen = commits(refuse)
    engine = await Engine.open(tmp_path / "bench.db")
    await engine.decide(*await engine.start(1))
    await engine.close()
    assert seen[-2:] == APART
    assert engine.touch.effects[1] == 1


async def test_a_paid_reply_is_settled_when_its_next_reservation_is_refused(
    tmp_path: Path, commits: Callable[[Refuse], list[list[str]]]
) -> None:
    def with_next(types: Sequence[str], condition: Condition) -> bool:
        return types[0] == "model_call_finished" and "model_call_started" in types and not isinstance(condition, Fact)

    seen = commits(once(EpochMoved(), with_next))
    engine = await Engine.open(tmp_path / "bench.db", model=ScriptedChat())
    await engine.decide(*await engine.start(1))
    await engine.close()
    assert ["model_call_finished", "plan_made"] in seen
    flat = [kind for types in seen for kind in types]
    assert flat.count("model_call_started") == flat.count("model_call_finished") == 4
    assert flat.count("run_finished") == 1


async def test_a_process_without_the_lease_writes_its_result_and_starts_nothing_more(
    tmp_path: Path, commits: Callable[[Refuse], list[list[str]]]
) -> None:
    lost = [False]

    def refuse(types: Sequence[str], condition: Condition) -> None:
        lost[0] = lost[0] or "action_finished" in types
        if lost[0] and not isinstance(condition, Fact):
            raise LeaseLost

    seen = commits(refuse)
    engine = await Engine.open(tmp_path / "bench.db")
    run, approval = await engine.start(1)
    await engine.decisions.vote(approval, OMAR, "approve", via="test")
    await engine.runtime.settled(run)
    await engine.close()
    assert seen[-1] == ["action_finished"]


async def test_a_stop_while_a_result_cannot_be_written_with_what_follows_loses_no_result(
    tmp_path: Path, commits: Callable[[Refuse], list[list[str]]]
) -> None:
    left = [True]

    def refuse(types: Sequence[str], condition: Condition) -> None:
        if left and a_result_with_more(types, condition):
            left.pop()
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # comes in at the next wait, while the write is refused
            raise EpochMoved

    commits(refuse)
    engine = await Engine.open(tmp_path / "bench.db")
    run, approval = await engine.start(1)
    await engine.decisions.vote(approval, OMAR, "approve", via="test")
    state = await engine.runtime.settled(run)
    await engine.close()
    assert not left
    assert [item.outcome for item in state.actions.values()] == ["succeeded"]
    assert engine.touch.effects[1] == 1

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Outcome, Principal, RunStatus, Tier, content_hash
from agent.ports import Fact
from storage.fakes import DECIDERS, REQUESTER, Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def test_a_runs_view_tells_its_whole_story(store: Store) -> None:
    run = await store.run("put order 7 right")
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.start(run, asked)
    finished = ev.ActionFinished(action=asked.action, outcome=Outcome.SUCCEEDED, summary="1 row changed")
    answer = "Order 7 is paid."
    await store.journal.commit(
        run,
        (
            finished,
            ev.StepFinished(step=0, status="done", summary="paid"),
            ev.RunFinished(status=RunStatus.COMPLETED, answer_blob=content_hash(answer), summary="paid"),
        ),
        Fact(),
        blobs={content_hash(answer): answer},
    )
    view = store.queries.run_view(run)
    assert view is not None
    assert (view.run.status, view.task.text, view.answer) == (RunStatus.COMPLETED, "put order 7 right", answer)
    assert [(step.status, step.summary) for step in view.steps] == [("done", "paid")]
    (action,) = view.actions
    assert (action.tier, action.outcome, action.summary) == (Tier.MEDIUM, Outcome.SUCCEEDED, "1 row changed")
    assert (action.headline, action.approval) == ("Would mark order 7 as paid", asked.id)
    assert [row.id for row in view.approvals] == [asked.id]


async def test_an_approvals_view_has_action_votes_and_preview(store: Store) -> None:
    asked = await store.ask(await store.run(), quorum=2)
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    view = store.queries.approval_view(asked.id)
    assert view is not None
    assert view.votes == ((DECIDERS[0].key, "approve", store.clock.now()),)
    assert view.preview == "1 row"
    assert view.action.action.arguments == {"sql": "UPDATE orders SET paid = 1 WHERE id = 7"}
    assert view.co_requesters == (REQUESTER.key,)
    assert [row.id for row in store.queries.pending_approvals()] == [asked.id]


async def test_what_is_unknown_is_none(store: Store) -> None:
    assert store.queries.run("x") is None
    assert store.queries.run_view("x") is None
    assert store.queries.approval_view("x") is None
    assert store.queries.takeover_view("x") is None
    assert store.queries.find_run("") is None
    assert store.queries.find_run_by_thread("T1", "C1", "") is None


async def test_a_run_is_found_by_a_prefix_that_is_its_alone_and_by_its_thread(store: Store) -> None:
    store.ids.count = 99
    runs = [await store.run() for _ in range(2)]
    first = store.queries.run(runs[0])
    assert first is not None
    assert store.queries.find_run(runs[0]) == first
    assert store.queries.find_run("r") is None
    assert store.queries.find_run("r%") is None
    assert store.queries.find_run_by_thread("T1", "C1", first.thread_ts) == first
    assert store.queries.find_run_by_thread("T2", "C1", first.thread_ts) is None


async def test_runs_are_listed_newest_first_under_filters(store: Store) -> None:
    runs: list[str] = []
    for person in (REQUESTER, *DECIDERS):
        runs.append(await store.run(requester=person))
        store.clock.advance(1)
    await store.journal.commit(runs[0], (ev.RunFinished(status=RunStatus.FAILED),), Fact())
    assert [line.id for line in store.queries.runs()] == runs[::-1]
    assert [line.id for line in store.queries.runs(limit=1)] == [runs[2]]
    assert [line.id for line in store.queries.runs(requester=DECIDERS[0].key)] == [runs[1]]
    assert [line.id for line in store.queries.runs(statuses=(RunStatus.FAILED, RunStatus.PARTIAL))] == [runs[0]]
    assert store.queries.runs(channel="C2") == ()


async def test_only_runs_that_can_move_are_driven_after_a_restart(store: Store) -> None:
    moving, waiting, over = [await store.run() for _ in range(3)]
    await store.ask(waiting)
    await store.journal.commit(over, (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())
    assert store.queries.to_drive() == (moving,)


async def test_open_takeovers_are_listed_with_who_has_them(store: Store) -> None:
    opened = await store.take_over(await store.run(requester=Principal(team="T1", user="U7")))
    claimed = await store.decisions.claim(opened.id, DECIDERS[1])
    assert store.queries.open_takeovers() == (claimed,)

"""Tasks that were asked elsewhere than in a message, as rows; ids as they are typed; what people spent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import RunStatus
from agent.errors import QuotaExceeded
from agent.ports import Fact
from storage.anchors import Anchor, Anchors
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.quotas import Quotas
from storage.short_ids import ShortIds
from storage.spending import Spending

ASKED = Anchor(
    id="command:1", via="command", team="T1", channel="C1", thread_ts="", principal=REQUESTER.key, text="count"
)
DRAFT = replace(ASKED, id="message:1", via="message", text="", quote="a private matter", state="draft")
STEP = replace(ASKED, id="function:1", via="step", execution="Fx1")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def end(store: Store, run: str) -> None:
    events = (ev.StepFinished(step=0, status="done", summary=""), ev.RunFinished(status=RunStatus.COMPLETED))
    await store.journal.commit(run, events, Fact())


async def test_what_comes_twice_is_kept_once(store: Store) -> None:
    anchors = Anchors(store.db)
    assert await anchors.add(ASKED) is True
    assert await anchors.add(replace(ASKED, text="something else")) is False
    assert [anchor.text for anchor in anchors.due(store.clock.transport())] == ["count"]


async def test_a_draft_is_sent_by_its_own_person_only_and_only_once(store: Store) -> None:
    anchors = Anchors(store.db)
    await anchors.add(DRAFT)
    assert anchors.due(store.clock.transport()) == ()
    assert await anchors.fill(DRAFT.id, DECIDERS[0].key, "what is this?") is False
    assert await anchors.fill(DRAFT.id, REQUESTER.key, "what is this?") is True
    assert await anchors.fill(DRAFT.id, REQUESTER.key, "and this?") is False
    (anchor,) = anchors.due(store.clock.transport())
    assert (anchor.text, anchor.quote) == ("what is this?", "a private matter")


async def test_only_its_own_person_drops_a_draft_and_nobody_drops_what_was_asked(store: Store) -> None:
    anchors = Anchors(store.db)
    await anchors.add(DRAFT)
    await anchors.add(ASKED)
    await anchors.drop(DRAFT.id, DECIDERS[0].key)
    assert anchors.get(DRAFT.id) is not None
    await anchors.drop(DRAFT.id, REQUESTER.key)
    await anchors.drop(ASKED.id, REQUESTER.key)
    assert anchors.get(DRAFT.id) is None
    assert anchors.get(ASKED.id) is not None


async def test_once_its_run_exists_nothing_is_owed_but_the_completion_of_a_step(store: Store) -> None:
    anchors, run = Anchors(store.db), await store.run()
    for anchor in (ASKED, STEP):
        await anchors.add(anchor)
        await anchors.taken(anchor.id, run)
    assert [(known.state, known.text) for key in (ASKED.id, STEP.id) if (known := anchors.get(key))] == [
        ("over", ""), ("taken", ""),
    ]  # fmt: skip
    assert anchors.due(store.clock.transport()) == ()  # its run goes on
    await end(store, run)
    assert [anchor.id for anchor in anchors.due(store.clock.transport())] == [STEP.id]
    await anchors.over(STEP.id)
    assert anchors.due(store.clock.transport()) == ()


async def test_what_was_taken_cannot_be_refused_nor_the_other_way_round(store: Store) -> None:
    anchors, run = Anchors(store.db), await store.run()
    await anchors.add(STEP)
    await anchors.taken(STEP.id, run)
    await anchors.refuse(STEP.id, "No.")
    await anchors.add(ASKED)
    await anchors.refuse(ASKED.id, "No.")
    await anchors.taken(ASKED.id, run)
    assert [(k.state, k.run, k.reason) for key in (STEP.id, ASKED.id) if (k := anchors.get(key))] == [
        ("taken", run, ""), ("refused", "", "No."),
    ]  # fmt: skip


async def test_what_did_not_work_waits_for_its_time(store: Store) -> None:
    anchors, now = Anchors(store.db), store.clock.transport()
    await anchors.add(ASKED)
    await anchors.put_off(ASKED.id, "x" * 1000, now + 5)
    assert anchors.due(now) == ()
    assert anchors.next_at(now) == now + 5
    (anchor,) = anchors.due(now + 5)
    assert (anchor.attempts, len(anchor.error)) == (1, 200)
    assert anchors.next_at(now + 5) is None


async def test_old_drafts_and_what_is_over_are_forgotten_and_nothing_that_is_owed(store: Store) -> None:
    anchors = Anchors(store.db)
    await anchors.add(DRAFT)
    await anchors.add(ASKED)
    await anchors.add(replace(STEP, id="function:2"))
    await anchors.over("function:2")
    later = store.clock.now() + 10
    assert await anchors.forget(later, later) == 2
    assert anchors.get(ASKED.id) is not None


async def test_an_id_is_found_by_its_beginning_exactly_when_it_is_whole(store: Store) -> None:
    ids = ShortIds(store.db)
    first, second = await store.run("one"), await store.run("two")
    assert ids.runs(first)[0].id == first
    assert {line.id for line in ids.runs("r")} == {first, second}
    assert ids.runs("") == ()
    assert ids.runs("r%") == ()
    asked = await store.ask(first)
    assert [(item.kind, item.action) for item in ids.subjects(asked.id)] == [("approval", asked.action)]
    assert [(item.kind, item.run) for item in ids.subjects(asked.action)] == [("action", first)]
    takeover = await store.take_over(second)
    assert ids.subjects(takeover.id)[0].kind == "takeover"
    assert ids.subjects("") == ()


async def test_spending_counts_runs_and_money_of_one_person_since_a_moment(store: Store) -> None:
    spending, start = Spending(store.db), store.clock.now()
    await store.run()
    await store.run(requester=DECIDERS[0])
    call = ev.ModelCallStarted(call="c1", purpose="plan", model="m", reserved_micro_usd=700)
    run = await store.run()
    await store.journal.commit(run, (call,), Fact())
    spent = spending.since(REQUESTER.key, start)
    assert (spent.runs, spent.micro_usd, spent.on_the_way) == (2, 0, 700)
    done = ev.ModelCallFinished(call="c1", reply_blob="", cost_micro_usd=500)
    await store.journal.commit(run, (done,), Fact())
    spent = spending.since(REQUESTER.key, start)
    assert (spent.micro_usd, spent.on_the_way) == (500, 0)
    assert spending.since(REQUESTER.key, start + 1).runs == 0


async def test_what_is_left_of_the_quotas_and_when_the_next_run_is_possible(store: Store) -> None:
    spending, quotas = Spending(store.db), Quotas(per_person=2, everybody=0, at_once=2)
    begun = store.clock.now()
    run = await store.run()
    left = spending.left(REQUESTER.key, begun, quotas)
    assert (left.person, left.everybody, left.at_once, left.next_at) == (1, None, 1, 0.0)
    await store.run()
    assert spending.left(REQUESTER.key, begun, quotas).next_at == float("inf")  # two are going
    await end(store, run)
    left = spending.left(REQUESTER.key, begun, quotas)
    assert (left.person, left.next_at) == (0, begun + 3600)
    with pytest.raises(QuotaExceeded):
        store.queries.may_start(REQUESTER.key, begun, quotas)
    store.queries.may_start(REQUESTER.key, begun + 3601, quotas)


async def test_a_body_that_is_not_there_is_empty(store: Store) -> None:
    assert store.queries.body("") == ""
    assert store.queries.body("ab" * 32) == ""
    asked = await store.ask(await store.run())
    view = store.queries.approval_view(asked.id)
    assert view is not None
    assert view.action.rating is not None
    assert store.queries.body(view.action.rating.preview_blob) == "1 row"

"""Edits and second askings in the store: one winner, a projection that agrees with the fold, and no loose ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import (
    Action,
    ApprovalState,
    Effect,
    Intent,
    Outcome,
    Place,
    Principal,
    Revision,
    RunStatus,
    Task,
    Tier,
    content_hash,
)
from agent.errors import AlreadyDecided, NotEntitled, Overtaken, QuotaExceeded, SecondKeyError, UnknownSubject
from agent.ports import Fact, Intention
from agent.state import fold
from storage.audit import refusals, verify
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.inbox import Accepted
from storage.quotas import Quotas
from storage.rows import ApprovalRow

FIRST, SECOND = DECIDERS
STRANGER = Principal(team="T1", user="U9")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


def instead(store: Store, asked: ApprovalRow, by: Principal = FIRST, cause: str = "edit") -> Action:
    view = store.queries.approval_view(asked.id)
    assert view is not None
    name = store.ids.new("action")
    revision = Revision.model_validate({"of": asked.action, "cause": cause, "by": by.key})
    changed = {"id": name, "digest": content_hash(name), "revision": revision}
    return view.action.action.model_copy(update=changed)


async def expired(store: Store, run: str = "") -> ApprovalRow:
    asked = await store.ask(run or await store.run())
    await _expire(store)
    return store.approval(asked.id)


async def end(store: Store, run: str, *before: ev.Event) -> None:
    finished = ev.RunFinished(status=RunStatus.PARTIAL, follow_ups=0)
    await store.journal.commit(run, (*before, finished), Intention(epoch=0))


async def test_an_edit_supersedes_and_the_journal_folds_to_what_the_rows_say(store: Store) -> None:
    asked = await store.ask(await store.run())
    action = instead(store, asked)
    row = await store.decisions.edit(asked.id, FIRST, action, digest=asked.digest)
    assert (row.state, row.decided_by) == ("superseded", FIRST.key)
    state = fold(asked.run, await store.journal.read(asked.run))
    assert state.approvals[asked.id].state is ApprovalState.SUPERSEDED
    assert state.actions[action.id].phase == "proposed"
    assert FIRST.key in state.co_requesters
    assert FIRST.key in store.queries.co_requesters(asked.run)
    view = store.queries.approval_view(asked.id)
    assert view is not None
    assert view.successor is not None
    assert (view.successor.cause, view.successor.by, view.successor.action) == ("edit", FIRST.key, action.id)
    assert [item.action.id for item in state.standing] == [action.id]
    assert verify(store.db).ok


async def test_edits_and_votes_at_once_have_one_winner(store: Store) -> None:
    asked = await store.ask(await store.run())
    moves = [store.decisions.edit(asked.id, who, instead(store, asked, who), digest=asked.digest) for who in DECIDERS]
    results = await asyncio.gather(
        *moves, *(store.decisions.vote(asked.id, who, "approve") for who in DECIDERS), return_exceptions=True
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(result, AlreadyDecided) for result in results if isinstance(result, Exception))


@pytest.mark.parametrize("case", ["a stranger", "barred", "another digest", "another action", "unknown"])
async def test_an_edit_that_is_not_allowed_changes_nothing_and_leaves_a_row(store: Store, case: str) -> None:
    asked = await store.ask(await store.run())
    action, who, digest, subject = instead(store, asked), FIRST, asked.digest, asked.id
    if case == "a stranger":
        who = STRANGER
    elif case == "barred":
        store.entitlement.barred.add(FIRST.key)
    elif case == "another digest":
        digest = "0" * 64
    elif case == "another action":
        action = action.model_copy(update={"revision": Revision(of="a9", cause="edit", by=who.key)})
    else:
        subject = "nothing"
    with pytest.raises((NotEntitled, UnknownSubject)):
        await store.decisions.edit(subject, who, action, digest=digest)
    assert store.approval(asked.id).state == "pending"
    assert [row.principal for row in refusals(store.db)] == [who.key]


async def test_an_edit_after_the_deadline_expires_it_instead(store: Store) -> None:
    asked = await store.ask(await store.run())
    store.clock.advance(1800)
    with pytest.raises(AlreadyDecided) as told:
        await store.decisions.edit(asked.id, FIRST, instead(store, asked), digest=asked.digest)
    assert (told.value.state, store.approval(asked.id).state) == ("expired", "expired")


@pytest.mark.parametrize("other", ["", "denied", "expired"])
async def test_invariant_10_asking_again_lifts_an_expiry_and_never_a_denial_nor_a_later_expiry(
    store: Store, other: str
) -> None:
    run = await store.run()
    thing = Intent(effect=Effect.MODIFY, target="thing:a")

    async def asked() -> ApprovalRow:
        row = await store.ask(run)
        rated = ev.ActionRated(action=row.action, tier=Tier.MEDIUM, intents=(thing,))
        # As the runtime does it: the rating stands before the question.
        await store.journal.commit(run, (rated, _question(store, row)), Fact())
        return store.approval(f"{row.id}b")

    if other == "denied":
        await store.decisions.vote((await asked()).id, FIRST, "deny")
    gone = await asked()
    await _expire(store)
    assert thing in fold(run, await store.journal.read(run)).denied_intents()
    again = instead(store, gone, REQUESTER, "ask_again")
    await store.decisions.ask_again(gone.id, REQUESTER, again)
    if other == "expired":
        rated = ev.ActionRated(action=again.id, tier=Tier.MEDIUM, intents=(thing,))
        question = _question(store, gone).model_copy(
            update={"approval": "p9", "action": again.id, "digest": again.digest}
        )
        await store.journal.commit(run, (rated, question), Fact())
        await _expire(store)
    assert (thing in fold(run, await store.journal.read(run)).denied_intents()) is bool(other)


def _question(store: Store, row: ApprovalRow) -> ev.ApprovalRequested:
    now = store.clock.now()
    return ev.ApprovalRequested(
        approval=f"{row.id}b", action=row.action, digest=row.digest, epoch=0, created_at=now, expires_at=now + 1800,
        timeout_s=1800.0, deciders=row.deciders,
    )  # fmt: skip


async def _expire(store: Store) -> None:
    store.clock.advance(1801)
    await store.lease.acquire()
    await store.decisions.sweep(store.clock.now())


async def test_asking_again_twice_is_once_and_the_loser_is_told_who_was_first(store: Store) -> None:
    gone = await expired(store)
    await store.decisions.ask_again(gone.id, FIRST, instead(store, gone, FIRST, "ask_again"))
    with pytest.raises(AlreadyDecided) as told:
        await store.decisions.ask_again(gone.id, REQUESTER, instead(store, gone, REQUESTER, "ask_again"))
    assert (told.value.state, told.value.by) == ("ask_again", FIRST.key)


async def test_a_run_does_not_end_over_what_somebody_asked_again_at_the_last_moment(store: Store) -> None:
    gone = await expired(store)
    again = instead(store, gone, REQUESTER, "ask_again")
    await store.decisions.ask_again(gone.id, REQUESTER, again)
    with pytest.raises(Overtaken):
        await end(store, gone.run)
    cancelled = ev.ActionFinished(action=again.id, outcome=Outcome.CANCELLED)
    await end(store, gone.run, cancelled)


async def test_what_waits_denied_or_went_to_a_person_is_not_asked_again(store: Store) -> None:
    run = await store.run()
    waiting, denied, lapsed = [await store.ask(run) for _ in range(3)]
    await store.decisions.vote(denied.id, FIRST, "deny")
    await store.decisions.withdraw(lapsed.id, REQUESTER)
    opened = ev.TakeoverOpened(
        takeover="k1", action=lapsed.action, epoch=0, cause="high", opened_at=1.0, give_up_at=9e9, deciders=()
    )
    await store.journal.commit(run, (opened,), Fact())
    for row in (waiting, denied, lapsed):
        with pytest.raises(AlreadyDecided):
            await store.decisions.ask_again(row.id, REQUESTER, instead(store, row, REQUESTER, "ask_again"))
    assert len(store.queries.runs()) == 1


async def test_a_new_run_takes_all_whose_words_are_in_it_along_and_keeps_to_the_quota(store: Store) -> None:
    gone = await expired(store)
    await store.inbox.follow_up(gone.run, SECOND, "and gently")
    await store.journal.commit(
        gone.run, (ev.RunFinished(status=RunStatus.PARTIAL),), Intention(epoch=0)
    )  # fmt: skip
    with pytest.raises(QuotaExceeded):
        await store.decisions.ask_again(gone.id, FIRST, None, quota=Quotas(per_person=10, everybody=1, at_once=3))
    asked = await store.decisions.ask_again(gone.id, FIRST, None)
    assert asked.is_new_run
    view = store.queries.run_view(asked.run)
    assert view is not None
    assert view.task.text.endswith("and gently")
    assert set(view.co_requesters) == {FIRST.key, REQUESTER.key, SECOND.key}
    assert (view.run.parent_run, view.run.requester) == (gone.run, FIRST.key)
    fold(asked.run, await store.journal.read(asked.run))


async def test_who_did_not_write_the_direct_message_does_not_ask_for_it_anew(store: Store) -> None:
    place = Place(team="T1", channel="D1", message_ts="1.1", is_dm=True)
    task = Task(id="t7", text="secretly", principal=REQUESTER, place=place)
    accepted = await store.inbox.accept("", task)
    assert isinstance(accepted, Accepted)
    plan = (await store.journal.read(await store.run()))[2].event
    begun = (ev.RunStarted(policy_version="p1"), plan, ev.StepStarted(step=0, planned=0))
    await store.journal.commit(accepted.run, begun, Fact())
    gone = await expired(store, accepted.run)
    await end(store, accepted.run)
    with pytest.raises(NotEntitled):
        await store.decisions.ask_again(gone.id, FIRST, None)
    assert (await store.decisions.ask_again(gone.id, REQUESTER, None)).is_new_run


async def test_a_task_whose_words_were_dropped_is_not_asked_again(store: Store) -> None:
    gone = await expired(store)
    await end(store, gone.run)
    await store.db.write(lambda tx: tx.conn.execute("UPDATE events SET payload = NULL WHERE run = ?", (gone.run,)))
    with pytest.raises(SecondKeyError):
        await store.decisions.ask_again(gone.id, REQUESTER, None)
    assert len(store.queries.runs()) == 1


async def test_a_reply_waits_for_its_card_and_then_stands_in_its_thread(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    due = {row.key for row in store.outbox.due(store.clock.transport())}
    assert f"result:{asked.id}" not in due
    card = store.outbox.get(f"card:{asked.id}")
    assert card is not None
    await store.outbox.sent(card.key, card.wanted, "C9", "100.1")
    found = next(row for row in store.outbox.due(store.clock.transport()) if row.kind == "result")
    assert (found.channel, found.thread_ts, found.subject) == ("C9", "100.1", asked.id)


async def test_cards_that_were_sent_to_several_people_directly_have_no_thread_for_a_reply(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.outbox.sent(f"card:{asked.id}", 1, "D1,D2", "1.1,2.2")
    await store.decisions.vote(asked.id, FIRST, "deny")
    assert store.outbox.get(f"result:{asked.id}") is None


async def test_siblings_that_wait_are_shown_anew_when_their_number_changes(store: Store) -> None:
    run = await store.run()
    one, other = await store.ask(run), await store.ask(run)

    def due() -> set[str]:
        return {row.subject for row in store.outbox.due(store.clock.transport()) if row.kind == "approval"}

    async def all_sent() -> None:
        for subject in due():
            row = store.outbox.get(f"card:{subject}")
            assert row is not None
            await store.outbox.sent(row.key, row.wanted, "C9", row.key)

    await all_sent()
    third = await store.ask(run)
    assert due() == {one.id, other.id, third.id}
    await all_sent()
    await store.decisions.vote(one.id, FIRST, "approve")
    assert due() == {one.id, other.id, third.id}
    await store.decisions.withdraw(other.id, REQUESTER)
    await all_sent()
    await store.decisions.withdraw(third.id, REQUESTER)
    assert due() == {third.id}

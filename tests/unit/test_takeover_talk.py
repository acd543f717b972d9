"""Claims that change hands and questions beside a run, in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Principal, RunStatus
from agent.errors import AlreadyDecided, JournalError, NotClaimed, NotEntitled, UnknownSubject
from agent.ports import Fact
from agent.state import fold
from storage.audit import refusals
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.questions import Questions
from storage.rows import TakeoverRow

OMAR, INES = DECIDERS
ADMIN = Principal(team="T1", user="U9")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def claimed(store: Store) -> TakeoverRow:
    opened = await store.take_over(await store.run())
    return await store.decisions.claim(opened.id, OMAR)


async def test_of_two_who_hand_the_same_claim_on_one_wins(store: Store) -> None:
    row = await claimed(store)
    give = store.decisions.reassign
    results = await asyncio.gather(
        give(row.id, OMAR, INES, token=row.claim_token),
        give(row.id, ADMIN, INES, token=row.claim_token, is_admin=True),
        return_exceptions=True,
    )
    assert [type(item) for item in results].count(NotClaimed) == 1
    after = store.takeover(row.id)
    assert (after.claimed_by, after.claim_token != row.claim_token) == (INES.key, True)
    assert after.claim_until == store.clock.now() + 1800


async def test_closing_and_handing_on_race_to_one_winner(store: Store) -> None:
    row = await claimed(store)
    results = await asyncio.gather(
        store.decisions.close_takeover(row.id, OMAR, "done", token=row.claim_token, what="did it"),
        store.decisions.reassign(row.id, OMAR, INES, token=row.claim_token),
        return_exceptions=True,
    )
    assert sum(isinstance(item, TakeoverRow) for item in results) == 1
    assert store.takeover(row.id).state in {"done", "claimed"}


async def test_handing_on_needs_a_claim_its_token_and_somebody_entitled(store: Store) -> None:
    opened = await store.take_over(await store.run())
    with pytest.raises(NotClaimed):
        await store.decisions.reassign(opened.id, ADMIN, INES, token="", is_admin=True)
    row = await store.decisions.claim(opened.id, OMAR)
    for by, token, is_admin in ((INES, row.claim_token, False), (OMAR, "c0", False), (ADMIN, "c0", True)):
        with pytest.raises(NotClaimed):
            await store.decisions.reassign(row.id, by, INES, token=token, is_admin=is_admin)
    store.entitlement.barred.add(INES.key)
    for to in (REQUESTER, INES, ADMIN):
        with pytest.raises(NotEntitled):
            await store.decisions.reassign(row.id, OMAR, to, token=row.claim_token)
    assert await store.decisions.reassign(row.id, OMAR, OMAR, token=row.claim_token) == row
    assert len(refusals(store.db)) == 7


async def test_a_question_is_kept_once_and_its_author_stays_free_to_decide(store: Store) -> None:
    opened = await store.take_over(await store.run())
    questions = Questions(store.db)
    asked = await questions.ask("k1", opened.id, INES, "what is this?")
    assert asked is not None
    assert not asked.quiet
    assert await questions.ask("k1", opened.id, INES, "what is this?") is None
    assert [item.seq for item in questions.unanswered()] == [asked.seq]
    assert await questions.answer(asked, "A deletion.")
    assert not await questions.answer(asked, "Something else.")
    assert questions.unanswered() == ()
    found = store.queries.question(asked.run, asked.seq)
    assert found is not None
    assert (found.text, found.answer) == ("what is this?", "A deletion.")
    assert store.queries.co_requesters(opened.run) == (REQUESTER.key,)
    await store.decisions.claim(opened.id, INES)


async def test_nobody_is_answered_who_asked_before_somebody_took_it_or_while_they_have_it(store: Store) -> None:
    opened = await store.take_over(await store.run())
    questions = Questions(store.db)
    before = await questions.ask("k1", opened.id, INES, "before")
    await store.decisions.claim(opened.id, OMAR)
    during = await questions.ask("k2", opened.id, INES, "during")
    assert before is not None
    assert during is not None
    assert (before.quiet, during.quiet) == (False, True)
    assert not await questions.answer(before, "too late")
    assert not await questions.answer(during, "never")
    assert questions.unanswered() == ()
    assert not [key for key in await keys(store) if key.startswith("said:")]


async def keys(store: Store) -> list[str]:
    return [row.key for row in store.outbox.due(store.clock.transport(), 100)]


async def test_a_takeover_that_is_over_or_unknown_takes_no_question(store: Store) -> None:
    row = await claimed(store)
    await store.decisions.close_takeover(row.id, OMAR, "aborted", token=row.claim_token)
    with pytest.raises(AlreadyDecided):
        await Questions(store.db).ask("k1", row.id, INES, "now?")
    assert await Questions(store.db).ask("k1", row.id, INES, "now?") is None
    with pytest.raises(UnknownSubject):
        await Questions(store.db).ask("k2", "nothing", INES, "now?")


async def test_a_call_for_a_question_is_paid_for_but_holds_nothing_up_and_takes_no_time_of_the_run(
    store: Store,
) -> None:
    opened = await store.take_over(await store.run())
    call = ev.ModelCallStarted(call="m1", purpose="question", model="m", reserved_micro_usd=500)
    await store.journal.commit(opened.run, (call,), Fact())
    state, line = fold(opened.run, await store.journal.read(opened.run)), store.queries.run(opened.run)
    assert line is not None
    assert (state.status, state.in_flight, state.reserved) == (RunStatus.WAITING, False, 500)
    assert (line.status, line.in_flight, line.reserved_micro_usd) == (RunStatus.WAITING, 0, 500)
    done = ev.ModelCallFinished(call="m1", reply_blob="", cost_micro_usd=300, duration_ms=9_000)
    await store.journal.commit(opened.run, (done,), Fact())
    state, line = fold(opened.run, await store.journal.read(opened.run)), store.queries.run(opened.run)
    assert line is not None
    assert (state.spent, state.active_ms, state.heard) == (300, 0, 0)
    assert (line.spent_micro_usd, line.in_flight) == (300, 0)


async def test_the_journal_takes_no_second_answer(store: Store) -> None:
    opened = await store.take_over(await store.run())
    asked = await Questions(store.db).ask("k1", opened.id, INES, "what?")
    assert asked is not None
    answered = ev.TakeoverAnswered(takeover=opened.id, question=asked.seq)
    await store.journal.commit(opened.run, (answered,), Fact())
    with pytest.raises(JournalError):
        await store.journal.commit(opened.run, (answered,), Fact())

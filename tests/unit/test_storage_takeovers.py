from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.domain import Outcome, RunStatus
from agent.errors import AlreadyDecided, NotClaimed, NotEntitled, OwnRequest, StillPossible, UnknownSubject
from agent.fakes import CountingIds
from agent.state import fold
from storage.audit import refusals
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.journal import SqliteJournal
from storage.lease import Lease

FIRST, SECOND = DECIDERS
HOUR = 3600.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def test_one_claim_wins_and_the_losers_are_told_who_has_it(store: Store) -> None:
    opened = await store.take_over(await store.run())
    results = await asyncio.gather(
        *(store.decisions.claim(opened.id, person) for person in DECIDERS), return_exceptions=True
    )
    lost = [item for item in results if isinstance(item, AlreadyDecided)]
    row = store.takeover(opened.id)
    assert len(lost) == 1
    assert (lost[0].state, lost[0].by) == ("claimed", row.claimed_by)
    assert row.claim_until == store.clock.now() + 1800


async def test_claiming_what_one_has_already_changes_nothing(store: Store) -> None:
    opened = await store.take_over(await store.run())
    assert await store.decisions.claim(opened.id, FIRST) == await store.decisions.claim(opened.id, FIRST)


async def test_nobody_takes_over_their_own_request_nor_without_being_entitled(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    store.entitlement.barred.add(SECOND.key)
    await store.inbox.follow_up(run, FIRST, "more words")
    for person, refusal in ((REQUESTER, OwnRequest), (FIRST, OwnRequest), (SECOND, NotEntitled)):
        with pytest.raises(refusal):
            await store.decisions.claim(opened.id, person)
    with pytest.raises(UnknownSubject):
        await store.decisions.claim("nothing", SECOND)
    assert store.takeover(opened.id).state == "open"
    assert len(refusals(store.db)) == 4


async def test_a_released_takeover_is_open_again_and_the_old_token_is_worth_nothing(store: Store) -> None:
    opened = await store.take_over(await store.run())
    claimed = await store.decisions.claim(opened.id, FIRST)
    with pytest.raises(NotClaimed):
        await store.decisions.release(opened.id, SECOND, claimed.claim_token)
    assert (await store.decisions.release(opened.id, FIRST, claimed.claim_token)).state == "open"
    again = await store.decisions.claim(opened.id, FIRST)
    assert again.claim_token != claimed.claim_token
    with pytest.raises(NotClaimed):
        await store.decisions.close_takeover(opened.id, FIRST, "done", token=claimed.claim_token)


async def test_done_is_told_to_the_agent_with_reference_and_evidence(store: Store) -> None:
    opened = await store.take_over(await store.run())
    claimed = await store.decisions.claim(opened.id, FIRST)
    row = await store.decisions.close_takeover(
        opened.id, FIRST, "done", token=claimed.claim_token, what="paid it", reference="TX-1", evidence="receipt"
    )
    assert (row.state, row.closed_by, row.reference) == ("done", FIRST.key, "TX-1")
    state = fold(opened.run, await store.journal.read(opened.run))
    assert state.actions[opened.action].outcome is Outcome.DONE_BY_HUMAN
    assert state.epoch == 0
    with pytest.raises(AlreadyDecided) as told:
        await store.decisions.claim(opened.id, SECOND)
    assert told.value.state == "done"


async def test_a_hand_back_moves_the_epoch_and_its_author_becomes_a_co_requester(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    claimed = await store.decisions.claim(opened.id, FIRST)
    await store.decisions.close_takeover(
        opened.id, FIRST, "handed_back", token=claimed.claim_token, what="only order 7"
    )
    line = store.queries.run(run)
    assert line is not None
    assert (line.epoch, line.status) == (1, RunStatus.RUNNING)
    assert store.queries.co_requesters(run) == (REQUESTER.key, FIRST.key)
    asked = await store.ask(run)
    with pytest.raises(OwnRequest):
        await store.decisions.vote(asked.id, FIRST, "approve")


async def test_a_claim_lapses_after_half_an_hour(store: Store) -> None:
    opened = await store.take_over(await store.run())
    claimed = await store.decisions.claim(opened.id, FIRST)
    assert store.decisions.next_deadline() == claimed.claim_until
    store.clock.advance(1800)
    assert await store.decisions.sweep(store.clock.now()) == 1
    assert store.takeover(opened.id).state == "open"
    with pytest.raises(NotClaimed):
        await store.decisions.close_takeover(opened.id, FIRST, "done", token=claimed.claim_token)


async def test_another_person_can_claim_what_lapsed_before_the_sweep_came_by(store: Store) -> None:
    opened = await store.take_over(await store.run())
    await store.decisions.claim(opened.id, FIRST)
    store.clock.advance(1800)
    assert (await store.decisions.claim(opened.id, SECOND)).claimed_by == SECOND.key
    events = [stored.event.type for stored in await store.journal.read(opened.run)]
    assert events[-3:] == ["takeover_claimed", "takeover_released", "takeover_claimed"]


async def test_an_open_takeover_reminds_escalates_and_is_given_up_after_seven_days(store: Store) -> None:
    opened = await store.take_over(await store.run())
    begin = store.clock.now()
    for hours, state, reminded, escalated in (
        (5.9, "open", False, False),
        (6.0, "open", True, False),
        (11.0, "open", True, False),
        (12.0, "open", True, True),
        (167.9, "open", True, True),
        (168.0, "aborted", True, True),
    ):
        store.clock.at = begin + hours * HOUR
        await store.decisions.sweep_takeovers(store.clock.now())
        row = store.takeover(opened.id)
        assert (row.state, row.reminded_at > 0, row.escalated_at > 0) == (state, reminded, escalated)
        assert await store.decisions.sweep_takeovers(store.clock.now()) == 0
    assert store.takeover(opened.id).closed_by == ""
    state = fold(opened.run, await store.journal.read(opened.run))
    assert state.actions[opened.action].outcome is Outcome.CANCELLED
    assert state.open_takeover is None
    assert store.decisions.next_deadline() is None


async def test_a_claimed_takeover_is_not_given_up_while_somebody_has_it(store: Store) -> None:
    opened = await store.take_over(await store.run())
    store.clock.advance(168 * HOUR - 60)
    while await store.decisions.sweep_takeovers(store.clock.now()):
        pass
    await store.decisions.claim(opened.id, FIRST)
    store.clock.advance(120)
    assert await store.decisions.sweep_takeovers(store.clock.now()) == 0
    store.clock.advance(1800)
    assert await store.decisions.sweep_takeovers(store.clock.now()) == 1
    assert await store.decisions.sweep_takeovers(store.clock.now()) == 1
    assert store.takeover(opened.id).state == "aborted"


async def test_a_takeovers_view_shows_the_call_and_what_was_done(store: Store) -> None:
    opened = await store.take_over(await store.run())
    view = store.queries.takeover_view(opened.id)
    assert view is not None
    assert view.action.action.arguments == {"sql": "UPDATE orders SET paid = 1 WHERE id = 7"}
    assert view.preview == "1 row"
    assert view.view.plan is not None
    message = store.outbox.get(f"takeover:{opened.id}")
    assert message is not None
    assert (message.lane, message.channel) == (2, "")


@pytest.mark.parametrize(
    ("answer", "state", "outcome"),
    [("happened", "done", Outcome.SUCCEEDED), ("stop", "aborted", Outcome.UNKNOWN)],
)
async def test_a_person_says_whether_a_lost_action_happened(
    store: Store, answer: str, state: str, outcome: Outcome
) -> None:
    run = await store.run()
    lost = await store.lose(run)
    row = await store.decisions.answer_unknown(lost.id, SECOND, answer)
    assert (row.state, row.closed_by) == (state, SECOND.key)
    folded = fold(run, await store.journal.read(run))
    assert [item.outcome for item in folded.actions.values()] == [outcome]
    with pytest.raises(AlreadyDecided):
        await store.decisions.answer_unknown(lost.id, FIRST, "run_again")


async def test_running_it_again_waits_until_the_dead_process_cannot_be_doing_it(store: Store) -> None:
    run = await store.run()
    lost = await store.lose(run)
    await store.lease.release()
    successor = Lease(store.db, CountingIds(count=100), holder="successor")
    assert await successor.acquire()
    with pytest.raises(StillPossible):
        await store.decisions.answer_unknown(lost.id, FIRST, "run_again")
    store.clock.advance(31.0)
    row = await store.decisions.answer_unknown(lost.id, FIRST, "run_again")
    assert row.state == "handed_back"
    folded = fold(run, await store.journal.read(run))
    assert [item.again for item in folded.actions.values()] == [True]
    assert folded.epoch == 1
    assert FIRST.key not in folded.co_requesters


async def test_effects_of_the_successor_keep_nobody_waiting_who_says_that_it_did_not_happen(store: Store) -> None:
    lost = await store.lose(await store.run())
    await store.lease.release()
    successor = Lease(store.db, CountingIds(count=100), holder="successor")
    assert await successor.acquire()
    store.clock.advance(31.0)
    await successor.regain()
    store.journal = SqliteJournal(store.db, successor)
    asked = await store.ask(run := await store.run())
    await store.decisions.vote(asked.id, FIRST, "approve")
    await store.start(run, asked)
    assert (await store.decisions.answer_unknown(lost.id, FIRST, "run_again")).state == "handed_back"


async def test_a_lost_action_is_not_judged_by_its_requester_nor_a_high_one_by_this_door(store: Store) -> None:
    run = await store.run()
    lost = await store.lose(run)
    with pytest.raises(OwnRequest):
        await store.decisions.answer_unknown(lost.id, REQUESTER, "happened")
    high = await store.take_over(await store.run())
    with pytest.raises(UnknownSubject):
        await store.decisions.answer_unknown(high.id, FIRST, "happened")
    assert store.takeover(lost.id).state == "open"


async def test_invariant_5_whoever_told_the_agent_what_they_did_does_not_decide_on_what_follows(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    claimed = await store.decisions.claim(opened.id, FIRST)
    await store.decisions.close_takeover(
        opened.id, FIRST, "done", token=claimed.claim_token, what="now add my row", reference="", evidence=""
    )
    follows = await store.ask(run)
    with pytest.raises(OwnRequest):
        await store.decisions.vote(follows.id, FIRST, "approve")

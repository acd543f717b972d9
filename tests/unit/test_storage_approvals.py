from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import ApprovalState, Principal, RunStatus
from agent.errors import AlreadyDecided, ApprovalNotValid, NotEntitled, OwnRequest, UnknownSubject
from agent.fakes import started
from agent.ports import Fact
from agent.state import fold
from storage.audit import refusals, verify
from storage.fakes import DECIDERS, REQUESTER, Store

FIRST, SECOND = DECIDERS
STRANGER = Principal(team="T1", user="U9")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def types_of(store: Store, run: str) -> list[str]:
    return [stored.event.type for stored in await store.journal.read(run)]


async def test_a_yes_at_quorum_approves_and_bounds_the_time_to_start(store: Store) -> None:
    asked = await store.ask(await store.run())
    row = await store.decisions.vote(asked.id, FIRST, "approve", via="button")
    assert (row.state, row.decided_by, row.decided_at) == ("approved", FIRST.key, store.clock.now())
    assert row.start_before == store.clock.now() + asked.timeout_s
    assert not row.self_approved
    line = store.queries.run(asked.run)
    assert line is not None
    assert line.status is RunStatus.RUNNING


async def test_a_quorum_of_two_needs_two_people_and_one_persons_second_click_counts_nothing(store: Store) -> None:
    asked = await store.ask(await store.run(), quorum=2)
    assert (await store.decisions.vote(asked.id, FIRST, "approve")).state == "pending"
    assert (await store.decisions.vote(asked.id, FIRST, "approve")).state == "pending"
    assert (await types_of(store, asked.run)).count("vote_cast") == 1
    assert (await store.decisions.vote(asked.id, SECOND, "approve")).state == "approved"


async def test_one_deny_decides_also_after_ones_own_yes(store: Store) -> None:
    asked = await store.ask(await store.run(), quorum=2)
    await store.decisions.vote(asked.id, FIRST, "approve")
    row = await store.decisions.vote(asked.id, FIRST, "deny")
    assert (row.state, row.decided_by) == ("denied", FIRST.key)
    assert row.reason_until == store.clock.now() + 60
    view = store.queries.approval_view(asked.id)
    assert view is not None
    assert [vote[:2] for vote in view.votes] == [(FIRST.key, "deny")]


async def test_a_second_click_is_told_who_decided(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    at = store.clock.now()
    store.clock.advance(3)
    with pytest.raises(AlreadyDecided) as told:
        await store.decisions.vote(asked.id, SECOND, "approve")
    assert (told.value.state, told.value.by, told.value.at) == ("denied", FIRST.key, at)


async def test_many_votes_at_once_make_one_decision(store: Store) -> None:
    asked = await store.ask(await store.run())
    votes = [(person, vote) for person in DECIDERS for vote in ("approve", "deny")] * 10
    results = await asyncio.gather(
        *(store.decisions.vote(asked.id, person, vote) for person, vote in votes),
        return_exceptions=True,
    )
    assert sum(not isinstance(item, BaseException) for item in results) == 1
    assert {type(item) for item in results if isinstance(item, BaseException)} == {AlreadyDecided}
    assert (await types_of(store, asked.run)).count("approval_decided") == 1


VOTER = """
import asyncio, sys
from pathlib import Path
from agent.domain import Principal
from agent.errors import AlreadyDecided
from storage.fakes import Store

async def main():
    store = await Store.open(Path(sys.argv[1]), holder=sys.argv[2])
    outcomes, me = [], Principal(team="T1", user=sys.argv[2])
    for approval in sys.argv[4:]:
        try:
            outcomes.append((await store.decisions.vote(approval, me, sys.argv[3])).state)
        except AlreadyDecided as error:
            outcomes.append(f"lost to {error.by}")
    await store.close()
    print("\\n".join(outcomes))

asyncio.run(main())
"""


async def test_two_processes_racing_on_the_same_approvals_get_one_decision_each(store: Store) -> None:
    asked = [(await store.ask(await store.run())).id for _ in range(20)]
    script = textwrap.dedent(VOTER)
    voters = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            str(store.db.path),
            user,
            vote,
            *asked,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for user, vote in (("U2", "approve"), ("U3", "deny"))
    ]
    outputs = [(await voter.communicate())[0].decode().split("\n") for voter in voters]
    for approval, first, second in zip(asked, *outputs, strict=False):
        state = store.approval(approval).state
        assert (first, second) in {("approved", "lost to slack:T1:U2"), ("lost to slack:T1:U3", "denied")}
        assert state == ("approved" if first == "approved" else "denied")
    assert verify(store.db).ok


async def test_nobody_decides_on_their_own_request_and_the_refusal_is_kept(store: Store) -> None:
    asked = await store.ask(await store.run(requester=FIRST))
    with pytest.raises(OwnRequest):
        await store.decisions.vote(asked.id, FIRST, "approve", via="button")
    assert store.approval(asked.id).state == "pending"
    (row,) = refusals(store.db, subject=asked.id)
    assert (row.kind, row.principal, row.detail) == ("own_request", FIRST.key, "button")


async def test_whoever_adds_words_cannot_decide_any_more(store: Store) -> None:
    run = await store.run()
    assert await store.inbox.follow_up(run, FIRST, "and order 8, too")
    asked = await store.ask(run)
    with pytest.raises(OwnRequest):
        await store.decisions.vote(asked.id, FIRST, "approve")
    assert (await store.decisions.vote(asked.id, SECOND, "approve")).state == "approved"


async def test_a_self_approval_that_the_policy_allows_is_labelled(store: Store) -> None:
    me = Principal(kind="local", user="1000")
    asked = await store.ask(await store.run(requester=me))
    with pytest.raises(OwnRequest):
        await store.decisions.vote(asked.id, me, "approve")
    store.entitlement.self_approvers.add(me.key)
    assert (await store.decisions.vote(asked.id, me, "approve")).self_approved


async def test_who_is_not_named_or_no_longer_entitled_is_refused_with_an_audit_row(store: Store) -> None:
    asked = await store.ask(await store.run())
    store.entitlement.barred.add(SECOND.key)
    for person in (STRANGER, SECOND):
        with pytest.raises(NotEntitled):
            await store.decisions.vote(asked.id, person, "approve")
    assert store.approval(asked.id).state == "pending"
    assert [row.principal for row in refusals(store.db)] == [SECOND.key, STRANGER.key]


async def test_a_vote_on_something_unknown_is_refused(store: Store) -> None:
    with pytest.raises(UnknownSubject):
        await store.decisions.vote("nothing", FIRST, "approve")


async def test_an_expired_approval_that_was_not_swept_yet_cannot_be_approved(store: Store) -> None:
    asked = await store.ask(await store.run())
    store.clock.advance(asked.timeout_s)
    with pytest.raises(AlreadyDecided) as told:
        await store.decisions.vote(asked.id, FIRST, "approve")
    assert told.value.state == "expired"
    assert store.approval(asked.id).state == "expired"
    assert fold(asked.run, await store.journal.read(asked.run)).approvals[asked.id].state is ApprovalState.EXPIRED


async def test_an_approved_action_starts_at_most_once(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "approve")
    results = await asyncio.gather(*(store.start(asked.run, asked) for _ in range(5)), return_exceptions=True)
    assert sum(item is None for item in results) == 1
    assert started(await store.journal.read(asked.run)) == (asked.action,)


async def test_an_approval_that_was_used_up_is_not_valid_a_second_time(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "approve")
    await store.db.write(lambda tx: tx.conn.execute("UPDATE approvals SET consumed_at = 1"))
    with pytest.raises(ApprovalNotValid):
        await store.start(asked.run, asked)


async def test_a_yes_of_an_earlier_epoch_is_not_valid(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, FIRST, "approve")
    opened = await store.take_over(run)
    claimed = await store.decisions.claim(opened.id, FIRST)
    await store.decisions.close_takeover(opened.id, FIRST, "handed_back", token=claimed.claim_token, what="try again")
    with pytest.raises(ApprovalNotValid):
        await store.start(run, asked)


async def test_a_yes_can_be_taken_back_until_it_is_used(store: Store) -> None:
    run = await store.run()
    unused, used = await store.ask(run), await store.ask(run)
    for asked in (unused, used):
        await store.decisions.vote(asked.id, FIRST, "approve")
    await store.start(run, used)
    withdrawn = ev.ApprovalDecided(approval=unused.id, state=ApprovalState.WITHDRAWN, at=store.clock.now())
    await store.journal.commit(run, (withdrawn,), Fact())
    with pytest.raises(Exception, match="started before"):
        await store.journal.commit(run, (withdrawn.model_copy(update={"approval": used.id}),), Fact())
    state = fold(run, await store.journal.read(run))
    assert state.approvals[unused.id].state is ApprovalState.WITHDRAWN
    assert state.actions[used.action].phase == "started"


async def test_the_agent_cannot_decide_what_people_decided_first(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    withdrawn = ev.ApprovalDecided(approval=asked.id, state=ApprovalState.WITHDRAWN, at=store.clock.now())
    with pytest.raises(AlreadyDecided) as told:
        await store.journal.commit(asked.run, (withdrawn,), Fact())
    assert told.value.by == FIRST.key


async def test_a_denial_waits_for_its_reason_which_only_the_denier_gives(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    line = store.queries.run(asked.run)
    assert line is not None
    assert line.status is RunStatus.WAITING
    with pytest.raises(NotEntitled):
        await store.decisions.explain_denial(asked.id, SECOND, "because")
    row = await store.decisions.explain_denial(asked.id, FIRST, "not on a Friday")
    assert (row.reason, row.reason_until) == ("not on a Friday", 0.0)
    with pytest.raises(AlreadyDecided):
        await store.decisions.explain_denial(asked.id, FIRST, "another")
    state = fold(asked.run, await store.journal.read(asked.run))
    assert state.actions[asked.action].feedback == "not on a Friday"
    assert state.status is RunStatus.RUNNING


async def test_an_empty_reason_ends_the_waiting_and_a_late_one_is_still_kept(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    assert (await store.decisions.explain_denial(asked.id, FIRST, "")).reason_until == 0.0
    await store.journal.commit(asked.run, (ev.RunFinished(status=RunStatus.PARTIAL),), Fact())
    assert (await store.decisions.explain_denial(asked.id, FIRST, "late")).reason == "late"
    assert fold(asked.run, await store.journal.read(asked.run)).approvals[asked.id].reason == "late"


async def test_only_who_asked_can_withdraw_and_only_while_it_is_pending(store: Store) -> None:
    asked = await store.ask(await store.run())
    with pytest.raises(NotEntitled):
        await store.decisions.withdraw(asked.id, FIRST)
    row = await store.decisions.withdraw(asked.id, REQUESTER)
    assert (row.state, row.decided_by) == ("withdrawn", REQUESTER.key)
    with pytest.raises(AlreadyDecided):
        await store.decisions.withdraw(asked.id, REQUESTER)


async def test_the_deadline_moves_once_to_delivery_and_its_time_but_two_hours_at_most(store: Store) -> None:
    asked = await store.ask(await store.run())
    store.clock.advance(600)
    assert await store.decisions.delivered(asked.id, store.clock.now())
    assert store.approval(asked.id).expires_at == asked.created_at + 600 + 1800
    assert not await store.decisions.delivered(asked.id, store.clock.now() + 500)
    late = await store.ask(asked.run)
    assert await store.decisions.delivered(late.id, late.created_at + 7000)
    assert store.approval(late.id).expires_at == late.created_at + 7200
    patient = await store.ask(asked.run, timeout_s=86_400.0)
    await store.decisions.delivered(patient.id, store.clock.now() + 5)
    assert store.approval(patient.id).expires_at == patient.expires_at


async def test_the_sweep_expires_what_is_due_in_batches_and_nothing_else(store: Store) -> None:
    run = await store.run()
    due = [await store.ask(run) for _ in range(5)]
    other = await store.ask(await store.run(), timeout_s=86_400)
    assert store.decisions.next_deadline() == due[0].created_at + 450
    store.clock.advance(1800)
    now = store.clock.now()
    assert [await store.decisions.expire_due(now, limit=3) for _ in range(3)] == [3, 2, 0]
    assert {store.approval(item.id).state for item in due} == {"expired"}
    assert store.approval(other.id).state == "pending"
    assert store.decisions.next_deadline() == other.created_at + 21_600
    state = fold(run, await store.journal.read(run))
    assert {state.actions[item.action].outcome for item in due} == {"expired"}


async def test_nobody_answering_is_reminded_of_at_a_quarter_and_escalated_at_half(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.outbox.sent(f"card:{asked.id}", 1, "C1", "1.1")
    seen = []
    for _ in range(4):
        store.clock.advance(450)
        await store.decisions.sweep(store.clock.now())
        row = store.approval(asked.id)
        seen.append((row.state, bool(row.reminded_at), bool(row.escalated_at)))
    assert seen == [
        ("pending", True, False),
        ("pending", True, True),
        ("pending", True, True),
        ("expired", True, True),
    ]
    reminder, escalation = store.outbox.get(f"reminder:{asked.id}"), store.outbox.get(f"escalation:{asked.id}")
    assert reminder is not None
    assert escalation is not None
    assert {(row.channel, row.thread_ts) for row in (reminder, escalation)} == {("C1", "1.1")}
    fold(asked.run, await store.journal.read(asked.run))


async def test_what_was_decided_is_not_reminded_of(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    await store.decisions.explain_denial(asked.id, FIRST, "")
    store.clock.advance(900)
    assert await store.decisions.sweep(store.clock.now()) == 0
    assert store.approval(asked.id).reminded_at == 0


async def test_the_sweep_ends_the_waiting_for_a_reason(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.decisions.vote(asked.id, FIRST, "deny")
    assert store.decisions.next_deadline() == store.clock.now() + 60
    store.clock.advance(60)
    assert await store.decisions.sweep(store.clock.now()) == 1
    line = store.queries.run(asked.run)
    assert line is not None
    assert (line.status, line.waiting_on) == (RunStatus.RUNNING, 0)
    assert store.decisions.next_deadline() is None


async def test_a_decision_wants_its_card_updated_and_wakes_the_run(store: Store) -> None:
    asked = await store.ask(await store.run())
    heard: list[str] = []
    store.db.subscribe("run", heard.append)
    await store.decisions.vote(asked.id, FIRST, "approve")
    card = store.outbox.get(f"card:{asked.id}")
    assert card is not None
    assert (card.lane, card.wanted, card.sent) == (0, 2, 0)
    assert heard == [asked.run]


async def test_rows_hold_the_deciders_as_they_were_named(store: Store) -> None:
    asked = await store.ask(await store.run())
    row = store.db.read(lambda conn: conn.execute("SELECT deciders_json FROM approvals").fetchone())
    assert tuple(json.loads(row[0])) == asked.deciders == tuple(person.key for person in DECIDERS)


async def test_invariant_5_whoever_gave_a_reason_for_a_denial_does_not_decide_on_what_follows_from_it(
    store: Store,
) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, FIRST, "deny")
    await store.decisions.explain_denial(asked.id, FIRST, "insert my own row instead")
    follows = await store.ask(run)
    with pytest.raises(OwnRequest):
        await store.decisions.vote(follows.id, FIRST, "approve")
    assert (await store.decisions.vote(follows.id, SECOND, "approve")).state == "approved"

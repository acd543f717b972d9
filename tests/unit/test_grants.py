from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import events as ev
from agent.domain import Action, ApprovalState, Effect, Intent, Principal, Tier, content_hash
from agent.errors import (
    AlreadyDecided,
    ApprovalNotValid,
    GrantNotValid,
    GrantRefused,
    NotEntitled,
    OwnRequest,
    RunPaused,
    UnknownSubject,
)
from agent.facts.model import Facts
from agent.grants import Grant, Standing, Terms, Use, grant_of
from agent.ports import Fact, Intention
from storage.audit import refusals
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.grants import Grants
from storage.rows import ApprovalRow

OMAR, INES = DECIDERS
DRINKS = Intent(effect=Effect.MODIFY, target="db:shop/drinks")
ORDERS = Intent(effect=Effect.MODIFY, target="db:shop/orders")
ARGUMENTS = {"database": "shop", "sql": "UPDATE drinks SET price = 410 WHERE id = 1", "limit": 50}
FACTS = Facts(where="database", effects=(DRINKS,), counts={"rows": 1})
TERMS = Terms(this_run_only=True, seconds=3600, uses=2)


def call(arguments: dict[str, Any] | None = None, **more: Any) -> Action:
    values = {"id": "a1", "step": 0, "turn": 0, "tool": "query_sql", "digest": "d", "schema_hash": "s"} | more
    return Action(arguments=ARGUMENTS if arguments is None else arguments, **values)


def use(arguments: dict[str, Any] | None = None, facts: Facts = FACTS, tier: Tier = Tier.MEDIUM, **more: Any) -> Use:
    return Use(call(arguments, **more), tier, facts)


def grant(terms: Terms = TERMS, of: Use | None = None) -> Grant:
    return grant_of("g1", of or use(), terms, by=OMAR.key, requester=REQUESTER.key, run="r1", now=100.0)


def refusal(one: Grant, other: Use, *, run: str = "r1", requester: str = REQUESTER.key, now: float = 200.0) -> str:
    return Standing(one).refusal(other, run=run, requester=requester, now=now)


def test_a_grant_covers_exactly_the_call_on_which_it_was_given() -> None:
    assert refusal(grant(), use()) == ""


@pytest.mark.parametrize(
    "other",
    [
        use(ARGUMENTS | {"limit": 51}),
        use(ARGUMENTS | {"more": 1}),
        use({name: value for name, value in ARGUMENTS.items() if name != "limit"}),
        use(ARGUMENTS | {"limit": True}),
        use({}),
        use(tool="run_shell"),
        use(schema_hash="another"),
        use(tier=Tier.HIGH),
        use(tier=Tier.LOW),
        use(facts=FACTS.model_copy(update={"effects": (DRINKS, ORDERS)})),
        use(facts=FACTS.model_copy(update={"effects": (Intent(effect=Effect.DELETE, target=DRINKS.target),)})),
        use(facts=FACTS.model_copy(update={"undecidable": ("who knows",)})),
        use(facts=FACTS.model_copy(update={"counts": {"rows": 2}})),
        use(facts=FACTS.model_copy(update={"counts": {"rows": 1, "files": 1}})),
        use(facts=FACTS.model_copy(update={"counts": {"rows": 1, "spend_micro_usd": 1}})),
    ],
)
def test_a_grant_covers_nothing_else(other: Use) -> None:
    assert refusal(grant(), other)


@pytest.mark.parametrize(
    "where", [{"run": "r2"}, {"requester": "slack:T1:U9"}, {"now": 100.0 + 3600}, {"now": 100.0 + 9999}]
)
def test_a_grant_covers_no_other_run_no_other_persons_run_and_nothing_after_its_end(where: dict[str, Any]) -> None:
    assert refusal(grant(), use(), **where)


def test_a_grant_that_is_not_bound_to_a_run_covers_every_run_of_the_same_person() -> None:
    wide = grant(TERMS.model_copy(update={"this_run_only": False}))
    assert refusal(wide, use(), run="r2") == ""
    assert refusal(wide, use(), run="r2", requester=INES.key)


def test_a_field_that_is_declared_free_may_differ_as_long_as_the_target_is_the_same() -> None:
    free = grant(TERMS.model_copy(update={"free": ("sql",)}))
    again = ARGUMENTS | {"sql": "UPDATE drinks SET price = 420 WHERE id = 2"}
    assert refusal(free, use(again)) == ""
    assert refusal(free, use(again | {"database": "bank"}))
    assert refusal(free, use(again, FACTS.model_copy(update={"effects": (ORDERS,)})))
    assert refusal(free, use(again, FACTS.model_copy(update={"effects": ()})))


def test_one_is_not_true_although_python_says_so() -> None:
    one = grant(of=use({"dry_run": 1}))
    assert refusal(one, use({"dry_run": 1})) == ""
    assert refusal(one, use({"dry_run": True}))


def test_an_empty_constraint_is_never_everything() -> None:
    nothing = use({}, Facts())
    exact = grant(of=nothing)
    assert (exact.arguments, exact.free) == ({}, ())
    assert refusal(exact, nothing) == ""
    assert refusal(exact, use({"name": "x"}, Facts()))
    assert refusal(exact, use({}, FACTS))


@pytest.mark.parametrize(
    ("of", "terms"),
    [
        (use(), {"free": tuple(ARGUMENTS)}),
        (use(), {"free": ("nothing",)}),
        (use(tier=Tier.HIGH), {}),
        (use(tier=Tier.LOW), {}),
        (use(facts=FACTS.model_copy(update={"undecidable": ("x",)})), {}),
        (use(facts=Facts()), {"free": ("sql",)}),
        (use(facts=Facts(effects=(Intent(effect=Effect.SPEND, target="money:usd"),))), {"spend_micro_usd": 10**9}),
        (use(facts=FACTS.model_copy(update={"counts": {"spend_micro_usd": 5}})), {"spend_micro_usd": 4}),
    ],
)
def test_what_would_be_too_wide_or_cannot_be_told_is_not_given(of: Use, terms: dict[str, Any]) -> None:
    with pytest.raises(GrantRefused):
        grant(TERMS.model_copy(update=terms), of)


def test_money_is_counted_over_all_uses() -> None:
    paid = use(facts=FACTS.model_copy(update={"counts": {"spend_micro_usd": 5}}))
    one = grant(TERMS.model_copy(update={"spend_micro_usd": 12, "uses": 9}), paid)
    assert Standing(one, 1, 5).refusal(paid, run="r1", requester=REQUESTER.key, now=200) == ""
    assert Standing(one, 2, 10).refusal(paid, run="r1", requester=REQUESTER.key, now=200)
    assert Standing(one, 9, 0).refusal(paid, run="r1", requester=REQUESTER.key, now=200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
SOME = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(SOME, SOME)
def test_without_free_fields_nothing_but_the_same_arguments_is_ever_covered(first: Any, second: Any) -> None:
    covered = refusal(grant(of=use(first)), use(second)) == ""
    assert covered == (json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True))


# -- in the store ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def propose(store: Store, run: str, *, by: str = "", tier: Tier = Tier.MEDIUM, **facts: Any) -> Action:
    """A proposed and rated action of the run, covered by a grant when one is named."""
    name, body = store.ids.new("action"), FACTS.model_copy(update=facts).model_dump_json()
    action = call(id=name, digest=content_hash(name), schema_hash="s1")
    seen = Facts.model_validate_json(body)
    rated = ev.ActionRated(
        action=name, tier=tier, intents=seen.effects, facts_blob=content_hash(body), grant=by,
        undecidable=bool(seen.undecidable),
    )  # fmt: skip
    await store.journal.commit(
        run, (ev.ActionProposed(action=action), rated), Fact(), blobs={content_hash(body): body}
    )  # fmt: skip
    return action


def asked(store: Store, action: Action, *, quorum: int = 1) -> ev.ApprovalRequested:
    now = store.clock.now()
    return ev.ApprovalRequested(
        approval=store.ids.new("p"), action=action.id, digest=action.digest, epoch=0, created_at=now,
        expires_at=now + 1800, timeout_s=1800, deciders=tuple(one.key for one in DECIDERS), quorum=quorum,
    )  # fmt: skip


async def ask(store: Store, run: str, *, quorum: int = 1) -> ApprovalRow:
    request = asked(store, await propose(store, run), quorum=quorum)
    await store.journal.commit(run, (request,), Fact())
    return store.approval(request.approval)


async def give(store: Store, run: str, person: Principal = OMAR, **terms: Any) -> str:
    row = await ask(store, run)
    await store.decisions.vote(row.id, person, "approve", allow=TERMS.model_copy(update=terms))
    return Grants(store.db).rows()[0].id


async def start(
    store: Store, run: str, action: Action, key: str, *, by: Principal = OMAR, without: str = "", **started: Any
) -> None:
    """Start an action as a use of a grant, as the runtime does."""
    request = asked(store, action)
    decided = ev.ApprovalDecided(
        approval=request.approval, state=ApprovalState.APPROVED, at=store.clock.now(), by=by.key,
        reason=f"grant:{key}", start_before=store.clock.now() + 1800,
    )  # fmt: skip
    begun = ev.ActionStarted(
        action=action.id, digest=action.digest, lease_token=store.lease.token, approval=request.approval,
        **({"grant": key} | started),
    )  # fmt: skip
    events = [item for item in (request, decided, begun) if item.type != without]
    condition = Intention(
        epoch=0, starts=action.id, digest=action.digest, consumes=request.approval, grant=key, effect_s=30.0
    )
    await store.journal.commit(run, events, condition)


async def test_a_use_leaves_an_approval_by_its_giver_on_exactly_that_digest_and_an_audit_row(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    await start(store, run, action, key)
    row = next(item for item in store.queries.run_view(run).approvals if item.action == action.id)
    assert (row.state, row.decided_by, row.reason, row.digest) == ("approved", OMAR.key, f"grant:{key}", action.digest)
    assert row.consumed_at
    assert Grants(store.db).rows()[0].uses == 1
    assert [item.subject for item in refusals(store.db) if item.kind == "grant_used"] == [key]


async def test_giving_is_journalled_with_its_whole_scope(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    (event,) = [item.event for item in await store.journal.read(run) if isinstance(item.event, ev.GrantGiven)]
    assert (event.grant.id, event.grant.arguments, event.grant.intents) == (key, ARGUMENTS, (DRINKS,))
    assert event.grant.caps == {"rows": 1}


async def test_a_grant_is_used_as_often_as_was_said_and_no_more(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    actions = [await propose(store, run, by=key) for _ in range(4)]
    results = await asyncio.gather(*(start(store, run, item, key) for item in actions), return_exceptions=True)
    assert [type(item) for item in results].count(GrantNotValid) == 2
    assert Grants(store.db).rows()[0].uses == 2


async def test_a_grant_that_ran_out_or_was_taken_back_starts_nothing(store: Store) -> None:
    run = await store.run()
    first, second = await give(store, run, seconds=5), await give(store, run, this_run_only=False)
    actions = [await propose(store, run, by=key) for key in (first, second)]
    await Grants(store.db).revoke(second, INES)
    with pytest.raises(GrantNotValid):
        await start(store, run, actions[1], second)
    store.clock.advance(5)
    with pytest.raises(GrantNotValid, match="run out"):
        await start(store, run, actions[0], first)
    assert Grants(store.db).standing("query_sql", REQUESTER.key, store.clock.now()) == ()


async def test_what_another_process_revokes_counts_before_anybody_has_taken_it_and_is_journalled_then(
    store: Store,
) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    await store.control.write("revoke", by="local:0", grant=key)
    assert Grants(store.db).standing("query_sql", REQUESTER.key, store.clock.now()) == ()
    with pytest.raises(GrantNotValid, match="taken back"):
        await start(store, run, action, key)
    await store.control.take()
    row = Grants(store.db).rows()[0]
    assert (row.revoked_by, bool(row.revoked_at)) == ("local:0", True)
    events = [item.event.type for item in await store.journal.read(run)]
    assert events.count("grant_revoked") == 1


async def test_a_grant_is_revoked_once_also_after_the_end_of_its_run(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    await store.control.stop(run, by="ops")
    await Grants(store.db).revoke(key, OMAR)
    with pytest.raises(AlreadyDecided):
        await Grants(store.db).revoke(key, INES)
    with pytest.raises(UnknownSubject):
        await Grants(store.db).revoke("nothing", OMAR)


async def test_whose_words_are_in_the_run_has_no_grant_that_starts_anything_there(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    await store.inbox.follow_up(run, OMAR, "more words")
    with pytest.raises(GrantNotValid, match="own request"):
        await start(store, run, action, key)


async def test_a_high_action_a_wider_one_and_one_of_another_run_start_under_no_grant(store: Store) -> None:
    run, other = await store.run(), await store.run()
    key = await give(store, run)
    high = await propose(store, run, by=key, tier=Tier.HIGH)
    with pytest.raises(ApprovalNotValid):
        await start(store, run, high, key)
    for facts in ({"effects": (ORDERS,)}, {"counts": {"rows": 7}}, {"undecidable": ("who knows",)}):
        wider = await propose(store, run, by=key, **facts)
        with pytest.raises(GrantNotValid):
            await start(store, run, wider, key)
    foreign = await propose(store, other, by=key)
    with pytest.raises(GrantNotValid):
        await start(store, other, foreign, key)


@pytest.mark.parametrize("without", ["approval_requested", "approval_decided"])
async def test_a_use_without_its_yes_starts_nothing(store: Store, without: str) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever is raised, nothing may be written
        await start(store, run, action, key, without=without)
    assert Grants(store.db).rows()[0].uses == 0
    assert [item.event.type for item in await store.journal.read(run)].count("action_started") == 0


async def test_a_use_in_another_persons_name_or_with_another_sum_starts_nothing(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    with pytest.raises(GrantNotValid):
        await start(store, run, action, key, by=INES)
    with pytest.raises(GrantNotValid):
        await start(store, run, action, key, spends_micro_usd=3)
    with pytest.raises(GrantNotValid):
        await start(store, run, action, key, grant="")
    await start(store, run, action, key)


async def test_an_action_that_claims_a_grant_does_not_start_without_naming_it(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    started = ev.ActionStarted(action=action.id, digest=action.digest, lease_token=store.lease.token)
    with pytest.raises(ApprovalNotValid):
        await store.journal.commit(
            run, (started,), Intention(epoch=0, starts=action.id, digest=action.digest, effect_s=30.0)
        )  # fmt: skip


async def test_a_pause_holds_for_grants_too(store: Store) -> None:
    run = await store.run()
    key = await give(store, run)
    action = await propose(store, run, by=key)
    await store.control.write("pause", by="ops")
    with pytest.raises(RunPaused):
        await start(store, run, action, key)


async def test_nobody_gives_a_grant_who_could_not_approve_alone(store: Store) -> None:
    run = await store.run()
    row = await ask(store, run)
    store.entitlement.self_approvers.add(REQUESTER.key)
    with pytest.raises(OwnRequest):
        await store.decisions.vote(row.id, REQUESTER, "approve", allow=TERMS)
    store.entitlement.barred.add(INES.key)
    with pytest.raises(NotEntitled):
        await store.decisions.vote(row.id, INES, "approve", allow=TERMS)
    both = await ask(store, run, quorum=2)
    with pytest.raises(GrantRefused):
        await store.decisions.vote(both.id, OMAR, "approve", allow=TERMS)
    with pytest.raises(GrantRefused):
        await store.decisions.vote(row.id, OMAR, "deny", allow=TERMS)
    assert (store.approval(row.id).state, store.approval(both.id).state) == ("pending", "pending")
    assert Grants(store.db).rows() == ()


async def test_of_two_people_who_allow_at_once_one_gives_a_grant(store: Store) -> None:
    row = await ask(store, await store.run())
    votes = (store.decisions.vote(row.id, person, "approve", allow=TERMS) for person in DECIDERS)
    results = await asyncio.gather(*votes, return_exceptions=True)
    assert [type(item) for item in results].count(AlreadyDecided) == 1
    assert len(Grants(store.db).rows()) == 1

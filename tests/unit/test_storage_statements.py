"""What an append reads and writes: as few statements as it takes, since each one lets go of the interpreter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Literal

import pytest

from agent import events as ev
from agent.domain import Outcome, Tier
from agent.errors import JournalError
from agent.ports import Fact
from storage.fakes import DECIDERS, Store

Vote = Literal["approve", "deny"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "store.db")
    store.db.keyring.prepare()
    yield store
    await store.close()


async def statements_of(store: Store, doing: Awaitable[object]) -> list[str]:
    """What one write made SQLite do, without what encloses it."""
    seen: list[str] = []
    await store.db.write(lambda tx: tx.conn.set_trace_callback(seen.append))
    await doing
    await store.db.write(lambda tx: tx.conn.set_trace_callback(None))
    around = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return [line for line in seen if not line.startswith(around)]


async def test_a_yes_takes_twelve_statements(store: Store) -> None:
    asked = await store.ask(await store.run())
    seen = await statements_of(store, store.decisions.vote(asked.id, DECIDERS[0], "approve"))
    assert len(seen) <= 12, seen


async def test_a_start_takes_eight_statements(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    approved = await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    seen = await statements_of(store, store.start(run, approved))
    assert len(seen) <= 8, seen


async def test_a_result_takes_six_statements(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await store.start(run, await store.decisions.vote(asked.id, DECIDERS[0], "approve"))
    ended = ev.ActionFinished(action=asked.action, outcome=Outcome.SUCCEEDED)
    seen = await statements_of(store, store.journal.commit(run, (ended,), Fact()))
    assert len(seen) <= 6, seen


@pytest.mark.parametrize(("vote", "reason"), [("approve", ""), ("approve", "fine"), ("deny", ""), ("deny", "no")])
async def test_a_vote_returns_the_row_as_it_stands(store: Store, vote: Vote, reason: str) -> None:
    asked = await store.ask(await store.run())
    told = await store.decisions.vote(asked.id, DECIDERS[0], vote, reason=reason)
    assert told == store.approval(asked.id)
    assert told.state != "pending"


async def test_a_vote_that_does_not_decide_yet_returns_the_row_as_it_stands(store: Store) -> None:
    asked = await store.ask(await store.run(), quorum=2)
    first = await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    assert first == store.approval(asked.id)
    second = await store.decisions.vote(asked.id, DECIDERS[1], "approve")
    assert (first.state, second.state) == ("pending", "approved")
    assert second == store.approval(asked.id)


async def test_an_action_that_is_looked_for_at_first_is_found_once_the_append_has_proposed_it(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run, Tier.LOW)
    again = ev.ActionProposed(action=action)
    with pytest.raises(JournalError, match="was proposed before"):
        await store.journal.commit(run, (again,), Fact())
    other = action.model_copy(update={"id": "c99"})
    twice = (ev.ActionProposed(action=other), ev.ActionProposed(action=other))
    with pytest.raises(JournalError, match="was proposed before"):
        await store.journal.commit(run, twice, Fact())


async def test_a_payload_that_somebody_broke_does_not_keep_the_sweep_from_its_work(store: Store) -> None:
    asked = await store.ask(await store.run())
    await store.db.write(lambda tx: tx.conn.execute("UPDATE events SET payload = '{' WHERE type = 'action_rated'"))
    assert await store.decisions.expire_due(asked.expires_at) == 1
    assert store.queries.run(asked.run) is not None

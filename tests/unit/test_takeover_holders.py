"""Who has a takeover is looked at once more when they end it, whatever they were when they took it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.errors import NotEntitled, OwnRequest
from storage.audit import refusals
from storage.fakes import DECIDERS, Store
from storage.takeovers import Ending

FIRST, SECOND = DECIDERS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


@pytest.mark.parametrize("state", ["done", "handed_back", "aborted"])
async def test_invariant_6_a_holder_who_may_not_decide_any_more_ends_nothing(store: Store, state: Ending) -> None:
    opened = await store.take_over(await store.run())
    claimed = await store.decisions.claim(opened.id, FIRST)
    store.entitlement.barred.add(FIRST.key)
    with pytest.raises(NotEntitled):
        await store.decisions.close_takeover(opened.id, FIRST, state, token=claimed.claim_token)
    assert store.takeover(opened.id).state == "claimed"
    assert [one.kind for one in refusals(store.db)] == ["not_entitled"]


async def test_invariant_6_a_holder_gives_it_to_nobody_who_may_not_decide_any_more(store: Store) -> None:
    opened = await store.take_over(await store.run())
    claimed = await store.decisions.claim(opened.id, FIRST)
    store.entitlement.barred.add(SECOND.key)
    with pytest.raises(NotEntitled):
        await store.decisions.reassign(opened.id, FIRST, SECOND, token=claimed.claim_token)


async def test_invariant_5_a_holder_whose_words_came_into_the_run_does_not_say_that_it_is_done(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    claimed = await store.decisions.claim(opened.id, FIRST)
    await store.inbox.follow_up(run, FIRST, "more words")
    with pytest.raises(OwnRequest):
        await store.decisions.close_takeover(opened.id, FIRST, "done", token=claimed.claim_token, what="as I wanted")
    back = await store.decisions.close_takeover(opened.id, FIRST, "handed_back", token=claimed.claim_token)
    assert back.state == "handed_back"

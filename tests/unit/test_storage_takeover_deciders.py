"""Whom a takeover does not name decides nothing on it, whatever else they may decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.domain import Principal
from agent.errors import NotEntitled
from storage.fakes import Store
from storage.takeovers import Answer

STRANGER = Principal(team="T1", user="U9")


async def test_who_is_not_among_its_deciders_claims_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store.db")
    opened = await store.take_over(await store.run())
    assert store.entitlement.may_decide(STRANGER, opened)
    with pytest.raises(NotEntitled):
        await store.decisions.claim(opened.id, STRANGER)
    assert store.takeover(opened.id).state == "open"
    await store.close()


@pytest.mark.parametrize("answer", ["happened", "run_again", "stop"])
async def test_who_is_not_among_its_deciders_says_nothing_of_a_lost_action(tmp_path: Path, answer: Answer) -> None:
    store = await Store.open(tmp_path / "store.db")
    opened = await store.lose(await store.run())
    with pytest.raises(NotEntitled):
        await store.decisions.answer_unknown(opened.id, STRANGER, answer)
    assert store.takeover(opened.id).state == "open"
    await store.close()

"""A registry with holes and a clock that was put back: whatever cannot be told counts as a no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.errors import ApprovalNotValid
from storage.approvers import Approver, covering
from storage.fakes import DECIDERS, Store
from storage.journal import SLEW_S


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "hole",
    ["", ":", "slack::", "slack:T1:", "slack:T1:U1:x", "local:", "a@b.c", "S0GROUP", "*", "U\n1", "U٣"],
)
def test_an_entry_that_names_nobody_lets_nobody_decide_and_breaks_nothing(hole: str) -> None:
    entries = [Approver(n, who, "", "", "", 0.0, "", "local:0", 0.0) for n, who in enumerate((hole, "U0OMAR"))]
    assert covering(entries, tool="", channel="", tier="", now=1.0) == ("U0OMAR",)


async def test_a_yes_of_a_moment_that_has_not_come_starts_nothing(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    row = await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    store.clock.advance(-SLEW_S - 1)
    await store.lease.regain()
    with pytest.raises(ApprovalNotValid):
        await store.start(run, row)
    store.clock.advance(2)  # a clock that is slewed a little is as usual
    await store.start(run, row)

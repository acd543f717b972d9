"""DESIGN.md §5, invariants 1 and 2: nothing starts without its yes, and nothing that has one starts twice."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agent.clock import RandomIds
from agent.domain import ApprovalState, Outcome, Principal, RunStatus
from agent.errors import AlreadyDecided, AlreadyStarted, ApprovalNotValid, EpochMoved, LeaseLost
from agent.events import ActionStarted, ApprovalDecided
from agent.ports import Fact, Intention
from storage.database import Database
from storage.decisions import Decisions
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import INES, MAYA, OMAR, TEAM

ASK = "use touch_medium on x"


async def _asked(open_house: Opened, *tools: Touch) -> tuple[House, Touch, str, dict[str, object]]:
    touch = Touch("touch_medium")
    house: House = await open_house(tools=(touch, *tools))
    ts = await house.ask(ASK)
    return house, touch, ts, await house.card("Touch x")


def _start(house: House, *, digest: str = "", approval: str = "", epoch: int = 0) -> tuple[ActionStarted, Intention]:
    row = house.approvals()[0]
    token = house.journal.lease_token
    begun = ActionStarted(action=row.action, digest=digest or row.digest, lease_token=token, approval=row.id)
    wanted = Intention(
        epoch=epoch, starts=row.action, digest=digest or row.digest, consumes=approval or row.id, effect_s=1.0
    )
    return begun, wanted


@pytest.mark.parametrize("end", ["pending", "denied", "expired", "withdrawn"])
async def test_invariant_1_nothing_starts_on_what_is_not_a_yes(open_house: Opened, end: str) -> None:
    house, touch, _, card = await _asked(open_house)
    if end == "denied":
        await house.click(OMAR, card, "deny")
    elif end == "withdrawn":
        await house.click(MAYA, card, "withdraw")
    elif end == "expired":
        await house.until(lambda: house.approvals()[0].delivered_at)
        await house.advance(1801)
    await house.until(lambda: house.approvals()[0].state == end)
    begun, wanted = _start(house)
    with pytest.raises((ApprovalNotValid, AlreadyStarted)):
        await house.journal.commit(house.approvals()[0].run, [begun], wanted)
    with pytest.raises(ApprovalNotValid):
        await house.journal.commit(house.approvals()[0].run, [begun], Fact())
    assert (touch.done["x"], house.started()) == (0, 0)


async def test_invariant_1_a_yes_counts_for_exactly_its_digest_epoch_and_time(open_house: Opened) -> None:
    house, touch, ts, card = await _asked(open_house)
    run = (await house.run_at(ts)).id
    await house.app.runtime.close()  # type: ignore[union-attr]  # so that only this test starts anything
    await house.click(OMAR, card, "approve")
    await house.until(lambda: house.approvals()[0].state == "approved")
    for changed, error in (
        ({"digest": "0" * 64}, ApprovalNotValid),
        ({"approval": "pnothing"}, ApprovalNotValid),
        ({"epoch": 1}, EpochMoved),
    ):
        begun, wanted = _start(house, **changed)
        with pytest.raises(error):
            await house.journal.commit(run, [begun], wanted)
    house.clock.ahead += 1801
    begun, wanted = _start(house)
    with pytest.raises(ApprovalNotValid):
        await house.journal.commit(run, [begun], wanted)
    assert (touch.done["x"], house.started()) == (0, 0)


async def test_invariant_1_arguments_that_were_changed_behind_the_yes_do_not_run(open_house: Opened) -> None:
    house, touch, ts, card = await _asked(open_house)
    await house.control.write("pause", by="local:0")
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by")
    await house.app.stop()
    with sqlite3.connect(house.folder / "data" / "secondkey.db") as conn:
        changed = 'UPDATE events SET payload = replace(payload, \'"name":"x"\', \'"name":"y"\') WHERE type = ?'
        assert conn.execute(changed, ("action_proposed",)).rowcount == 1
    conn.close()
    await house.start()
    await house.control.write("resume", by="local:0")
    await house.answer(ts)
    assert (dict(touch.done), house.started()) == ({}, 0)
    await house.shows(card, "is not what was asked", "not run")


async def test_invariant_2_clicks_in_a_heap_and_doubled_deliveries_start_it_once(open_house: Opened) -> None:
    house, touch, ts, card = await _asked(open_house)
    clicks = [house.forge(user, card, "approve") for user in (OMAR, INES) * 5]
    await asyncio.gather(*clicks)
    await house.answer(ts)
    assert (touch.done["x"], house.started()) == (1, 1)
    decided = [event for event in house.events(house.approvals()[0].run) if isinstance(event, ApprovalDecided)]
    assert [event.state for event in decided] == [ApprovalState.APPROVED]


async def test_invariant_2_votes_of_two_processes_are_one_decision_and_one_start(open_house: Opened) -> None:
    house, touch, ts, _ = await _asked(open_house)
    approval = house.approvals()[0].id

    class Anybody:
        def may_decide(self, *_: object) -> bool:
            return True

        def self_approval_allowed(self, *_: object) -> bool:
            return False

    others = [await Database.open(house.app.db.path, clock=house.clock) for _ in range(2)]
    doors = [Decisions(db, house.clock, RandomIds(), Anybody()) for db in others]
    people = [Principal(team=TEAM, user=user) for user in (OMAR, INES)]
    results = await asyncio.gather(
        *(door.vote(approval, who, "approve") for door, who in zip(doors, people, strict=True)), return_exceptions=True
    )
    for db in others:
        await db.close()
    assert sum(isinstance(result, AlreadyDecided) for result in results) == 1
    house.app.runtime.wake(house.approvals()[0].run)  # type: ignore[union-attr]  # as the holder's own look would
    await house.answer(ts)
    assert (touch.done["x"], house.started()) == (1, 1)


@pytest.mark.parametrize("when", ["before the click", "after the click"])
async def test_invariant_2_a_restart_around_the_click_starts_it_once(open_house: Opened, when: str) -> None:
    house, touch, ts, card = await _asked(open_house)
    if when == "after the click":
        await house.control.write("pause", by="local:0")
        await house.click(OMAR, card, "approve")
        await house.until(lambda: house.approvals()[0].state == "approved")
    await house.restart()
    if when == "before the click":
        await house.click(OMAR, card, "approve")
    else:
        await house.control.write("resume", by="local:0")
    await house.answer(ts)
    await house.restart()
    assert (touch.done["x"], house.started()) == (1, 1)


async def test_invariant_2_what_a_crash_left_in_flight_goes_to_a_person_and_never_runs_again(
    open_house: Opened, tmp_path: Path
) -> None:
    house, touch, ts, card = await _asked(open_house)
    touch.hold()
    await house.click(OMAR, card, "approve")
    await touch.running.wait()
    left = tmp_path / "left.db"
    with sqlite3.connect(house.app.db.path) as conn, sqlite3.connect(left) as copy:
        conn.backup(copy)  # what stands on the disk when the process is killed now
        copy.execute("UPDATE lease SET expires_at = 0")
    conn.close()
    copy.close()
    touch.release()
    await house.answer(ts)
    await house.app.stop()
    for path in house.app.db.path.parent.glob("secondkey.db*"):
        path.unlink()
    left.rename(house.app.db.path)
    await house.start()
    packet = await house.card("Did this happen?")
    assert "Touch x" in str(packet["blocks"])
    assert house.started() == 1
    assert touch.done["x"] == 1  # before the crash; not once more
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert [item.outcome for item in view.actions] in ([Outcome.UNKNOWN], [None])
    await house.run_at(ts, RunStatus.WAITING)


@pytest.mark.parametrize("exclusive", [True, False])
async def test_invariant_2_b_is_approved_while_a_runs_and_both_run_once_and_none_is_unknown(
    open_house: Opened, *, exclusive: bool
) -> None:
    low, medium = Touch("touch_low", "low", exclusive=exclusive), Touch("touch_medium", exclusive=exclusive)
    low.hold()
    house = await open_house(tools=(low, medium))
    ts = await house.ask("touch both")
    card = await house.card("Touch b")
    await low.running.wait()
    await house.click(OMAR, card, "approve")
    await house.shows(card, "Approved by")
    if exclusive:
        assert medium.done["b"] == 0
    else:
        await house.shows(card, "Done")
    low.release()
    assert "Both were touched" in await house.answer(ts)
    view = house.queries.run_view((await house.run_at(ts)).id)
    assert view is not None
    assert [item.outcome for item in view.actions] == [Outcome.SUCCEEDED, Outcome.SUCCEEDED]
    assert (low.done["a"], medium.done["b"], house.started()) == (1, 1, 2)


async def test_invariant_2_who_lost_the_lease_starts_nothing(open_house: Opened) -> None:
    house, touch, ts, card = await _asked(open_house)
    run = (await house.run_at(ts)).id
    await house.control.write("pause", by="local:0")
    await house.click(OMAR, card, "approve")
    await house.until(lambda: house.approvals()[0].state == "approved")
    await house.app.db.write(lambda tx: tx.conn.execute("UPDATE lease SET token = 'another'"))
    await house.control.write("resume", by="local:0")
    await house.app.runtime.settled(run)
    begun, wanted = _start(house)
    with pytest.raises(LeaseLost):
        await house.journal.commit(run, [begun], wanted)
    assert (touch.done["x"], house.started()) == (0, 0)

"""DESIGN.md §5, invariants 11, 12 and 13: nothing acked is lost or done twice, tampering is found, a stop holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agent.clock import RandomIds
from agent.domain import Outcome, RunStatus
from simulator import payloads
from simulator.clock import Timing
from storage.audit import verify_file
from storage.control import Control
from storage.database import Database
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import DATA, MAYA, OMAR, words

QUICK = Timing(redeliver=0.05, redeliveries=100)


@pytest.mark.parametrize("fault", ["duplicate", "drop_response", "error", "hang"])
async def test_invariant_11_an_event_that_is_doubled_lost_or_unacked_is_one_run(open_house: Opened, fault: str) -> None:
    house = await open_house(timing=QUICK)
    await house.slack.fault("events", fault, times=2)  # app_mention and message
    await house.answer(await house.ask("add 1 and 1"))
    await house.answer(await house.ask("add 2 and 2"))
    assert sorted(run.title for run in house.queries.runs()) == ["add 1 and 1", "add 2 and 2"]


async def test_invariant_11_what_was_said_while_nobody_served_is_done_once_afterwards(open_house: Opened) -> None:
    house = await open_house(timing=QUICK)
    await house.app.stop()
    ts = await house.ask("add 1 and 1")
    await house.start()
    await house.answer(ts)
    assert len(house.queries.runs()) == 1


async def test_invariant_11_an_event_while_the_database_is_locked_is_not_acked_and_done_once_later(
    open_house: Opened,
) -> None:
    house = await open_house(timing=Timing(ack=2.4, redeliver=0.05, redeliveries=100))
    lock = sqlite3.connect(house.app.db.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    ts = await house.ask("add 1 and 1")
    first = await house.logged(lambda entry: (entry["direction"], entry["method"]) == ("ack", "app_mention"))
    lock.execute("ROLLBACK")
    lock.close()
    await house.answer(ts)
    assert not first["ok"]
    assert len(house.queries.runs()) == 1


async def test_invariant_11_a_command_that_is_delivered_twice_stops_once(house: House) -> None:
    ts = await house.ask("price of Tea to 260")
    await house.card("Tea")
    run = await house.run_at(ts)
    services = house.sim.services
    who, channel = services.workspace.person(MAYA), services.workspace.channel(DATA)
    made = payloads.command(services, who, channel, "/agent", f"stop {run.id}")
    first = await services.delivery.request("slash_commands", made)
    second = await services.delivery.request("slash_commands", made)
    assert ("is stopping" in str(first), "taken already" in str(second)) == (True, True)


TAMPERINGS: dict[str, tuple[str, ...]] = {
    "an edited payload": ("UPDATE events SET payload = replace(payload, 'Tea', 'Oat') WHERE seq = 1",),
    "another payload's hash": ("UPDATE events SET payload = NULL, payload_hash = zeroblob(32) WHERE seq = 2",),
    "an edited time": ("UPDATE events SET at = at + 1 WHERE seq = 3",),
    "a removed row": ("DELETE FROM events WHERE seq = 4",),
    "two rows in another order": tuple(
        f"UPDATE events SET seq = {new} WHERE seq = {old}"  # noqa: S608  # three constants
        for old, new in ((3, -1), (4, 3), (-1, 4))
    ),
    "a removed tail": ("DELETE FROM events WHERE seq > 5",),
    "a removed tail, hidden in the run's row": (
        "DELETE FROM events WHERE seq > 5",
        "UPDATE runs SET seq = 5, head_hash = (SELECT hash FROM events WHERE seq = 4)",
    ),
    "a removed run's row": ("DELETE FROM runs",),
    "a row that was added": (
        (
            "INSERT INTO events SELECT run, (SELECT max(seq) + 1 FROM events), type, version, at, epoch, payload, "
            "payload_hash, prev_hash, hash FROM events WHERE seq = 1"
        ),
    ),
}


async def test_invariant_12_every_edit_removal_and_reordering_is_found_offline(house: House, tmp_path: Path) -> None:
    ts = await house.ask("price of Tea to 260")
    card = await house.card("Tea")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    run = (await house.run_at(ts, RunStatus.COMPLETED)).id
    whole = verify_file(house.app.db.path)
    assert (whole.ok, whole.runs) == (True, 1)
    assert whole.events == len(house.events(run)) > 8
    for number, (name, statements) in enumerate(TAMPERINGS.items()):
        copy = tmp_path / f"copy{number}.db"
        source, target = sqlite3.connect(house.app.db.path), sqlite3.connect(copy)
        source.backup(target)
        for statement in statements:
            target.execute(statement)
        target.commit()
        source.close()
        target.close()
        verdict = verify_file(copy)
        assert (verdict.ok, verdict.run) == (False, run), name
        assert verdict.problem, name


@pytest.mark.parametrize("halt", ["a stop of the run", "a stop of all", "a kill", "the kill file", "a pause"])
async def test_invariant_13_every_halt_stops_the_next_start_also_when_slack_is_down(
    open_house: Opened, halt: str
) -> None:
    low, medium = Touch("touch_low", "low"), Touch("touch_medium")
    low.hold()
    house = await open_house(tools=(low, medium))
    ts = await house.ask("touch both")
    card = await house.card("Touch b")
    await low.running.wait()
    await house.click(OMAR, card, "approve")  # b has its yes, and waits for a to end
    await house.shows(card, "Approved by")
    run = (await house.run_at(ts)).id
    await house.slack.fault("*", "status", times=10_000)
    await house.slack.fault("socket", "disconnect", times=10_000)
    other = await Database.open(house.app.db.path, clock=house.clock)  # as another process would
    control = Control(other)
    match halt:
        case "a stop of the run":
            await control.write("stop", run=run, by="local:0")
        case "a stop of all":
            await control.write("stop", by="local:0")
        case "a kill":
            await control.write("kill", by="local:0")
        case "the kill file":
            house.app.settings.kill_file.write_text("")
        case _:
            await control.write("pause", by="local:0")
    if halt == "a pause":
        low.release()
        await house.app.runtime.settled(run)
        assert (low.done["a"], medium.done["b"]) == (1, 0)
        await control.write("resume", by="local:0")
        await house.until(lambda: house.queries.run(run).status.is_final)
        assert medium.done["b"] == 1
    else:
        await house.until(lambda: house.queries.run(run).status is RunStatus.CANCELLED)
        view = house.queries.run_view(run)
        assert view is not None
        assert {item.outcome for item in view.actions} <= {Outcome.UNKNOWN, Outcome.CANCELLED, Outcome.WITHDRAWN}
        assert (low.done["a"], medium.done["b"], house.started()) == (0, 0, 1)
    await other.close()
    await house.slack.clear_faults()


async def test_invariant_13_as_long_as_the_kill_file_stands_nothing_starts_in_new_runs_either(house: House) -> None:
    house.app.settings.kill_file.write_text("")
    await house.until(lambda: house.app.db.read(lambda conn: conn.execute("SELECT 1 FROM control").fetchone()))
    ts = await house.ask("add 1 and 1")  # after the file was noticed
    await house.run_at(ts, RunStatus.CANCELLED)
    assert house.started() == 0
    house.app.settings.kill_file.unlink()
    assert "It is 4" in await house.answer(await house.ask("add 2 and 2"))


async def test_invariant_13_a_stop_left_by_another_process_while_nobody_served_holds_at_the_start(
    open_house: Opened,
) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,))
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    run = (await house.run_at(ts)).id
    await house.app.stop()
    other = await Database.open(house.app.db.path, clock=house.clock)
    await Control(other).write("stop", run=run, by=f"local:{RandomIds().new('x')}")
    await other.close()
    await house.start()
    await house.run_at(ts, RunStatus.CANCELLED)
    shown = await house.shows(card, "Withdrawn")
    assert "Approved" not in words(shown)
    assert dict(touch.done) == {}


@pytest.mark.parametrize(
    "statements",
    [
        ("DELETE FROM events", "DELETE FROM runs"),
        (
            "DELETE FROM events WHERE seq > 5",
            "UPDATE runs SET seq = 5, head_hash = (SELECT hash FROM events WHERE seq = 5)",
        ),
    ],
    ids=["a whole run", "a tail with the run's head set back"],
)
async def test_invariant_12_what_fits_together_again_is_found_by_the_signed_heads_outside(
    house: House, statements: tuple[str, ...]
) -> None:
    ts = await house.ask("add 1 and 1")
    await house.answer(ts)
    await house.run_at(ts, RunStatus.COMPLETED)
    await house.app.stop()
    database, heads = house.app.settings.database, house.app.settings.heads_file
    assert verify_file(database, heads).ok
    conn = sqlite3.connect(database)
    for statement in statements:
        conn.execute(statement)
    conn.commit()
    conn.close()
    assert not verify_file(database, heads).ok
    await house.start()

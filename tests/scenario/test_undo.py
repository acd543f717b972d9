"""`secondkey undo`: a control row that whoever drives the runs carries out, for a day."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.events import ChangesUndone
from bot import cli_undo
from storage.control import Control
from tests.scenario.house import House
from tests.scenario.world import INES

NOTE = "we close at six\n"


async def applied(house: House) -> str:
    """A run that put a note into the project; returns its id."""
    ts = await house.ask("note we close at six")
    await house.click(INES, await house.card("+we close at six"), "approve")
    await house.answer(ts)
    assert (house.project / "notes.txt").read_text() == NOTE
    return (await house.run_at(ts)).id


async def undo(house: House, run: str) -> int:
    """The command in a thread of its own, as in a process of its own."""
    return await asyncio.to_thread(cli_undo.undo, house.settings(), run)


def told(house: House, run: str) -> list[ChangesUndone]:
    return [event for event in house.events(run) if isinstance(event, ChangesUndone)]


async def test_a_running_server_takes_back_what_a_run_put_into_the_project(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await applied(house)
    assert await undo(house, run) == 0
    assert not (house.project / "notes.txt").exists()
    assert "Taken back in 1 file" in capsys.readouterr().out
    assert [(event.files, event.problem) for event in told(house, run)] == [(("notes.txt",), "")]
    assert await undo(house, run) == 1
    assert "no changes of this run" in capsys.readouterr().out


async def test_what_somebody_changed_since_stays(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    run = await applied(house)
    (house.project / "notes.txt").write_text("we close at seven\n")
    assert await undo(house, run) == 1
    assert "changed in the project since" in capsys.readouterr().out
    assert (house.project / "notes.txt").read_text() == "we close at seven\n"


async def test_after_a_day_it_is_too_late(house: House) -> None:
    run = await applied(house)
    house.clock.ahead += 86_500
    code = await _as_of_the_house(house, run)
    assert code.problem.startswith("What it changed is more than a day old")
    assert (house.project / "notes.txt").read_text() == NOTE


async def test_an_order_given_without_a_server_is_carried_out_at_the_next_start(house: House) -> None:
    run = await applied(house)
    await house.app.stop()
    assert await undo(house, run) == 0
    assert (house.project / "notes.txt").read_text() == NOTE
    await house.start()
    await _until(lambda: bool(told(house, run)))
    assert not (house.project / "notes.txt").exists()
    await house.restart()
    assert len(told(house, run)) == 1


async def test_a_run_that_is_not_over_is_left_alone(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    ts = await house.ask("note we close at six")
    await house.card("+we close at six")
    run = (await house.run_at(ts)).id
    assert await undo(house, run) == 1
    assert "not over yet" in capsys.readouterr().out


async def _as_of_the_house(house: House, run: str) -> ChangesUndone:
    """The order as given by the house's own clock, which is ahead."""
    await Control(house.app.db).write("undo", run=run, by="local:0")
    await _until(lambda: bool(told(house, run)))
    return told(house, run)[0]


async def _until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - a row of the database
            await asyncio.sleep(0.02)

"""A backup of a house at work, put back after it went on: nothing is done a second time before a person says so."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.domain import RunStatus
from agent.errors import ConfigurationError
from agent.fakes import ScriptedModel
from bot.cli_backup import backup, restore
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import MAYA, OMAR, buttons

GOLDEN = Path(__file__).parents[1] / "golden"
REPLIES = (script.plan(), script.use(("touch", {"name": "one"})), script.end(), script.say("Done."))


def save(house: House) -> Path:
    target = house.folder / "backup.tar"
    assert backup(house.settings(), target, with_key=True, force=False) == 0
    return target


async def put_back(house: House, archive: Path) -> None:
    """Restore it as an operator does: with the server ended."""
    await house.app.stop()
    assert restore(house.settings(), archive, force=True, new_key=False) == 0
    await house.start()


async def test_a_request_that_was_decided_after_the_backup_stands_again_and_its_yes_starts_nothing_before_resume(
    open_house: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    touch = Touch("touch")
    house = await open_house(model=ScriptedModel([*REPLIES, *REPLIES[2:]]), tools=(touch,))
    ts = await house.ask("touch it")
    card = await house.card("Touch one")
    await house.run_at(ts, RunStatus.WAITING)
    archive = save(house)
    await house.click(MAYA, card, "approve")
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert touch.done["one"] == 1
    shown = await house.shows(card, "Approved")
    assert "approve" not in buttons(shown)

    await put_back(house, archive)
    assert "everything is paused" in capsys.readouterr().out
    again = await house.slack.wait_for_message(
        card["channel"], lambda m: m["ts"] == card["ts"] and "approve" in buttons(m)
    )
    await house.click(OMAR, again, "approve")
    await house.shows(card, "Approved")
    assert (house.started(), touch.done["one"]) == (0, 1)
    await house.control.resume(by="local:0")
    await house.until(lambda: house.started() == 1)
    await house.run_at(ts, RunStatus.COMPLETED)
    assert touch.done["one"] == 2  # a person said yes twice, and was told


async def test_an_effect_that_was_on_its_way_at_the_backup_is_a_persons_question(open_house: Opened) -> None:
    touch = Touch("touch", "low")
    touch.hold()
    house = await open_house(model=ScriptedModel(list(REPLIES)), tools=(touch,))
    ts = await house.ask("touch it")
    await touch.running.wait()
    archive = save(house)
    touch.release()
    await house.answer(ts)
    await put_back(house, archive)
    question = await house.card("Touch one")
    assert {"unknown_happened", "unknown_run_again", "unknown_stop"} <= set(buttons(question))
    assert touch.done["one"] == 1


async def test_after_everything_had_ended_nothing_is_paused(open_house: Opened) -> None:
    touch = Touch("touch", "low")
    house = await open_house(model=ScriptedModel([*REPLIES, *REPLIES]), tools=(touch,))
    await house.answer(await house.ask("touch it"))
    await put_back(house, save(house))
    assert house.control.standing() == ()
    await house.answer(await house.ask("touch it again"))
    assert touch.done["one"] == 2


async def test_a_server_brings_an_older_database_up_to_date_and_keeps_what_stood_there(house: House) -> None:
    await house.app.stop()
    data = house.folder / "data"
    shutil.rmtree(data)
    data.mkdir()
    with closing(sqlite3.connect(data / "secondkey.db")) as conn:
        conn.executescript((GOLDEN / "m008.sql").read_text(encoding="utf-8"))
    await house.start()
    (copy,) = data.glob("secondkey.db.before-*")
    runs = "SELECT id FROM runs ORDER BY id"
    with closing(sqlite3.connect(copy)) as conn:
        before = conn.execute(runs).fetchall()
    assert house.app.db.fetch(runs, ()) == before
    await house.restart()
    assert [one.name for one in data.glob("secondkey.db.before-*")] == [copy.name]


async def test_a_server_does_not_start_on_the_database_of_a_newer_release(house: House) -> None:
    await house.app.stop()
    newer = "INSERT INTO _sqlite_migrations VALUES (99, 'secondkey', 'm999_later', '2030-01-01')"
    with closing(sqlite3.connect(house.folder / "data" / "secondkey.db")) as conn, conn:
        conn.execute(newer)
    with pytest.raises(ConfigurationError, match="newer release"):
        await house.start()
    with closing(sqlite3.connect(house.folder / "data" / "secondkey.db")) as conn, conn:
        conn.execute("DELETE FROM _sqlite_migrations WHERE name = 'm999_later'")
    await house.start()

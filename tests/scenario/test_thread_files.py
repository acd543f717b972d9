"""Files that people attach come into the run's workspace before anything is planned."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from bot import fetching
from bot.listeners.attached import FILE_BYTES, safe_name
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import BOT, DATA, INES, MAYA, OMAR, Json, words

MENTION = f"<@{BOT}> "


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAIT_S", 0.01)


def reads(path: str, answer: str = "I read it.") -> ScriptedModel:
    return ScriptedModel(
        [script.plan("Read."), script.use(("read_file", {"path": path})), script.end(), script.say(answer)]
    )


def workspace(house: House, run: str) -> Path:
    return house.folder / "data" / "workspaces" / run / "files"


async def attach(house: House, name: str, content: str | bytes, text: str = "read it", **lies: object) -> str:
    message = await house.slack.attach(MAYA, DATA, name, content, text=MENTION + text, **lies)
    return str(message["ts"])


async def test_an_attached_file_is_in_the_workspace_before_anything_is_planned(open_house: Opened) -> None:
    model = reads("attachments/prices 2026.csv")
    house = await open_house(model=model)
    ts = await attach(house, "prices 2026.csv", "drink,price\nChai,390\n")
    answer = await house.answer(ts)
    assert "I read it." in answer
    told = script.heard(model.requests[0])
    assert "attachments/prices 2026.csv (text/" in told.partition("from context")[2]
    assert "Chai,390" in script.heard(model.requests[2])
    run = await house.run_at(ts, RunStatus.COMPLETED)
    kinds = [event.type for event in house.events(run.id)]
    assert kinds.index("files_attached") < kinds.index("run_started") < kinds.index("plan_made")
    await house.slack.wait_for_message(DATA, lambda m: ":paperclip: attachments/prices" in words(m), thread_ts=ts)


async def test_what_is_attached_is_no_change_of_the_project(open_house: Opened) -> None:
    use = [script.use(("write_file", {"path": "new.txt", "content": "x"})), script.use(("apply_changes", {}))]
    house = await open_house(model=ScriptedModel([script.plan("Do."), *use, script.end(), script.say("Done.")]))
    ts = await attach(house, "notes.txt", "mine")
    card = await house.card("new.txt")
    assert "notes.txt" not in words(card)
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert (house.project / "new.txt").read_text() == "x"
    assert not (house.project / "attachments").exists()


async def test_a_file_never_takes_the_place_of_another_one(open_house: Opened) -> None:
    house = await open_house()
    (house.project / "attachments").mkdir()
    (house.project / "attachments" / "a.txt").write_text("the project's own")
    message = await house.slack.attach_all(
        MAYA, DATA, [("a.txt", "one"), ("a.txt", "two"), ("../../a.txt", "three")], text=f"{MENTION}add 1 and 1"
    )
    await house.answer(str(message["ts"]))
    folder = workspace(house, (await house.run_at(str(message["ts"]))).id) / "attachments"
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == {"a.txt": "the project's own", "a-2.txt": "one", "a-3.txt": "two", "a-4.txt": "three"}


@pytest.mark.parametrize(
    ("lies", "why"),
    [
        ({"size": FILE_BYTES + 1}, "at most 20,971,520 are taken"),
        ({"mode": "external", "is_external": True}, "it stands outside of Slack"),
        ({"filetype": "canvas"}, "it is a canvas and no file"),
        ({"url_private_download": "https://files.slack.com.evil.example/x"}, "none of Slack"),
        ({"url_private_download": "http://files.slack.com/x"}, "none of Slack"),
        ({"url_private_download": "https://slack.com@evil.example/x"}, "none of Slack"),
        ({"url_private_download": "file:///etc/passwd"}, "none of Slack"),
    ],
)
async def test_a_file_that_cannot_be_taken_is_said_and_the_run_goes_on(house: House, lies: Json, why: str) -> None:
    ts = await attach(house, "x.txt", "content", text="add 1 and 1", **lies)
    assert "It is 2" in await house.answer(ts)
    await house.slack.wait_for_message(DATA, lambda m: "was not taken" in words(m) and why in words(m), thread_ts=ts)
    run = await house.run_at(ts)
    assert not (workspace(house, run.id) / "attachments").exists()


async def test_a_file_that_is_larger_than_slack_said_is_not_taken(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FILE_BYTES", 10)
    ts = await attach(house, "x.txt", "more than ten bytes", text="add 1 and 1", size=5)
    await house.slack.wait_for_message(DATA, lambda m: "it is larger than the 10 bytes" in words(m), thread_ts=ts)


async def test_a_page_to_sign_in_is_not_taken_for_the_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert house.app.fetching is not None
    monkeypatch.setattr(house.app.fetching, "_token", "xoxb-wrong")
    ts = await attach(house, "x.txt", "content", text="add 1 and 1")
    assert "It is 2" in await house.answer(ts)
    await house.slack.wait_for_message(DATA, lambda m: "Slack shows a page instead" in words(m), thread_ts=ts)


async def test_what_is_owed_is_fetched_after_a_restart_and_the_ack_did_not_wait_for_it(
    open_house: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await open_house(model=reads("attachments/a.txt"))
    reached = asyncio.Event()

    async def never(*_: object) -> bytes:
        reached.set()
        await asyncio.Event().wait()
        return b""

    with monkeypatch.context() as patch:
        patch.setattr(fetching.Fetching, "_download", never)
        ts = await attach(house, "a.txt", "here it is")
        await house.logged(lambda entry: entry["direction"] == "ack")
        await reached.wait()
        assert (await house.run_at(ts)).status is RunStatus.QUEUED
        await house.app.stop()
    await house.start()
    assert "I read it." in await house.answer(ts)
    assert [path.name for path in (workspace(house, (await house.run_at(ts)).id) / "attachments").iterdir()] == [
        "a.txt"
    ]


async def test_a_stop_does_not_wait_for_files(open_house: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    house = await open_house()
    free = asyncio.Event()

    async def slow(*_: object) -> bytes:
        await free.wait()
        return b"late"

    monkeypatch.setattr(fetching.Fetching, "_download", slow)
    ts = await attach(house, "a.txt", "late", text="add 1 and 1")
    run = await house.run_at(ts, RunStatus.QUEUED)
    await house.command(f"stop {run.id}")
    await house.run_at(ts, RunStatus.CANCELLED)
    free.set()
    await house.slack.wait_for_message(DATA, lambda m: "came after the run was over" in words(m), thread_ts=ts)


async def test_who_uploaded_a_file_cannot_decide_on_what_follows_from_it(open_house: Opened) -> None:
    house = await open_house(tools=(Touch("touch_medium"),))
    shared = {"name": "a.txt", "data": base64.b64encode(b"words of Omar").decode(), "user": OMAR}
    text = f"{MENTION}use touch_medium on x"
    ts = str((await house.slack.call("post", {"as": MAYA, "channel": DATA, "text": text, "files": [shared]}))["ts"])
    card = await house.card("touch_medium")
    await house.click(OMAR, card, "approve")
    await house.told(OMAR, "Nobody decides on their own request")
    run = await house.run_at(ts)
    added = [event for event in house.events(run.id) if isinstance(event, ev.CoRequesterAdded)]
    assert [(event.principal.user, event.cause) for event in added] == [(OMAR, "file")]
    await house.click(INES, card, "approve")
    await house.shows(card, "Done")


async def test_a_file_in_a_follow_up_reaches_the_running_task(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    model = ScriptedModel([script.plan("Do."), script.use(("touch_medium", {"name": "x"})), script.end(), script.say()])
    house = await open_house(model=model, tools=(touch,))
    ts = await house.ask("go")
    card = await house.card("touch_medium")
    await house.slack.attach(INES, DATA, "late.txt", "and this", text=f"{MENTION}heed this", thread_ts=ts)
    run = await house.run_at(ts)
    await house.until(lambda: "files_attached" in [event.type for event in house.events(run.id)])
    await house.click(OMAR, card, "approve")
    await house.answer(ts)
    assert "attachments/late.txt" in script.heard(model.requests[2])


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".env", "env"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        ("a/b\x00\n.txt", "b__.txt"),
        ("<!channel>`x`", "__channel__x_"),
        ("", "file"),
        ("...", "file"),
        ("preis €.txt", "preis _.txt"),
        ("übersicht.csv", "übersicht.csv"),
    ],
)
def test_a_name_is_made_safe(given: str, safe: str) -> None:
    assert safe_name(given) == safe


def test_a_long_name_keeps_its_ending() -> None:
    assert safe_name("x" * 500 + ".csv").endswith("x.csv")
    assert len(safe_name("x" * 500 + ".csv")) <= 100

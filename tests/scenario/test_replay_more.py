"""`secondkey replay` of what stands beside a run: MCP tools, user groups, and questions in a takeover's thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Tier
from agent.mcp.definition import Definition
from agent.moves import Limits
from agent.policy import load_policy
from agent.ports import Stored
from agent.prompting import Prompts
from agent.replaying import Material, Replayed, offline, replay
from agent.rerating import rerate
from agent.runbooks import Runbooks
from agent.sandbox.none import NoSandbox
from agent.tools.registry import Registry, default_tools
from bot import cli_replay_run
from bot.cli_replay_run import Wanted, _groups, _Registered
from bot.composition import driving
from bot.config import Settings
from storage.blobs import read_blob
from storage.questions import Questions
from tests.scenario.books import SUM
from tests.scenario.script import end, plan, say, use
from tests.scenario.table import ASKS, DECIDES, Case, World
from tests.scenario.terminal import Terminal
from tests.scenario.touch import Touch
from tests.scenario.world import make_project, make_shop


def material(world: World, body: Callable[[str], str], prompts: Prompts | None = None) -> Material:
    registry = Registry(offline((*default_tools(), *world.case.tools)))
    return Material(body, registry, Runbooks.parse(SUM), load_policy(), Prompts(), prompts, Limits())


async def asked_beside(folder: Path, prompts: Prompts | None = None) -> tuple[Replayed, ...]:
    """A run with two questions while its takeover was open; the second one before the first was answered."""
    case = Case(
        "questions", [plan(), use(("touch_high", {"name": "a"})), say("It waits."), say("For you."), end(), say()],
        "", 0, tools=[Touch("touch_high", "high")],
    )  # fmt: skip
    world = await World.open(folder, case)
    try:
        await world.begin()
        state = await world.runtime.settled(world.run)
        takeover, questions = state.open_takeover, Questions(world.store.db)
        assert takeover is not None
        asked = [await questions.ask(f"Q{n}", takeover.id, ASKS, text) for n, text in enumerate(("Why?", "For whom?"))]
        for question in asked:
            assert question is not None
            assert await questions.answer(question, await world.runtime.explain(world.run, question.text))
        await world._do("done: did it", await world.runtime.settled(world.run))
        world.runtime.wake(world.run)
        assert (await world.runtime.settled(world.run)).status.is_final
        stored = world.stored()

        def body(digest: str) -> str:
            return world.store.db.read(lambda conn: read_blob(conn, digest))

        return await replay(world.run, stored, material(world, body, prompts))
    finally:
        await world.close()


async def test_questions_beside_a_run_are_asked_again_each_with_its_own_words(tmp_path: Path) -> None:
    calls = await asked_beside(tmp_path)
    assert [(one.purpose, one.rebuilt, one.same_reading, one.differs) for one in calls] == [
        (purpose, True, True, "") for purpose in ("plan", "work", "question", "question", "work", "answer")
    ]
    first, second = calls[2:4]
    assert ("Why?" in first.request, "For whom?" in first.request) == (True, False)
    assert ("Why?" in second.request, "For whom?" in second.request) == (False, True)
    assert (first.then, second.now) == (("answered: It waits.",), ("answered: For you.",))


async def test_other_prompts_alter_the_questions_too(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "explain.md").write_text("Answer like a harbour master.\n")
    calls = await asked_beside(tmp_path, Prompts.load(folder))
    assert [one.purpose for one in calls if one.differs] == ["question", "question"]
    assert "+Answer like a harbour master." in calls[2].differs


async def waited(folder: Path) -> tuple[str, list[Stored], dict[str, str]]:
    """A run in which U2 and U3 were asked."""
    case = Case(
        "asked", [plan(), use(("touch_medium", {"name": "a"})), end(), say()], "", 0,
        tools=[Touch("touch_medium", "medium")], people=["yes"],
    )  # fmt: skip
    world = await World.open(folder, case)
    try:
        await world.play()
        rows = world.store.db.read(lambda conn: conn.execute("SELECT lower(hex(hash)), body FROM blobs").fetchall())
        return world.run, list(world.stored()), {digest: text.decode() for digest, text in rows}
    finally:
        await world.close()


MEDIUM = '[[rule]]\nname = "touch_medium"\nwhen = "tool == \'touch_medium\'"\ntier = "medium"\nsay = "Its name."\n'


async def test_members_of_a_group_are_those_whom_the_run_asked_for_it(tmp_path: Path) -> None:
    run, stored, bodies = await waited(tmp_path)
    configured = load_policy('version = 1\n[people]\napprovers = ["U2", "S0TEAM"]\n' + MEDIUM)
    configured = replace(configured, shipped=(*configured.shipped, *configured.own), own=())
    groups = _groups(replace(configured, directory=_Registered((), 0.0, {})), stored)
    assert groups == {"S0TEAM": frozenset({"U3"})}
    known = replace(configured, directory=_Registered((), 0.0, groups))
    ((one,), skipped) = rerate(run, stored, known, bodies.__getitem__, reading=())
    assert (one.now.tier, one.changed, skipped) == (Tier.MEDIUM.value, False, 0)
    assert one.now.deciders == (DECIDES.key, "slack:T1:U3")
    unknown = replace(configured, directory=_Registered((), 0.0, {}))
    ((one,), _) = rerate(run, stored, unknown, bodies.__getitem__, reading=())
    assert (one.changed, one.now.deciders) == (True, (DECIDES.key,))


@pytest.mark.needs("git")
def test_a_trusted_mcp_tool_is_known_offline_and_its_server_is_not_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def none() -> NoSandbox:
        return NoSandbox()

    monkeypatch.setattr(driving, "choose", none)
    make_project(tmp_path / "project")
    make_shop(tmp_path / "shop.db")
    terminal = Terminal(tmp_path)
    terminal.run([plan(), use(("mcp__prog__echo", {"text": "x"})), end("No such tool."), say("No.")])
    ((run,),) = terminal.rows("SELECT id FROM runs")
    settings = Settings(
        data=tmp_path / "data", project=tmp_path / "project", mcp={"prog": {"command": "/nonexistent/program"}}
    )

    def again() -> list[dict[str, Any]]:
        capsys.readouterr()
        assert cli_replay_run.replay_run(settings, {}, Wanted(run=run, as_json=True)) == 0
        return json.loads(capsys.readouterr().out)["moves"]

    assert all(move["same_reading"] for move in again())
    echo = Definition(name="echo", description="Say it.", input_schema={"type": "object"})
    with sqlite3.connect(tmp_path / "data" / "secondkey.db") as conn:
        row = ("prog", "echo", echo.hash, echo.model_dump_json(), "local:0", 1.0)
        conn.execute("INSERT INTO mcp_tools VALUES (?, ?, ?, ?, ?, ?)", row)
    conn.close()
    (changed,) = [move for move in again() if not move["same_reading"]]
    assert [line.partition(" (")[0] for line in changed["then"]] == [
        "propose: mcp__prog__echo",
        "refused: TOOL_NOT_ALLOWED",
    ]
    assert [line.partition(" (")[0] for line in changed["now"]] == ["propose: mcp__prog__echo"]

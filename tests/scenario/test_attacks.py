"""What a hostile reviewer tried: texts that stop the bot, changes that nobody can see, a yes that is none any more."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Action, Principal, RunStatus, Task
from agent.errors import ModelError, ToolError
from agent.facts.python import python_facts
from agent.facts.seeds import seed_patterns
from agent.facts.sql import sql_facts
from agent.fakes import ScriptedModel
from agent.ports import ModelReply, ModelRequest, Sandbox, SandboxCall, ToolCall
from agent.runbooks import Runbooks
from agent.sandbox.interpreter import interpreter
from agent.sandbox.none import NoSandbox
from agent.secrets import find_secret, redact
from agent.tools.base import Database, Preview, ToolContext
from agent.tools.calculate import evaluate
from agent.tools.listing import glob_pattern
from agent.tools.sql import QueryArguments, QuerySql
from bot.blocks.call import preview_blocks
from bot.blocks.details import details
from bot.listeners.payload import said_of
from storage.views import ActionView
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.touch import Touch
from tests.scenario.world import INES, OMAR, words

AT_ONCE_S = 1.0
"""Each of these took from several seconds to for ever, on the event loop."""

_SLOW: dict[str, Callable[[], object]] = {
    "comments in Python": lambda: python_facts(f"# drop{'/**/' * 24}x"),
    "comments in SQL": lambda: sql_facts(f"vacuum drop{'/**/' * 24}x", "shop"),
    "rm many times": lambda: seed_patterns("rm -a " * 10_000),
    "a WHERE with many parts": lambda: sql_facts(
        "DELETE FROM t WHERE " + " OR ".join(f"a={number}" for number in range(400)),  # noqa: S608  # read, never run
        "shop",
    ),
    "a glob with many stars": lambda: glob_pattern("*?" * 9 + "!").fullmatch("docs/" + "getting-started" * 3),
    "a glob with many folders": lambda: glob_pattern("**/a/" * 6 + "x").fullmatch("a/" * 60 + "y"),
    "half a token many times": lambda: redact("eyJaaaaaaaa-" * 20_000),
    "marks of Slack that never end": lambda: [_said(mark * 5_000) for mark in ("<!", "<@U1|", "<https://", "<#C1|")],
    "rounding to a billion digits": lambda: _refused("round(5, -3000000)"),
    "a text padded to its width": lambda: _refused("len('%900000000d' % 5)"),
}


def _said(text: str) -> object:
    return said_of({"event": {"user": "U1", "channel": "C1", "ts": "1.0", "text": text}}, "UBOT")


def _refused(expression: str) -> None:
    with pytest.raises(ToolError):
        evaluate(expression)


@pytest.mark.parametrize("name", _SLOW)
def test_no_text_of_a_task_or_a_model_keeps_the_event_loop_busy(name: str) -> None:
    began = time.perf_counter()
    _SLOW[name]()
    assert time.perf_counter() - began < AT_ONCE_S


@pytest.mark.parametrize(
    "text",
    [
        "drop table x",
        "DROP /* a */ TABLE x",
        "drop/**//* */table x",
        "delete/*\n*/from x",
        'echo "/*"; rm -r -f / "*/"',
    ],
)
def test_the_last_net_still_catches_what_it_is_for(text: str) -> None:
    assert seed_patterns(text)


@pytest.mark.parametrize("text", ["rm file; ls -rf", "drop the table", "-rf rm", "git rm -r x | grep -f y"])
def test_the_last_net_still_lets_the_rest_pass(text: str) -> None:
    assert seed_patterns(text) == ()


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("docs/**/*.md", "docs/a.md", True),
        ("docs/**/*.md", "docs/a/b/c.md", True),
        ("**/a/**/b/*.py", "x/a/a/y/b/z.py", True),
        ("**/a/b/**/c", "a/x/a/b/c", True),
        ("**/a/b/**/c", "a/x/b/c", False),
        ("docs/**", "docs/a/b", True),
        ("docs/**", "src/docs/a", False),
        ("*a*b*.md", "x/aabab.md", True),
        ("a*ab", "aab", True),
        ("a*ab", "ab", False),
        ("a?c/*", "abc/d", True),
        ("*.md", "docs/a.mdx", False),
        ("**/**/x", "x", True),
    ],
)
def test_a_glob_that_is_read_faster_still_means_the_same(glob: str, path: str, fits: bool) -> None:  # a table
    assert bool(glob_pattern(glob).fullmatch(path)) is fits


def test_a_signed_token_is_still_found() -> None:
    head, body = "eyJ" + "a" * 60, "eyJ" + "b" * 3_000
    assert find_secret(f"x-{head}.{body}.{'c' * 43}") == "signed token"


async def test_a_read_gives_back_no_more_than_a_journal_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        conn.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(100)])
    conn.close()
    context = ToolContext("r", tmp_path / "w", tmp_path, NoSandbox(), {"shop": Database("shop", path)})
    wide = QueryArguments(database="shop", sql="SELECT hex(zeroblob(200000)) FROM t", limit=100)
    result = await QuerySql().run(wide, context, Preview())
    assert len(result.model_dump_json()) < 300_000
    assert "400,000 characters" in str(result.data)


async def test_a_call_with_arguments_nested_too_deep_is_refused_and_does_not_hang_its_run(open_house: Opened) -> None:
    nested: dict[str, Any] = {}
    for _ in range(700):
        nested = {"a": nested}
    call = ModelReply(text="", calls=(ToolCall("c1", "query_sql", nested),))
    house = await open_house(model=ScriptedModel([script.plan(), call, script.end(), script.say()]))
    ts = await house.ask("do it")
    await house.run_at(ts, RunStatus.COMPLETED)
    assert house.started() == 0


class Broken(ScriptedModel):
    """A client with a bug of its own."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        del request
        raise ZeroDivisionError


async def test_a_bug_in_a_models_client_leaves_no_call_open_and_ends_the_run(open_house: Opened) -> None:
    house = await open_house(model=Broken([]))
    ts = await house.ask("do it")
    run = await house.run_at(ts, RunStatus.PARTIAL, RunStatus.COMPLETED, RunStatus.FAILED)
    assert run.reserved_micro_usd == 0


async def test_a_change_that_nobody_can_read_is_for_a_person(open_house: Opened, sandbox: Sandbox) -> None:
    if sandbox.name == "none":
        pytest.fail("This test needs a sandbox.")
    code = "open('setup.sh', 'wb').write(b'#!/bin/sh\\necho harmless\\n\\x00')"
    replies: list[ModelReply | ModelError] = [
        script.plan(),
        script.use(("run_python", {"code": code})),
        script.use(("apply_changes", {})),
        script.end(),
        script.say(),
    ]
    house = await open_house(model=ScriptedModel(replies))
    await house.ask("add the script")
    card = await house.card("A person has to do this", "cannot be judged by reading it")
    assert "approve" not in words(card)
    assert not (house.project / "setup.sh").exists()


async def test_a_yes_of_somebody_whom_the_policy_no_longer_names_starts_nothing(open_house: Opened) -> None:
    touch = Touch("touch_medium", "medium")
    house = await open_house(tools=(touch,))
    ts = await house.ask("use touch_medium on x")
    card = await house.card("touch_medium")
    await house.control.write("pause", by="local:0")
    await house.click(OMAR, card, "approve")
    await house.until(lambda: house.approvals()[0].state == "approved")
    await house.app.stop()
    policy = house.folder / "policy.toml"
    policy.write_text(policy.read_text().replace(f"approvers = ['{OMAR}', '{INES}']", f"approvers = ['{INES}']"))
    await house.start()
    await house.control.write("resume", by="local:0")
    second = await house.card("touch_medium", "may not decide any more", without=[card])
    assert (dict(touch.done), house.started()) == ({}, 0)
    await house.click(INES, second, "approve")
    await house.run_at(ts, RunStatus.COMPLETED)
    assert house.started() == 1


def test_a_change_behind_the_width_of_the_table_is_shown() -> None:
    columns = tuple(f"c{number}" for number in range(12))
    before = tuple(f"v{number}" for number in range(12))
    preview = Preview(kind="rows", columns=columns, before=(before,), after=((*before[:-1], "stolen"),), count=1)
    assert "v11 → stolen" in str(preview_blocks(preview))


def test_a_long_old_value_does_not_hide_the_new_one() -> None:
    long = "The terms are as follows. " * 10
    preview = Preview(
        kind="rows", columns=("id", "t"), before=((1, long),), after=((1, long + "None at all."),), count=1
    )
    assert "None at all." in str(preview_blocks(preview))


async def test_the_sandbox_shows_nothing_below_usr_that_is_no_part_of_the_system(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    there = [
        folder
        for folder in ("/usr/src", "/usr/local/src", "/usr/local/etc")
        if await asyncio.to_thread(os.path.isdir, folder)
    ]
    code = f"import os; print([os.listdir(folder) for folder in {there}]); open('/usr/src/x', 'w')"
    python = interpreter()
    call = SandboxCall(command=(*python.command, "-c", code), workspace=tmp_path, read_only=python.read_only)
    result = await sandbox.run(call)
    assert there
    assert result.stdout.decode().strip() == f"[{', '.join('[]' for _ in there)}]"
    assert b"Read-only file system" in result.stderr


def test_details_show_the_whole_of_the_longest_code_and_of_a_long_diff() -> None:
    code = "".join(f"line_{number} = {number}\n" for number in range(900))[:16_384]
    diff = "".join(f"+ line {number} of the diff\n" for number in range(2_400))
    action = Action(
        id="a", step=0, turn=0, tool="run_python", arguments={"code": code}, digest="d" * 64, schema_hash="s"
    )
    item = ActionView("a", "asked", None, "", "", 0.0, 0.0, action, None, None)
    view = details(item, "r", Preview(kind="diff", text=diff).model_dump_json())
    shown = "".join(block["text"]["text"] for block in view["blocks"] if block["type"] == "section")
    assert (f"{code[-12:]}\n```" in shown, "line 2399 of the diff" in shown) == (True, True)
    assert len(view["blocks"]) <= 100


def test_a_known_task_with_thousands_of_blanks_in_it_is_none_and_costs_nothing() -> None:
    books = Runbooks.load([Path(str(resources.files("bot").joinpath("demo_runbooks.toml")))])
    task = Task(
        id="t", text=f"Change the price of product 25 to{' ' * 3_900}\0", principal=Principal(team="T", user="U")
    )
    began = time.perf_counter()
    assert books.plan(task) is None
    assert time.perf_counter() - began < AT_ONCE_S / 10


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
async def test_a_body_nested_too_deep_is_not_understood_and_nothing_worse(open_house: Opened, kind: str) -> None:
    house = await open_house(over_http=True)
    nested = "[" * 100_000
    body = nested if kind == "application/json" else f"payload={nested}"
    assert (await house.signed(body, content_type=kind, secret="forged"))[0] == 400

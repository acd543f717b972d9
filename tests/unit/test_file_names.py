"""Files whose names nobody can read as what they are: neither shown, taken over, nor able to stop the run's tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.errors import BadArguments, ToolFailed
from agent.facts.path import is_plain
from agent.sandbox.none import NoSandbox
from agent.tools.apply_changes import ApplyChanges
from agent.tools.base import Preview, ToolContext, ToolResult
from agent.tools.files import ListFiles, ReadFile, WriteFile
from agent.tools.search import Search
from agent.workspace import Workspace

UNREADABLE = (
    b"\xff.txt", b"a\nb.txt", b"a\n+++ b\n@@ -1 +1 @@\n-good\n+evil", b"\x1b[31mred", b"tab\t", b"del\x7f",
    "\u202egnp.exe".encode(), "a\u200bb.txt".encode(), "line\u2028two".encode(), "next\x85line".encode(),
    "\ud800".encode("utf-8", "surrogatepass"), "tag\U000e0041".encode(),
)  # fmt: skip
READABLE = ("-rf", "--help", "ä ö 日本.txt", "<@U1>.txt", "a*b`c", "'quoted' \"name\"", "a:b", "🔑.md")


def put(folder: Path, name: bytes, text: str) -> None:
    Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_text(text)  # noqa: PTH118  names that are none


async def place(folder: Path) -> ToolContext:
    project = folder / "project"
    project.mkdir()
    (project / "ok.txt").write_text("one\n")
    context = ToolContext("r", folder / "w", project, NoSandbox())
    files = await Workspace(context.workspace, project).ensure()
    (files / "ok.txt").write_text("two\n")
    return context


async def done(tool: Any, context: ToolContext, **given: Any) -> tuple[Preview, ToolResult]:
    bound = await tool.bind(tool.parse(given), context)
    await tool.facts(bound, context)
    preview = await tool.preview(bound, context)
    return preview, await tool.run(bound, context, preview)


@pytest.mark.parametrize("name", UNREADABLE, ids=ascii)
async def test_a_name_that_nobody_can_read_is_left_out_and_stops_nothing(name: bytes, tmp_path: Path) -> None:
    context = await place(tmp_path)
    if b"/" not in name:
        put(Workspace(context.workspace, context.project).files, name, "two\n")
    assert (await done(ListFiles(), context))[1].data["files"] == ["ok.txt"]
    assert (await done(Search(), context, query="two"))[1].data["count"] == 1
    preview, result = await done(ApplyChanges(), context)
    assert preview.text == "--- a/ok.txt\n+++ b/ok.txt\n@@ -1 +1 @@\n-one\n+two\n"
    assert result.data["files"] == ["ok.txt"]
    assert os.listdir(context.project) == ["ok.txt"]  # noqa: PTH208  names that are none
    for tool, given in ((ReadFile(), {}), (WriteFile(), {"content": "x"})):
        with pytest.raises((BadArguments, ValidationError)):
            await done(tool, context, path=os.fsdecode(name), **given)


async def test_one_that_stands_in_the_project_is_left_as_it_is(tmp_path: Path) -> None:
    context = await place(tmp_path)
    for name in UNREADABLE:
        put(context.project, name, "theirs\n")
    await done(ApplyChanges(), context)
    found = os.listdir(os.fsencode(context.project))  # noqa: PTH208  as above
    assert sorted(found) == sorted((*UNREADABLE, b"ok.txt"))


async def test_where_nothing_else_was_changed_it_is_said_why_there_is_nothing(tmp_path: Path) -> None:
    context = await place(tmp_path)
    files = Workspace(context.workspace, context.project).files
    (files / "ok.txt").write_text("one\n")
    put(files, UNREADABLE[0], "x")
    with pytest.raises(ToolFailed, match="names that nobody can read"):
        await done(ApplyChanges(), context)


@pytest.mark.parametrize("name", READABLE)
async def test_an_odd_name_that_can_be_read_is_as_good_as_any(name: str, tmp_path: Path) -> None:
    context = await place(tmp_path)
    await done(WriteFile(), context, path=name, content="odd\n")
    assert (await done(ReadFile(), context, path=name))[1].data["text"] == "odd\n"
    preview, _ = await done(ApplyChanges(), context)
    assert f"+++ b/{name}\n" in preview.text
    assert (context.project / name).read_text() == "odd\n"


def test_a_surrogate_of_a_model_is_no_name() -> None:
    assert not is_plain("\ud800.txt")
    assert is_plain("a/b c.txt")

"""run_shell, and what both tools that run a program say of how it ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent.domain import Principal, Tier
from agent.errors import BadArguments, SandboxUnavailable, ToolFailed, ToolNotAllowed
from agent.policy import load_policy
from agent.ports import SandboxResult
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.fake import FakeSandbox
from agent.sandbox.none import NoSandbox
from agent.tools.base import ToolContext, ToolResult
from agent.tools.registry import Registry, default_tools
from agent.tools.shell import RunShell

REGISTRY = Registry(default_tools())


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("one\ntwo\n")
    return ToolContext(run="r1", workspace=tmp_path / "workspaces" / "r1", project=project, sandbox=FakeSandbox())


def with_sandbox(context: ToolContext, sandbox: Any) -> ToolContext:
    return ToolContext(run=context.run, workspace=context.workspace, project=context.project, sandbox=sandbox)


async def call(context: ToolContext, name: str, **arguments: Any) -> ToolResult:
    tool = REGISTRY.get(name)
    given = await tool.bind(tool.parse(arguments), context)
    return await tool.run(given, context, await tool.preview(given, context))


async def rating(context: ToolContext, command: str) -> Tier:
    tool = RunShell()
    facts = await tool.facts(tool.parse({"command": command}), context)
    who = Principal(team="T1", user="U1")
    return load_policy(None).rate("run_shell", {"command": command}, facts, who, read_only=False).tier


async def test_a_command_that_nobody_can_read_needs_a_person_and_one_with_a_seed_pattern_is_high(
    context: ToolContext,
) -> None:
    assert await rating(context, "ls -l") is Tier.LOW
    assert await rating(context, "rm -rf build") is Tier.HIGH
    assert await rating(context, "ä" * 10_000) is Tier.MEDIUM


async def test_a_command_is_refused_where_no_sandbox_works_or_it_cannot_be_one(context: ToolContext) -> None:
    nowhere = with_sandbox(context, NoSandbox())
    with pytest.raises(SandboxUnavailable):
        await call(nowhere, "run_shell", command="ls")
    facts = await RunShell().facts(RunShell().parse({"command": "ls"}), nowhere)
    assert "sandbox_missing" in facts.flags
    with pytest.raises(BadArguments):
        await call(context, "run_shell", command="echo a\0b")
    with pytest.raises(BadArguments):
        await call(context, "run_shell", command="ä" * 16_000)


@pytest.mark.needs("bwrap")
async def test_a_command_works_in_the_copy_and_leaves_the_project_alone(context: ToolContext) -> None:
    real = with_sandbox(context, Bubblewrap())
    result = await call(real, "run_shell", command="sort -r a.txt > b.txt; [[ -f b.txt ]] && head -1 b.txt; exit 3")
    assert result.text == "two\n(exit code 3)"
    assert not result.ok
    assert (context.workspace / "files" / "b.txt").exists()
    assert not (context.project / "b.txt").exists()


@pytest.mark.parametrize("tool", ["run_python", "run_shell"])
async def test_people_and_the_model_are_told_what_a_program_took_too_much_of(context: ToolContext, tool: str) -> None:
    over = SandboxResult(exit_code=-9, stdout=b"", stderr=b"", excess="disk", removed=12)
    arguments = {"code": "1"} if tool == "run_python" else {"command": "ls"}
    result = await call(with_sandbox(context, FakeSandbox([over])), tool, **arguments)
    assert not result.ok
    assert "wrote more than the workspace may hold" in result.summary
    assert "12 files or folders that it wrote were removed again" in result.text


async def test_an_operator_sets_the_limit_of_a_tool_and_the_sandbox_keeps_it(context: ToolContext) -> None:
    registry, sandbox = Registry(default_tools(), timeouts={"run_python": 5.0}), FakeSandbox()
    tool = registry.get("run_python")
    given = tool.parse({"code": "1"})
    here = with_sandbox(context, sandbox)
    await tool.run(given, here, await tool.preview(given, here))
    assert sandbox.calls[0].timeout_s == 4.0
    assert REGISTRY.get("run_python").timeout_s == 30.0
    with pytest.raises(ToolNotAllowed):
        Registry(default_tools(), timeouts={"no_such": 5.0})


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolNotAllowed):
        Registry((RunShell(), RunShell()))


async def test_what_is_not_read_or_searched_is_named_with_the_reason(context: ToolContext) -> None:
    project = context.project
    (project / "data.bin").write_bytes(b"one\0two")
    (project / "latin.txt").write_bytes("übel".encode("latin-1"))
    (project / "huge.txt").write_text("one\n" * 400_000)
    (project / ".env").write_text("PASSWORD=one\n")
    (project / "way").symlink_to("/etc")
    os.mkfifo(project / "pipe")
    for regex in (False, True):
        found = await call(context, "search", query="one", regex=regex)
        assert found.data["hits"] == [{"path": "a.txt", "line": 1, "text": "one"}]
        for said in ("data.bin is not text", "latin.txt is not text", "huge.txt has 1,600,000 bytes"):
            assert said in found.text
        assert "PASSWORD" not in found.text
    for path, said in {
        "pipe": "special file",
        "way": "links are not followed",
        "way/passwd": "behind a link",
        ".env": "not for agents",
        "nothing": "no file",
        "data.bin": "not a text file",
        "huge.txt": "limit",
    }.items():
        with pytest.raises(ToolFailed, match=said):
            await call(context, "read_file", path=path)

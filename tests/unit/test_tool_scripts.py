"""Files that a command runs: which they are, what people see of them, and that another text is another effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.facts.shell import scripts_in
from agent.sandbox.fake import FakeSandbox
from agent.tools.base import ToolContext
from agent.tools.shell import RunShell


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    project = tmp_path / "project"
    project.mkdir()
    (project / "x.sh").write_text("echo one\n")
    (project / ".env").write_text("TOKEN=1\n")
    return ToolContext(run="r1", workspace=tmp_path / "workspaces" / "r1", project=project, sandbox=FakeSandbox())


async def effects(context: ToolContext, command: str) -> set[str]:
    tool = RunShell()
    facts = await tool.facts(tool.parse({"command": command}), context)
    return {one.target for one in facts.effects if one.target.startswith("script:")}


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("sh x.sh", ("x.sh",)), ("cd a && ./b.sh", ("a/b.sh",)), (". env.sh", ("env.sh",)), ("sh /workspace/x", ("x",)),
        ("python3 r.py --all", ("r.py",)), ("npm run lint", ("package.json",)), ("bash -c 'sh y.sh'", ("y.sh",)),
        ("make test", ("Makefile", "makefile", "GNUmakefile")),
        ("ls", ()), ('sh "$X"', ()), ("sh ../x", ()), ("sh 'a\n", ()),
    ],
)  # fmt: skip
def test_the_files_that_a_command_runs_are_named(command: str, paths: tuple[str, ...]) -> None:
    assert scripts_in(command) == paths


async def test_another_text_is_another_effect_and_the_same_text_the_same_under_any_name(context: ToolContext) -> None:
    first = await effects(context, "sh x.sh")
    assert len(first) == 1
    (context.project / "y.sh").write_text("echo one\n")
    assert await effects(context, "bash ./y.sh") == first
    (context.project / "x.sh").write_text("echo two\n")
    assert await effects(context, "sh x.sh") != first
    assert await effects(context, "ls") == set()


async def test_a_file_that_comes_into_being_later_is_another_effect_too(context: ToolContext) -> None:
    missing = await effects(context, "sh z.sh")
    (context.project / "z.sh").write_text("echo\n")
    assert await effects(context, "sh z.sh") != missing


async def test_people_see_what_it_holds_but_nothing_that_usually_holds_secrets(context: ToolContext) -> None:
    tool = RunShell()
    seen = await tool.preview(tool.parse({"command": "sh x.sh; . .env; . missing"}), context)
    assert "x.sh holds:\necho one" in seen.text
    assert "TOKEN" not in seen.text
    (context.project / "x.sh").write_text("#" * 100_000)
    cut = await tool.preview(tool.parse({"command": "sh x.sh"}), context)
    assert "characters left out" in cut.text
    assert len(cut.text) < 5_000


async def test_a_link_out_of_the_copy_is_not_read(context: ToolContext) -> None:
    (context.project / "l.sh").symlink_to("/etc/passwd")
    tool = RunShell()
    seen = await tool.preview(tool.parse({"command": "sh l.sh"}), context)
    assert "root" not in seen.text
    assert await effects(context, "sh l.sh") == {"script:?l.sh"}

"""The tools that need no database: registry, files, search, calculate, run_python, apply_changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.domain import Effect, Worker
from agent.errors import BadArguments, PreviewMismatch, SandboxUnavailable, ToolFailed, ToolNotAllowed, ToolTimedOut
from agent.facts.path import path_flags
from agent.ports import SandboxResult
from agent.sandbox.fake import FakeSandbox
from agent.sandbox.none import NoSandbox
from agent.tools.base import Tool, ToolContext, ToolResult
from agent.tools.beneath import Beneath, clean
from agent.tools.calculate import evaluate
from agent.tools.listing import glob_pattern
from agent.tools.registry import Registry, default_tools
from agent.workspace import Workspace

REGISTRY = Registry(default_tools())


def git(folder: Path, *words: str) -> None:
    subprocess.run(  # noqa: S603 - fixed words
        ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words),  # noqa: S607 - git as the machine has it
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "a.md").write_text("alpha\nBeta\ngamma\n")
    (folder / "run.sh").write_text("#!/bin/sh\necho hi\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "data.bin").write_bytes(b"\0\1\2")
    (folder / ".gitignore").write_text("ignored.txt\nbuild/\n")
    (folder / "ignored.txt").write_text("do not show\n")
    (folder / ".env").write_text("PASSWORD=x\n")
    (folder / "link.md").symlink_to("/etc/passwd")
    git(folder, "init", "-q")
    git(folder, "add", "docs", ".gitignore", "run.sh")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def context(tmp_path: Path, project: Path) -> ToolContext:
    return ToolContext(run="r1", workspace=tmp_path / "workspaces" / "r1", project=project, sandbox=FakeSandbox())


async def call(context: ToolContext, name: str, **arguments: Any) -> ToolResult:
    tool: Tool[Any] = REGISTRY.get(name)
    bound = await tool.bind(tool.parse(arguments), context)
    await tool.facts(bound, context)
    preview = await tool.preview(bound, context)
    assert 0 < len(tool.headline(bound, preview)) <= 150
    return await tool.run(tool.parse(bound.model_dump(mode="json")), context, preview)


def test_there_are_nine_tools_and_each_says_what_it_is() -> None:
    assert REGISTRY.names == (
        "apply_changes",
        "calculate",
        "list_files",
        "query_sql",
        "read_file",
        "run_python",
        "run_shell",
        "search",
        "write_file",
    )
    assert all(tool.description and tool.schema["type"] == "object" for tool in default_tools())


def test_invariant_7_an_unknown_tool_is_refused() -> None:
    with pytest.raises(ToolNotAllowed):
        REGISTRY.get("shell")


@pytest.mark.parametrize(
    ("worker", "missing"),
    [
        (Worker.RESEARCH, {"write_file", "run_python", "run_shell", "apply_changes"}),
        (Worker.REVIEW, {"write_file", "run_shell", "apply_changes"}),
        (Worker.CODE, set[str]()),
    ],
)
def test_a_worker_is_told_only_of_the_tools_on_its_list(worker: Worker, missing: set[str]) -> None:
    assert set(REGISTRY.names) - {spec.name for spec in REGISTRY.specs(worker)} == missing
    for name in missing:
        with pytest.raises(ToolNotAllowed):
            REGISTRY.get(name, worker)


def test_a_tool_is_the_same_tool_for_every_worker() -> None:
    hashes = {REGISTRY.get("query_sql", worker).schema_hash for worker in (None, *Worker)}
    assert len(hashes) == 1


def test_invariant_7_arguments_that_do_not_fit_are_refused() -> None:
    for name, arguments in (
        ("read_file", {"path": 1}),
        ("read_file", {"path": "a", "extra": 1}),
        ("calculate", {}),
        ("run_python", {"code": ""}),
        ("query_sql", {"database": "shop", "sql": "SELECT 1", "limit": 201}),
    ):
        with pytest.raises(ValidationError):
            REGISTRY.get(name).parse(arguments)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\0b", "a\nb", "x" * 2_000])
def test_a_path_that_could_leave_the_project_is_refused(path: str) -> None:
    with pytest.raises(BadArguments):
        clean(path)


@pytest.mark.parametrize("path", ["docs/a.md", "./docs//a.md", "/workspace/docs/a.md", "docs/./a.md"])
def test_a_path_has_one_spelling(path: str) -> None:
    assert clean(path) == "docs/a.md"


@pytest.mark.parametrize("by_parts", [False, True])
def test_no_link_and_no_device_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_parts: bool) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in" / "file").write_text("text")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "in" / "pipe")
    with Beneath(tmp_path / "in") as folder:
        if by_parts:
            monkeypatch.setattr(folder, "open", folder._open_by_parts)
        assert folder.read("file", 100) == b"text"
        for path in ("link", "up/secret", "pipe", "../secret", "."):
            with pytest.raises((ToolFailed, BadArguments)):
                folder.read(path, 100)
        with pytest.raises(ToolFailed):
            folder.read("file", 3)
        with pytest.raises(ToolFailed):
            folder.write("up/new", b"x")
        folder.write("link", b"mine")
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.md", "docs/a.md", True),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/b/a.md", False),
        ("docs/**/*.md", "docs/a.md", True),
        ("**", "docs/b/a.md", True),
        ("docs/**", "src/a.md", False),
        ("a?.md", "ab.md", True),
        ("a[1].md", "a[1].md", True),
    ],
)
def test_a_star_stays_in_its_folder_and_two_stars_do_not(glob: str, path: str, *, matches: bool) -> None:
    assert bool(glob_pattern(glob).fullmatch(path)) is matches


async def test_files_that_git_ignores_links_and_credentials_are_not_listed(context: ToolContext) -> None:
    result = await call(context, "list_files")
    assert result.data["files"] == [".gitignore", "data.bin", "docs/a.md", "run.sh"]
    for path in ("ignored.txt", ".env", "link.md", ".git/config"):
        with pytest.raises(ToolFailed):
            await call(context, "read_file", path=path)


async def test_reading_copies_nothing_and_writing_copies_first(context: ToolContext, project: Path) -> None:
    await call(context, "read_file", path="docs/a.md")
    assert not context.workspace.exists()
    await call(context, "write_file", path="docs/new/b.md", content="new\n")
    assert (project / "docs" / "new").exists() is False
    assert (await call(context, "read_file", path="docs/new/b.md")).text == "new\n"


async def test_lines_are_counted_from_one(context: ToolContext) -> None:
    result = await call(context, "read_file", path="docs/a.md", start=2, end=2)
    assert result.text == "Beta\n"
    assert result.data == {"path": "docs/a.md", "text": "Beta\n", "start": 2, "end": 2, "lines": 3}


async def test_only_text_is_read(context: ToolContext) -> None:
    with pytest.raises(ToolFailed, match="not a text file"):
        await call(context, "read_file", path="data.bin")


@pytest.mark.parametrize(("regex", "query"), [(False, "beta"), (True, "b.ta$")])
async def test_a_search_names_path_and_line(context: ToolContext, query: str, *, regex: bool) -> None:
    result = await call(context, "search", query=query, regex=regex)
    assert result.text == "docs/a.md:2: Beta\n(not searched: data.bin is not text)"
    assert result.data["count"] == 1


async def test_a_broken_pattern_is_bad_arguments(context: ToolContext) -> None:
    with pytest.raises(BadArguments, match="not a regular expression"):
        await call(context, "search", query="(", regex=True)


async def test_a_pattern_that_would_take_for_ever_is_ended(
    context: ToolContext, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.tools.search._PATTERN_TIMEOUT_S", 0.3)
    (project / "long.txt").write_text("a" * 60 + "!")
    with pytest.raises(ToolTimedOut):
        await call(context, "search", query="(a+)+$", regex=True)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1250 * 1.19) / 2", 743.75),
        ("sum([1, 2, 3])", 6),
        ("2 ** 100", str(2**100)),
        ("3 > 2", True),
    ],
)
def test_arithmetic_is_worked_out(expression: str, value: object) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "(10 ** 1000) * (10 ** 2000)",
        "factorial(100000)",
        "__import__('os')",
        "().__class__",
        "[x for x in [1]]",
        "'a' * 1000000000",
        "1 / 0",
        "(" * 250 + "1" + ")" * 250,
        "open('x')",
        "1e308 * 10",
        "",
    ],
)
def test_what_is_no_arithmetic_or_grows_too_large_is_refused(expression: str) -> None:
    with pytest.raises((BadArguments, ToolFailed)):
        evaluate(expression)


async def test_python_is_refused_before_anybody_is_asked_when_there_is_no_sandbox(context: ToolContext) -> None:
    bare = ToolContext(run="r1", workspace=context.workspace, project=context.project, sandbox=NoSandbox())
    tool = REGISTRY.get("run_python")
    arguments = tool.parse({"code": "print(1)"})
    with pytest.raises(SandboxUnavailable):
        await tool.bind(arguments, bare)
    with pytest.raises(SandboxUnavailable):
        await tool.run(arguments, bare, await tool.preview(arguments, bare))
    assert "sandbox_missing" in (await tool.facts(arguments, bare)).flags


async def test_python_sees_the_workspace_and_gives_back_what_it_printed(context: ToolContext) -> None:
    fake = FakeSandbox([SandboxResult(exit_code=3, stdout=b"out\n", stderr=b"err\n")])
    context = ToolContext(run="r1", workspace=context.workspace, project=context.project, sandbox=fake)
    result = await call(context, "run_python", code="print(1)")
    assert result.text == "out\nerr\n(exit code 3)"
    assert result.ok is False
    assert fake.calls[0].workspace == context.workspace / "files"
    assert fake.calls[0].command[-2:] == ("-c", "print(1)")


async def test_python_that_does_not_end_has_timed_out(context: ToolContext) -> None:
    fake = FakeSandbox([SandboxResult(exit_code=-9, stdout=b"", stderr=b"", timed_out=True)])
    context = ToolContext(run="r1", workspace=context.workspace, project=context.project, sandbox=fake)
    with pytest.raises(ToolTimedOut):
        await call(context, "run_python", code="while True: pass")


async def prepared(context: ToolContext) -> tuple[Tool[Any], Any, Any]:
    tool: Tool[Any] = REGISTRY.get("apply_changes")
    bound = await tool.bind(tool.parse({}), context)
    return tool, bound, await tool.preview(bound, context)


async def test_what_is_applied_is_exactly_the_diff_that_was_shown(context: ToolContext, project: Path) -> None:
    await call(context, "write_file", path="docs/a.md", content="alpha\nBETA\ngamma\n")
    await call(context, "write_file", path="docs/b.md", content="new")
    (Workspace(context.workspace, project).files / "run.sh").unlink()
    tool, bound, preview = await prepared(context)
    assert bound.files == ["docs/a.md", "docs/b.md", "run.sh"]
    assert "-Beta\n+BETA\n" in preview.text
    assert "+++ /dev/null" in preview.text
    assert tool.headline(bound, preview) == "Put changes to 3 files into the project"
    facts = await tool.facts(bound, context)
    assert [(item.effect, item.target) for item in facts.effects] == [
        (Effect.MODIFY, "file:docs/a.md"),
        (Effect.CREATE, "file:docs/b.md"),
        (Effect.DELETE, "file:run.sh"),
    ]
    result = await tool.run(bound, context, preview)
    assert result.data["count"] == 3
    assert (project / "docs" / "a.md").read_text() == "alpha\nBETA\ngamma\n"
    assert (project / "docs" / "b.md").read_text() == "new"
    assert not (project / "run.sh").exists()
    backup = context.workspace / "backup" / result.data["backup"]
    assert (backup / "run.sh").read_text() == "#!/bin/sh\necho hi\n"
    with pytest.raises(ToolFailed, match="no changes"):
        await prepared(context)


async def test_a_diff_that_changed_after_it_was_shown_is_not_applied(context: ToolContext, project: Path) -> None:
    await call(context, "write_file", path="docs/a.md", content="one\n")
    tool, bound, preview = await prepared(context)
    await call(context, "write_file", path="docs/a.md", content="two\n")
    with pytest.raises(PreviewMismatch):
        await tool.run(bound, context, preview)
    with pytest.raises(PreviewMismatch):
        await tool.run(bound.model_copy(update={"diff_sha256": "0" * 64}), context, preview)
    assert (project / "docs" / "a.md").read_text() == "alpha\nBeta\ngamma\n"


async def test_a_project_that_moved_since_it_was_copied_is_left_alone(context: ToolContext, project: Path) -> None:
    await call(context, "write_file", path="docs/a.md", content="one\n")
    await call(context, "write_file", path="docs/b.md", content="b\n")
    tool, bound, preview = await prepared(context)
    (project / "docs" / "b.md").write_text("somebody else\n")
    with pytest.raises(PreviewMismatch, match=r"docs/b\.md"):
        await tool.run(bound, context, preview)
    assert (project / "docs" / "a.md").read_text() == "alpha\nBeta\ngamma\n"
    with pytest.raises(PreviewMismatch):
        await prepared(context)


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        (".github/workflows/test.yml", "touches_ci"),
        (".gitlab-ci.yml", "touches_ci"),
        (".ci/run", "touches_ci"),
        (".git/hooks/pre-commit", "touches_ci"),
        (".husky/pre-commit", "touches_ci"),
        (".env", "touches_credentials"),
        ("deploy/.env.production", "touches_credentials"),
        ("keys/server.pem", "touches_credentials"),
        (".ssh/config", "touches_credentials"),
        ("credentials.json", "touches_credentials"),
        ("docs/a.md", ""),
        (".env.example", ""),
        ("docs/keys.md", ""),
    ],
)
def test_a_path_tells_whether_it_is_ci_or_credentials(path: str, flag: str) -> None:
    assert path_flags(path) == ((flag,) if flag else ())


async def test_a_diff_that_adds_a_token_touches_credentials(context: ToolContext) -> None:
    await call(context, "write_file", path="docs/a.md", content="ghp_" + "a" * 36)
    tool, bound, _ = await prepared(context)
    assert "touches_credentials" in (await tool.facts(bound, context)).flags

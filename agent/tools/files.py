"""list_files, read_file and write_file: the project as the run sees it."""

from __future__ import annotations

import asyncio
import stat
from typing import Annotated

from pydantic import Field

from agent.domain import Effect, Intent
from agent.errors import BadArguments, ToolFailed
from agent.facts.model import Facts
from agent.facts.path import path_flags, written_flags
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.beneath import Beneath, clean
from agent.tools.listing import glob_pattern
from agent.workspace import View, Workspace

MOST_READ = 1_048_576
MOST_GIVEN = 65_536
MOST_LISTED = 1_000
MOST_WRITTEN = 1_048_576


class ListArguments(Arguments):
    """Which files."""

    glob: Annotated[str, Field(max_length=300, description="Such as docs/**/*.md or *.py.")] = "**"


class ListFiles(Tool[ListArguments]):
    """List the project's files."""

    name = "list_files"
    description = "List the project's files, by a glob: * stays in a folder, ** does not, *.py finds them everywhere."
    arguments = ListArguments
    read_only = True
    idempotent = True
    exclusive = False

    async def facts(self, arguments: ListArguments, context: ToolContext) -> Facts:
        """It reads names."""
        del arguments, context
        return Facts(effects=(Intent(effect=Effect.READ, target="file:"),), where="workspace", verbs=("list",))

    def headline(self, arguments: ListArguments, preview: Preview) -> str:
        """Such as "List the files docs/*.md"."""
        del preview
        return f"List the files {arguments.glob[:120]}"

    async def run(self, arguments: ListArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """The paths, at most 1,000; raises ToolFailed."""
        del preview
        view = await Workspace(context.workspace, context.project).view()
        pattern = glob_pattern(arguments.glob)
        found = [path for path in view.paths if pattern.fullmatch(path)]
        given = found[:MOST_LISTED]
        more = f"\n({len(found) - len(given):,} more)" if len(found) > len(given) else ""
        return ToolResult(
            text=("\n".join(given) or "No file matches.") + more,
            data={"files": given, "count": len(found)},
            summary=f"{len(found):,} files match {arguments.glob[:80]}",
        )


class ReadArguments(Arguments):
    """Which file and which of its lines."""

    path: str = Field(max_length=1_024, description="Relative to the project.")
    start: Annotated[int, Field(ge=1, description="First line, from 1.")] = 1
    end: Annotated[int | None, Field(ge=1, description="Last line.")] = None


class ReadFile(Tool[ReadArguments]):
    """Read one text file of the project."""

    name = "read_file"
    description = "Read a text file of the project, whole or some of its lines (64 KiB at most a call)."
    arguments = ReadArguments
    read_only = True
    idempotent = True
    exclusive = False

    async def bind(self, arguments: ReadArguments, context: ToolContext) -> ReadArguments:
        """The path in its one spelling; raises BadArguments."""
        del context
        return arguments.model_copy(update={"path": clean(arguments.path)})

    async def facts(self, arguments: ReadArguments, context: ToolContext) -> Facts:
        """It reads one file."""
        del context
        path = clean(arguments.path)
        return Facts(
            effects=(Intent(effect=Effect.READ, target=f"file:{path}"),),
            where="workspace",
            verbs=("read",),
            flags=path_flags(path),
        )

    def headline(self, arguments: ReadArguments, preview: Preview) -> str:
        """Such as "Read docs/a.md"."""
        del preview
        return f"Read {arguments.path[:140]}"

    async def run(self, arguments: ReadArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """The text; raises BadArguments, ToolFailed."""
        del preview
        path = clean(arguments.path)
        view = await Workspace(context.workspace, context.project).view()
        text = await asyncio.to_thread(read_text, view, path)
        lines = text.splitlines(keepends=True)
        end = min(arguments.end or len(lines), len(lines))
        wanted = "".join(lines[arguments.start - 1 : end])
        given = wanted.encode()[:MOST_GIVEN].decode(errors="ignore")
        last = arguments.start - 1 + len(given.splitlines())
        cut = f"\n(cut after 64 KiB, in line {last} of {len(lines)})" if len(given) < len(wanted) else ""
        return ToolResult(
            text=given + cut,
            data={"path": path, "text": given, "start": arguments.start, "end": last, "lines": len(lines)},
            summary=f"{path}, {len(given.splitlines())} of {len(lines)} lines",
        )


def read_text(view: View, path: str) -> str:
    """A text file of the view; raises ToolFailed. Blocks."""
    with Beneath(view.folder) as folder:
        if path not in view.paths:
            raise ToolFailed(_why_not(folder, path))
        data = folder.read(path, MOST_READ)
    if b"\0" in data:
        raise ToolFailed(f"{path} is not a text file.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ToolFailed(f"{path} is not UTF-8 text.") from error


def _why_not(folder: Beneath, path: str) -> str:
    """Why a file that is not on the list is not read."""
    try:
        found = folder.stat(path)
    except OSError:
        return f"{path} lies behind a link, and links are not followed."
    if found is None:
        return f"There is no file {path} in the project."
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link, and links are not followed"))
    kind = next((name for test, name in kinds if test(found.st_mode)), "a special file, which is not read")
    if stat.S_ISREG(found.st_mode):
        kind = "not for agents: it is ignored by git, or may hold credentials"
    return f"{path} is {kind}."


class WriteArguments(Arguments):
    """A file and what shall stand in it."""

    path: str = Field(max_length=1_024, description="Relative to the project; folders are made.")
    content: str = Field(max_length=MOST_WRITTEN, description="The whole new content.")


class WriteFile(Tool[WriteArguments]):
    """Write one file in the run's workspace; the project itself stays as it is."""

    name = "write_file"
    description = (
        "Write a whole text file in this run's own copy of the project. The project changes only through apply_changes."
    )
    arguments = WriteArguments
    idempotent = True

    async def bind(self, arguments: WriteArguments, context: ToolContext) -> WriteArguments:
        """The path in its one spelling; raises BadArguments."""
        del context
        if arguments.path.startswith("~"):
            raise BadArguments("A path must be relative to the project; nothing here knows of a home folder.")
        return arguments.model_copy(update={"path": clean(arguments.path)})

    async def facts(self, arguments: WriteArguments, context: ToolContext) -> Facts:
        """It writes one file of the workspace, which undoes itself by being thrown away."""
        del context
        path = clean(arguments.path)
        return Facts(
            effects=(Intent(effect=Effect.MODIFY, target=f"workspace:{path}"),),
            where="workspace",
            verbs=("write",),
            flags=written_flags(path),
            counts={"files": 1, "bytes": len(arguments.content.encode("utf-8", "surrogatepass"))},
        )

    def headline(self, arguments: WriteArguments, preview: Preview) -> str:
        """Such as "Write docs/a.md in the workspace"."""
        del preview
        return f"Write {arguments.path[:110]} in the workspace"

    async def run(self, arguments: WriteArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Write it; raises BadArguments, ToolFailed."""
        del preview
        path = clean(arguments.path)
        try:
            data = arguments.content.encode()
        except UnicodeEncodeError as error:
            raise ToolFailed("The content has characters that no file can hold.") from error
        files = await Workspace(context.workspace, context.project).ensure()

        def write() -> None:
            with Beneath(files) as folder:
                try:
                    found = folder.stat(path)
                except OSError as error:  # a link or a way out, put there since it was looked at
                    raise ToolFailed(f"{path} cannot be written: {error.strerror}.") from error
                executable = found is not None and bool(found.st_mode & 0o100)
                folder.write(path, data, 0o755 if executable else 0o644)

        await asyncio.to_thread(write)
        return ToolResult(
            text=f"{path} written, {len(data):,} bytes.",
            data={"path": path, "bytes": len(data)},
            summary=f"{path} written in the workspace",
        )

"""apply_changes: puts exactly the diff that people saw into the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from agent.domain import Effect, Intent
from agent.errors import PreviewMismatch, ToolFailed
from agent.facts.model import Facts
from agent.facts.path import path_flags
from agent.secrets import find_secret
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.workspace import Diff, Workspace

#: A longer diff cannot be read by a person in earnest.
_MOST_TEXT = 65_536
_EFFECTS = {"added": Effect.CREATE, "changed": Effect.MODIFY, "removed": Effect.DELETE}
_SIGNS = {"added": "A", "changed": "M", "removed": "D"}


class ApplyArguments(Arguments):
    """Nothing is chosen by the agent: both are filled in, so that a yes is bound to them."""

    diff_sha256: Annotated[str, Field(description="Leave empty; it is filled in.")] = ""
    files: Annotated[list[str], Field(description="Leave empty; it is filled in.")] = []


class ApplyChanges(Tool[ApplyArguments]):
    """Put the workspace's changes into the project."""

    name = "apply_changes"
    description = "Put all changes of this run's workspace into the real project. A person sees the diff first."
    arguments = ApplyArguments

    async def bind(self, arguments: ApplyArguments, context: ToolContext) -> ApplyArguments:
        """Fill in hash and files; raises ToolFailed when nothing changed, PreviewMismatch when the project moved."""
        diff = await _diff(context)
        if not diff.changes:
            left = ", but what cannot be taken over: links, special files, or names that nobody can read"
            raise ToolFailed(
                f"There are no changes in the workspace to put into the project{left if diff.left_out else ''}."
            )
        if diff.conflicts:
            raise PreviewMismatch(
                f"{', '.join(diff.conflicts[:5])} changed in the project since this run copied it;"
                " a new run would start from what is there now."
            )
        return arguments.model_copy(update={"diff_sha256": diff.sha256, "files": list(diff.paths)})

    def unbound(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Without what `bind` filled in, which is everything."""
        del arguments
        return {}

    async def facts(self, arguments: ApplyArguments, context: ToolContext) -> Facts:
        """One effect a file, their number, and whether CI or credentials are touched."""
        del arguments
        diff = await _diff(context)
        flags = list(path_flags(*diff.paths))
        undecidable: list[str] = []
        if len(diff.text) > _MOST_TEXT:
            flags.append("too_large")
            undecidable.append("The diff is too long to be read by a person.")
        if "touches_credentials" not in flags and find_secret(_added_lines(diff.text)):
            flags.append("touches_credentials")
        unreadable = [one.path for one in diff.changes if one.binary and one.after is not None]
        if unreadable:
            undecidable.append(f"What is new in {unreadable[0][:100]} is not text, so nobody can read it here.")
        if diff.conflicts:
            undecidable.append("The project has moved since it was copied.")
        return Facts(
            effects=tuple(Intent(effect=_EFFECTS[one.kind], target=f"file:{one.path}") for one in diff.changes),
            where="project",
            reversibility="compensable",
            verbs=tuple(dict.fromkeys(one.kind for one in diff.changes)),
            flags=tuple(flags),
            counts={"files": len(diff.changes), "bytes": diff.size},
            undecidable=tuple(undecidable),
        )

    async def preview(self, arguments: ApplyArguments, context: ToolContext) -> Preview:
        """The exact diff."""
        del arguments
        diff = await _diff(context)
        text = diff.text
        if len(text) > _MOST_TEXT:
            text = f"{text[:_MOST_TEXT]}\n… the rest of the diff is left out: it is too long to be read.\n"
        return Preview(
            kind="diff",
            text=text,
            columns=("change", "file"),
            after=tuple((_SIGNS[one.kind], one.path) for one in diff.changes[:50]),
            count=len(diff.changes),
            fingerprint=diff.sha256,
        )

    def headline(self, arguments: ApplyArguments, preview: Preview) -> str:
        """Such as "Put changes to 2 files into the project"."""
        count = preview.count or len(arguments.files)
        only = f" ({arguments.files[0][:80]})" if count == 1 and arguments.files else ""
        return f"Put changes to {count:,} file{'' if count == 1 else 's'}{only} into the project"

    async def run(self, arguments: ApplyArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Apply it; raises PreviewMismatch when it is not the diff that people saw, ToolFailed."""
        if not arguments.diff_sha256 or preview.fingerprint != arguments.diff_sha256:
            raise PreviewMismatch
        backup = await Workspace(context.workspace, context.project).apply(arguments.diff_sha256)
        count = len(arguments.files)
        sentence = f"Changes to {count:,} file{'' if count == 1 else 's'} put into the project"
        listed = "\n".join(path for path in arguments.files[:100])
        return ToolResult(
            text=f"{sentence}:\n{listed}",
            data={"files": list(arguments.files), "count": count, "backup": backup.name},
            summary=sentence,
        )


async def _diff(context: ToolContext) -> Diff:
    return await Workspace(context.workspace, context.project).diff()


def _added_lines(text: str) -> str:
    return "\n".join(line[1:] for line in text.split("\n") if line.startswith("+"))

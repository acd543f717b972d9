"""run_python: code over the workspace, in the sandbox."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from pydantic import Field

from agent.errors import BadArguments
from agent.facts.aside import read_aside
from agent.facts.bounds import MAX_BYTES
from agent.facts.model import Facts
from agent.facts.python import python_facts
from agent.sandbox.interpreter import interpreter
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.packages import Packages
from agent.tools.sandboxed import refuse_without_sandbox, run_in_workspace


class PythonArguments(Arguments):
    """The code."""

    code: Annotated[str, Field(min_length=1, max_length=MAX_BYTES, description="Python; print what you want to know.")]


class PythonWithPackages(PythonArguments):
    """The code, and the packages that it imports."""

    packages: Annotated[
        list[str], Field(max_length=20, description="The packages that the code imports beyond the standard library.")
    ] = []


class RunPython(Tool[PythonArguments]):
    """Run Python in the sandbox, with the workspace as its folder and no network."""

    name = "run_python"
    description = (
        "Run Python code (standard library only) in a sandbox without network, 30 seconds at most. The current folder"
        " is this run's own copy of the project; print what you want to know."
    )
    arguments = PythonArguments
    needs_sandbox = True

    def __init__(self, packages: Packages | None = None) -> None:
        """`packages` are those that code may ask for; a set that has changed makes this a new tool."""
        self._packages = packages
        if packages is not None:
            self.arguments = PythonWithPackages
            self.description = (
                "Run Python code in a sandbox without network, 30 seconds at most. The current folder is this run's own"
                " copy of the project; print what you want to know. Beyond the standard library there are these"
                f" packages and no others, each to be named in `packages`: {packages.words}."
            )

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, with the names of the packages."""
        body = self.arguments.model_json_schema()
        if self._packages is not None:
            body["properties"]["packages"]["items"]["enum"] = list(self._packages.names)
        return body

    async def bind(self, arguments: PythonArguments, context: ToolContext) -> PythonArguments:
        """Refuse before anybody is asked; raises SandboxUnavailable, BadArguments."""
        refuse_without_sandbox(context)
        if len(arguments.code.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BadArguments(f"The code is longer than {MAX_BYTES // 1024} KiB.")
        if self._packages is not None:
            self._packages.check(_wanted(arguments))
        return arguments

    async def facts(self, arguments: PythonArguments, context: ToolContext) -> Facts:
        """What its syntax tree says; the sandbox is what holds."""
        facts = await read_aside(python_facts, arguments.code)
        if context.sandbox.name == "none":
            return facts.model_copy(update={"flags": (*facts.flags, "sandbox_missing")})
        return facts

    async def preview(self, arguments: PythonArguments, context: ToolContext) -> Preview:
        """The code itself."""
        del context
        return Preview(kind="text", text=arguments.code)

    def headline(self, arguments: PythonArguments, preview: Preview) -> str:
        """Always the same: the code is the preview."""
        del arguments, preview
        return "Run Python in the sandbox"

    async def run(self, arguments: PythonArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Both streams and the exit code; raises SandboxUnavailable, ToolTimedOut, ToolFailed."""
        del preview
        python = interpreter(context.sandbox.name)
        wanted = _wanted(arguments)
        if self._packages is None or not wanted:
            command = (*python.command, "-c", arguments.code)
            return await run_in_workspace(context, command, what="Python", timeout_s=self.timeout_s)
        self._packages.check(wanted)
        command = (*python.seeing_packages, "-c", arguments.code)
        return await run_in_workspace(
            context,
            command,
            what="Python",
            timeout_s=self.timeout_s,
            read_only=(self._packages.folder,),
            environment={"PYTHONPATH": str(self._packages.folder)},
        )


def _wanted(arguments: PythonArguments) -> list[str]:
    return arguments.packages if isinstance(arguments, PythonWithPackages) else []

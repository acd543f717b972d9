"""run_python: code over the workspace, in the sandbox."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.errors import BadArguments
from agent.facts.aside import read_aside
from agent.facts.bounds import MAX_BYTES
from agent.facts.model import Facts
from agent.facts.python import python_facts
from agent.sandbox.interpreter import interpreter
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.sandboxed import refuse_without_sandbox, run_in_workspace


class PythonArguments(Arguments):
    """The code."""

    code: Annotated[str, Field(min_length=1, max_length=MAX_BYTES, description="Python; print what you want to know.")]


class RunPython(Tool[PythonArguments]):
    """Run Python in the sandbox, with the workspace as its folder and no network."""

    name = "run_python"
    description = (
        "Run Python code (standard library only) in a sandbox without network, 30 seconds at most. The current folder"
        " is this run's own copy of the project; print what you want to know."
    )
    arguments = PythonArguments
    needs_sandbox = True

    async def bind(self, arguments: PythonArguments, context: ToolContext) -> PythonArguments:
        """Refuse before anybody is asked; raises SandboxUnavailable, BadArguments."""
        refuse_without_sandbox(context)
        if len(arguments.code.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BadArguments(f"The code is longer than {MAX_BYTES // 1024} KiB.")
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
        command = (*python.command, "-c", arguments.code)
        return await run_in_workspace(context, command, what="Python", timeout_s=self.timeout_s)

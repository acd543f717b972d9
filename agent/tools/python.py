"""run_python: code over the workspace, in the sandbox."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.errors import BadArguments, SandboxUnavailable, ToolTimedOut
from agent.facts.aside import read_aside
from agent.facts.bounds import MAX_BYTES
from agent.facts.model import Facts
from agent.facts.python import python_facts
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox.interpreter import interpreter
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.workspace import Workspace

_TEXT = 16_384
#: Left for starting and ending the sandbox within the tool's limit, seconds.
_MARGIN_S = 1.0


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
        _refuse_without_sandbox(context)
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
        _refuse_without_sandbox(context)
        python = interpreter()
        files = await Workspace(context.workspace, context.project).ensure()
        call = SandboxCall(
            command=(*python.command, "-c", arguments.code),
            workspace=files,
            timeout_s=self.timeout_s - _MARGIN_S,
            read_only=python.read_only,
        )
        result = await context.sandbox.run(call)
        if result.timed_out:
            raise ToolTimedOut(f"The code did not end within {call.timeout_s:.0f} seconds. {_said(result)}".strip())
        ok = result.exit_code == 0 and not result.truncated
        notes = [] if result.exit_code == 0 else [f"(exit code {result.exit_code})"]
        if result.truncated:
            notes.append("(ended, because it printed more than its limit)")
        return ToolResult(
            text="\n".join((_said(result) or "(no output)", *notes)),
            data={
                "exit_code": result.exit_code,
                "stdout": _decoded(result.stdout),
                "stderr": _decoded(result.stderr),
            },
            summary="Python ran in the sandbox" if ok else _failure(result),
            ok=ok,
        )


def _failure(result: SandboxResult) -> str:
    """The exit code, and the last thing that was said, which with Python is the error itself."""
    last = _decoded(result.stderr).strip().rpartition("\n")[2][:200]
    return f"Python ended with exit code {result.exit_code}" + (f": {last}" if last else "")


def _refuse_without_sandbox(context: ToolContext) -> None:
    if context.sandbox.name == "none":
        raise SandboxUnavailable


def _decoded(data: bytes) -> str:
    text = data.decode(errors="replace")
    if len(text) <= _TEXT:
        return text
    # The end says more than the middle: results and errors stand there.
    return f"{text[: _TEXT // 2]}\n… {len(text) - _TEXT:,} characters left out …\n{text[-_TEXT // 2 :]}"


def _said(result: SandboxResult) -> str:
    return "\n".join(
        part for part in (_decoded(result.stdout).strip("\n"), _decoded(result.stderr).strip("\n")) if part
    )

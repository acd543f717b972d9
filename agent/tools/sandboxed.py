"""What tools that run a program have in common: the call, and what is said of how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from agent.errors import SandboxUnavailable, ToolTimedOut
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox.interpreter import interpreter
from agent.tools.base import ToolContext, ToolResult
from agent.workspace import Workspace

_TEXT = 16_384
_NOTHING: Mapping[str, str] = MappingProxyType({})
#: Left for starting and ending the sandbox within the tool's limit, seconds.
_MARGIN_S = 1.0
_EXCESS = {
    "processes": "it had too many processes or threads at once",
    "memory": "it took too much memory",
    "disk": "it wrote more than the workspace may hold",
}


def refuse_without_sandbox(context: ToolContext) -> None:
    """Raise SandboxUnavailable where no sandbox works."""
    if context.sandbox.name == "none":
        raise SandboxUnavailable


async def run_in_workspace(
    context: ToolContext,
    command: tuple[str, ...],
    *,
    what: str,
    timeout_s: float,
    stdin: bytes = b"",
    read_only: tuple[Path, ...] = (),
    environment: Mapping[str, str] = _NOTHING,
) -> ToolResult:
    """Run a command in the sandbox over the run's workspace, `timeout_s` from call to result.

    `what` names it for people, such as `Python`; `read_only` are further folders that it sees. Raises
    SandboxUnavailable, ToolTimedOut, ToolFailed.
    """
    refuse_without_sandbox(context)
    files = await Workspace(context.workspace, context.project).ensure()
    call = SandboxCall(
        command=command,
        workspace=files,
        stdin=stdin,
        timeout_s=max(_MARGIN_S, timeout_s - _MARGIN_S),
        # Where the workspace is the project itself, what git and its hooks execute on the host is there too.
        protect=(".git",) if files == context.project else (),
        read_only=(*interpreter(context.sandbox.name).read_only, *read_only),
        environment=environment,
    )
    result = await context.sandbox.run(call)
    if result.timed_out:
        raise ToolTimedOut(f"{what} did not end within {call.timeout_s:.0f} seconds. {_said(result)}".strip())
    ok = result.exit_code == 0 and not result.truncated and not result.excess
    return ToolResult(
        text="\n".join((_said(result) or "(no output)", *_notes(result))),
        data={
            "exit_code": result.exit_code,
            "stdout": _decoded(result.stdout),
            "stderr": _decoded(result.stderr),
        },
        summary=f"{what} ran in the sandbox" if ok else _failure(what, result),
        ok=ok,
    )


def _notes(result: SandboxResult) -> list[str]:
    notes = [] if result.exit_code == 0 else [f"(exit code {result.exit_code})"]
    if result.truncated:
        notes.append("(ended, because it printed more than its limit)")
    if result.excess:
        notes.append(f"(ended, because {_EXCESS[result.excess]})")
    if result.removed:
        notes.append(f"({result.removed:,} files or folders that it wrote were removed again)")
    return notes


def _failure(what: str, result: SandboxResult) -> str:
    """Why it was ended, or the exit code and the last thing that was said, which mostly is the error itself."""
    if result.excess:
        return f"{what} was ended, because {_EXCESS[result.excess]}"
    last = _decoded(result.stderr).strip().rpartition("\n")[2][:200]
    return f"{what} ended with exit code {result.exit_code}" + (f": {last}" if last else "")


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

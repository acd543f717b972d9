"""run_shell: a shell command over the workspace, in the sandbox."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from agent.domain import Effect, Intent
from agent.errors import BadArguments
from agent.facts.bounds import MAX_BYTES, too_large
from agent.facts.model import Facts
from agent.facts.seeds import seed_patterns
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.sandboxed import refuse_without_sandbox, run_in_workspace

#: Bash where there is one, for that is what models write; a login shell would read files that nobody asked for.
_SHELL = ("/bin/sh", "-c", 'if [ -x /bin/bash ]; then exec /bin/bash --norc --noprofile -c "$0"; fi; exec sh -c "$0"')

Reader = Callable[[str], Facts]
"""What a command would do, read off its text; whatever it cannot tell is undecidable."""


class ShellArguments(Arguments):
    """The command."""

    command: Annotated[
        str, Field(min_length=1, max_length=MAX_BYTES, description="Such as grep -rn retry src | head -20.")
    ]


def unread(command: str) -> Facts:
    """The facts of a command that no analyser reads: it stays in the workspace, and a person decides."""
    effect = Intent(
        effect=Effect.EXECUTE, target=f"shell:{hashlib.sha256(command.encode('utf-8', 'replace')).hexdigest()[:16]}"
    )
    large = too_large(command)
    flags = (*(("too_large",) if large else ()), *(("seed_pattern",) if seed_patterns(command) else ()))
    return Facts(
        effects=(effect,),
        where="workspace",
        flags=flags,
        counts={"bytes": len(command.encode("utf-8", "surrogatepass"))},
        undecidable=(large or "No analyser reads shell commands here.",),
    )


class RunShell(Tool[ShellArguments]):
    """Run a shell command in the sandbox, with the workspace as its folder and no network."""

    name = "run_shell"
    description = (
        "Run a shell command (bash) in a sandbox without network, 30 seconds at most. The current folder is this run's"
        " own copy of the project."
    )
    arguments = ShellArguments
    needs_sandbox = True

    def __init__(self, read: Reader = unread) -> None:
        self._read = read

    async def bind(self, arguments: ShellArguments, context: ToolContext) -> ShellArguments:
        """Refuse before anybody is asked; raises SandboxUnavailable, BadArguments."""
        refuse_without_sandbox(context)
        if len(arguments.command.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BadArguments(f"The command is longer than {MAX_BYTES // 1024} KiB.")
        if "\0" in arguments.command:
            raise BadArguments("A command cannot hold a NUL.")
        return arguments

    async def facts(self, arguments: ShellArguments, context: ToolContext) -> Facts:
        """What its text says; the sandbox is what holds."""
        facts = self._read(arguments.command)
        if context.sandbox.name == "none":
            return facts.model_copy(update={"flags": (*facts.flags, "sandbox_missing")})
        return facts

    async def preview(self, arguments: ShellArguments, context: ToolContext) -> Preview:
        """The command itself."""
        del context
        return Preview(kind="text", text=arguments.command)

    def headline(self, arguments: ShellArguments, preview: Preview) -> str:
        """Such as "Run in the sandbox: ls -l"."""
        del preview
        return f"Run in the sandbox: {' '.join(arguments.command.split())}"[:150]

    async def run(self, arguments: ShellArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Both streams and the exit code; raises SandboxUnavailable, ToolTimedOut, ToolFailed."""
        del preview
        command = (*_SHELL, arguments.command)
        return await run_in_workspace(context, command, what="The command", timeout_s=self.timeout_s)

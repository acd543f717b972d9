"""run_shell: a shell command over the workspace, in the sandbox."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.errors import BadArguments
from agent.facts.aside import read_aside
from agent.facts.bounds import MAX_BYTES
from agent.facts.model import Facts
from agent.facts.shell import shell_facts
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.sandboxed import refuse_without_sandbox, run_in_workspace
from agent.tools.scripts import intents_of, scripts_of, shown

#: Bash where there is one, for that is what models write; a login shell would read files that nobody asked for.
_SHELL = ("/bin/sh", "-c", 'if [ -x /bin/bash ]; then exec /bin/bash --norc --noprofile -c "$0"; fi; exec sh -c "$0"')


class ShellArguments(Arguments):
    """The command."""

    command: Annotated[
        str, Field(min_length=1, max_length=MAX_BYTES, description="Such as grep -rn retry src | head -20.")
    ]


class RunShell(Tool[ShellArguments]):
    """Run a shell command in the sandbox, with the workspace as its folder and no network."""

    name = "run_shell"
    description = (
        "Run a shell command (bash) in a sandbox without network, 30 seconds at most. The current folder is this run's"
        " own copy of the project."
    )
    arguments = ShellArguments
    needs_sandbox = True

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
        facts = await read_aside(shell_facts, arguments.command)
        if facts.undecidable and (ran := intents_of(await scripts_of(arguments.command, context))):
            facts = facts.model_copy(update={"effects": (*facts.effects, *ran)})
        if context.sandbox.name == "none":
            return facts.model_copy(update={"flags": (*facts.flags, "sandbox_missing")})
        return facts

    async def preview(self, arguments: ShellArguments, context: ToolContext) -> Preview:
        """The command itself, and what stands in the files that it runs."""
        return Preview(kind="text", text=arguments.command + shown(await scripts_of(arguments.command, context)))

    def headline(self, arguments: ShellArguments, preview: Preview) -> str:
        """Such as "Run in the sandbox: ls -l"."""
        del preview
        return f"Run in the sandbox: {' '.join(arguments.command.split())}"[:150]

    async def run(self, arguments: ShellArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Both streams and the exit code; raises SandboxUnavailable, ToolTimedOut, ToolFailed."""
        del preview
        command = (*_SHELL, arguments.command)
        return await run_in_workspace(context, command, what="The command", timeout_s=self.timeout_s)

"""A tool of an MCP server as a gated tool of ours: pinned as it was trusted, looked at again before each start."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, RootModel

from agent.domain import Effect, Intent, canonical
from agent.errors import McpUnavailable, PreviewMismatch, ToolFailed
from agent.facts.amounts import amount_in
from agent.facts.bounds import too_large
from agent.facts.model import Facts
from agent.facts.seeds import seed_patterns
from agent.mcp.definition import Definition, description_for_models, difference, full_name, schema_for_models
from agent.mcp.schema import check_arguments
from agent.mcp.server import McpServer
from agent.mcp.texts import clean, leaves
from agent.tools.base import Preview, Tool, ToolContext, ToolResult

#: Left for what is looked at again before the call, and for its end, seconds.
_MARGIN_S = 1.0
_SHOWN = 8_000


class McpArguments(RootModel[dict[str, Any]]):
    """Arguments as the server's own schema wants them."""

    model_config = ConfigDict(frozen=True)


class McpTool(Tool[McpArguments]):
    """One trusted tool of one server."""

    arguments = McpArguments

    def __init__(self, server: McpServer, pinned: Definition, *, reads: bool = False, timeout_s: float = 30.0) -> None:
        """`reads` is the operator's word, not the server's."""
        self._server, self._pinned = server, pinned
        self.server = server.name
        self.name = full_name(server.name, pinned.name)
        self.description = description_for_models(server.name, pinned)
        self.read_only = self.idempotent = reads
        self.exclusive = not reads
        self.timeout_s = timeout_s

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """The server's schema, its prose cleaned."""
        return schema_for_models(self._pinned)

    @functools.cached_property
    def schema_hash(self) -> str:
        """The hash of everything that was trusted."""
        return hashlib.sha256(f"{self.name}\0{self._pinned.hash}".encode()).hexdigest()

    def parse(self, arguments: Mapping[str, Any]) -> McpArguments:
        """Validated arguments; raises BadArguments, ValueError."""
        given = dict(arguments)
        check_arguments(self._pinned.input_schema, given, len(canonical(given)))
        return McpArguments(given)

    async def bind(self, arguments: McpArguments, context: ToolContext) -> McpArguments:
        """See that the server is there before a person is asked; raises McpUnavailable."""
        del context
        await self._server.offer()
        return arguments

    async def facts(self, arguments: McpArguments, context: ToolContext) -> Facts:
        """What its arguments say, and whether the tool is still what was trusted."""
        del context
        given = arguments.root
        text = "\n".join(leaves(given))
        flags, why = ["network", "mcp"], list[str]()
        if large := too_large(text):
            flags.append("too_large")
            why.append(large)
        if seed_patterns(text):
            flags.append("seed_pattern")
        amount = amount_in(given)
        if amount:
            flags.append("money")
        try:
            if await self._difference():
                flags.append("schema_changed")
                why.append("The server describes this tool otherwise than when it was trusted.")
        except McpUnavailable:
            why.append("The server cannot be reached, so nobody knows whether the tool is still what was trusted.")
        effect = Effect.READ if self.read_only else Effect.EXECUTE
        digest = hashlib.sha256(canonical(given)).hexdigest()[:16]
        effects = [Intent(effect=effect, target=f"mcp:{self._server.name}/{self._pinned.name}:{digest}")]
        if amount and not self.read_only:
            effects.append(Intent(effect=Effect.SPEND, target=f"mcp:{self._server.name}/{self._pinned.name}:{digest}"))
        return Facts(
            effects=tuple(effects),
            where="network",
            reversibility="reversible" if self.read_only else "irreversible",
            verbs=(self._pinned.name.lower(),),
            flags=tuple(flags),
            counts={"bytes": len(text.encode("utf-8", "surrogatepass"))},
            undecidable=tuple(why),
            amount=amount,
        )

    async def preview(self, arguments: McpArguments, context: ToolContext) -> Preview:
        """The call as it would be sent, what the server claims of the tool, and what changed about it."""
        del context
        body = json.dumps(arguments.root, indent=2, ensure_ascii=False, sort_keys=True)
        lines = [f"{self._pinned.name} of the MCP server {self._server.name}", clean(body, _SHOWN)]
        if claims := self._pinned.claims:
            lines.append(f"The server claims, unproved: {', '.join(claims)}.")
        try:
            changed = await self._difference()
        except McpUnavailable:
            changed = ""
        if changed:
            lines.append(f"The tool is not what was trusted any more:\n{changed}")
        return Preview(kind="text", text="\n\n".join(lines), count=1)

    def headline(self, arguments: McpArguments, preview: Preview) -> str:
        """Such as `Call create_issue of the MCP server tracker (title: …)`."""
        del preview
        said = ", ".join(f"{name}: {value}" for name, value in sorted(arguments.root.items()))
        words = f"Call {self._pinned.name} of the MCP server {self._server.name}"
        return (words + (f" ({clean(said, 100)})" if said else "")).replace("\n", " ")[:150]

    async def run(self, arguments: McpArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Call it, unless it changed meanwhile; raises PreviewMismatch, ToolFailed, ToolTimedOut, McpUnavailable."""
        del context, preview
        if await self._difference():
            raise PreviewMismatch("The server changed this tool since it was looked at, so it was not called.")
        limit_s = max(_MARGIN_S, self.timeout_s - _MARGIN_S)
        answer = await self._server.call(self._pinned.name, arguments.root, limit_s)
        what = f"{self._pinned.name} of {self._server.name}"
        if not answer.ok:
            last = answer.text.strip().partition("\n")[0][:200]
            return ToolResult(text=answer.text, data=answer.data, summary=f"{what} failed: {last}", ok=False)
        return ToolResult(text=answer.text, data=answer.data, summary=f"{what} answered")

    async def _difference(self) -> str:
        """How the tool differs now from what was trusted; empty when it does not. Raises McpUnavailable."""
        try:
            offer = await self._server.offer()
        except ToolFailed as error:
            raise McpUnavailable(str(error)) from error
        now = offer.tools.get(self._pinned.name)
        if now is not None and now.hash == self._pinned.hash:
            return ""
        return difference(self._pinned, now) or "It changed."

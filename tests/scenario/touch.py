"""A tool whose effects can be counted, held, slowed down and broken."""

from __future__ import annotations

import asyncio
from collections import Counter

from agent.domain import Effect, Intent
from agent.facts.model import Facts
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult


class TouchArguments(Arguments):
    name: str


class Touch(Tool[TouchArguments]):
    """Counts its effects by name; `hold()` makes it wait, `analyser` makes its facts raise."""

    arguments = TouchArguments

    def __init__(
        self,
        name: str,
        tier: str = "medium",
        *,
        exclusive: bool = True,
        timeout_s: float = 30.0,
        analyser: BaseException | None = None,
        text: str = "",
    ) -> None:
        self.name = name
        self.description = f"Touch, {tier}"
        self.exclusive = exclusive
        self.timeout_s = timeout_s
        self.tier, self.analyser, self.text = tier, analyser, text
        self.done: Counter[str] = Counter()
        self.running = asyncio.Event()
        self.undecidable: tuple[str, ...] = ()
        self.target = ""
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        """Let effects wait from now on."""
        self._free.clear()

    def release(self) -> None:
        """Let them go on."""
        self._free.set()

    async def facts(self, arguments: TouchArguments, context: ToolContext) -> Facts:
        del context
        if self.analyser is not None:
            raise self.analyser
        target = Intent(effect=Effect.MODIFY, target=self.target or f"thing:{arguments.name}")
        return Facts(where="workspace", effects=(target,), undecidable=self.undecidable)

    def headline(self, arguments: TouchArguments, preview: Preview) -> str:
        del preview
        return f"Touch {arguments.name}"[:150]

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        del context, preview
        self.running.set()
        await self._free.wait()
        self.done[arguments.name] += 1
        text = self.text or f"touched {arguments.name}"
        return ToolResult(text=text, data=text, summary=f"Touched {arguments.name}")

"""Analysis beside the event loop: a long text is read in a thread, and one that takes too long is undecidable."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from agent.domain import Effect, Intent
from agent.facts.model import Facts

LIMIT_S = 2.0
"""How long the reading of one text may take, seconds."""
_SHORT = 1_000


async def read_aside(read: Callable[[str], Facts], text: str) -> Facts:
    """The facts that an analyser reads off a text; a short text is read at once."""
    if len(text) <= _SHORT:
        return read(text)
    try:
        async with asyncio.timeout(LIMIT_S):
            return await asyncio.to_thread(read, text)
    except TimeoutError:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return Facts(
            effects=(Intent(effect=Effect.EXECUTE, target=f"text:{digest}"),),
            where="workspace",
            flags=("too_slow",),
            undecidable=("It takes too long to be read.",),
        )

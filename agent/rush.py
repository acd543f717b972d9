"""People who wait for an answer at this very moment: while there are some, the drivers of runs make room for them."""

from __future__ import annotations

import asyncio
from types import TracebackType

LINGERS_S = 0.2
"""How long it stays on after the last one was answered, seconds: who clicks now is seldom alone."""


class Rush:
    """`with rush:` around whatever a person waits for; it is on as long as anything is inside, and a moment longer.

    Only in the loop.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._until = float("-inf")

    @property
    def is_on(self) -> bool:
        """Whether somebody waits now, or did a moment ago."""
        return self._inside > 0 or asyncio.get_running_loop().time() < self._until

    def __enter__(self) -> None:
        self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inside -= 1
        self._until = asyncio.get_running_loop().time() + LINGERS_S

"""People who wait for an answer at this very moment: while there are some, the drivers of runs make room for them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol

LINGERS_S = 0.2
"""How long it stays on after the last one was answered, seconds: who clicks now is seldom alone."""


class Told(Protocol):
    """Whoever has to know."""

    def __call__(self, *, is_rush: bool) -> None:
        """It begins, or it is over."""
        ...


def _nobody(*, is_rush: bool) -> None:
    del is_rush


class Rush:
    """`with rush:` around whatever a person waits for; it is on as long as anything is inside, and a moment longer.

    Only in the loop. `changed` is told when it begins and when it is over.
    """

    def __init__(self, changed: Told = _nobody) -> None:
        self.changed = changed
        self._inside = 0
        self._over: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """Whether somebody waits now, or did a moment ago."""
        return self._inside > 0 or self._over is not None

    def __enter__(self) -> None:
        if not self.is_on:
            self.changed(is_rush=True)
        self._inside += 1
        self._linger_no_more()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inside -= 1
        if not self._inside:
            self._over = asyncio.get_running_loop().call_later(LINGERS_S, self._end)

    def _end(self) -> None:
        self._linger_no_more()
        self.changed(is_rush=False)

    def _linger_no_more(self) -> None:
        if self._over is not None:
            self._over.cancel()
            self._over = None

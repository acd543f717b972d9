"""People who wait for an answer at this very moment: while there are some, the drivers of runs make room for them."""

from __future__ import annotations

from types import TracebackType


class Rush:
    """`with rush:` around whatever a person waits for; it is on as long as anything is inside. Only in the loop."""

    def __init__(self) -> None:
        self._inside = 0

    @property
    def is_on(self) -> bool:
        """Whether somebody waits now."""
        return self._inside > 0

    def __enter__(self) -> None:
        self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inside -= 1

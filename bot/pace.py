"""Which rows may go now: as fast as people read and Slack takes them, what tells a decision first."""

from __future__ import annotations

from typing import Final

from agent.ports import Clock
from bot.posting import Poster
from storage.outbox import OutboxRow

PROGRESS: Final = "progress"
PROGRESS_EVERY_S: Final = 1.0
"""A progress message is not written more often than this."""
MOST_TOLD: Final = 10_000
"""Cards kept in memory whose decision people have seen; beyond that the oldest are forgotten, and yield no more."""


class Pace:
    """Remembers what was written a moment ago, and which cards have told their decision."""

    def __init__(self, poster: Poster, clock: Clock) -> None:
        self._poster, self._clock = poster, clock
        self._written: dict[str, float] = {}
        self._told: dict[str, None] = {}

    def may_go(self, row: OutboxRow, place: str, ahead: int) -> bool:
        """Whether Slack's rates leave room for it, behind as many calls that were let go a moment ago."""
        is_progress = row.kind == PROGRESS
        if is_progress and self._is_fresh(row.key):
            return False
        yields = is_progress or (bool(row.ts) and row.key in self._told)
        return self._poster.is_ready(place, update=bool(row.ts), yields=yields, ahead=ahead)

    def wrote(self, row: OutboxRow) -> None:
        """It is being written now."""
        if row.kind == PROGRESS:
            self._written.pop(row.key, None)  # the latest stands last
            self._written[row.key] = self._clock.monotonic()

    def told(self, row: OutboxRow) -> None:
        """People have seen the decision; what comes of it leaves room for other decisions."""
        self._told[row.key] = None
        while len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]

    def _is_fresh(self, key: str) -> bool:
        since = self._clock.monotonic() - PROGRESS_EVERY_S
        while self._written and self._written[oldest := next(iter(self._written))] <= since:
            del self._written[oldest]
        return key in self._written

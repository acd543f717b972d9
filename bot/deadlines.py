"""Deadlines by APScheduler: one sweep a second and one wake-up at the earliest deadline; never a job an approval.

The deadline itself is a column, written with the approval. A restart loses nothing: the first sweep runs at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # pyright: ignore[reportMissingTypeStubs]  # it ships none

from agent.errors import SecondKeyError
from agent.ports import Clock

SWEEP_EVERY_S = 1.0
BATCH = 100

_log = structlog.get_logger(__name__)


class Deadlines:
    """Expires what is due. `sweep(limit)` does one batch and says how many; `earliest()` is business time or None."""

    def __init__(
        self, sweep: Callable[[int], Awaitable[int]], earliest: Callable[[], float | None], clock: Clock
    ) -> None:
        self._sweep, self._earliest, self._clock = sweep, earliest, clock
        self._scheduler: Any = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._busy = asyncio.Lock()
        self._is_stale = False
        self._armed_for = float("inf")
        self.last_sweep = 0.0
        """Monotonic seconds of the last sweep that ended well; the readiness probe looks at it."""

    def start(self) -> None:
        """Start with a sweep at once, so that what fell due while the process was down is expired first."""
        self._scheduler.add_job(
            self.sweep, "interval", id="sweep", seconds=SWEEP_EVERY_S, next_run_time=self._at(0.0)
        )  # fmt: skip
        self._scheduler.start()
        self.arm()

    def arm(self, key: str = "") -> None:
        """Have the wake-up set to the earliest deadline, whenever deadlines change; many calls at once cost one."""
        del key
        if not self._is_stale:
            self._is_stale = True
            asyncio.get_running_loop().call_soon(self._arm)

    def _arm(self) -> None:
        self._is_stale = False
        if self._busy.locked():
            return  # the sweep arms when it is through
        try:
            earliest = self._earliest()
        except SecondKeyError as error:
            _log.warning("deadline_not_read", error=str(error))  # the sweep of every second finds what is due
            return
        if earliest is None or not self._scheduler.running or earliest == self._armed_for:
            return
        self._armed_for = earliest
        delay = max(0.0, (earliest - self._clock.now()) / self._clock.rate)
        self._scheduler.add_job(
            self.sweep, "date", id="wake", run_date=self._at(delay + 0.001), replace_existing=True
        )  # fmt: skip

    def _at(self, delay: float) -> datetime:
        return datetime.fromtimestamp(self._clock.transport() + delay, tz=UTC)

    async def sweep(self) -> None:
        """Expire everything that is due, a batch at a time; an error is logged and tried again a second later."""
        if self._busy.locked():
            return
        async with self._busy:
            try:
                while await self._sweep(BATCH) >= BATCH:  # noqa: ASYNC110  # nothing is polled
                    await asyncio.sleep(0)  # clicks come in between two batches
                self.last_sweep = self._clock.monotonic()
            except SecondKeyError as error:
                _log.warning("sweep_failed", error=str(error))
                return
            finally:
                self._armed_for = float("inf")  # its job has run, or what it was armed for is over
        self.arm()

    def stop(self) -> None:
        """Sweep no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

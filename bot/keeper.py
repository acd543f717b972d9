"""Keeps the process the one that drives runs: the lease, the control rows and the kill file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agent.errors import LeaseLost, StorageUnavailable
from agent.ports import Clock
from storage.control import Control
from storage.lease import RENEW_EVERY_S, Lease

CONTROL_EVERY_S = 0.25
STANDBY_EVERY_S = 1.0
GIVE_UP_AFTER_S = 9.0
"""A lease that could not be renewed for so long (real seconds) has run out for others a second later."""

_log = structlog.get_logger(__name__)


class Keeper:
    """Renews the lease and takes control rows; `lost` is set when this process must end."""

    def __init__(self, lease: Lease, control: Control, clock: Clock, *, resumed: Callable[[], None]) -> None:
        self._lease, self._control, self._clock, self._resumed = lease, control, clock, resumed
        self._tasks: list[asyncio.Task[None]] = []
        self._look = asyncio.Event()
        self.lost = asyncio.Event()
        self.standing_by = True

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait as a stand-by until the lease is ours; False when `stop` was set first."""
        told = False
        while not stop.is_set():
            if await self._lease.acquire():
                self.standing_by = False
                return True
            if not told:
                told = True
                current = self._lease.current()
                _log.info("standing_by", holder=current.holder if current else "")
            try:
                async with asyncio.timeout(STANDBY_EVERY_S):
                    await stop.wait()
            except TimeoutError:
                continue
        return False

    def start(self) -> None:
        """Start both loops."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._renew(), name="lease"),
            loop.create_task(self._watch(), name="control"),
        ]

    def look(self, key: str = "") -> None:
        """There is a new control row."""
        del key
        self._look.set()

    async def stop(self) -> None:
        """End the loops and let a successor in."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.standing_by:
            try:
                await self._lease.release()
            except StorageUnavailable as error:
                _log.warning("lease_not_released", error=str(error))

    async def _renew(self) -> None:
        renewed = self._clock.monotonic()
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self._lease.renew()
                renewed = self._clock.monotonic()
            except LeaseLost:
                _log.error("lease_lost")
                self.lost.set()
                return
            except StorageUnavailable as error:
                _log.warning("lease_not_renewed", error=str(error))
                if self._clock.monotonic() - renewed > GIVE_UP_AFTER_S:
                    self.lost.set()
                    return

    async def _watch(self) -> None:
        killed = False
        while True:
            try:
                async with asyncio.timeout(CONTROL_EVERY_S):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                killed = await self._take(was_killed=killed)
            except StorageUnavailable as error:
                _log.warning("control_not_read", error=str(error))

    async def _take(self, *, was_killed: bool) -> bool:
        for flag in await self._control.take():
            _log.info("control", kind=flag.kind, run_id=flag.run, by=flag.by)
            if flag.kind == "resume":
                self._resumed()
        killed = self._control.killed_by_file
        if killed and not was_killed:
            _log.warning("kill_file_found")
            await self._control.stop("", by="operator", reason="The kill file stands.")
        return killed

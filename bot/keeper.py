"""Keeps the process the one that drives runs: the lease, the control rows, the kill file, and the audit's chores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.errors import LeaseLost, SecondKeyError, StorageUnavailable
from agent.ports import Clock
from storage.control import Control
from storage.lease import RENEW_EVERY_S, Lease
from storage.retention import RETAIN_EVERY_S, Retention
from storage.scopes import Scope
from storage.signer import SIGN_EVERY_S, Signer

CONTROL_EVERY_S = 0.1
"""Half of the 250 ms within which a flag of another process is taken, less what taking it costs."""
STANDBY_EVERY_S = 1.0
LAST_SIGNATURE_S = 3.0

_log = structlog.get_logger(__name__)


class Keeper:
    """Renews the lease and takes control rows; `lost` is set when this process must end."""

    def __init__(
        self,
        lease: Lease,
        control: Control,
        clock: Clock,
        *,
        resumed: Callable[[], None],
        signer: Signer | None = None,
        retention: Retention | None = None,
        undo: Callable[[], Awaitable[object]] | None = None,
        tidy: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self._lease, self._control, self._clock, self._resumed = lease, control, clock, resumed
        self._signer, self._retention, self._undo, self._tidy = signer, retention, undo, tidy
        self._tasks: list[asyncio.Task[None]] = []
        self._look = asyncio.Event()
        self.lost = asyncio.Event()
        self.standing_by = True

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait as a stand-by until the lease is ours; False when `stop` was set first."""
        told = ""
        while not stop.is_set():
            try:
                if await self._lease.acquire():
                    self.standing_by = False
                    return True
                current = self._lease.current()
                holder = current.holder if current else "somebody who just let go"
            except StorageUnavailable as error:
                holder = str(error)  # a database that is locked or full for a while is waited for
            if told != holder:
                told = holder
                _log.info("standing_by", holder=holder)
            try:
                async with asyncio.timeout(STANDBY_EVERY_S):
                    await stop.wait()
            except TimeoutError:
                continue
        return False

    async def try_acquire(self) -> bool:
        """Take the lease now or not at all; raises StorageUnavailable."""
        self.standing_by = not await self._lease.acquire()
        return not self.standing_by

    def start(self) -> None:
        """Start the loops."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._renew(), name="lease"),
            loop.create_task(self._watch(), name="control"),
        ]
        if self._signer is not None:
            self._tasks.append(loop.create_task(_every(SIGN_EVERY_S, "sign", self._signer.sign), name="audit"))
        if self._retention is not None:
            self._tasks.append(loop.create_task(_every(RETAIN_EVERY_S, "retain", self._retain), name="retention"))
        if self._tidy is not None:
            self._tasks.append(loop.create_task(_every(RETAIN_EVERY_S, "tidy", self._remove_workspaces), name="tidy"))

    def look(self, key: str = "") -> None:
        """There is a new control row."""
        del key
        self._look.set()

    async def stop(self) -> None:
        """End the loops, sign what moved since the last minute, and let a successor in."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.standing_by:
            return
        if self._signer is not None and self._tasks and not self.lost.is_set():
            await _chore("sign", self._signer.sign, LAST_SIGNATURE_S)
        try:
            await self._lease.release()
        except StorageUnavailable as error:
            _log.warning("lease_not_released", error=str(error))

    async def _renew(self) -> None:
        """Renew for as long as nobody else has the lease; a database out of order for a while does not end us."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self._lease.renew()
            except StorageUnavailable as error:
                _log.warning("lease_not_renewed", error=str(error))
            except LeaseLost:
                if not await self._regain():
                    _log.error("lease_lost")
                    self.lost.set()
                    return

    async def _regain(self) -> bool:
        try:
            if not await self._lease.regain():
                return False
        except StorageUnavailable as error:
            _log.warning("lease_not_renewed", error=str(error))
            return True
        _log.warning("lease_regained")
        self._resumed()  # drivers gave up when their starts found no lease
        return True

    async def _watch(self) -> None:
        killed: tuple[Scope, ...] = ()
        if self._undo is not None:
            await _chore("undo", self._undo)  # what was ordered while nobody was here
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

    async def _take(self, *, was_killed: tuple[Scope, ...]) -> tuple[Scope, ...]:
        for flag in await self._control.take():
            _log.info("control", kind=flag.kind, run_id=flag.run, by=flag.by)
            if flag.kind == "resume":
                self._resumed()
            if flag.kind == "undo" and self._undo is not None:
                await _chore("undo", self._undo)
        killed = self._control.kill_scopes()
        for scope in killed:
            is_new = scope not in was_killed
            if is_new:
                _log.warning("kill_file_found", scope=str(scope))
            # What was asked for since then ends as well; but for a run that comes to need a killed tool: that waits.
            if is_new or (scope.kind != "tool" and self._control.unstopped(scope)):
                await self._control.stop(scope=scope, by="operator", reason=f"The kill file stands ({scope}).")
        if set(was_killed) - set(killed):
            self._resumed()  # what it held back may start now
        return killed

    async def _retain(self) -> None:
        if self._retention is None:
            return
        dropped = await self._retention.drop()
        if dropped.runs:
            _log.info("payloads_dropped", runs=dropped.runs, events=dropped.events, bodies=dropped.bodies)

    async def _remove_workspaces(self) -> None:
        if self._tidy is not None and (gone := await self._tidy()):
            _log.info("workspaces_removed", runs=gone)


async def _every(seconds: float, name: str, chore: Callable[[], Awaitable[object]]) -> None:
    """Do it now and every so many real seconds."""
    while True:
        await _chore(name, chore)
        await asyncio.sleep(seconds)


async def _chore(name: str, chore: Callable[[], Awaitable[object]], limit_s: float | None = None) -> None:
    """Do it once; what keeps it from being done is logged, and it is done the next time."""
    try:
        async with asyncio.timeout(limit_s):
            await chore()
    except (SecondKeyError, OSError) as error:  # a timeout is an OSError
        _log.error("audit_chore_failed", chore=name, error=str(error), fix=getattr(error, "fix", ""))
    except Exception:  # noqa: BLE001  # logged with its trace; a fault in a chore must not end the chores
        _log.exception("audit_chore_failed", chore=name)

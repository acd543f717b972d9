"""One untrusted program from its start to its last process: streams, time, limits, and what stays afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox.monitor import Monitor, Watched
from agent.sandbox.quota import Quota
from agent.sandbox.resident import Resident

_CHUNK = 65_536
#: How long the streams may take to close once everything was killed, seconds.
_DRAIN_S = 5.0
NICENESS = 10
"""Added to that of this process."""
#: The sandbox's own processes, beside the program's.
_OWN_TASKS = 3


@dataclass(frozen=True, slots=True)
class Start:
    """How a sandbox is started: the command with its arguments, and the descriptors that it inherits."""

    arguments: tuple[str, ...]
    inherit: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the started process, and so readable inside; nothing of the caller's own."""
    is_nice: bool = False
    """Whether it takes the lower priority by itself, which saves starting one program more."""


class Supervisor:
    """Runs programs. Killing the started process, or its group, must end everything that it started."""

    def __init__(self) -> None:
        self._monitor = Monitor()
        self._nice = shutil.which("nice")

    async def run(self, start: Start, call: SandboxCall, folders: tuple[Path, ...]) -> SandboxResult:
        """Run to the end or a limit; cancelling kills. `folders` keep within the call's room.

        Raises SandboxUnavailable. The exit code is that of the started process.
        """
        began = time.perf_counter()
        quotas = await asyncio.to_thread(_quotas, call, folders)
        process = await self._started(start)
        watched = self._watch(process, call, quotas)
        kill = _Killer(process)
        out, err = bytearray(), bytearray()
        streams = asyncio.gather(
            _feed(process.stdin, call.stdin),
            _collect(process.stdout, out, call.output_bytes, kill),
            _collect(process.stderr, err, call.output_bytes, kill),
        )
        timed_out = False
        try:
            try:
                async with asyncio.timeout(call.timeout_s):
                    await asyncio.gather(streams, process.wait())
            except TimeoutError:
                timed_out = True
        finally:
            streams.cancel()
            await asyncio.gather(streams, return_exceptions=True)
            await _end(process)
            excess = self._monitor.release(watched) if watched is not None else ""
            removed = await asyncio.shield(asyncio.to_thread(_keep, quotas))
        return SandboxResult(
            exit_code=process.returncode if process.returncode is not None else -9,
            stdout=bytes(out),
            stderr=bytes(err),
            timed_out=timed_out,
            truncated=kill.for_output,
            duration_s=time.perf_counter() - began,
            excess=excess or ("disk" if removed else ""),
            removed=removed,
        )

    @contextlib.asynccontextmanager
    async def hold(self, start: Start, call: SandboxCall, folders: tuple[Path, ...]) -> AsyncGenerator[Resident]:
        """Start a program and leave it running while the block lasts; raises SandboxUnavailable.

        The call's limits on memory, processes and room hold; its limits on time and output are for the caller to keep.
        """
        quotas = await asyncio.to_thread(_quotas, call, folders)
        process = await self._started(start)
        watched = self._watch(process, call, quotas)
        assert process.stdin is not None  # noqa: S101 - all three are pipes
        assert process.stdout is not None  # noqa: S101 - as above
        assert process.stderr is not None  # noqa: S101 - as above
        resident = Resident(process.pid, process.stdin, process.stdout, process.stderr)
        try:
            yield resident
        finally:
            await asyncio.shield(self._settle(process, watched, quotas, resident))

    async def _settle(
        self,
        process: asyncio.subprocess.Process,
        watched: Watched | None,
        quotas: tuple[Quota, ...],
        resident: Resident,
    ) -> None:
        await _end(process)
        excess = self._monitor.release(watched) if watched is not None else ""
        removed = await asyncio.to_thread(_keep, quotas)
        resident.excess = excess or ("disk" if removed else "")

    async def _started(self, start: Start) -> asyncio.subprocess.Process:
        starting = asyncio.ensure_future(self._spawn(start))
        try:
            # A cancellation must not fall into the start: the inner process would be left waiting for ever.
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxUnavailable):
                await _end(await starting)
            raise

    def _watch(
        self, process: asyncio.subprocess.Process, call: SandboxCall, quotas: tuple[Quota, ...]
    ) -> Watched | None:
        try:
            return self._monitor.watch(
                process.pid, tasks=call.processes + _OWN_TASKS, memory=call.memory_bytes, quotas=quotas
            )
        except ProcessLookupError:
            return None  # it has ended, and was waited for, already

    async def _spawn(self, start: Start) -> asyncio.subprocess.Process:
        # Behind everything else on the machine, so that what watches it always gets its turn.
        nice = (self._nice, "-n", str(NICENESS)) if self._nice and not start.is_nice else ()
        try:
            return await asyncio.create_subprocess_exec(
                *nice,
                *start.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=start.inherit,
                # Empty, because the caller's environment stays readable in /proc/1/environ in spite of --clearenv.
                env=dict(start.environment),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailable(f"The sandbox could not be started: {error.strerror}.") from error


class _Killer:
    """Kills the sandbox, once or often; remembers whether the output was why."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.for_output = False

    def __call__(self) -> None:
        # SIGKILL on the outer process takes the whole PID namespace with it, daemons and all. The group is for the
        # first millisecond, in which the inner process does not yet die with the outer one.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                # Not `Process.kill`, which looks whether it has ended and so takes its exit code from asyncio.
                os.kill(self._process.pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill whatever still runs and wait until it is gone and its pipes are closed."""
    _Killer(process)()
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(_DRAIN_S):
            for stream in (process.stdout, process.stderr):
                # A pipe that is not read to its end is never closed.
                while stream is not None and await stream.read(_CHUNK):
                    pass
            await process.wait()


def _quotas(call: SandboxCall, folders: tuple[Path, ...]) -> tuple[Quota, ...]:
    try:
        return tuple(Quota.of(folder, size=call.disk_bytes, entries=call.disk_entries) for folder in folders)
    except OSError as error:
        raise SandboxUnavailable(f"The workspace cannot be looked at: {error.strerror}.") from error


def _keep(quotas: tuple[Quota, ...]) -> int:
    return sum(quota.keep() for quota in quotas)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    # A program need not read what it is given.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _collect(stream: asyncio.StreamReader | None, into: bytearray, limit: int, kill: _Killer) -> None:
    while stream is not None and (chunk := await stream.read(_CHUNK)):
        room = limit - len(into)
        into += chunk[:room]
        if len(chunk) > room:
            kill.for_output = True
            kill()
            return

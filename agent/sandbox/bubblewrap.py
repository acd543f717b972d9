"""Namespaces by bubblewrap, system calls by our seccomp filter, resources by prlimit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import signal
import time
from pathlib import Path

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox.seccomp import program
from agent.sandbox.selftest import prove

_LIMITS = ("--nproc=64", "--as=1073741824", "--fsize=67108864", "--nofile=256", "--core=0")
_TMP_BYTES = 67_108_864
_MOUNT = "/workspace"
_ROOT_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
#: Below /usr, but no part of the system: container images keep the application itself there, secrets and all.
_NOT_SYSTEM = ("/usr/src", "/usr/local/src", "/usr/local/etc")
_CHUNK = 65_536
#: How long the streams may take to close once everything was killed, seconds.
_DRAIN_S = 5.0


class Bubblewrap:
    """The first choice. `masked_proc` leaves out what a container with a masked /proc does not permit."""

    def __init__(self, *, masked_proc: bool = False, command: str = "bwrap") -> None:
        self._masked_proc = masked_proc
        self._bwrap = shutil.which(command)
        self._prlimit = shutil.which("prlimit")

    @property
    def name(self) -> str:
        """`bubblewrap`."""
        return "bubblewrap"

    async def self_test(self) -> str:
        """Prove the walls with canaries; returns an empty string when they hold, else what leaked."""
        return await prove(self)

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Run a command to its end or limit; cancelling kills everything in it. Raises SandboxUnavailable."""
        if self._bwrap is None or self._prlimit is None:
            raise SandboxUnavailable("bubblewrap is not installed here, so tools that need a sandbox are refused.")
        started = time.perf_counter()
        starting = asyncio.ensure_future(self._start(call))
        try:
            # A cancellation must not fall into the start: bubblewrap's inner process would be left waiting for ever.
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxUnavailable):
                await _end(await starting)
            raise
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
        return SandboxResult(
            exit_code=process.returncode if process.returncode is not None else -9,
            stdout=bytes(out),
            stderr=bytes(err),
            timed_out=timed_out,
            truncated=kill.for_output,
            duration_s=time.perf_counter() - started,
        )

    async def _start(self, call: SandboxCall) -> asyncio.subprocess.Process:
        # The filter is inherited as a descriptor; --die-with-parent follows the thread that spawns, here the loop's.
        with open(os.memfd_create("seccomp"), "w+b") as filter_file:  # noqa: ASYNC230, PTH123 - memory, never blocks
            filter_file.write(program(platform.machine()))
            filter_file.seek(0)
            arguments = self._arguments(call, filter_file.fileno())
            try:
                return await asyncio.create_subprocess_exec(
                    *arguments,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=(filter_file.fileno(),),
                    # Empty, because the caller's environment stays readable in /proc/1/environ in spite of --clearenv.
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                raise SandboxUnavailable(f"The sandbox could not be started: {error.strerror}.") from error

    def _arguments(self, call: SandboxCall, filter_fd: int) -> tuple[str, ...]:
        words = [str(self._bwrap), "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        if not self._masked_proc:
            words += ["--disable-userns"]
        words += ["--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "sbx"]
        words += ["--ro-bind", "/usr", "/usr", *_root_folders()]
        for folder in _NOT_SYSTEM:
            if Path(folder).is_dir():
                words += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
        for folder in call.read_only:
            words += ["--ro-bind", str(folder), str(folder)]
        if not self._masked_proc:
            words += ["--proc", "/proc"]
        # A plain --dev leaves /dev and /dev/shm as memory file systems without a limit.
        words += ["--dev", "/dev", "--size", str(_TMP_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108 - inside the sandbox
        words += ["--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 - inside the sandbox
        words += ["--bind", str(call.workspace), _MOUNT, "--chdir", _MOUNT, "--remount-ro", "/"]
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **call.environment}  # noqa: S108 - as above
        for name, value in environment.items():
            words += ["--setenv", name, value]
        seconds = max(1, min(30, int(call.timeout_s) + 1))
        return (
            *words,
            "--seccomp",
            str(filter_fd),
            "--",
            str(self._prlimit),
            *_LIMITS,
            f"--cpu={seconds}",
            "--",
            *call.command,
        )


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
                self._process.kill()


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


def _root_folders() -> list[str]:
    """/bin, /lib and their like, as links into /usr where they are such, else bound read-only."""
    words: list[str] = []
    for name in _ROOT_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            words += ["--symlink", os.readlink(folder), f"/{name}"]  # noqa: PTH115 - as text, not resolved
        elif folder.is_dir():
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    return words


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

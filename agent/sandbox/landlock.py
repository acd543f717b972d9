"""The fallback where namespaces are not permitted: Landlock, our seccomp filter, resource limits, no root.

It has no namespaces: paths are the host's, names and sizes of files outside can be seen (not their content), and the
workspace is the current folder, not /workspace.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import platform
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox import launcher
from agent.sandbox.launcher import landlock_version
from agent.sandbox.quota import remove_tree
from agent.sandbox.resident import Resident
from agent.sandbox.seccomp import program
from agent.sandbox.selftest import prove
from agent.sandbox.supervisor import NICENESS, Start, Supervisor
from agent.sandbox.unprivileged import give, user_for

if TYPE_CHECKING:
    from agent.sandbox.launcher import Task

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
#: The kernel counts by user, and without root that is ours, with all that it runs; our own count is what holds.
_SHARED_TASKS = 4_096
_NOT_SYSTEM = frozenset({"/usr/src", "/usr/local/src", "/usr/local/etc"})
_SIGNAL_EXIT = 128
#: Reads the launcher, compiled by us once and not by each call, and its task from the first descriptor named.
_BOOT = """
import marshal, sys
with open(int(sys.argv[1]), "rb") as file:
    code, task = marshal.load(file)
scope = {"__name__": "launcher"}
exec(code, scope)
scope["main"](task)
"""


class Landlock:
    """The second choice. As root it gives root up for what it runs."""

    def __init__(self) -> None:
        self._supervisor = Supervisor()
        self._python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        source = Path(str(launcher.__file__))
        self._launcher = compile(source.read_text(encoding="utf-8"), source.name, "exec", dont_inherit=True)

    @property
    def name(self) -> str:
        """`landlock`."""
        return "landlock"

    async def self_test(self) -> str:
        """Prove the walls with canaries; returns an empty string when they hold, else what leaked."""
        return await prove(self)

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Run a command to its end or limit; cancelling kills everything in it. Raises SandboxUnavailable."""
        async with self._start(call) as (start, folders, said):
            result = await self._supervisor.run(start, call, folders)
            return replace(result, exit_code=_exit_code(said, result.exit_code))

    @contextlib.asynccontextmanager
    async def hold(self, call: SandboxCall) -> AsyncGenerator[Resident]:
        """A command that is talked to until the block ends; then everything in it is killed."""
        async with (
            self._start(call) as (start, folders, _),
            self._supervisor.hold(start, call, folders) as resident,
        ):
            yield resident

    @contextlib.asynccontextmanager
    async def _start(self, call: SandboxCall) -> AsyncGenerator[tuple[Start, tuple[Path, ...], int]]:
        version = landlock_version()
        if not version:
            raise SandboxUnavailable("This kernel has no Landlock, so tools that need a sandbox are refused.")
        async with contextlib.AsyncExitStack() as stack:
            user = user_for(call.workspace)
            if not user and call.protect:
                raise SandboxUnavailable("Without root this sandbox cannot work in the project itself.")
            try:
                scratch = await stack.enter_async_context(_scratch(user))
                await asyncio.to_thread(give, call.workspace, user, call.protect)
            except OSError as error:
                raise SandboxUnavailable(f"The workspace cannot be handed over: {error.strerror}.") from error
            # The launcher ends with everything when our end of this pipe is closed, by whatever.
            theirs, _ours = _pipe(stack)
            said, say = _pipe(stack)
            task = stack.enter_context(open(os.memfd_create("task"), "w+b"))  # noqa: ASYNC230, PTH123, SIM115 - memory
            told: Any = (self._launcher, self._task(call, scratch, user, version))
            task.write(marshal.dumps(told))
            task.flush()
            task.seek(0)
            inherit = (task.fileno(), theirs, say)
            words = (str(self._python), "-I", "-S", "-B", "-c", _BOOT, *(str(number) for number in inherit))
            yield Start(words, inherit, is_nice=True), (call.workspace, scratch), said

    def _task(self, call: SandboxCall, scratch: Path, user: int, version: int) -> Task:
        seconds = call.cpu_s or max(1, min(30, int(call.timeout_s) + 1))
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "LANG": "C.UTF-8",
            **call.environment,
        }
        return {
            "command": call.command,
            "environment": environment,
            "folder": str(call.workspace),
            "user": user,
            "nice": NICENESS,
            "read": [*_system(), *(str(folder) for folder in call.read_only)],
            "devices": [path for path in _DEVICES if Path(path).exists()],
            "write": [str(call.workspace), str(scratch)],
            "limits": {
                "RLIMIT_AS": 1_073_741_824,
                "RLIMIT_FSIZE": 67_108_864,
                "RLIMIT_NOFILE": 256,
                "RLIMIT_CORE": 0,
                "RLIMIT_CPU": seconds,
                "RLIMIT_NPROC": call.processes if user else _SHARED_TASKS,
            },
            "filter": program(platform.machine(), alone=bool(user), landlock=version),
        }


def _system() -> list[str]:
    """The folders of /usr, without those that hold no part of the system, and /bin, /lib and their like."""
    found: list[str] = []
    for folder in ("/usr", "/usr/local"):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            names = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            found += [path for path in sorted(names) if path not in _NOT_SYSTEM and path != "/usr/local"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if Path(name).is_dir() and not Path(name).is_symlink():
            found.append(name)
    return found


@contextlib.asynccontextmanager
async def _scratch(user: int) -> AsyncGenerator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="secondkey-scratch-"))
    try:
        if user:
            os.chown(folder, user, user)
        yield folder
    finally:
        try:
            folder.rmdir()  # noqa: ASYNC240 - a moment; mostly nothing was left there
        except OSError:
            await asyncio.shield(asyncio.to_thread(remove_tree, folder))


def _pipe(stack: contextlib.AsyncExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    os.set_blocking(ends[0], False)
    return ends


def _exit_code(said: int, otherwise: int) -> int:
    try:
        code = int(os.read(said, 16))
    except (OSError, ValueError):
        return otherwise  # it was killed before it could tell
    return code if code >= 0 else _SIGNAL_EXIT - code

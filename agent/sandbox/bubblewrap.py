"""Namespaces by bubblewrap, system calls by our seccomp filter, resources by prlimit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult
from agent.sandbox.resident import Resident
from agent.sandbox.seccomp import program
from agent.sandbox.selftest import prove
from agent.sandbox.supervisor import Start, Supervisor
from agent.sandbox.unprivileged import give, user_for

_LIMITS = ("--as=1073741824", "--fsize=67108864", "--nofile=256", "--core=0")
_TMP_BYTES = 67_108_864
_MOUNT = "/workspace"
#: Programs that Debian reaches by way of /etc, where which of several is meant stands; there is no /etc inside.
_CHOSEN, _CHOSEN_FOLDER = ("awk", "nawk", "which"), "/chosen"
_ROOT_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
#: Below /usr, but no part of the system: container images keep the application itself there, secrets and all.
_NOT_SYSTEM = ("/usr/src", "/usr/local/src", "/usr/local/etc")


class Bubblewrap:
    """The first choice. `masked_proc` leaves out what a container with a masked /proc does not permit."""

    def __init__(self, *, masked_proc: bool = False, command: str = "bwrap") -> None:
        self._masked_proc = masked_proc
        self._bwrap = shutil.which(command)
        self._prlimit = shutil.which("prlimit")
        self._setpriv = shutil.which("setpriv")
        self._supervisor = Supervisor()

    @property
    def name(self) -> str:
        """`bubblewrap`."""
        return "bubblewrap"

    async def self_test(self) -> str:
        """Prove the walls with canaries; returns an empty string when they hold, else what leaked."""
        return await prove(self)

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Run a command to its end or limit; cancelling kills everything in it. Raises SandboxUnavailable."""
        async with self._start(call) as start:
            return await self._supervisor.run(start, call, (call.workspace,))

    @contextlib.asynccontextmanager
    async def hold(self, call: SandboxCall) -> AsyncGenerator[Resident]:
        """A command that is talked to until the block ends; then everything in it is killed.

        Its environment is passed by inheritance, not in arguments that every user of the machine can list.
        """
        ours = {name: value for name, value in call.environment.items() if name in {"PATH", "HOME", "LANG"}}
        theirs = {name: value for name, value in call.environment.items() if name not in ours}
        async with (
            self._start(replace(call, environment=ours)) as start,
            self._supervisor.hold(replace(start, environment=theirs), call, (call.workspace,)) as resident,
        ):
            yield resident

    @contextlib.asynccontextmanager
    async def _start(self, call: SandboxCall) -> AsyncGenerator[Start]:
        if self._bwrap is None or self._prlimit is None:
            raise SandboxUnavailable("bubblewrap is not installed here, so tools that need a sandbox are refused.")
        user = user_for(call.workspace)
        if user and self._setpriv is None:
            raise SandboxUnavailable("setpriv (util-linux) is not installed here, so root cannot be given up.")
        try:
            await asyncio.to_thread(give, call.workspace, user, call.protect)
        except OSError as error:
            raise SandboxUnavailable(f"The workspace cannot be handed over: {error.strerror}.") from error
        # The filter is inherited as a descriptor; --die-with-parent follows the thread that spawns, here the loop's.
        with open(os.memfd_create("seccomp"), "w+b") as filter_file:  # noqa: ASYNC230, PTH123 - memory, never blocks
            filter_file.write(program(platform.machine()))
            filter_file.seek(0)
            yield Start(self._arguments(call, filter_file.fileno(), user), (filter_file.fileno(),))

    def _arguments(self, call: SandboxCall, filter_fd: int, user: int) -> tuple[str, ...]:
        words = [str(self._bwrap), "--die-with-parent", "--new-session", "--hostname", "sbx", "--cap-drop", "ALL"]
        words += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        if user:
            # Without a user namespace: in one root would only pose as another, and the kernel count nothing of its.
            # What is kept is for going into the workspace and for giving root up, and goes with it.
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_DAC_READ_SEARCH"):
                words += ["--cap-add", capability]
        else:
            words += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
            if not self._masked_proc:
                words += ["--disable-userns"]
        words += ["--ro-bind", "/usr", "/usr", *_root_folders(), *_chosen()]
        for folder in _NOT_SYSTEM:
            if Path(folder).is_dir():
                words += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
        if not self._masked_proc:
            words += ["--proc", "/proc"]
        # A plain --dev leaves /dev and /dev/shm as memory file systems without a limit.
        words += [
            "--dev",
            "/dev",
            "--perms",
            "1777",
            "--size",
            str(_TMP_BYTES),
            "--tmpfs",
            "/dev/shm",  # noqa: S108 - inside the sandbox
            "--remount-ro",
            "/dev",
        ]
        words += ["--perms", "1777", "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 - inside the sandbox
        words += _read_only(call)  # behind /tmp, for they may lie below it
        words += ["--bind", str(call.workspace), _MOUNT]
        words += _protected(call)
        words += ["--chdir", _MOUNT, "--remount-ro", "/"]
        environment = {"PATH": f"/usr/bin:/bin:{_CHOSEN_FOLDER}", "HOME": "/tmp", "LANG": "C.UTF-8", **call.environment}  # noqa: S108 - as above
        for name, value in environment.items():
            words += ["--setenv", name, value]
        seconds = call.cpu_s or max(1, min(30, int(call.timeout_s) + 1))
        return (
            *words,
            "--seccomp",
            str(filter_fd),
            "--",
            *self._given_up(user),
            str(self._prlimit),
            *_LIMITS,
            f"--nproc={call.processes}",
            f"--cpu={seconds}",
            "--",
            *call.command,
        )

    def _given_up(self, user: int) -> tuple[str, ...]:
        """Give root up for good; every capability goes with it."""
        if not user:
            return ()
        return (str(self._setpriv), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--")


def _read_only(call: SandboxCall) -> list[str]:
    words: list[str] = []
    for folder in call.read_only:
        for above in reversed(folder.parents[:-1]):
            words += ["--perms", "0755", "--dir", str(above)]
        words += ["--ro-bind", str(folder), str(folder)]
    return words


def _protected(call: SandboxCall) -> list[str]:
    words: list[str] = []
    for name in call.protect:
        # A mount of its own: else it could be moved away and another put in its place.
        inner = call.workspace / name
        if inner.is_symlink():
            raise SandboxUnavailable(f"{name} is a link here, so nothing is run over it.")
        if inner.exists():
            words += ["--ro-bind", str(inner), f"{_MOUNT}/{name}"]
    return words


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


def _chosen() -> list[str]:
    """Links to the programs that /usr names only by way of /etc."""
    words = ["--perms", "0755", "--dir", _CHOSEN_FOLDER]
    for name in _CHOSEN:
        link = Path("/usr/bin", name)
        if link.is_symlink() and os.readlink(link).startswith("/etc/"):  # noqa: PTH115 - as text, not resolved
            program_itself = Path(os.path.realpath(link))
            if program_itself.is_relative_to("/usr") and program_itself.is_file():
                words += ["--symlink", str(program_itself), f"{_CHOSEN_FOLDER}/{name}"]
    return words

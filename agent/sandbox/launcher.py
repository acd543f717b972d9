"""The fallback's launcher: a program of its own, run by a bare Python, that walls itself in and becomes the command.

Two processes. The outer one waits for the command's end, tells its exit code, and kills the whole process group: what
the command left behind, and itself. It does the same when whoever started it is gone. The inner one gives up root,
restricts itself by Landlock, resource limits and a system call filter, and executes the command.

Every call pays for what is imported here, so that is little: `typing` alone takes as long as Python's whole start.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Task(TypedDict):
        """What the sandbox tells its launcher."""

        command: tuple[str, ...]
        environment: dict[str, str]
        folder: str
        """Where the command begins."""
        user: int
        """For whom root is given up; 0 when there is none to give up."""
        nice: int
        """Added to our niceness, the command's and our own."""
        read: list[str]
        devices: list[str]
        write: list[str]
        limits: dict[str, int]
        """By the names of the module `resource`."""
        filter: bytes


#: The same numbers on x86_64 and arm64.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH, _VERSION_FLAG = 1, 1
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_FIFO, _MAKE_SYM, _REFER, _TRUNCATE = 1 << 10, 1 << 12, 1 << 13, 1 << 14
#: How many kinds of access to files each version of Landlock handles.
_KINDS = {1: 13, 2: 14, 3: 15, 4: 15}
_LATEST_KINDS = 16
_NET_SINCE, _SCOPE_SINCE = 4, 6
_BIND_AND_CONNECT, _ABSTRACT_AND_SIGNALS = 3, 3
_SIGKILL = 9
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE
_READ = EXECUTE | READ_FILE | READ_DIR
_ALL = (
    _READ
    | WRITE_FILE
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _MAKE_FIFO
    | _MAKE_SYM
    | _REFER
    | _TRUNCATE
)

CANNOT = 126
"""Exit code when the walls could not be put up; nothing was run then."""


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def landlock_version() -> int:
    """Which Landlock the kernel has; 0 when none, or when it may not be used."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def _ruleset(libc: ctypes.CDLL, task: Task) -> int:
    version = int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))
    if version < 1:
        raise OSError(0, "this kernel has no Landlock")
    handled = (1 << _KINDS.get(version, _LATEST_KINDS)) - 1
    fields = [handled]
    if version >= _NET_SINCE:
        fields.append(_BIND_AND_CONNECT)
    if version >= _SCOPE_SINCE:
        fields.append(_ABSTRACT_AND_SIGNALS)
    attributes = (ctypes.c_uint64 * len(fields))(*fields)
    ruleset = int(libc.syscall(_CREATE_RULESET, attributes, ctypes.sizeof(attributes), 0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "no Landlock ruleset could be made")
    for access, paths in ((_READ, task["read"]), (WRITE_FILE | READ_FILE, task["devices"]), (_ALL, task["write"])):
        for path in paths:
            _allow(libc, ruleset, path, access & handled)
    return ruleset


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _ON_FILES
        rule = access.to_bytes(8, sys.byteorder) + descriptor.to_bytes(4, sys.byteorder)
        if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0):
            raise OSError(ctypes.get_errno(), f"Landlock does not take {path}")
    finally:
        os.close(descriptor)


def _wall_in(task: Task) -> None:
    """Everything that cannot be undone; any failure raises, and then nothing is run."""
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = _ruleset(libc, task)
    os.chdir(task["folder"])
    os.umask(0o022)
    user = task["user"]
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if os.geteuid() == 0 or os.getresuid() != (os.geteuid(),) * 3:
        raise OSError(0, "root was not given up")
    for name, wanted in task["limits"].items():
        number = getattr(resource, name)
        highest = resource.getrlimit(number)[1]
        value = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
        resource.setrlimit(number, (value, value))
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "new privileges could not be given up")
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock could not be put up")
    os.close(ruleset)
    code = task["filter"]
    body = ctypes.create_string_buffer(code, len(code))
    program = _Filter(len(code) // 8, ctypes.cast(body, ctypes.c_void_p))
    if libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the system call filter could not be put up")


def _inner(task: Task) -> None:
    try:
        _wall_in(task)
        command = task["command"]
        os.execvpe(command[0], command, task["environment"])  # noqa: S606 - the command itself, behind its walls
    except BaseException as error:  # noqa: BLE001 - a process that was forked must not return into its parent's code
        try:  # noqa: SIM105  contextlib is not worth its import
            os.write(2, f"The sandbox could not be put up: {error}\n".encode())
        except OSError:
            pass
    finally:
        os._exit(CANNOT)


def main(task: Task) -> None:
    """Run the task, tell its end on the third descriptor named, and end with everything when the second is closed."""
    life, told = (int(word) for word in sys.argv[2:4])
    os.nice(task["nice"])
    child = os.fork()
    if child == 0:
        # Python opens nothing that a program it becomes would inherit; these three were inherited on purpose.
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        _inner(task)
    ended = os.pidfd_open(child)
    watch = select.poll()
    watch.register(ended, select.POLLIN)
    watch.register(life, select.POLLIN | select.POLLHUP)
    ready = dict(watch.poll())
    if ended in ready:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:  # noqa: SIM105  as above
            os.write(told, str(code).encode())
        except OSError:
            pass
    os.killpg(0, _SIGKILL)

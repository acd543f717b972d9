"""The system calls that a sandboxed program may not make, as a BPF program for x86_64 and arm64."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable

from agent.errors import SandboxUnavailable

#: A call that the machine does not have.
_NO_CALL = 0xFFFF_FFFF
#: Name → its number on x86_64 and on arm64. All of them answer EPERM. Among them is memory that no limit counts.
_DENIED: dict[str, tuple[int, int]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
#: Denied besides where no namespace stands between the program and the host: other processes' groups, limits and
#: priorities, memory and queues shared by number, and watching files that cannot be opened.
_DENIED_ALONE: dict[str, tuple[int, int]] = {
    "fchmodat2": (452, 452),
    "inotify_add_watch": (254, 27),
    "ioprio_set": (251, 30),
    "lsetxattr": (189, 6),
    "lremovexattr": (198, 15),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "setsid": (112, 157),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "socket": (41, 198),
}
#: Denied besides when the program has the user id of this process: what changes files without opening them.
_DENIED_SAME_USER: dict[str, tuple[int, int]] = {
    "chmod": (90, _NO_CALL),
    "chown": (92, _NO_CALL),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "futimesat": (261, _NO_CALL),
    "lchown": (94, _NO_CALL),
    "utime": (132, _NO_CALL),
    "utimes": (235, _NO_CALL),
}
#: Denied besides where Landlock is too old to keep signals in.
_DENIED_SIGNALS: dict[str, tuple[int, int]] = {
    "kill": (62, 129),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tgkill": (234, 131),
    "tkill": (200, 130),
}
_TRUNCATE = (76, 45)
#: Only on the caller itself.
_SELF_ONLY: dict[str, tuple[int, int]] = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122)}
_UTIMENSAT = (280, 88)
_SIGNALS_SINCE, _TRUNCATE_SINCE = 6, 3
_CLONE, _CLONE3, _IOCTL, _SOCKET, _SOCKETPAIR = (56, 220), (435, 435), (16, 29), (41, 198), (53, 199)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}
#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
_NEW_NAMESPACE = 0x7E020000
_TIOCSTI, _TIOCLINUX, _TIOCSETD = 0x5412, 0x541C, 0x5423
_AF_UNIX = 1
_X32_BIT = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _answer(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def _on(call: int, body: Iterable[bytes]) -> bytes:
    """Run `body`, which must return, when the loaded system call is this one."""
    steps = tuple(body)
    return _op(_EQUAL, call, 0, len(steps)) + b"".join(steps)


def _unix_only(call: int) -> bytes:
    body = (
        _op(_LOAD, _FIRST_ARGUMENT),
        _op(_EQUAL, _AF_UNIX, 0, 1),
        _op(_RETURN, _ALLOW),
        _answer(errno.EAFNOSUPPORT),
    )
    return _on(call, body)


def _zero_only(call: int, argument: int) -> bytes:
    """Allow a call whose (64-bit) argument is zero, and no other."""
    body = (
        _op(_LOAD, argument),
        _op(_EQUAL, 0, 0, 3),
        _op(_LOAD, argument + 4),
        _op(_EQUAL, 0, 0, 1),
        _op(_RETURN, _ALLOW),
        _answer(errno.EPERM),
    )
    return _on(call, body)


def _unconfined(column: int, *, alone: bool, landlock: int) -> list[bytes]:
    """What the fallback adds: there are no namespaces, and Landlock has gaps."""
    denied = dict(_DENIED_ALONE)
    if not alone:
        denied |= _DENIED_SAME_USER
    if landlock < _SIGNALS_SINCE:
        denied |= _DENIED_SIGNALS
    if landlock < _TRUNCATE_SINCE:
        denied["truncate"] = _TRUNCATE
    parts = [_on(numbers[column], (_answer(errno.EPERM),)) for numbers in denied.values()]
    parts += [_zero_only(numbers[column], _FIRST_ARGUMENT) for numbers in _SELF_ONLY.values()]
    if not alone:
        # With a path it changes any file of ours; without one, an open file.
        parts.append(_zero_only(_UTIMENSAT[column], _SECOND_ARGUMENT))
    return parts


def program(machine: str, *, alone: bool = False, landlock: int = 0) -> bytes:
    """The filter for a machine as `platform.machine()` names it; raises SandboxUnavailable for an unknown one.

    `landlock` is the version of Landlock when that stands in for namespaces, which takes a stricter filter; stricter
    still unless the program has a user id for itself `alone`.
    """
    if machine not in _MACHINES:
        raise SandboxUnavailable(f"There is no system call table for {machine}, so tools that need one are refused.")
    column, architecture = _MACHINES[machine]
    parts = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_EQUAL, architecture, 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
    ]
    if column == 0:
        # The x32 calls carry this bit under the same architecture; arm64 has no number as high.
        parts += [_op(_AT_LEAST, _X32_BIT, 0, 1), _op(_RETURN, _KILL)]
    parts += [_on(numbers[column], (_answer(errno.EPERM),)) for numbers in _DENIED.values()]
    if landlock:
        parts += _unconfined(column, alone=alone, landlock=landlock)
    # The flags of clone3 stand behind a pointer; ENOSYS makes the C library fall back to clone.
    parts.append(_on(_CLONE3[column], (_answer(errno.ENOSYS),)))
    clone = (
        _op(_LOAD, _FIRST_ARGUMENT),
        _op(_ANY_BIT, _NEW_NAMESPACE, 0, 1),
        _answer(errno.EPERM),
        _op(_RETURN, _ALLOW),
    )
    parts.append(_on(_CLONE[column], clone))
    ioctl = (
        _op(_LOAD, _SECOND_ARGUMENT),
        _op(_EQUAL, _TIOCSTI, 2, 0),
        _op(_EQUAL, _TIOCLINUX, 1, 0),
        _op(_EQUAL, _TIOCSETD, 0, 1),
        _answer(errno.EPERM),
        _op(_RETURN, _ALLOW),
    )
    parts.append(_on(_IOCTL[column], ioctl))
    parts += [_unix_only(_SOCKET[column]), _unix_only(_SOCKETPAIR[column])]
    return b"".join((*parts, _op(_RETURN, _ALLOW)))

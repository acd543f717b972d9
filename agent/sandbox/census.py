"""What a sandbox uses of the host, counted from outside: processes and memory by /proc, files by a walk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Places of the fields of /proc/PID/stat, counted from the one after the name.
_PARENT, _GROUP, _THREADS, _RESIDENT = 1, 2, 17, 21
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_DEPTH = 100
"""A tree nested deeper cannot be counted in time, so it counts as over its limit."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tasks (threads count one each) and resident bytes of a group of processes."""

    tasks: int
    memory: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc; memory is resident bytes."""

    parent: int
    group: int
    threads: int
    memory: int


def processes() -> Mapping[int, Process]:
    """Every process that can be seen, in one reading of /proc. Blocks for some milliseconds."""
    return dict(_read())


def _read() -> Iterator[tuple[int, Process]]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted, ten times a second
        if not name.isdigit():
            continue
        try:
            descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # ended meanwhile
        try:
            line = os.read(descriptor, 1024)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        # The name stands in brackets and may hold any sign; what follows the last bracket is numbers.
        rest = line[line.rfind(b")") + 2 :].split()
        if len(rest) > _RESIDENT and rest[0] not in {b"Z", b"X"}:
            memory = int(rest[_RESIDENT]) * _PAGE
            yield int(name), Process(int(rest[_PARENT]), int(rest[_GROUP]), int(rest[_THREADS]), memory)


def usage(root: int, seen: Mapping[int, Process]) -> Usage:
    """What the processes below `root`, and those of its group, use together; `root` itself is not counted."""
    children: dict[int, list[int]] = {}
    found: set[int] = set()
    for pid, one in seen.items():
        children.setdefault(one.parent, []).append(pid)
        if one.group == root:
            found.add(pid)
    waiting = [root, *found]
    while waiting:
        below = children.get(waiting.pop(), ())
        waiting += [pid for pid in below if pid not in found]
        found.update(below)
    found.discard(root)
    inside = [seen[pid] for pid in found]
    return Usage(sum(one.threads for one in inside), sum(one.memory for one in inside), tuple(found))


@dataclass(slots=True)
class Tree:
    """What a folder holds: allocated bytes, entries, and a mark of every file by which a change is seen."""

    size: int = 0
    entries: int = 0
    hidden: bool = False
    """Some of it cannot be counted: nested too deep, or closed to its owner."""
    most: int | None = None
    """Counting ends once there are more entries than this."""
    marks: dict[int, int] = field(default_factory=dict[int, int])
    """Inode → the nanosecond of its last change."""


def tree(folder: str | os.PathLike[str], most: int | None = None) -> Tree:
    """Count a folder without following any link, no further than to one entry more than `most`. Blocks."""
    found = Tree(most=most)
    descriptor = os.open(folder, _FOLDER)
    try:
        _count(descriptor, found, 0)
    finally:
        os.close(descriptor)
    return found


def _count(descriptor: int, found: Tree, depth: int) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if found.most is not None and found.entries > found.most:
                return  # it is too much already, and more is made as fast as it can be counted
            try:
                about = os.stat(entry.name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError:
                found.hidden = True
                continue
            found.entries += 1
            if about.st_ino not in found.marks:  # a second name of a file takes no second room
                found.size += about.st_blocks * 512
            found.marks[about.st_ino] = about.st_ctime_ns
            if stat.S_ISDIR(about.st_mode):
                _below(descriptor, entry.name, found, depth)


def _below(descriptor: int, name: str, found: Tree, depth: int) -> None:
    if depth >= MAX_DEPTH:
        found.hidden = True
        return
    try:
        inner = os.open(name, _FOLDER, dir_fd=descriptor)
    except FileNotFoundError:
        return
    except OSError:
        found.hidden = True
        return
    try:
        _count(inner, found, depth + 1)
    except OSError:
        found.hidden = True
    finally:
        os.close(inner)


def unlinked_bytes(pids: tuple[int, ...], device: int) -> int:
    """Allocated bytes of deleted files on a device that processes still hold open; they fill a disk unseen. Blocks."""
    held: dict[int, int] = {}
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - as above
        except OSError:
            continue
        for name in names:
            try:
                about = Path(f"/proc/{pid}/fd/{name}").stat()
            except OSError:
                continue
            if about.st_nlink == 0 and about.st_dev == device and stat.S_ISREG(about.st_mode):
                held[about.st_ino] = about.st_blocks * 512
    return sum(held.values())

"""The room that a run's workspace may take: watched while a program runs, kept to when it has ended."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.census import MAX_DEPTH, Tree, tree, unlinked_bytes

#: A disk is never filled to the brim, whatever a quota would allow.
_RESERVE = 256 * 1_048_576
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RM_TIMEOUT_S = 30.0
#: Folders that one command takes away; their names must find room among its arguments.
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Quota:
    """A folder and its limits; what was in it beforehand is never touched and never counts as too much."""

    folder: Path
    size: int
    entries: int
    before: Tree
    device: int
    free: int
    """Free bytes of the disk at the start."""

    @classmethod
    def of(cls, folder: Path, *, size: int, entries: int) -> Quota:
        """Look at a folder before a program runs in it. Blocks."""
        before = tree(folder)
        about = os.statvfs(folder)
        return cls(
            folder,
            max(size, before.size),
            max(entries, before.entries),
            before,
            folder.stat().st_dev,
            about.f_bavail * about.f_frsize,
        )

    def is_over(self, pids: tuple[int, ...] = ()) -> bool:
        """Whether the folder, with what `pids` hold open of deleted files, takes more than it may. Blocks."""
        if self.fills_disk():
            return True
        try:
            now = tree(self.folder, self.entries)
        except OSError:
            return True
        if (now.hidden and not self.before.hidden) or now.entries > self.entries or now.size > self.size:
            return True
        return bool(pids) and now.size + unlinked_bytes(pids, self.device) > self.size

    def fills_disk(self) -> bool:
        """Whether the disk runs full while this runs; cheap."""
        about = os.statvfs(self.folder)
        left = about.f_bavail * about.f_frsize
        return left < _RESERVE and left < self.free

    def keep(self) -> int:
        """Remove what was written since the start when it is too much; returns how many entries went. Blocks.

        Only when nothing runs in the folder any more.
        """
        if not self.is_over():
            return 0
        descriptor = os.open(self.folder, _FOLDER)
        try:
            return self._clear(descriptor, self.folder, 0)
        finally:
            os.close(descriptor)

    def _clear(self, descriptor: int, path: Path, depth: int) -> int:
        gone, new = 0, list[Path]()
        for name in os.listdir(descriptor):
            about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(about.st_mode):
                if self.before.marks.get(about.st_ino) != about.st_ctime_ns:
                    os.unlink(name, dir_fd=descriptor)
                    gone += 1
                continue
            if about.st_ino not in self.before.marks or depth >= MAX_DEPTH:
                gone += 1
                try:
                    os.rmdir(name, dir_fd=descriptor)
                except OSError:
                    new.append(path / name)
                continue
            inner = _opened(descriptor, name, about.st_mode)
            try:
                gone += self._clear(inner, path / name, depth + 1)
            finally:
                os.close(inner)
        # All of these are new. Their depth may be beyond Python's, so the system's own tool takes them away.
        remove_trees(new)
        return gone


def _opened(descriptor: int, name: str, mode: int) -> int:
    """Open a folder that the program may have closed to its owner."""
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IMODE(mode) | stat.S_IRWXU, dir_fd=descriptor)
    return os.open(name, _FOLDER, dir_fd=descriptor)


def remove_tree(path: Path) -> None:
    """Take away a folder that a program made, however deep it is and whatever it closed. Blocks."""
    remove_trees((path,))


def remove_trees(paths: Sequence[Path]) -> None:
    """Take away many folders, so that a program that made a hundred thousand does not hold us up by that. Blocks."""
    for start in range(0, len(paths), _AT_ONCE):
        named = [str(path) for path in paths[start : start + _AT_ONCE]]
        for command in (("chmod", "-R", "u+rwX", "--", *named), ("rm", "-rf", "--one-file-system", "--", *named)):
            subprocess.run(  # noqa: S603 - two fixed commands on paths of ours
                command,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_RM_TIMEOUT_S,
                check=False,
            )

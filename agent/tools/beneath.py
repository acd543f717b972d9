"""Files beneath one folder, and nothing else: no link, no `..`, no device, whoever wrote the tree."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.errors import BadArguments, ToolFailed
from agent.facts.path import is_plain

#: The same number on x86_64 and arm64.
_OPENAT2 = 437
_FICLONE = 0x40049409
#: Said by file systems that share no blocks, by two different ones, and by filters of system calls.
_CANNOT_SHARE = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
)
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MAX_PATH = 1024
_PIECE = 8_388_608
_MOUNT = "/workspace/"


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def clean(path: str) -> str:
    """The path relative to the folder, in one spelling; raises BadArguments when it could leave the folder."""
    text = path.removeprefix(_MOUNT)
    if not text or len(text) > MAX_PATH or not is_plain(text):
        raise BadArguments("A path must be 1 to 1024 printable characters.")
    if text.startswith("/"):
        raise BadArguments("A path must be relative to the project.")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if not parts or ".." in parts:
        raise BadArguments("A path must stay inside the project.")
    return "/".join(parts)


class Beneath:
    """An open folder; a context manager. Every path given to it is relative and resolved without following links."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder, _FOLDER)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Open beneath the folder; raises OSError (ELOOP for a link, EXDEV for a way out)."""
        how = _How(flags | os.O_CLOEXEC, mode, _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS)
        size = ctypes.sizeof(how)
        descriptor = int(self._libc.syscall(_OPENAT2, self._fd, os.fsencode(path), ctypes.byref(how), size))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number == errno.ENOSYS:
            return self._open_by_parts(path, flags, mode)
        raise OSError(number, os.strerror(number), path)

    def _open_by_parts(self, path: str, flags: int, mode: int = 0) -> int:
        """Open one component after the other without links, for kernels before 5.6."""
        if path == ".":
            return os.dup(self._fd)
        *folders, name = clean(path).split("/")
        at = os.dup(self._fd)
        try:
            for folder in folders:
                below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
        finally:
            os.close(at)

    def stat(self, path: str) -> os.stat_result | None:
        """Look at a path without opening it for reading; None when nothing is there."""
        folder, _, name = path.rpartition("/")
        try:
            at = self.open(folder or ".", _FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None
        finally:
            os.close(at)

    def read(self, path: str, limit: int) -> bytes:
        """Read a regular file of at most `limit` bytes; raises ToolFailed with a sentence for people."""
        descriptor = self.open_file(path)
        found = os.fstat(descriptor)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            if found.st_size > limit:
                raise ToolFailed(f"{path} has {found.st_size:,} bytes; the limit is {limit:,}.")
            data = bytearray()
            while chunk := file.read(min(1_048_576, limit + 1 - len(data))):
                data += chunk
            if len(data) > limit:
                raise ToolFailed(f"{path} grew over the limit of {limit:,} bytes while it was read.")
            return bytes(data)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Replace a file at once, making its folders; raises ToolFailed."""
        folder, _, name = path.rpartition("/")
        try:
            at = self._make_folder(folder)
        except OSError as error:
            raise ToolFailed(f"The folder of {path} cannot be used: {error.strerror}.") from error
        temporary = f".{name[:200]}.secondkey-new"
        try:
            _unlink(temporary, at)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, mode, dir_fd=at)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(data)
                os.fchmod(descriptor, mode)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, name, src_dir_fd=at, dst_dir_fd=at)
        except OSError as error:
            _unlink(temporary, at)
            raise ToolFailed(f"{path} cannot be written: {error.strerror}.") from error
        finally:
            os.close(at)

    def take(self, source: Beneath, path: str, limit: int) -> tuple[int, str, bool]:
        """Copy a regular file of another folder to the same path: its bytes, SHA-256, and whether it is executable.

        The file system shares the blocks where it can. Nothing is on the disk for certain before `settle`. Raises
        ToolFailed.
        """
        folder, _, name = path.rpartition("/")
        there = source.open_file(path)
        try:
            about = os.fstat(there)
            if about.st_size > limit:
                raise ToolFailed(f"{path} has {about.st_size:,} bytes; the limit is {limit:,}.")
            executable = bool(about.st_mode & stat.S_IXUSR)
            at = self._make_folder(folder)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                here = os.open(name, flags, 0o755 if executable else 0o644, dir_fd=at)
            finally:
                os.close(at)
            with open(here, "r+b", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
                os.fchmod(here, 0o755 if executable else 0o644)
                copied = _copy(there, here, limit + 1)
                if copied > limit:
                    raise ToolFailed(f"{path} grew while it was copied.")
                # What is there now is what counts: the source may have changed meanwhile.
                file.seek(0)
                return copied, hashlib.file_digest(file, "sha256").hexdigest(), executable
        except OSError as error:
            raise ToolFailed(f"{path} cannot be copied: {error.strerror}.") from error
        finally:
            os.close(there)

    def settle(self) -> None:
        """Have everything that was written to this file system on the disk."""
        self._libc.syncfs(self._fd)

    def open_file(self, path: str) -> int:
        """Open a regular file for reading; raises ToolFailed with a sentence for people."""
        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError as error:
            raise ToolFailed(f"There is no file {path}.") from error
        except OSError as error:
            raise ToolFailed(f"{path} cannot be read: {error.strerror}.") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ToolFailed(f"{path} is not a regular file.")
        return descriptor

    def remove(self, path: str) -> None:
        """Delete a file (never a folder); nothing there is no error. Raises ToolFailed."""
        folder, _, name = path.rpartition("/")
        try:
            at = self.open(folder or ".", _FOLDER)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ToolFailed(f"{path} cannot be deleted: {error.strerror}.") from error
        try:
            _unlink(name, at)
        except OSError as error:
            raise ToolFailed(f"{path} cannot be deleted: {error.strerror}.") from error
        finally:
            os.close(at)

    def _make_folder(self, folder: str) -> int:
        at = self.open(".", _FOLDER)
        made = ""
        for part in folder.split("/") if folder else ():
            made = f"{made}/{part}" if made else part
            try:
                os.mkdir(part, 0o755, dir_fd=at)
            except FileExistsError:
                pass
            finally:
                os.close(at)
            at = self.open(made, _FOLDER)
        return at

    def walk(self, *, most: int = 200_000) -> Iterator[tuple[str, os.stat_result]]:
        """Every entry that is no folder, in order, with its lstat; raises ToolFailed when there are too many."""
        seen = 0
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                at = self.open(folder or ".", _FOLDER)
            except OSError:
                # Swapped or made unreadable by what runs in the tree: it holds nothing that we would take.
                continue
            try:
                for name in sorted(os.listdir(at)):  # noqa: PTH208 - a descriptor, not a path
                    seen += 1
                    if seen > most:
                        raise ToolFailed(f"There are more than {most:,} files.")
                    found = os.stat(name, dir_fd=at, follow_symlinks=False)
                    path = f"{folder}/{name}" if folder else name
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(path)
                    else:
                        yield path, found
            finally:
                os.close(at)


def _copy(there: int, here: int, most: int) -> int:
    try:
        # One moment of the file in one call, whatever its size, where the file system can share blocks.
        fcntl.ioctl(here, _FICLONE, there)
        return os.fstat(here).st_size
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
    copied = 0
    while copied < most:
        try:
            got = os.copy_file_range(there, here, min(_PIECE, most - copied))
        except OSError as error:
            if error.errno not in _CANNOT_SHARE:
                raise
            got = os.write(here, os.read(there, min(_PIECE, most - copied)))
        if not got:
            break
        copied += got
    return copied


def _unlink(name: str, at: int) -> None:
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        return

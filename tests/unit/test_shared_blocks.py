"""A copy of a file shares the original's blocks where the file system can, and is an ordinary copy elsewhere."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from agent.errors import ToolFailed
from agent.tools import beneath
from agent.tools.beneath import Beneath

DATA = b"0123456789" * 2_000


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "a.bin").write_bytes(DATA)
    return here, there


def take(folders: tuple[Path, Path], limit: int = 1_000_000) -> tuple[int, str, bool]:
    with Beneath(folders[0]) as source, Beneath(folders[1]) as into:
        return into.take(source, "a.bin", limit)


def shares(to: int, request: int, source: int) -> int:
    """As a file system does that shares blocks."""
    assert request == 0x40049409
    os.write(to, os.pread(source, 1_000_000, 0))
    return 0


def fails_with(number: int) -> object:
    def ioctl(*_: int) -> int:
        raise OSError(number, os.strerror(number))

    return ioctl


def no_copy(*_: object) -> int:
    raise AssertionError("nothing is copied where blocks are shared")


def test_blocks_are_shared_in_one_call_where_they_can_be(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath.fcntl, "ioctl", shares)
    monkeypatch.setattr(os, "copy_file_range", no_copy)
    assert take(folders) == (len(DATA), hashlib.sha256(DATA).hexdigest(), False)
    assert (folders[1] / "a.bin").read_bytes() == DATA


def test_a_file_that_grew_before_its_blocks_were_shared_is_refused(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def grown(to: int, request: int, source: int) -> int:
        os.write(to, b"more")
        return shares(to, request, source)

    monkeypatch.setattr(beneath.fcntl, "ioctl", grown)
    with pytest.raises(ToolFailed, match="grew"):
        take(folders, len(DATA))


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.EPERM])
def test_it_is_copied_where_blocks_cannot_be_shared(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(beneath.fcntl, "ioctl", fails_with(number))
    assert take(folders)[0] == len(DATA)
    assert (folders[1] / "a.bin").read_bytes() == DATA


def test_a_disk_that_is_full_is_told_and_not_copied_to_again(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beneath.fcntl, "ioctl", fails_with(errno.ENOSPC))
    monkeypatch.setattr(os, "copy_file_range", no_copy)
    with pytest.raises(ToolFailed, match="cannot be copied"):
        take(folders)

"""A user id for what root runs: nobody's, so that it owns nothing and the kernel counts its processes.

The kernel keeps the limit of processes for every user but root, in whatever namespace root poses as somebody else.
"""

from __future__ import annotations

import os
import pwd
import stat
import zlib
from pathlib import Path

from agent.errors import SandboxUnavailable

#: Unlikely to be anybody's: ordinary accounts grow from 1000, services of systemd begin at 61184.
_FIRST_USER, _USERS = 58_000, 2_000


def user_for(workspace: Path) -> int:
    """The same id for the same workspace, so that what one run starts counts for no other; 0 when we are not root.

    Raises SandboxUnavailable.
    """
    if os.geteuid():
        return 0
    start = zlib.crc32(str(workspace).encode("utf-8", "surrogateescape"))
    for step in range(_USERS):
        user = _FIRST_USER + (start + step) % _USERS
        try:
            pwd.getpwuid(user)
        except KeyError:
            return user
    raise SandboxUnavailable("No user id is free to give up root for, so tools that need a sandbox are refused.")


def give(folder: Path, user: int, protect: tuple[str, ...] = ()) -> None:
    """Let what is in a workspace belong to the id that works in it; nothing runs there meanwhile. Blocks.

    What is protected stays root's, in a folder that stays root's and is sticky, so that it cannot be moved away either.
    """
    if not user:
        return
    kept = {os.fspath(folder / name) for name in protect if os.path.lexists(folder / name)}
    if kept:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_ISVTX | 0o777)
    else:
        os.chown(folder, user, user)
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.path in kept:
                    continue
                if entry.stat(follow_symlinks=False).st_uid != user:
                    os.chown(entry.path, user, user, follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)

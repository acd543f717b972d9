"""The machine: where the data lies, how much room it has, and which sandbox holds here."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.ports import Sandbox
from bot.config import Settings
from bot.doctor.finding import Finding, broken, mend, well

MIB = 1024 * 1024
LITTLE_ROOM, NO_ROOM = 1024 * MIB, 64 * MIB
_MOUNTS = Path("/proc/self/mounts")
#: File systems on which neither the lease nor SQLite's locks can be relied upon.
_NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "glusterfs", "lustre", "9p", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse")
#: What a container or a restart throws away.
_GONE_LATER = ("overlay", "aufs", "tmpfs", "ramfs")
_NEEDS_SANDBOX = "run_python, run_shell and programs that speak MCP"


@dataclass(frozen=True, slots=True)
class Machine:
    """How the machine is looked at; replaced in tests."""

    choose: Callable[[], Awaitable[Sandbox]]
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    """Bytes free where a folder stands."""
    mounts: Callable[[], str] = lambda: _MOUNTS.read_text(encoding="utf-8", errors="replace")


def look_at_data(settings: Settings, machine: Machine) -> Iterator[Finding]:
    """The data folder: there, ours alone, on a local disk that stays, with room."""
    folder = settings.data.absolute()
    standing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        yield broken("data", f"{folder} cannot be written.", "Set `data` to a folder that this user may write.")
        return
    if folder.is_dir():
        yield _rights(folder)
    else:
        yield well("data", f"{folder} is not there yet; `serve` makes it.")
    yield _place(standing, machine)
    yield _room(standing, machine)


def _rights(folder: Path) -> Finding:
    key = folder / "audit.key"
    open_to_others = [
        path.name
        for path in (key, folder / "secondkey.db")
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    reachable = all(place.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH) for place in (folder, *folder.parents))
    if open_to_others and reachable:
        what = " and ".join(open_to_others)
        return mend("data", f"Other users of this machine can read {what} in {folder}.", f"chmod -R go= {folder}")
    return well("data", f"{folder} is there and can be written.")


def _place(standing: Path, machine: Machine) -> Finding:
    kind = file_system(standing, _read(machine))
    if kind.startswith(_NETWORK):
        return broken(
            "disk",
            f"The data lies on a network file system ({kind}), where locks cannot be relied upon.",
            "Set `data` to a folder on a local disk.",
        )
    if kind.startswith(_GONE_LATER):
        return mend(
            "disk",
            f"The data lies on {kind}: in a container it is lost with the container.",
            "Mount a volume there (docs/deploying.md); on a machine of your own this may be as you want it.",
        )
    return well("disk", f"The data lies on a local disk ({kind or 'of a kind that could not be read'}).")


def _read(machine: Machine) -> str:
    try:
        return machine.mounts()
    except OSError:
        return ""


def file_system(path: Path, mounts: str) -> str:
    """Kind of the file system that a path stands on, such as `ext4`, read off /proc/mounts; empty when unknown."""
    found, kind = "", ""
    place = str(path.resolve())
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004  # device, place, kind
            continue
        at = fields[1].replace("\\040", " ")
        inside = place == at or place.startswith(at.rstrip("/") + "/")
        if inside and len(at) >= len(found):  # of two at one place the later one is on top
            found, kind = at, fields[2]
    return kind


def _room(standing: Path, machine: Machine) -> Finding:
    free = machine.free(standing)
    said = f"{free / 1024 / MIB:.1f} GiB are free" if free >= LITTLE_ROOM else f"Only {free // MIB} MiB are free"
    fix = "Make room, or set `retention_days` lower and run `secondkey audit retain`."
    if free < NO_ROOM:
        return broken("room", f"{said}; writing will soon fail, and then every task is refused.", fix)
    if free < LITTLE_ROOM:
        return mend("room", f"{said}.", fix)
    return well("room", f"{said}.")


async def look_at_sandbox(machine: Machine) -> Iterator[Finding]:
    """Which sandbox holds here, tried with canaries as at the start of `serve`."""
    sandbox = await machine.choose()
    if sandbox.name == "none":
        reason = await sandbox.self_test()
        text = f"No sandbox holds on this machine, so {_NEEDS_SANDBOX} are refused. {reason}"
        fix = "Install bubblewrap (apt-get install bubblewrap), or use a kernel with Landlock (5.13 or newer)."
        return iter((mend("sandbox", text.strip(), fix),))
    if sandbox.name == "landlock":
        text = "Landlock holds here, and bubblewrap does not: code runs, slower and with no file system of its own."
        fix = "Install bubblewrap and permit user namespaces, if you want the stronger of the two."
        return iter((well("sandbox", f"{text} {fix}"),))
    return iter((well("sandbox", f"The walls of {sandbox.name} hold: no canary got out."),))

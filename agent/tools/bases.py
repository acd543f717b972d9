"""What the files of a copy were when they were copied: by hash, so that both sides can be compared with it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from agent.errors import ToolFailed
from agent.tools.beneath import Beneath

MAX_BYTES = 256 * 1_048_576
_EXECUTABLE = 0o100


class Base(NamedTuple):
    """What a file was when it was copied, or is now: SHA-256 of its content, and whether it is executable."""

    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One file that differs from what was copied."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Base | None
    after: Base | None
    binary: bool = False


def read_file(folder: Beneath, path: str, left: int) -> tuple[bytes, Base]:
    """A file and what it is; raises ToolFailed when it is larger than `left`. Blocks."""
    if left <= 0:
        raise ToolFailed(f"The project is larger than {MAX_BYTES // 1_048_576} MiB, too large for a workspace.")
    data = folder.read(path, left)
    found = folder.stat(path)
    executable = bool(found and found.st_mode & _EXECUTABLE)
    return data, Base(hashlib.sha256(data).hexdigest(), executable)


def read_now(project: Beneath, path: str) -> tuple[bytes, Base | None]:
    """The project's file as it is; anything there that cannot be read counts as moved."""
    try:
        if project.stat(path) is None:
            return b"", None
        return read_file(project, path, MAX_BYTES)
    except (OSError, ToolFailed):
        return b"", Base("", executable=False)


def save_bases(path: Path, bases: dict[str, Base]) -> None:
    """Write the manifest at once. Blocks."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({name: list(base) for name, base in sorted(bases.items())}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_bases(path: Path) -> dict[str, Base]:
    """Read the manifest; raises ToolFailed. Blocks."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: Base(str(sha256), bool(executable)) for name, (sha256, executable) in stored.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ToolFailed("The workspace's manifest cannot be read.") from error

"""The Python that runs inside a sandbox: this one's base installation, isolated."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple


class Interpreter(NamedTuple):
    """How to start Python inside a sandbox, and which host folders it needs to see."""

    command: tuple[str, ...]
    read_only: tuple[Path, ...]

    @property
    def seeing_packages(self) -> tuple[str, ...]:
        """The same start, but that PYTHONPATH counts; everything else in the environment is the sandbox's own."""
        return tuple(word for one in self.command for word in (("-s", "-P") if one == "-I" else (one,)))


def interpreter(sandbox: str = "bubblewrap") -> Interpreter:
    """The interpreter for a sandbox of this name: isolated, without bytecode files, UTF-8 throughout.

    It is that of `sys.base_prefix`. The fallback cannot mount it elsewhere and gives up root, so where only root can
    reach that folder it is the system's own.
    """
    prefix = Path(sys.base_prefix)
    binary = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if sandbox == "landlock" and os.geteuid() == 0 and not _is_open_to_all(prefix):
        prefix, binary = Path("/usr"), Path("/usr/bin/python3")
    inside_usr = prefix.is_relative_to("/usr")
    return Interpreter((str(binary), "-I", "-B", "-X", "utf8"), () if inside_usr else (prefix,))


def _is_open_to_all(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents))

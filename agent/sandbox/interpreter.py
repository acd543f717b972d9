"""The Python that runs inside a sandbox: this one's base installation, isolated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple


class Interpreter(NamedTuple):
    """How to start Python inside a sandbox, and which host folders it needs to see."""

    command: tuple[str, ...]
    read_only: tuple[Path, ...]


def interpreter() -> Interpreter:
    """The interpreter of `sys.base_prefix`: isolated, without bytecode files, UTF-8 throughout."""
    prefix = Path(sys.base_prefix)
    binary = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    inside_usr = prefix.is_relative_to("/usr")
    return Interpreter((str(binary), "-I", "-B", "-X", "utf8"), () if inside_usr else (prefix,))

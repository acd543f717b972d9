"""A program that stays in its sandbox and is talked to, instead of one that runs to its end."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.ports import SandboxCall


@dataclass(slots=True)
class Resident:
    """A running program and its streams; it ends with the block that holds it."""

    pid: int
    """Of the sandbox's outermost process."""
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    excess: Literal["", "processes", "memory", "disk"] = ""
    """What it took too much of, and was ended for; known once the block has ended."""


class Residence(Protocol):
    """A sandbox in which a program can stay."""

    @property
    def name(self) -> str:
        """`bubblewrap` or `landlock`."""
        ...

    def hold(self, call: SandboxCall) -> AbstractAsyncContextManager[Resident]:
        """A command that is talked to until the block ends; then everything in it is killed.

        Raises SandboxUnavailable.
        """
        ...

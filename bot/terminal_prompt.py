"""Lines that a person types, read without blocking the loop, so that a stop and a deadline come through meanwhile."""

from __future__ import annotations

import asyncio
import os
import termios
from typing import Protocol, TextIO

LONGEST_LINE = 100_000
"""Bytes; of a longer line the rest is dropped."""


class Prompter(Protocol):
    """Whoever sits at the terminal."""

    async def line(self, question: str) -> str | None:
        """What they type; None when there will be no more of it. Cancelling takes the question back."""
        ...

    def forget(self) -> None:
        """Drop what was typed before it was asked for: nobody answers a question that they have not seen."""
        ...


class Nobody:
    """There is no terminal: nothing can be asked."""

    async def line(self, question: str) -> str | None:
        """No answer."""
        del question
        return None

    def forget(self) -> None:
        """Nothing was typed."""


class Keyboard:
    """A terminal's line discipline edits the line; we get it whole."""

    def __init__(self, source: int, screen: TextIO) -> None:
        self._source, self._screen = source, screen
        self._held = b""
        self._ended = False

    async def line(self, question: str) -> str | None:
        """As Prompter."""
        self._screen.write(question)
        self._screen.flush()
        loop = asyncio.get_running_loop()
        while b"\n" not in self._held and not self._ended:
            ready = loop.create_future()
            loop.add_reader(self._source, _set, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._source)
            try:
                read = os.read(self._source, 65_536)
            except OSError:  # the terminal was closed
                read = b""
            self._ended = not read
            self._held = (self._held + read)[:LONGEST_LINE] if b"\n" not in read else self._held + read
        if b"\n" not in self._held:
            return None
        first, _, self._held = self._held.partition(b"\n")
        return first[:LONGEST_LINE].decode("utf-8", "replace").strip()

    def forget(self) -> None:
        """Drop what was typed before it was asked for: nobody answers a question that they have not seen."""
        self._held = b""
        try:
            termios.tcflush(self._source, termios.TCIFLUSH)
        except termios.error:
            return  # no terminal


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

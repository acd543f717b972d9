"""The machine's own clock and identifiers; the only place that asks for the time or for chance."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from itertools import islice

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 9
_TO_ALPHABET = (_ALPHABET * (256 // len(_ALPHABET))).encode()
"""A letter for each byte, all equally often."""
_AT_ONCE = 450
"""Bytes of chance fetched together: a fetch lets go of the interpreter, and it takes a while to come back."""


class SystemClock:
    """Real time; business time runs `rate` times as fast from `start` (seconds since the epoch) on."""

    def __init__(self, rate: float = 1.0, start: float | None = None) -> None:
        self.rate = rate
        self._start = self.transport() if start is None else start

    def now(self) -> float:
        """Business time, seconds since the epoch."""
        return self._start + (self.transport() - self._start) * self.rate

    def transport(self) -> float:
        """Real time, seconds since the epoch."""
        return time.time()  # noqa: TID251  # the one place

    def monotonic(self) -> float:
        """Real seconds, never backwards."""
        return time.monotonic()


class RandomIds:
    """Ids of a letter and nine characters of Crockford's base 32: 45 bits, told apart by their first few when typed."""

    def __init__(self) -> None:
        self._chance: Iterator[int] = iter(())

    def new(self, kind: str) -> str:
        """A fresh id such as `r7k2m9qx4c`."""
        while len(chosen := bytes(islice(self._chance, _LENGTH))) < _LENGTH:
            self._chance = iter(secrets.token_bytes(_AT_ONCE))
        return kind[0] + chosen.translate(_TO_ALPHABET).decode("ascii")

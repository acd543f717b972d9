"""Time and identifiers, both injected so that tests own them."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where the workspace takes the time from."""

    def now(self) -> float:
        """Return seconds since 1970."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time()  # noqa: TID251  the edge at which the simulator's injected clock is made


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Return seconds since 1970."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self._now += seconds


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient Slack is; tests shorten it."""

    #: seconds an interaction or event may stay unacknowledged
    ack: float = 3.0
    #: seconds between two deliveries of an unacknowledged event
    redeliver: float = 3.0
    #: how often an event is delivered again
    redeliveries: int = 3
    #: seconds a trigger id is valid
    trigger: float = 3.0
    #: seconds a response_url is valid
    response_url: float = 1800.0
    #: how often a response_url may be used
    response_url_uses: int = 5
    #: seconds a streamed message takes more
    stream: float = 300.0
    #: seconds the status of an assistant thread shows
    status: float = 120.0


class Ids:
    """Identifiers that never repeat, also not after a restart: a seed for the process and a counter."""

    def __init__(self, seed: str | None = None) -> None:
        self._seed = seed if seed is not None else secrets.token_hex(3).upper()
        self._count = itertools.count(1)

    def new(self, prefix: str) -> str:
        """Return a new identifier such as `Ev1A2B3C0007`."""
        return f"{prefix}{self._seed}{next(self._count):04d}"

    def secret(self) -> str:
        """Return an unguessable token."""
        return secrets.token_hex(12)

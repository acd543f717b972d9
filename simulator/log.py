"""What went over the wire between the workspace and the app."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from simulator.clock import Clock
    from simulator.people import Json

Direction = Literal["api", "event", "ack", "response_url"]

#: how many entries are kept; older ones are forgotten
KEPT = 20_000


class Log:
    """The latest exchanges, numbered from 1, tokens removed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[Json] = deque(maxlen=KEPT)
        self._last = 0

    def add(
        self, direction: Direction, method: str, args: Json, *, ok: bool, error: str | None = None, status: int = 200
    ) -> None:
        """Write one exchange down."""
        self._last += 1
        entry: Json = {
            "n": self._last,
            "at": self._clock.now(),
            "direction": direction,
            "method": method,
            "args": {key: value for key, value in args.items() if key != "token"},
            "ok": ok,
            "status": status,
        }
        if error is not None:
            entry["error"] = error
        self._entries.append(entry)

    def after(self, n: int) -> Json:
        """Return the entries numbered above `n` and the number to ask from next time."""
        return {"entries": [entry for entry in self._entries if entry["n"] > n], "next": self._last}

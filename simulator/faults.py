"""Faults to order: the next calls, events or sockets go wrong in a chosen way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from simulator.errors import SlackError

Kind = Literal["error", "status", "hang", "rate_limit", "drop_response", "duplicate", "disconnect", "delay"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong, for the next `times` matching exchanges."""

    #: a Web API method, `*` for any of them, `events`, `socket` or `files.download`
    method: str
    kind: Kind
    times: int = 1
    error: str = "internal_error"
    status: int = 503
    #: seconds in Retry-After
    retry_after: int = 1
    #: how long a hang or delay lasts
    seconds: float = 30.0


class Faults:
    """The faults still to come, first ordered, first used."""

    def __init__(self) -> None:
        self._pending: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """Order a fault. Raises SlackError `invalid_arguments` for an unknown kind."""
        if fault.kind not in get_args(Kind):
            raise SlackError("invalid_arguments")
        self._pending.append((fault, fault.times))

    def clear(self) -> None:
        """Forget all faults."""
        self._pending.clear()

    def take(self, method: str) -> Fault | None:
        """Use up and return the fault meant for this exchange, if any."""
        wanted = {method} if method in {"events", "socket", "files.download"} else {method, "*"}
        for index, (fault, left) in enumerate(self._pending):
            if fault.method in wanted:
                if left <= 1:
                    del self._pending[index]
                else:
                    self._pending[index] = (fault, left - 1)
                return fault
        return None

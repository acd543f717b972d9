"""How events and interactions reach the app: one of its sockets, or its request URL."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, Protocol

from simulator.errors import NotAcked

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from simulator.clock import Timing
    from simulator.faults import Faults
    from simulator.log import Log
    from simulator.people import Json

Kind = Literal["events_api", "slash_commands", "interactive"]


class Link(Protocol):
    """One way to the app."""

    @property
    def up(self) -> bool:
        """Say whether the app can be reached this way."""
        ...

    async def send(self, kind: Kind, payload: Json, *, attempt: int, reason: str) -> Json:
        """Deliver once and return the body of the acknowledgement. Raises NotAcked."""
        ...


class Delivery:
    """Chooses the link, waits for acknowledgements, delivers events again."""

    def __init__(self, socket: Link, http: Link, *, faults: Faults, log: Log, timing: Timing) -> None:
        self._socket = socket
        self._http = http
        self._faults = faults
        self._log = log
        self._timing = timing
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def link(self) -> Literal["socket", "http", "down"]:
        """Name the link in use."""
        return "socket" if self._socket.up else "http" if self._http.up else "down"

    async def request(self, kind: Kind, payload: Json) -> Json:
        """Deliver an interaction, once, and return the acknowledgement's body. Raises NotAcked."""
        return await self._send(kind, payload, attempt=0, reason="")

    def event(self, payload: Json) -> None:
        """Deliver an event in the background, again and again until it is acknowledged."""
        fault = self._faults.take("events")
        self._start(self._event(payload, fault.kind if fault else None, fault.seconds if fault else 0.0))
        if fault and fault.kind == "duplicate":
            self._start(self._event(payload, None, 0.0))

    async def close(self) -> None:
        """Give up what is still to be delivered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _event(self, payload: Json, fault: str | None, seconds: float) -> None:
        if fault == "delay":
            await asyncio.sleep(seconds)
        reason = ""
        for attempt in range(self._timing.redeliveries + 1):
            began = time.monotonic()
            try:
                if fault not in {"error", "hang"}:
                    await self._send("events_api", payload, attempt=attempt, reason=reason)
                if fault not in {"error", "hang", "drop_response"}:
                    return
                reason = "timeout"
            except NotAcked as unacked:
                reason = unacked.reason
            fault = None
            await asyncio.sleep(max(0.0, self._timing.redeliver - (time.monotonic() - began)))

    async def _send(self, kind: Kind, payload: Json, *, attempt: int, reason: str) -> Json:
        name: str = payload.get("event", {}).get("type") or payload.get("command") or payload["type"]
        link = self._socket if self._socket.up else self._http
        about = payload | ({"retry_attempt": attempt, "retry_reason": reason} if attempt else {})
        self._log.add("event", name, about, ok=link.up, error=None if link.up else "link_down")
        if not link.up:
            raise NotAcked("connection_failed")
        try:
            ack = await link.send(kind, payload, attempt=attempt, reason=reason)
        except NotAcked as unacked:
            self._log.add("ack", name, {}, ok=False, error=unacked.reason)
            raise
        self._log.add("ack", name, ack, ok=True)
        return ack

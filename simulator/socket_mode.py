"""Socket Mode: WebSockets over which envelopes go out and acknowledgements come back."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from aiohttp import WSMsgType, web

from simulator.errors import NotAcked

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.clock import Ids, Timing
    from simulator.delivery import Kind
    from simulator.faults import Faults
    from simulator.people import App, Json

#: sockets an app may hold open at once
MOST_SOCKETS = 10


@dataclass(eq=False, slots=True)
class _Socket:
    ws: web.WebSocketResponse
    waiting: dict[str, asyncio.Future[Json]] = field(default_factory=dict[str, "asyncio.Future[Json]"])


class SocketMode:
    """The app's open sockets; each envelope goes to one of them."""

    def __init__(self, app: App, *, ids: Ids, faults: Faults, timing: Timing, changed: Callable[[], None]) -> None:
        self._app = app
        self._ids = ids
        self._faults = faults
        self._timing = timing
        self._changed = changed
        self._tickets: set[str] = set()
        self._sockets: list[_Socket] = []
        self._turn = itertools.count()

    @property
    def up(self) -> bool:
        """Say whether a socket is open."""
        return bool(self._sockets)

    def ticket(self) -> str:
        """Return a single-use ticket for a new socket."""
        ticket = self._ids.secret()
        self._tickets.add(ticket)
        return ticket

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it closes."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.json_response({"ok": False, "error": "invalid_ticket"}, status=401)
        self._tickets.discard(ticket)
        ws = web.WebSocketResponse(timeout=1.0)
        await ws.prepare(request)
        if len(self._sockets) >= MOST_SOCKETS:
            await ws.send_json({"type": "disconnect", "reason": "too_many_websockets", "debug_info": {}})
            await ws.close()
            return ws
        await ws.send_json(
            {
                "type": "hello",
                "num_connections": len(self._sockets) + 1,
                "debug_info": {"host": "simulator", "build_number": 1, "approximate_connection_time": 18060},
                "connection_info": {"app_id": self._app.id},
            }
        )
        socket = _Socket(ws)
        self._sockets.append(socket)
        self._changed()
        try:
            fault = self._faults.take("socket")
            if fault is not None:
                await self._disconnect(socket, "refresh_requested")
            await self._listen(socket)
        finally:
            self._drop(socket)
        return ws

    async def disconnect_all(self, reason: str = "refresh_requested") -> None:
        """Tell every socket to go, with Slack's reason, and close it."""
        for socket in list(self._sockets):
            await self._disconnect(socket, reason)

    async def send(self, kind: Kind, payload: Json, *, attempt: int, reason: str) -> Json:
        """Send an envelope over one socket and wait for its acknowledgement. Raises NotAcked."""
        if not self._sockets:
            raise NotAcked("connection_failed")
        socket = self._sockets[next(self._turn) % len(self._sockets)]
        envelope_id = self._ids.new("envelope-")
        envelope: Json = {
            "envelope_id": envelope_id,
            "type": kind,
            "accepts_response_payload": kind != "events_api",
            "payload": payload,
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        acked: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        socket.waiting[envelope_id] = acked
        try:
            await socket.ws.send_json(envelope)
            return await asyncio.wait_for(acked, self._timing.ack)
        except TimeoutError:
            raise NotAcked("timeout") from None
        except ConnectionError:
            raise NotAcked("connection_failed") from None
        finally:
            socket.waiting.pop(envelope_id, None)

    async def _listen(self, socket: _Socket) -> None:
        async for message in socket.ws:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                ack: Any = json.loads(cast("str", message.data))
            except ValueError:
                continue
            if not isinstance(ack, dict):
                continue
            body = cast("Json", ack)
            acked = socket.waiting.get(str(body.get("envelope_id")))
            if acked is not None and not acked.done():
                payload: Any = body.get("payload")
                acked.set_result(cast("Json", payload) if isinstance(payload, dict) else {})

    async def _disconnect(self, socket: _Socket, reason: str) -> None:
        self._drop(socket)
        if not socket.ws.closed:
            await socket.ws.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "simulator"}})
            await socket.ws.close()

    def _drop(self, socket: _Socket) -> None:
        if socket in self._sockets:
            self._sockets.remove(socket)
            self._changed()
        for acked in socket.waiting.values():
            if not acked.done():
                acked.set_exception(NotAcked("connection_failed"))

"""One server: connected to when it is needed, left alone when it fails, and never able to hold anything up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from agent.domain import Value
from agent.errors import CircuitOpen, McpUnavailable, SecondKeyError, ToolError, ToolTimedOut
from agent.mcp.definition import Definition, Offer, offer_of
from agent.ports import Clock
from agent.resilience import Breaker

CONNECT_S = 15.0
"""Real seconds until a server that was started or spoken to must have answered."""
LIST_S = 10.0
IDLE_S = 600.0
"""A connection that nobody used for so long is closed; a program is ended then."""
_FAILURES, _OPEN_S = 3, 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 4.0
_AT_ONCE = 8
_END_S = 3.0
T = TypeVar("T")


class Answer(Value):
    """What a call gave back, bounded and without signs that nobody sees; not yet redacted."""

    text: str
    data: Any = None
    ok: bool = True


class Session(Protocol):
    """An open connection."""

    @property
    def about(self) -> str:
        """What the server calls itself, and the version of the protocol; for people."""
        ...

    async def definitions(self) -> Sequence[Definition]:
        """Its tools as it describes them now. Raises ToolError."""
        ...

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool. Raises ToolFailed when the server says that it cannot, McpUnavailable when it is gone."""
        ...

    async def ended(self) -> None:
        """Wait until the server has ended the connection."""
        ...


Opener = Callable[[], AbstractAsyncContextManager[Session]]
"""Opens a connection; leaving the block ends it, and a program with it. Raises ToolError."""


@dataclass(slots=True)
class _Connection:
    session: Session
    owner: asyncio.Task[None]
    busy: int = 0
    retired: bool = False
    """Nothing new is asked of it; it ends with the last call that it has."""

    def end_if_done(self) -> None:
        if self.retired and not self.busy:
            self.owner.cancel()


class McpServer:
    """A server by its name. Every wait is bounded; whatever it does, others are not hurt."""

    def __init__(
        self,
        name: str,
        opener: Opener,
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        connect_s: float = CONNECT_S,
        list_s: float = LIST_S,
    ) -> None:
        self.name = name
        self._opener, self._clock, self._sleep = opener, clock, sleep
        self._connect_s, self._list_s = connect_s, list_s
        self._breaker = Breaker(clock, name=f"The MCP server {name}", failures=_FAILURES, open_s=_OPEN_S)
        self._lock = asyncio.Lock()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._connection: _Connection | None = None
        self._owners: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    async def offer(self) -> Offer:
        """The tools that it offers at this moment; raises McpUnavailable, or what its place does not allow."""

        async def look(session: Session) -> Offer:
            return offer_of(self.name, await session.definitions())

        used = self._connection
        try:
            return await self._guarded(look, self._list_s)
        except McpUnavailable:
            if used is None or used is self._connection:
                raise
        return await self._guarded(look, self._list_s)  # the server had been restarted meanwhile, most likely

    async def call(self, tool: str, arguments: dict[str, Any], timeout_s: float) -> Answer:
        """Call a tool; raises ToolFailed, ToolTimedOut, McpUnavailable. Cancelling ends what the server does for it."""
        return await self._guarded(lambda session: session.call(tool, arguments), timeout_s)

    async def about(self) -> str:
        """What the server calls itself; raises as `offer`."""

        async def ask(session: Session) -> str:
            return session.about

        return await self._guarded(ask, self._list_s)

    async def close(self) -> None:
        """End the connection, and the program behind it, whatever it is doing."""
        self._closed = True
        self._connection = None
        if self._idle is not None:
            self._idle.cancel()
        for owner in tuple(self._owners):
            owner.cancel()
        if self._owners:
            await asyncio.wait(tuple(self._owners), timeout=_END_S)

    async def _guarded(self, ask: Callable[[Session], Awaitable[T]], timeout_s: float) -> T:
        try:
            with self._breaker.guard(counts=(McpUnavailable, ToolTimedOut)):
                async with self._room:
                    try:
                        answer = await self._ask(ask, timeout_s)
                    except (McpUnavailable, ToolTimedOut):
                        wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**self._failures)
                        self._failures += 1
                        self._not_before = self._clock.monotonic() + wait
                        raise
                    self._failures = 0
                    return answer
        except CircuitOpen as error:
            raise McpUnavailable(str(error)) from error

    async def _ask(self, ask: Callable[[Session], Awaitable[T]], timeout_s: float) -> T:
        connection = await self._connected()
        connection.busy += 1
        work = asyncio.ensure_future(ask(connection.session))
        try:
            # Not `wait_for`: the work may be slow to be cancelled, and nobody waits for that.
            done, _ = await asyncio.wait({work}, timeout=timeout_s)
            if done:
                return work.result()
            self._retire(connection)
        except (asyncio.CancelledError, McpUnavailable):
            self._retire(connection)
            raise
        except ToolError:
            raise
        except Exception as error:
            self._retire(connection)
            raise McpUnavailable(
                f"The MCP server {self.name} did not answer properly ({type(error).__name__})."
            ) from error
        finally:
            connection.busy -= 1
            if not work.done():
                work.cancel()
                work.add_done_callback(_forget)
            connection.end_if_done()
            self._close_when_idle()
            if connection.retired and not connection.busy:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({connection.owner}, timeout=_END_S)
        raise ToolTimedOut(f"The MCP server {self.name} did not answer within {timeout_s:.0f} seconds.")

    async def _connected(self) -> _Connection:
        async with self._lock:
            known = self._connection
            if known is not None and not known.retired and not known.owner.done():
                return known
            if self._closed:
                raise McpUnavailable(f"The MCP server {self.name} is being shut down.")
            if (wait := self._not_before - self._clock.monotonic()) > 0:
                await self._sleep(min(wait, _LONGEST_WAIT_S))
            ready: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
            ready.add_done_callback(_forget)  # it may end with nobody waiting any more
            owner = asyncio.create_task(self._own(ready), name=f"mcp-{self.name}")
            self._owners.add(owner)
            owner.add_done_callback(self._owners.discard)
            try:
                done, _ = await asyncio.wait({ready}, timeout=self._connect_s)
            except asyncio.CancelledError:
                owner.cancel()
                raise
            if not done:
                owner.cancel()
                raise McpUnavailable(
                    f"The MCP server {self.name} did not answer within {self._connect_s:.0f} seconds of its start."
                )
            self._connection = _Connection(ready.result(), owner)
            return self._connection

    async def _own(self, ready: asyncio.Future[Session]) -> None:
        """Hold one connection open in one task, as its library wants it."""
        try:
            async with self._opener() as session:
                if not ready.done():
                    ready.set_result(session)
                await session.ended()
        except asyncio.CancelledError:
            if not ready.done():  # not by a cancellation: whoever waits was not cancelled
                ready.set_exception(McpUnavailable(f"The MCP server {self.name} is being shut down."))
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a library raises, in groups too, ends only this connection
            if not ready.done():
                ready.set_exception(self._reason(error))

    def _reason(self, error: BaseException) -> SecondKeyError:
        first: Any = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # of anything
        if isinstance(first, ToolError):
            return first
        kind = type(first).__name__  # pyright: ignore[reportUnknownArgumentType]  # as above
        return McpUnavailable(f"The MCP server {self.name} could not be spoken to ({kind}).")

    def _retire(self, connection: _Connection) -> None:
        connection.retired = True
        if self._connection is connection:
            self._connection = None

    def _close_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = None if self._closed else asyncio.get_running_loop().call_later(IDLE_S, self._rest)

    def _rest(self) -> None:
        known = self._connection
        if known is not None and not known.busy:
            self._retire(known)
            known.end_if_done()


def _forget(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()

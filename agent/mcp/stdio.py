"""A server that speaks over its standard streams, in a sandbox of its own: lines in, lines out, both bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from agent.mcp.texts import clean
from agent.ports import SandboxCall
from agent.sandbox.resident import Residence, Resident

MAX_MESSAGE = 2 * 1_048_576
"""Bytes of one message; a server that sends a longer one is ended."""
_WINDOW_S = 10.0
_MOST_MESSAGES, _MOST_BYTES = 1_000, 16 * 1_048_576
_CHUNK = 65_536
_STDERR = 4_096

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


class _Flood(Exception):
    """More than anybody would read."""


@dataclass(slots=True)
class Ending:
    """Whether a connection has ended, and why, one sentence."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""

    def say(self, why: str) -> None:
        """Note the end; the first reason stays."""
        if not self.over.is_set():
            self.why = why
            self.over.set()


class Meter:
    """Counts messages and bytes in windows of ten seconds."""

    def __init__(self) -> None:
        self._began, self._messages, self._bytes = 0.0, 0, 0

    def note(self, now: float, *, messages: int = 0, size: int = 0) -> bool:
        """Count; False when it is too much. `now` is any clock of seconds."""
        if now - self._began > _WINDOW_S:
            self._began, self._messages, self._bytes = now, 0, 0
        self._messages += messages
        self._bytes += size
        return self._messages <= _MOST_MESSAGES and self._bytes <= _MOST_BYTES


@contextlib.asynccontextmanager
async def stdio_streams(residence: Residence, call: SandboxCall, ending: Ending) -> AsyncGenerator[Streams]:
    """Start a server and give the two streams of its messages; leaving the block kills it and all that it started.

    Raises SandboxUnavailable.
    """
    async with residence.hold(call) as resident:
        inward, incoming = anyio.create_memory_object_stream[Incoming](0)
        outgoing, outward = anyio.create_memory_object_stream[SessionMessage](0)
        said = bytearray()
        tasks = [
            asyncio.create_task(_read(resident, inward, ending, said)),
            asyncio.create_task(_write(resident, outward, ending)),
            asyncio.create_task(_listen(resident.stderr, said)),
        ]
        try:
            yield incoming, outgoing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (inward, incoming, outgoing, outward):
                stream.close()


async def _read(
    resident: Resident, inward: MemoryObjectSendStream[Incoming], ending: Ending, said: bytearray
) -> None:  # fmt: skip
    async with inward:
        try:
            async for line in _lines(resident.stdout):
                if (message := _parsed(line)) is not None:
                    await inward.send(SessionMessage(message))
        except _Flood:
            ending.say("it sent more than is read, and was ended")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            ending.say("the connection was closed")
        else:
            await asyncio.sleep(0)  # what it last said on the other stream is there by now
            last = clean(bytes(said).decode(errors="replace"), _STDERR).strip().rpartition("\n")[2]
            ending.say("it ended" + (f"; its last words: {last[:200]}" if last else ""))


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Its lines; raises _Flood when one is too long, or they are too many."""
    loop, meter = asyncio.get_running_loop(), Meter()
    pieces: list[bytes] = []
    held = 0
    while chunk := await stream.read(_CHUNK):
        *ended, rest = chunk.split(b"\n")
        if not meter.note(loop.time(), messages=len(ended), size=len(chunk)):
            raise _Flood
        for one in ended:
            yield b"".join((*pieces, one))
            pieces, held = [], 0
        pieces.append(rest)
        held += len(rest)
        if held > MAX_MESSAGE:
            raise _Flood


def _parsed(line: bytes) -> types.JSONRPCMessage | None:
    """A message, unless it is none, or one of those that nobody answers and nothing here waits for."""
    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None
    return None if isinstance(message, types.JSONRPCNotification) else message


async def _write(resident: Resident, outward: MemoryObjectReceiveStream[SessionMessage], ending: Ending) -> None:
    try:
        async with outward:
            async for item in outward:
                line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                resident.stdin.write(line.encode() + b"\n")
                await resident.stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        ending.say("it does not listen any more")


async def _listen(stderr: asyncio.StreamReader, said: bytearray) -> None:
    """Read on, whatever it writes: else it would wait for ever. Only the end is kept."""
    while chunk := await stderr.read(_CHUNK):
        said += chunk
        del said[:-_STDERR]

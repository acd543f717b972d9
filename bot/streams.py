"""Live progress in a task's thread: a stream that Slack draws as a plan, and that is nothing but a view.

The outbox's progress message stays the truth. While a run works, that one message is a stream, written by delivery
alone; before Slack's five minutes are over, before people are waited for, at the end and at any doubt the stream is
ended, and delivery updates the same message with the whole, as it does where nothing can be streamed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog
from aiolimiter import AsyncLimiter
from slack_sdk.errors import SlackClientError

from agent.errors import SecondKeyError
from agent.ports import Clock
from bot.blocks.live import Live
from bot.posting import Kind, PostFault, SlackClient, fault_of, metadata_of
from storage.outbox import OutboxRow

LONGEST_S: Final = 270.0
"""A stream is ended at this age; Slack breaks it off at about 300 seconds."""
CALL_S: Final = 5.0
CLOSE_S: Final = 1.5
OPEN: Final = 9
"""Streams at once, and begun a minute: Slack takes 20 stops a minute, and each of these may need one."""
APPENDS: Final = 80
"""Additions a minute to all streams; Slack takes 100."""
CONFLICT: Final = "streaming_state_conflict"
"""What an update says of a message that is still being streamed."""
_NO_STREAMS: Final = frozenset(
    {"unknown_method", "method_deprecated", "missing_scope", "not_allowed_token_type", "no_permission", "not_allowed"}
    | {"feature_not_enabled", "access_denied", "method_not_supported_for_channel_type"}
)
_log = structlog.get_logger("streams")


@dataclass(slots=True)
class _Open:
    """A stream that this process writes."""

    stream: Any
    """slack_sdk's AsyncChatStream; it has no lock, so delivery's one task a message is its only writer."""
    shown: Live
    began: float
    timer: asyncio.TimerHandle


class Streams:
    """Streams by the key of their progress message. `due` wants one more revision of a message."""

    def __init__(
        self,
        client: SlackClient,
        clock: Clock,
        due: Callable[[str], Awaitable[object]],
        *,
        stopped: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client, self._clock, self._due, self._stopped = client, clock, due, stopped
        self._open: dict[str, _Open] = {}
        self._starts = AsyncLimiter(OPEN, 60)
        self._appends = AsyncLimiter(APPENDS, 60)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_available = True

    async def begin(self, row: OutboxRow, live: Live | None) -> tuple[str, str] | None:
        """Post a progress message as a stream; None when it is better posted as ever.

        Raises PostFault when nobody knows whether it stands.
        """
        if live is None or live.session != "processing" or not self._is_available:
            return None
        if len(self._open) >= OPEN or not self._starts.has_capacity():
            return None
        await self._starts.acquire()
        chunks = [*live.opening(), *live.since(None)]
        try:
            stream = await self._client.chat_stream(
                channel=row.channel,
                thread_ts=row.thread_ts,
                recipient_team_id=live.team,
                recipient_user_id=live.user,
                task_display_mode="plan",
            )
            await _within(CALL_S, stream.append(chunks=chunks))
        except PostFault as fault:
            _log.info("not_streamed", key=row.key, fault=str(fault))
            if fault.kind is Kind.UNCLEAR:
                raise
            self._is_available = fault.error not in _NO_STREAMS
            return None
        ts = str(stream.ts or "")
        if not ts:
            raise PostFault(Kind.UNCLEAR, "no_ts")
        timer = asyncio.get_running_loop().call_later(LONGEST_S, self._rotate, row.key)
        self._open[row.key] = _Open(stream, live, self._clock.monotonic(), timer)
        return row.channel, ts

    async def show(self, row: OutboxRow, live: Live | None) -> bool:
        """Bring the stream of a message up to date; False when there is none (any more), so that it is updated whole.

        Raises PostFault when Slack wants it slower.
        """
        found = self._open.get(row.key)
        if found is None:
            return False
        is_old = self._clock.monotonic() - found.began >= LONGEST_S
        if live is None or live.session != "processing" or is_old:
            await self._end(row, live)
            return False
        chunks = live.since(found.shown)
        if chunks and not self._appends.has_capacity():
            raise PostFault(Kind.LIMITED, "own_rate", 1.0)
        try:
            if chunks:
                await self._appends.acquire()
                await _within(CALL_S, found.stream.append(chunks=chunks))
        except PostFault as fault:
            if fault.kind is Kind.LIMITED:
                raise
            _log.info("stream_given_up", key=row.key, fault=str(fault))
            await self._end(row, live)
            return False
        found.shown = live
        return True

    async def settle(self, row: OutboxRow, channel: str, ts: str, live: Live | None) -> None:
        """End a stream that another process, or a lost answer, left behind."""
        self._forget(row.key)
        status = live.session if live else "active"
        arguments = {"metadata": metadata_of(row.key, 0), "session_status": status}
        try:
            await _within(CALL_S, self._client.chat_stopStream(channel=channel, ts=ts, **arguments))
        except PostFault as fault:
            _log.info("stream_not_settled", key=row.key, fault=str(fault))
        self._stopped(row.run)

    async def close(self) -> None:
        """End all streams in bounded time; what they showed is shown by the next update of their message."""
        ends = [_within(CLOSE_S, found.stream.stop(session_status="processing")) for found in self._open.values()]
        for key in [*self._open]:
            self._forget(key)
        await asyncio.gather(*ends, *self._tasks, return_exceptions=True)

    async def _end(self, row: OutboxRow, live: Live | None) -> None:
        """End a stream of ours; whether that worked or not, the message is updated whole afterwards."""
        found = self._forget(row.key)
        if found is None:
            return
        status = live.session if live else "active"
        try:
            await _within(CALL_S, found.stream.stop(metadata=metadata_of(row.key, 0), session_status=status))
        except PostFault as fault:
            _log.info("stream_not_ended", key=row.key, fault=str(fault))
        if status == "processing":
            self._stopped(row.run)  # the run may have ended meanwhile, and Slack was just told that it works

    def _forget(self, key: str) -> _Open | None:
        found = self._open.pop(key, None)
        if found is not None:
            found.timer.cancel()
        return found

    def _rotate(self, key: str) -> None:
        """Its time is over although nothing happened: have delivery end it and write the whole."""
        task = asyncio.get_running_loop().create_task(self._want(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _want(self, key: str) -> None:
        try:
            await self._due(key)
        except SecondKeyError as error:
            _log.warning("stream_not_rotated", key=key, error=str(error))


async def _within(seconds: float, call: Awaitable[object]) -> None:
    """Wait for a call; raises PostFault."""
    try:
        async with asyncio.timeout(seconds):
            await call
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise fault_of(error) from error

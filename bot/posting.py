"""The calls that put a message into Slack: rates kept, failures told apart by what they mean for a second try."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Final, cast

import aiohttp
from aiolimiter import AsyncLimiter
from slack_sdk.errors import SlackApiError, SlackClientError

from agent.ports import Clock
from bot.blocks.kit import Block

METADATA_TYPE: Final = "secondkey"
"""The event type in the metadata of every message that the outbox posts."""
CALL_S: Final = 10.0
"""How long one call may take, seconds."""
POST_BURST: Final = 3
"""Posts at once in a channel, before one a second holds."""
UPDATES_A_MINUTE: Final = 45
"""Slack's tier 3, with some air."""
FOR_DECISIONS: Final = 20
"""Updates that progress and outcomes leave to decisions: enough for one a second over more than a minute."""
LOOK_BACK: Final = 200
"""Messages read in a page when a lost post is looked for."""
PAGES: Final = 3


Call = Callable[..., Awaitable[Any]]
"""A method of slack_sdk's client."""
SlackClient = Any
"""slack_sdk's AsyncWebClient; its methods are typed only in part, so strictness would gain nothing here."""


class Kind(StrEnum):
    """What a failure means for the next try."""

    LIMITED = "limited"
    """Too fast; Slack says when to come back."""
    UNREACHABLE = "unreachable"
    """The channel is gone, archived or closed to us."""
    MISSING = "missing"
    """The message to update is gone."""
    SHAPE = "shape"
    """Slack refuses the blocks."""
    REFUSED = "refused"
    """Anything else that Slack refuses; nothing happened."""
    UNCLEAR = "unclear"
    """The answer was lost; it may have happened."""


class PostFault(Exception):
    """A call to Slack did not succeed."""

    def __init__(self, kind: Kind, error: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{kind.value}: {error}")
        self.kind, self.error, self.retry_after_s = kind, error, retry_after_s


_UNREACHABLE = frozenset(
    {"channel_not_found", "not_in_channel", "is_archived", "restricted_action", "no_permission", "user_not_found"}
    | {"restricted_action_read_only_channel", "restricted_action_non_threadable_channel", "cannot_dm_bot"}
    | {"thread_not_found"}
)  # fmt: skip
_MISSING = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_SHAPE = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "invalid_arguments"}
    | {"block_mismatch", "no_text", "blocks_too_long", "metadata_too_large"}
)  # fmt: skip
_SERVER_SIDE = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)


def fault_of(error: Exception) -> PostFault:
    """What an exception of slack_sdk means."""
    if not isinstance(error, SlackApiError):
        return PostFault(Kind.UNCLEAR, type(error).__name__)
    response = cast("Any", error).response
    # slack_sdk hands over its own response, or aiohttp's when the body was no JSON.
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
    data: object = getattr(response, "data", None)
    body: Mapping[str, Any] = cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}
    code = str(body.get("error") or "")
    if status == 429 or code in {"ratelimited", "rate_limited"}:  # noqa: PLR2004  Too Many Requests
        return PostFault(Kind.LIMITED, "ratelimited", _retry_after(getattr(response, "headers", {})))
    if status >= 500 or not code or code in _SERVER_SIDE:  # noqa: PLR2004  the server's fault
        return PostFault(Kind.UNCLEAR, code or f"http_{status}")
    for kind, codes in ((Kind.UNREACHABLE, _UNREACHABLE), (Kind.MISSING, _MISSING), (Kind.SHAPE, _SHAPE)):
        if code in codes:
            return PostFault(kind, code)
    return PostFault(Kind.REFUSED, code)


def _retry_after(headers: Mapping[str, str]) -> float:
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "1")
    try:
        return min(300.0, max(0.1, float(value)))
    except ValueError:
        return 1.0


class Poster:
    """Posts, updates and finds messages. Raises PostFault."""

    def __init__(self, client: SlackClient, clock: Clock) -> None:
        self._client = _without_retries(client)
        self._clock = clock
        self._channels: dict[str, AsyncLimiter] = {}
        self._updates = AsyncLimiter(UPDATES_A_MINUTE, 60)
        self._held: dict[str, float] = {}

    def is_ready(self, channel: str, *, update: bool, yields: bool, ahead: int = 0) -> bool:
        """Whether a call would go out at once, behind `ahead` others.

        One that `yields` leaves room for those that matter more.
        """
        key = "update" if update else channel
        if self._held.get(key, 0.0) > self._clock.monotonic():
            return False
        if update:
            return self._updates.has_capacity(ahead + (FOR_DECISIONS + 1 if yields else 1))
        return self._channel(channel).has_capacity(ahead + (2 if yields else 1))

    async def post(
        self, channel: str, thread_ts: str, text: str, blocks: list[Block], metadata: Block
    ) -> tuple[str, str]:
        """Post a message; returns its channel's id and its ts."""
        if not channel:
            raise PostFault(Kind.UNREACHABLE, "no_channel")
        await self._channel(channel).acquire()
        arguments: dict[str, Any] = {"thread_ts": thread_ts} if thread_ts else {}
        if blocks:
            arguments["blocks"] = blocks
        answer = await self._call(
            channel,
            self._client.chat_postMessage,
            channel=channel,
            text=text,
            metadata=metadata,
            parse="none",
            link_names=False,
            unfurl_links=False,
            unfurl_media=False,
            **arguments,
        )
        ts = str(answer.get("ts") or "")
        if not ts:
            raise PostFault(Kind.UNCLEAR, "no_ts")
        return str(answer.get("channel") or channel), ts

    async def update(self, channel: str, ts: str, text: str, blocks: list[Block], metadata: Block) -> None:
        """Replace a message."""
        await self._updates.acquire()
        await self._call(
            "update",
            self._client.chat_update,
            channel=channel,
            ts=ts,
            text=text,
            blocks=blocks,
            metadata=metadata,
            parse="none",
            link_names=False,
        )

    async def open_dm(self, user: str) -> str:
        """The channel of the direct message with somebody."""
        answer = await self._call("open", self._client.conversations_open, users=user)
        channel = cast("Mapping[str, Any]", answer.get("channel") or {})
        if not channel.get("id"):
            raise PostFault(Kind.UNCLEAR, "no_channel")
        return str(channel["id"])

    async def find(self, channel: str, thread_ts: str, key: str, marker: str = "") -> tuple[str, int] | None:
        """The ts and revision of a message with this key, if Slack has it; the newest 600 are looked through.

        A stream gets its key only when it ends: `marker` is a text by which a message of ours without a key is known.
        """
        streamed: tuple[str, int] | None = None
        if not channel:
            raise PostFault(Kind.UNREACHABLE, "no_channel")
        method: Call = self._client.conversations_replies if thread_ts else self._client.conversations_history
        arguments: dict[str, Any] = {"ts": thread_ts} if thread_ts else {}
        for _ in range(PAGES):
            answer = await self._call(
                "find", method, channel=channel, limit=LOOK_BACK, include_all_metadata=True, **arguments
            )
            for message in cast("list[Mapping[str, Any]]", answer.get("messages") or []):
                if found := _revision_of(message, key):
                    return found
                if marker and message.get("bot_id") and "metadata" not in message and marker in json.dumps(message):
                    streamed = str(message.get("ts") or ""), 0
            cursor = cast("Mapping[str, Any]", answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            arguments["cursor"] = cursor
        return streamed if streamed and streamed[0] else None

    async def _call(self, holds: str, call: Call, **arguments: Any) -> Mapping[str, Any]:  # noqa: ANN401  # any JSON value
        try:
            async with asyncio.timeout(CALL_S):
                answer = await call(**arguments)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            fault = fault_of(error)
            if fault.kind is Kind.LIMITED:
                self._held[holds] = self._clock.monotonic() + fault.retry_after_s
            raise fault from error
        return cast("Mapping[str, Any]", answer.data if isinstance(getattr(answer, "data", None), dict) else answer)

    def _channel(self, channel: str) -> AsyncLimiter:
        limiter = self._channels.get(channel)
        if limiter is None:
            limiter = self._channels[channel] = AsyncLimiter(POST_BURST, POST_BURST)
        return limiter


def _without_retries(client: SlackClient) -> SlackClient:
    """The same client without slack_sdk's own retry after a lost connection, which would post a second time."""
    if not hasattr(client, "retry_handlers"):
        return client
    single = copy.copy(client)
    single.retry_handlers = []
    return single


def metadata_of(key: str, revision: int) -> Block:
    """What lets a message be found again: its key and what it shows, nothing else."""
    return {"event_type": METADATA_TYPE, "event_payload": {"key": key, "revision": revision}}


def _revision_of(message: Mapping[str, Any], key: str) -> tuple[str, int] | None:
    metadata = cast("Mapping[str, Any]", message.get("metadata") or {})
    payload = cast("Mapping[str, Any]", metadata.get("event_payload") or {})
    if metadata.get("event_type") != METADATA_TYPE or payload.get("key") != key or not message.get("ts"):
        return None
    revision = payload.get("revision")
    return str(message["ts"]), revision if isinstance(revision, int) else 0

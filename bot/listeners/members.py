"""Who is in a channel, asked of Slack and believed for a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackClientError

from agent.ports import Clock
from bot.listeners.payload import mapping, text_of

FRESH_S: Final = 60.0
"""How long a list is believed, seconds of transport time."""
PAGES: Final = 10
"""Pages of a thousand that are read at most; in a larger channel the rest counts as absent."""
LOOK_UP_S: Final = 1.5
MOST_KEPT: Final = 500


class Members:
    """Members of channels; when Slack does not answer, nobody is one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    async def of(self, channel: str, client: Any, clock: Clock) -> frozenset[str]:  # noqa: ANN401  # slack_sdk's client
        """User ids of the channel's members."""
        at, members = self._known.get(channel, (float("-inf"), frozenset[str]()))
        if clock.monotonic() - at < FRESH_S:
            return members
        found = set[str]()
        cursor = ""
        try:
            async with asyncio.timeout(LOOK_UP_S):
                for _ in range(PAGES):
                    answer: Mapping[str, Any] = await client.conversations_members(
                        channel=channel, limit=1000, cursor=cursor
                    )
                    found.update(answer.get("members") or [])
                    cursor = text_of(mapping(answer.get("response_metadata")).get("next_cursor"))
                    if not cursor:
                        break
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError):
            found = set[str]()  # believed as long: a list of 200 runs must not ask 200 times while Slack is down
        while len(self._known) >= MOST_KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[channel] = (clock.monotonic(), frozenset(found))
        return self._known[channel][1]

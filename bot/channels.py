"""Which channels the cards and takeovers stand in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.config import Settings

LOOK_UP_S = 10.0
PAGE = 200
MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class Channels:
    """Channel ids; empty when a channel is not there, and then `problem` says so."""

    actions: str
    takeovers: str
    problem: str = ""


async def find_channels(client: AsyncWebClient, settings: Settings) -> Channels:
    """Find the configured channels by name or id; what is missing is said, not raised: approvers get DMs then."""
    wanted = [settings.actions_channel.lstrip("#"), (settings.takeover_channel or settings.actions_channel).lstrip("#")]
    found: dict[str, dict[str, Any]] = {}
    problem = ""
    try:
        async with asyncio.timeout(LOOK_UP_S):
            found = await _search(client, set(wanted))
    except (SlackApiError, ClientError, OSError, TimeoutError) as error:
        problem = f"The channels could not be looked up ({type(error).__name__})."
    for name in dict.fromkeys(wanted):
        channel = found.get(name)
        if channel is None:
            problem = problem or f"There is no channel #{name}; approvers get direct messages."
        elif not channel.get("is_member"):
            problem = problem or f"The bot is not in #{name}; invite it. Approvers get direct messages until then."
    actions, takeovers = (str(found.get(name, {}).get("id", "")) for name in wanted)
    return Channels(actions, takeovers, problem)


async def _search(client: AsyncWebClient, wanted: set[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    for _ in range(MOST_PAGES):
        answer = await cast("Any", client).conversations_list(  # the SDK types its methods only in part
            types="public_channel,private_channel", exclude_archived=True, limit=PAGE, cursor=cursor or None
        )
        for channel in answer.get("channels", []):
            for key in (str(channel.get("name", "")), str(channel.get("id", ""))):
                if key in wanted:
                    found[key] = channel
        paging: dict[str, Any] = answer.get("response_metadata") or {}
        cursor = str(paging.get("next_cursor") or "")
        if not cursor or found.keys() >= wanted:
            break
    return found

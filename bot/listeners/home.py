"""The app's home: suggested prompts on the messages tab, what waits and one's own runs on the home tab."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError

from agent.domain import RunStatus
from agent.errors import SecondKeyError
from bot.blocks.message import Look
from bot.blocks.status import home
from bot.listeners.payload import mapping, text_of
from bot.listeners.services import NOW_OR_NEVER_S, Bolt, Services
from bot.listeners.visibility import visible

PROMPTS = 4
"""Suggested prompts that Slack shows."""
_log = structlog.get_logger("listeners")


def register(app: Bolt, services: Services) -> None:
    """Listen to the opening of the home."""

    async def opened(body: dict[str, Any]) -> None:
        event = mapping(body.get("event"))
        user, channel = text_of(event.get("user")), text_of(event.get("channel"))
        if text_of(event.get("tab")) == "home" and user:
            services.tasks.start(publish(services, user, text_of(body.get("team_id"))))
        elif text_of(event.get("tab")) == "messages" and channel and services.prompts:
            services.tasks.start(suggest(services, channel))

    app.event("app_home_opened")(opened)


async def suggest(services: Services, channel: str) -> None:
    """Offer a few first tasks; tried once."""
    prompts = [{"title": title, "message": message} for title, message in services.prompts[:PROMPTS]]
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.assistant_threads_setSuggestedPrompts(channel_id=channel, prompts=prompts)
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.info("no_prompts", error=str(error).partition("\n")[0])


async def publish(services: Services, user: str, team: str) -> None:
    """Show the home tab; tried once, and again whenever it is opened."""
    try:
        person = await services.identity.person(user, team)
        look = Look(command=services.command)
        if person.refusal:
            view = home((), (), look, refusal=person.refusal)
        else:
            waiting = services.queries.runs(statuses=(RunStatus.WAITING,), limit=50)
            mine = services.queries.runs(requester=person.principal.key, limit=10)
            view = home(await visible(services, person, waiting, 10), mine, look, services.bot_user)
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.views_publish(user_id=user, view=view)
    except (SecondKeyError, SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.info("no_home", error=str(error).partition("\n")[0])

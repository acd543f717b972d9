"""The link to Slack: tokens proved within ten seconds, then Socket Mode, watched and rebuilt when it dies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from agent.errors import ConfigurationError

PREFLIGHT_S = 10.0
CLOSE_S = 5.0
WATCH_EVERY_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the bot is installed, and who it is there."""

    team: str
    team_name: str
    bot_user: str
    bot_id: str
    url: str
    """Such as `https://harbour.slack.com/`, for links to messages."""


async def preflight(client: AsyncWebClient, app_token: str) -> Installation:
    """Prove the tokens; raises ConfigurationError with the fix within ten seconds."""
    slack = cast("Any", client)  # the SDK types its methods only in part
    try:
        async with asyncio.timeout(PREFLIGHT_S):
            who = (await slack.auth_test()).data
            if app_token:
                await slack.apps_connections_open(app_token=app_token)
    except SlackApiError as error:
        response = cast("Any", error).response
        code = str(response.get("error", "unknown"))
        name = "SLACK_APP_TOKEN" if "connections" in str(response.api_url) else "SLACK_BOT_TOKEN"
        raise ConfigurationError(
            f"Slack refuses the token ({code}).", fix=f"Copy {name} from your app's settings into the environment."
        ) from None
    except (TimeoutError, OSError, SlackClientError) as error:
        raise ConfigurationError(
            f"Slack cannot be reached ({type(error).__name__}).", fix="Check the network and slack_api_url."
        ) from error
    return Installation(
        team=str(who.get("team_id", "")),
        team_name=str(who.get("team", "")),
        bot_user=str(who.get("user_id", "")),
        bot_id=str(who.get("bot_id", "")),
        url=str(who.get("url", "")),
    )


class SocketLink:
    """Socket Mode with a watchdog; never a second live handler before the first is gone."""

    def __init__(self, bolt: AsyncApp, app_token: str, client: AsyncWebClient) -> None:
        self._bolt, self._app_token, self._client = bolt, app_token, client
        self._handler: AsyncSocketModeHandler | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str:
        """Why Slack does not reach us now; empty when it does."""
        return "" if self._handler is not None and self._connected(self._handler) else "not connected to Slack"

    async def connect(self) -> None:
        """Connect; raises ConfigurationError when it does not come up within ten seconds."""
        self._handler = AsyncSocketModeHandler(self._bolt, self._app_token, web_client=self._client)
        try:
            async with asyncio.timeout(PREFLIGHT_S):
                await self._handler.connect_async()
        except TimeoutError as error:
            await self._drop()
            raise ConfigurationError("Socket Mode does not connect.", fix="Enable Socket Mode for the app.") from error
        if self._watch is None:
            self._watch = asyncio.create_task(self._watchdog(), name="slack watchdog")

    async def close(self) -> None:
        """Disconnect, in bounded time."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._drop()

    async def _drop(self) -> None:
        handler, self._handler = self._handler, None
        if handler is None:
            return
        try:
            await asyncio.wait_for(handler.close_async(), CLOSE_S)
        except (TimeoutError, OSError, SlackClientError, RuntimeError) as error:
            _log.warning("socket_close_failed", error=type(error).__name__)

    async def _watchdog(self) -> None:
        """The SDK reconnects by itself; a connection that stays dead for two looks is rebuilt."""
        missed = 0
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            handler = self._handler
            missed = 0 if handler is not None and self._connected(handler) else missed + 1
            if missed < 2:  # noqa: PLR2004  # two looks, as said above
                continue
            _log.warning("socket_rebuilt")
            await self._drop()
            try:
                await self.connect()
                missed = 0
            except (ConfigurationError, SlackClientError, OSError) as error:
                _log.warning("socket_still_down", error=str(error))

    @staticmethod
    def _connected(handler: AsyncSocketModeHandler) -> bool:
        session = handler.client.current_session
        return session is not None and not session.closed

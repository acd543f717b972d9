"""Private words: said once, at once, to one person; they carry no state, so they are never retried."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.webhook.async_client import AsyncWebhookClient

from agent.domain import Principal
from agent.errors import StorageUnavailable
from bot.blocks.kit import Block
from bot.listeners.payload import Who
from bot.listeners.services import NOW_OR_NEVER_S, Services
from storage.audit import refused

_FAILURES = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)
_log = structlog.get_logger("listeners")


async def tell(services: Services, who: Who, text: str) -> None:
    """Tell one person something where they acted, seen by nobody else; directly, when that does not work."""
    if who.in_home and services.homes.note(who.user, text, services.clock.monotonic()):
        return
    if who.channel:
        arguments: dict[str, Any] = {"thread_ts": who.thread_ts} if who.thread_ts else {}
        try:
            async with asyncio.timeout(NOW_OR_NEVER_S):
                await services.client.chat_postEphemeral(channel=who.channel, user=who.user, text=text, **arguments)
        except _FAILURES as error:
            _log.info("private_word_failed", error=str(error).partition("\n")[0])
        else:
            return
    if who.response_url and await _respond(who.response_url, text):
        return
    await tell_directly(services, who.user, text)


async def tell_directly(services: Services, user: str, text: str) -> None:
    """Write somebody a direct message."""
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            opened = await services.client.conversations_open(users=user)
            await services.client.chat_postMessage(channel=opened["channel"]["id"], text=text)
    except (*_FAILURES, KeyError, TypeError) as error:
        _log.warning("nobody_was_told", user=user, error=str(error).partition("\n")[0])


async def _respond(url: str, text: str) -> bool:
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            answer = await AsyncWebhookClient(url).send(text=text, response_type="ephemeral", replace_original=False)
    except _FAILURES:
        return False
    return answer.status_code == HTTPStatus.OK


async def say(services: Services, channel: str, thread_ts: str, text: str) -> None:
    """Answer in public where somebody spoke to us; for friendly words that stand for no run."""
    arguments: dict[str, Any] = {"thread_ts": thread_ts} if thread_ts else {}
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.chat_postMessage(channel=channel, text=text, unfurl_links=False, **arguments)
    except _FAILURES as error:
        _log.info("word_failed", error=str(error).partition("\n")[0])


async def react(services: Services, channel: str, ts: str, name: str) -> None:
    """Put a reaction on somebody's message: seen."""
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.reactions_add(channel=channel, timestamp=ts, name=name)
    except _FAILURES as error:
        _log.info("reaction_failed", error=str(error).partition("\n")[0])


async def open_modal(services: Services, who: Who, trigger_id: str, view: Block, otherwise: str) -> bool:
    """Open a modal while the trigger is young; should that fail, the person is told what to do instead."""
    try:
        async with asyncio.timeout(NOW_OR_NEVER_S):
            await services.client.views_open(trigger_id=trigger_id, view=view)
    except _FAILURES as error:
        _log.info("modal_failed", error=str(error).partition("\n")[0])
        if otherwise:
            await tell(services, who, otherwise)
        return False
    return True


async def audit(services: Services, kind: str, who: Who | None, subject: str = "", detail: str = "") -> None:
    """Keep a row of something that was refused or dropped; a slow database loses it rather than a person's time."""
    await audit_of(services, kind, who.team if who else "", who.user if who else "", subject=subject, detail=detail)


async def audit_of(services: Services, kind: str, team: str, user: str, *, subject: str = "", detail: str = "") -> None:
    """The same of a person by team and user id."""
    key = Principal(team=team or "-", user=user).key if user else ""
    try:
        await services.db.write(lambda tx: refused(tx, kind=kind, principal=key, subject=subject, detail=detail[:200]))
    except StorageUnavailable as error:
        _log.warning("audit_row_lost", kind=kind, error=str(error))

"""The slash command: taken apart, handed to its word, answered to the person alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.errors import NotEntitled
from bot.blocks import usage
from bot.blocks.kit import Block, section
from bot.identity import Person
from bot.listeners import inquiries, orders, replies
from bot.listeners.payload import Command, command_of, who_of
from bot.listeners.services import Bolt, Services
from bot.words import INCOMPLETE, STILL_SAVING, sentence

_log = structlog.get_logger("listeners")
Verb = Callable[[Services, Command, Person], Awaitable[list[Block]]]
VERBS: dict[str, Verb] = {
    "run": orders.start,
    "status": inquiries.status,
    "runs": inquiries.runs,
    "approvals": inquiries.approvals,
    "stop": orders.stop,
    "pause": orders.pause,
    "resume": orders.resume,
    "why": inquiries.why,
    "grants": orders.grants,
    "budget": inquiries.budget,
    "help": inquiries.show_help,
}
"""The first word → what it does; `bot.blocks.usage.USAGE` says how each is typed."""


def register(app: Bolt, services: Services) -> None:
    """Listen to the configured command."""

    async def command(ack: AsyncAck, body: dict[str, Any]) -> None:
        typed = command_of(body)
        if typed is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="command"))
            await ack(INCOMPLETE)
            return
        try:
            blocks = await services.tasks.within(answer(services, typed))
        except TimeoutError:
            await ack(STILL_SAVING.replace("card", "run's thread"))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            _log.info("command_refused", error=str(error))
            await ack(sentence(error, command=services.command))
        else:
            await ack(text=_text_of(blocks), blocks=blocks, response_type="ephemeral")

    app.command(services.command)(command)


def _text_of(blocks: list[Block]) -> str:
    return str(blocks[0]["text"]["text"])[:500] if blocks and "text" in blocks[0] else "Second Key"


async def answer(services: Services, typed: Command) -> list[Block]:
    """What is shown for a command; raises errors that `bot.words.sentence` explains."""
    person = await services.identity.person(typed.who.user, typed.who.team)
    if person.refusal:
        await replies.audit(services, "may_not_ask", typed.who, detail=" ".join(typed.words)[:100])
        raise NotEntitled(person.refusal)
    verb = typed.words[0].lower() if typed.words else "help"
    if verb in VERBS:
        return await VERBS[verb](services, typed, person)
    return [section(usage.unknown(services.command, verb))]

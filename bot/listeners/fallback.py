"""What nobody else takes: unknown buttons, forms, shortcuts and commands are answered, broken payloads are dropped."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from slack_bolt import BoltResponse
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.middleware.async_middleware import AsyncMiddleware
from slack_bolt.request.async_request import AsyncBoltRequest

from bot.listeners import replies
from bot.listeners.payload import Body, first, mapping, text_of, who_of
from bot.listeners.services import Bolt, Services
from bot.words import INCOMPLETE

_ANY: Final = re.compile(".*", re.DOTALL)


def guard(app: Bolt, services: Services) -> None:
    """Stop payloads without the fields that Bolt's own matchers read, before they raise there."""
    app.middleware(Whole(services))


class Whole(AsyncMiddleware):
    """Lets whole payloads through; a class, because Bolt reads the payload before it calls a function."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def async_process(
        self,
        *,
        req: AsyncBoltRequest,
        resp: BoltResponse,
        next: Callable[[], Awaitable[BoltResponse]],  # noqa: A002  # Bolt passes it by this name
    ) -> BoltResponse | None:
        """Go on with a whole payload; else tell the person, keep a row, and ack."""
        del resp
        body: Body = cast("Any", req).body
        missing = missing_field(body)
        if not missing:
            return await next()
        who = who_of(body)
        self._services.tasks.start(replies.audit(self._services, "bad_payload", who, detail=f"without {missing}"))
        if who is not None:
            self._services.tasks.start(replies.tell(self._services, who, INCOMPLETE))
        return BoltResponse(status=200, body="")


def missing_field(body: Body) -> str:
    """The field that a payload of its type must have and has not; empty when it is whole."""
    kind = body.get("type")
    if kind == "event_callback":
        wanted, place = mapping(body.get("event")).get("type"), "event.type"
    elif kind == "block_actions":
        wanted, place = first(body.get("actions")).get("action_id"), "actions[0].action_id"
    elif kind in {"view_submission", "view_closed"}:
        view = mapping(body.get("view"))
        wanted, place = view.get("type") and view.get("callback_id"), "view.callback_id"
    elif kind in {"shortcut", "message_action", "interactive_message"}:
        wanted, place = body.get("callback_id"), "callback_id"
    elif "command" in body:
        wanted, place = body["command"], "command"
    else:
        return ""
    if not text_of(wanted):
        return place
    return "" if kind == "event_callback" or who_of(body) else "user.id"


def register(app: Bolt, services: Services) -> None:
    """Answer whatever no listener before this one has taken."""

    async def button(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        if text_of(first(body.get("actions")).get("url")):
            return  # a link button needs no answer
        await _tell(services, body, "I do not know this button; it may be of an older release.")

    async def form(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        await _tell(services, body, "I do not know this form; it may be of an older release. Nothing was changed.")

    async def closed(ack: AsyncAck) -> None:
        await ack()

    async def shortcut(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        await _tell(services, body, "I do not know this shortcut.")

    async def command(ack: AsyncAck) -> None:
        await ack(f"I do not know this command. `{services.command} help` lists what I know.")

    async def event() -> None:
        """Ack an event that nothing follows from."""

    app.action(_ANY)(button)
    app.view_submission(_ANY)(form)
    app.view_closed(_ANY)(closed)
    app.shortcut(_ANY)(shortcut)
    app.command(_ANY)(command)
    app.event(_ANY)(event)


async def _tell(services: Services, body: Body, text: str) -> None:
    who = who_of(body)
    if who is not None:
        help_ = f" `{services.command} help` lists what I know."
        services.tasks.start(replies.tell(services, who, text + help_))

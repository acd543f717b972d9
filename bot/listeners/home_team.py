"""One installation, one workspace: what Slack delivers for another team is refused and kept as an audit row."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

from slack_bolt import BoltResponse
from slack_bolt.middleware.async_middleware import AsyncMiddleware
from slack_bolt.request.async_request import AsyncBoltRequest

from bot.blocks.kit import modal, section
from bot.listeners import replies
from bot.listeners.payload import Body, Who, mapping, text_of, who_of
from bot.listeners.services import Bolt, Services

NOT_HERE = "I work for another workspace, so nothing was done. Please ask the people who installed me."
_JSON: Final[dict[str, str | Sequence[str]]] = {"content-type": "application/json;charset=utf-8"}


def guard(app: Bolt, services: Services) -> None:
    """Let through only what is for the home team; where it is already known to be whole."""
    app.middleware(HomeTeam(services))


class HomeTeam(AsyncMiddleware):
    """Refuses deliveries for other teams; a class, because Bolt reads the payload before it calls a function."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def async_process(
        self,
        *,
        req: AsyncBoltRequest,
        resp: BoltResponse,
        next: Callable[[], Awaitable[BoltResponse]],  # noqa: A002  # Bolt passes it by this name
    ) -> BoltResponse | None:
        """Go on with what is ours; else keep a row, tell the person, and ack."""
        del resp
        body: Body = cast("Any", req).body
        other = other_team(body, self._services.identity.home_team)
        if not other:
            return await next()
        services, kind = self._services, _kind(body)
        who = who_of(body) or Who(user=text_of(mapping(body.get("event")).get("user")), team="")
        with contextlib.suppress(TimeoutError):  # the row is written all the same
            await services.tasks.within(replies.audit_of(services, "other_team", other, who.user, detail=kind))
        if kind == "view_submission":
            view = modal("notice", "Nothing was done", [section(NOT_HERE)])
            return BoltResponse(status=200, body=json.dumps({"response_action": "update", "view": view}), headers=_JSON)
        if kind == "command":
            return BoltResponse(status=200, body=NOT_HERE)
        if kind in {"block_actions", "shortcut", "message_action"}:
            services.tasks.start(replies.tell(services, who, NOT_HERE))
        return BoltResponse(status=200, body="")


def _kind(body: Body) -> str:
    return "command" if "command" in body else text_of(body.get("type")) or "unknown"


def other_team(body: Body, home: str) -> str:
    """The team for which this was delivered, when that is not the home team; `-` when it says none.

    Commands and clicks in messages pass: a shared channel brings strangers here, and their listeners look at the
    person first of all, and refuse those of another team.
    """
    kind = _kind(body)
    if kind == "event_callback":
        given = body.get("authorizations")
        found = [mapping(item) for item in cast("list[object]", given)] if isinstance(given, list) else []
        teams = [text_of(item.get("team_id")) for item in found] or [text_of(body.get("team_id"))]
    elif kind == "command":
        return "" if text_of(body.get("team_id")) else "-"
    elif kind in {"view_submission", "view_closed", "shortcut", "message_action", "block_actions"}:
        view = mapping(body.get("view"))
        if kind == "block_actions" and not view:
            return ""
        installed = text_of(view.get("app_installed_team_id")) or text_of(view.get("team_id"))
        teams = [text_of(mapping(body.get("team")).get("id"))]
        if installed and installed != home:
            return installed
    else:
        return ""
    return "" if home in teams else next((team for team in teams if team), "-")

"""Who acts in a request to the control API, and what they may reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from simulator.errors import SlackError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from simulator.people import Json, Person
    from simulator.services import Services
    from simulator.workspace import Channel

    Act = Callable[[Json], Awaitable[Json]]


class Acting:
    """Looks up the acting person, and only what they can see."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def me(self, body: Json) -> Person:
        """Return who acts. Raises SlackError `user_not_found` or `account_inactive`."""
        person = self._services.workspace.person(str(body.get("as")))
        if person.deleted:
            raise SlackError("account_inactive")
        return person

    def seen(self, person: Person, ref: object) -> Channel:
        """Return a channel that a person is in. Raises SlackError `channel_not_found`."""
        channel = self._services.workspace.channel(str(ref))
        if person.id not in channel.members:
            raise SlackError("channel_not_found")
        return channel

    def mine(self, person: Person, view_id: object) -> Json:
        """Return a view that is open for a person. Raises SlackError `not_found`."""
        owner, view = self._services.views.find(str(view_id))
        if owner != person.id:
            raise SlackError("not_found")
        return view


def posts(acts: Mapping[str, Act]) -> list[web.RouteDef]:
    """Return a POST route for each act; a refusal is answered with its code."""
    return [web.post(f"/_sim/{name}", _answering(act)) for name, act in acts.items()]


def _answering(act: Act) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        try:
            return web.json_response({"ok": True} | await act(await _body(request)))
        except SlackError as error:
            return web.json_response({"ok": False, "error": error.code} | error.extra)

    return handler


async def _body(request: web.Request) -> Json:
    if request.content_type != "application/json":
        raise SlackError("invalid_json")
    try:
        body: Any = await request.json()
    except ValueError:
        raise SlackError("invalid_json") from None
    if not isinstance(body, dict):
        raise SlackError("json_not_object")
    return cast("Json", body)

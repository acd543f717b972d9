"""The control API's part on the workspace itself: channels, people, groups, faults, rates, the link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from simulator.acting import posts
from simulator.errors import SlackError
from simulator.faults import Fault
from simulator.workspace import Channel

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


class WorkspaceControl:
    """Serves the requests to `/_sim/…` that no person makes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        acts = {
            "channel": self._channel,
            "person": self._person,
            "group": self._group,
            "fault": self._fault,
            "expire_streams": self._expire_streams,
            "rates": self._rates,
            "link": self._link,
        }
        return [web.delete("/_sim/fault", self._clear_faults), *posts(acts)]

    async def _channel(self, body: Json) -> Json:
        here = self._services.workspace
        name = str(body.get("name") or "").removeprefix("#")
        channel = next((c for c in here.channels.values() if name and name in {c.name, c.id}), None)
        if channel is None:
            if not name:
                raise SlackError("invalid_name")
            channel = Channel(self._services.ids.new("C0"), name, [here.app.user_id])
            here.channels[channel.id] = channel
        if isinstance(body.get("members"), list):
            bot = [here.app.user_id] if here.app.user_id in channel.members else []
            channel.members[:] = [*(here.person(str(user)).id for user in body["members"]), *bot]
        if "bot_member" in body:
            others = [user for user in channel.members if user != here.app.user_id]
            channel.members[:] = [*others, *([here.app.user_id] if body["bot_member"] else [])]
        channel.is_private = bool(body.get("private", channel.is_private))
        channel.archived = bool(body.get("archived", channel.archived))
        self._services.hub.tell_all({"type": "channels"})
        return {"channel": channel.id}

    async def _person(self, body: Json) -> Json:
        changes = {key: body[key] for key in ("deleted", "role", "team_id") if key in body}
        person = self._services.workspace.change_person(str(body.get("id")), **changes)
        self._services.hub.tell_all({"type": "channels"})
        return {"person": person.as_page()}

    async def _group(self, body: Json) -> Json:
        group = self._services.groups.change(body)
        self._services.hub.tell_all({"type": "channels"})
        return {"group": group}

    async def _fault(self, body: Json) -> Json:
        try:
            fault = Fault(**body)
        except TypeError:
            raise SlackError("invalid_arguments") from None
        figures: list[object] = [fault.times, fault.status, fault.retry_after, fault.seconds]
        if not all(isinstance(figure, int | float) for figure in figures):
            raise SlackError("invalid_arguments")
        if fault.method == "socket" and self._services.sockets.up:
            reason = fault.error if "error" in body else "refresh_requested"
            await self._services.sockets.disconnect_all(reason)
        else:
            self._services.faults.add(fault)
        return {}

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._services.faults.clear()
        return web.json_response({"ok": True})

    async def _expire_streams(self, _body: Json) -> Json:
        return {"expired": self._services.streaming.expire()}

    async def _rates(self, body: Json) -> Json:
        self._services.rates.enabled = bool(body.get("enabled"))
        return {}

    async def _link(self, body: Json) -> Json:
        url = body.get("request_url")
        self._services.http.url = str(url) if url else None
        self._services.hub.tell_all({"type": "link", "link": self._services.delivery.link})
        return {"link": self._services.delivery.link}

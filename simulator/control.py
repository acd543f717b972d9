"""The acting half of the control API `/_sim`: what the page and the test driver do as people."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from simulator.errors import SlackError
from simulator.faults import Fault
from simulator.workspace import Channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from simulator.interactions import Interactions
    from simulator.people import Json, Person
    from simulator.services import Services


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


class Control:
    """Serves the requests to `/_sim/…` that change something."""

    def __init__(self, services: Services, interactions: Interactions) -> None:
        self._services = services
        self._interactions = interactions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        posts: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "post": self._post,
            "edit": self._edit,
            "delete": self._delete,
            "react": self._react,
            "command": self._command,
            "action": self._action,
            "view_submit": self._view_submit,
            "view_close": self._view_close,
            "read": self._read,
            "open_im": self._open_im,
            "home": self._home,
            "stop_session": self._stop_session,
            "channel": self._channel,
            "person": self._person,
            "fault": self._fault,
            "link": self._link,
        }
        return [
            web.delete("/_sim/fault", self._clear_faults),
            *(web.post(f"/_sim/{name}", self._answering(act)) for name, act in posts.items()),
        ]

    def _answering(self, act: Callable[[Json], Awaitable[Json]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            try:
                return web.json_response({"ok": True} | await act(await _body(request)))
            except SlackError as error:
                return web.json_response({"ok": False, "error": error.code} | error.extra)

        return handler

    def _me(self, body: Json) -> Person:
        person = self._services.workspace.person(str(body.get("as")))
        if person.deleted:
            raise SlackError("account_inactive")
        return person

    def _seen(self, person: Person, ref: object) -> Channel:
        channel = self._services.workspace.channel(str(ref))
        if person.id not in channel.members:
            raise SlackError("channel_not_found")
        return channel

    def _mine(self, person: Person, view_id: object) -> Json:
        owner, view = self._services.views.find(str(view_id))
        if owner != person.id:
            raise SlackError("not_found")
        return view

    async def _post(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._seen(me, body.get("channel"))
        thread_ts = body.get("thread_ts")
        text = str(body.get("text") or "")
        message = self._services.posting.person_posts(me.id, channel, text, thread_ts, body.get("files"))
        return {"ts": message["ts"]}

    async def _edit(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._seen(me, body.get("channel"))
        self._services.posting.person_edits(me.id, channel, str(body.get("ts")), str(body.get("text") or ""))
        return {}

    async def _delete(self, body: Json) -> Json:
        me = self._me(body)
        self._services.posting.delete(me.id, self._seen(me, body.get("channel")), str(body.get("ts")))
        return {}

    async def _react(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._seen(me, body.get("channel"))
        add = not body.get("remove")
        self._services.posting.react(me.id, channel, str(body.get("ts")), str(body.get("name")), add=add)
        return {}

    async def _command(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._seen(me, body.get("channel"))
        return await self._interactions.command(me, channel, str(body.get("command")), str(body.get("text") or ""))

    async def _action(self, body: Json) -> Json:
        me = self._me(body)
        if body.get("view_id"):
            return await self._interactions.view_action(me, self._mine(me, body["view_id"]), body)
        channel = self._seen(me, body.get("channel"))
        return await self._interactions.message_action(me, channel, str(body.get("ts")), body)

    async def _view_submit(self, body: Json) -> Json:
        me = self._me(body)
        return await self._interactions.submit(me, self._mine(me, body.get("view_id")), body.get("values"))

    async def _view_close(self, body: Json) -> Json:
        me = self._me(body)
        view = self._mine(me, body.get("view_id"))
        self._interactions.close(me, view, is_cleared=bool(body.get("is_cleared")))
        return {}

    async def _read(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._seen(me, body.get("channel"))
        channel.read[me.id] = next(reversed(channel.messages), "")
        return {}

    async def _open_im(self, body: Json) -> Json:
        return {"channel": self._services.workspace.im(self._me(body).id).id}

    async def _home(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._services.workspace.im(me.id)
        tab = "messages" if body.get("tab") == "messages" else "home"
        event: Json = {"type": "app_home_opened", "user": me.id, "channel": channel.id, "tab": tab}
        view = self._services.views.homes.get(me.id)
        if tab == "home" and view is not None:
            event["view"] = copy.deepcopy(view)
        self._services.events.emit(event | {"event_ts": self._services.workspace.next_ts()})
        return {"channel": channel.id}

    async def _stop_session(self, body: Json) -> Json:
        me = self._me(body)
        channel = self._seen(me, body.get("channel"))
        event: Json = {"type": "agent_session_stopped", "user": me.id, "channel": channel.id, "channel_id": channel.id}
        event |= {"thread_ts": body.get("thread_ts"), "event_ts": self._services.workspace.next_ts()}
        self._services.events.emit(event, channel)
        return {}

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

    async def _link(self, body: Json) -> Json:
        url = body.get("request_url")
        self._services.http.url = str(url) if url else None
        self._services.hub.tell_all({"type": "link", "link": self._services.delivery.link})
        return {"link": self._services.delivery.link}

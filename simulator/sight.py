"""The seeing half of the control API `/_sim`: state, history, log, and what is pushed as it happens."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from simulator.errors import SlackError
from simulator.hub import EVERYONE

if TYPE_CHECKING:
    from simulator.people import Json, Person
    from simulator.services import Services
    from simulator.workspace import Channel


class Sight:
    """Serves the requests to `/_sim/…` that change nothing."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [
            web.get("/_sim/state", self._state),
            web.get("/_sim/history", self._history),
            web.get("/_sim/home", self._show_home),
            web.get("/_sim/modal", self._show_modal),
            web.get("/_sim/streams", self._streams),
            web.get("/_sim/session", self._session),
            web.get("/_sim/functions", self._functions),
            web.get("/_sim/ws", self._watch),
            web.get("/_sim/log", self._log),
        ]

    async def _state(self, request: web.Request) -> web.Response:
        here = self._services.workspace
        everyone = request.query.get("as") == EVERYONE
        me = here.people.get(request.query.get("as", ""))
        if me is None and not everyone:
            return web.json_response({"ok": False, "error": "user_not_found"}, status=404)
        channels = [c for c in here.channels.values() if everyone or (me and me.id in c.members)]
        return web.json_response(
            {
                "team": asdict(here.team),
                "me": me.as_page() if me else None,
                "people": [p.as_page() for p in here.people.values()],
                "channels": [self._channel_shape(channel, me) for channel in channels],
                "commands": [asdict(command) for command in here.commands],
                "shortcuts": [asdict(shortcut) for shortcut in here.shortcuts],
                "functions": [asdict(function) for function in here.functions],
                "groups": [{"id": g["id"], "handle": g["handle"], "name": g["name"]} for g in here.usergroups.values()],
                "app": {
                    "name": here.app.name,
                    "user_id": here.app.user_id,
                    "bot_id": here.app.bot_id,
                    "suggested_prompts": here.prompts,
                    "prompts_title": here.prompts_title,
                },
                "homes": self._services.views.homes if everyone else {},
                "link": self._services.delivery.link,
                "clock_rate": self._services.clock_rate,
            }
        )

    def _channel_shape(self, channel: Channel, me: Person | None) -> Json:
        unread, mentions = self._services.workspace.unread(channel, me.id) if me else (0, 0)
        return {
            "id": channel.id,
            "name": channel.name,
            "is_im": channel.is_im,
            "is_private": channel.is_private,
            "is_member": True,
            "is_archived": channel.archived,
            "is_shared": self._services.workspace.is_shared(channel),
            "purpose": channel.purpose,
            "user": self._services.workspace.app.user_id if channel.is_im and me else channel.user,
            "members": channel.members,
            "unread": unread,
            "mentions": mentions,
            "last_ts": next(reversed(channel.messages), None),
        }

    async def _history(self, request: web.Request) -> web.Response:
        here, query = self._services.workspace, request.query
        try:
            channel = here.channel(query.get("channel", ""))
            user = query.get("as", "")
            if user != EVERYONE and user not in channel.members:
                raise SlackError("channel_not_found")  # noqa: TRY301  all refusals take one road
            thread_ts = query.get("thread_ts")
            messages = here.thread(channel, thread_ts) if thread_ts else here.roots(channel)
        except SlackError as error:
            return web.json_response({"ok": False, "error": error.code}, status=404)
        whispers = [
            message
            for (channel_id, _), (to, message) in here.ephemerals.items()
            if channel_id == channel.id and user in {to, EVERYONE} and message.get("thread_ts") == thread_ts
        ]
        lines = self._services.sessions.lines(channel.id)
        statuses = {ts: line["status"] for ts, line in lines.items() if line["status"]}
        self._services.sweep()
        shown = sorted([*messages, *whispers], key=lambda message: message["ts"])
        return web.json_response({"messages": shown, "statuses": statuses, "lines": lines})

    async def _show_home(self, request: web.Request) -> web.Response:
        return web.json_response({"view": self._services.views.homes.get(request.query.get("as", ""))})

    async def _show_modal(self, request: web.Request) -> web.Response:
        stack = self._services.views.stacks.get(request.query.get("as", ""), [])
        return web.json_response({"view": stack[-1] if stack else None})

    async def _streams(self, request: web.Request) -> web.Response:
        self._services.sweep()
        wanted = request.query.get("channel")
        held = [s.seen() for s in self._services.streams.held.values() if wanted in {None, s.channel}]
        return web.json_response({"streams": held})

    async def _session(self, request: web.Request) -> web.Response:
        query = request.query
        lines = self._services.sessions.lines(query.get("channel", ""))
        empty: Json = {"status": "", "loading_messages": [], "session": None}
        return web.json_response(lines.get(query.get("thread_ts", ""), empty))

    async def _functions(self, _request: web.Request) -> web.Response:
        return web.json_response({"executions": [e.seen() for e in self._services.functions.held.values()]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(heartbeat=30, timeout=1.0)
        queue = self._services.hub.subscribe(request.query.get("as", ""))
        try:
            await ws.prepare(request)
        except web.HTTPException:
            self._services.hub.unsubscribe(queue)
            raise
        reader = asyncio.get_running_loop().create_task(self._until_closed(ws, queue))
        try:
            while (push := await queue.get()) is not None and not ws.closed:
                await ws.send_json(push)
        except ConnectionError:
            pass
        finally:
            self._services.hub.unsubscribe(queue)
            reader.cancel()
            await ws.close()
        return ws

    async def _until_closed(self, ws: web.WebSocketResponse, queue: asyncio.Queue[Json | None]) -> None:
        async for message in ws:
            if message.type is WSMsgType.ERROR:
                break
        queue.put_nowait(None)

    async def _log(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        return web.json_response(self._services.log.after(int(after) if after.isdigit() else 0))

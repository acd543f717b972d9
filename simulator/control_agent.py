"""The control API's part on the app as an agent: Home, shortcuts, workflow steps, sessions, what is looked at."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from simulator.acting import Acting, posts
from simulator.errors import SlackError

if TYPE_CHECKING:
    from aiohttp import web

    from simulator.interactions import Interactions
    from simulator.people import Json
    from simulator.services import Services


class AgentControl:
    """Serves the requests to `/_sim/…` by which people come to the app other than by words."""

    def __init__(self, services: Services, interactions: Interactions) -> None:
        self._services = services
        self._interactions = interactions
        self._acting = Acting(services)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return posts(
            {
                "home": self._home,
                "look_at": self._look_at,
                "shortcut": self._shortcut,
                "run_function": self._run_function,
                "stop_session": self._stop_session,
            }
        )

    async def _home(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._services.workspace.im(me.id)
        tab = "messages" if body.get("tab") == "messages" else "home"
        event: Json = {"type": "app_home_opened", "user": me.id, "channel": channel.id, "tab": tab}
        if body.get("viewing"):
            event["context"] = self._context(str(body["viewing"]))
        view = self._services.views.homes.get(me.id)
        if tab == "home" and view is not None:
            event["view"] = copy.deepcopy(view)
        self._services.events.emit(event | {"event_ts": self._services.workspace.next_ts()})
        return {"channel": channel.id, "view": view}

    async def _look_at(self, body: Json) -> Json:
        me = self._acting.me(body)
        wanted = body.get("channel")
        context = self._context(self._acting.seen(me, wanted).id) if wanted else {}
        event: Json = {"type": "app_context_changed", "user": me.id, "context": context}
        event |= {"channel": self._services.workspace.im(me.id).id}
        self._services.events.emit(event | {"event_ts": self._services.workspace.next_ts()})
        return {}

    def _context(self, channel: str) -> Json:
        entity = {"type": "slack#/types/channel_id", "value": channel, "team_id": self._services.workspace.team.id}
        return {"entities": [entity]}

    async def _shortcut(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body["channel"]) if body.get("channel") else None
        return await self._interactions.shortcut(me, str(body.get("callback_id")), channel, str(body.get("ts")))

    async def _run_function(self, body: Json) -> Json:
        self._acting.me(body)
        functions = self._services.functions
        function = functions.declared(str(body.get("callback_id")))
        given: Any = body.get("inputs") or {}
        if not isinstance(given, dict):
            raise SlackError("invalid_arguments")
        execution = functions.start(function, cast("Json", given))
        event = functions.event(function, execution, self._services.workspace.next_ts())
        self._services.events.emit(event)
        return {"function_execution_id": execution.id}

    async def _stop_session(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body.get("channel"))
        thread_ts = str(body.get("thread_ts"))
        session = self._services.sessions.held.get((channel.id, thread_ts))
        heard = "agent_session_stopped" in self._services.events.subscriptions
        if session is None or session.status != "processing" or not heard:
            raise SlackError("no_stop_button")
        stopped = self._services.streaming.broken_off(channel, thread_ts)
        event: Json = {
            "type": "agent_session_stopped",
            "user": me.id,
            "channel": channel.id,
            "thread_ts": thread_ts,
            "streaming_message_ts": stopped,
            "event_ts": self._services.workspace.next_ts(),
        }
        self._services.events.emit(event, channel)
        return {"streaming_message_ts": stopped}

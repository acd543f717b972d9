"""The acting half of the control API `/_sim`: what the page and the test driver do as people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.acting import Acting, posts
from simulator.blocks import dicts
from simulator.control_agent import AgentControl
from simulator.control_workspace import WorkspaceControl

if TYPE_CHECKING:
    from aiohttp import web

    from simulator.interactions import Interactions
    from simulator.people import Json, Person
    from simulator.services import Services
    from simulator.workspace import Channel


class Control:
    """Serves the requests to `/_sim/…` that change something."""

    def __init__(self, services: Services, interactions: Interactions) -> None:
        self._services = services
        self._interactions = interactions
        self._acting = Acting(services)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        acts = {
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
        }
        agent, workspace = AgentControl(self._services, self._interactions), WorkspaceControl(self._services)
        return [*posts(acts), *agent.routes(), *workspace.routes()]

    async def _post(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body.get("channel"))
        thread_ts = body.get("thread_ts")
        text = str(body.get("text") or "")
        shapes = [self._shared(me, channel, given) for given in dicts(body.get("files"))]
        message = self._services.posting.person_posts(me.id, channel, text, thread_ts, shapes)
        return {"ts": message["ts"]}

    def _shared(self, person: Person, channel: Channel, given: Json) -> Json:
        # A file object without content is passed on as it is: that is how a test says what Slack would never say.
        if "content" not in given and "data" not in given:
            return given
        file = self._services.files.add(person.id, given)
        file.channels.append(channel.id)
        return self._services.files.as_slack(file, self._services.url)

    async def _edit(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body.get("channel"))
        self._services.posting.person_edits(me.id, channel, str(body.get("ts")), str(body.get("text") or ""))
        return {}

    async def _delete(self, body: Json) -> Json:
        me = self._acting.me(body)
        self._services.posting.delete(me.id, self._acting.seen(me, body.get("channel")), str(body.get("ts")))
        return {}

    async def _react(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body.get("channel"))
        add = not body.get("remove")
        self._services.posting.react(me.id, channel, str(body.get("ts")), str(body.get("name")), add=add)
        return {}

    async def _command(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body.get("channel"))
        return await self._interactions.command(me, channel, str(body.get("command")), str(body.get("text") or ""))

    async def _action(self, body: Json) -> Json:
        me = self._acting.me(body)
        if body.get("view_id"):
            return await self._interactions.view_action(me, self._acting.mine(me, body["view_id"]), body)
        channel = self._acting.seen(me, body.get("channel"))
        return await self._interactions.message_action(me, channel, str(body.get("ts")), body)

    async def _view_submit(self, body: Json) -> Json:
        me = self._acting.me(body)
        return await self._interactions.submit(me, self._acting.mine(me, body.get("view_id")), body.get("values"))

    async def _view_close(self, body: Json) -> Json:
        me = self._acting.me(body)
        view = self._acting.mine(me, body.get("view_id"))
        self._interactions.close(me, view, is_cleared=bool(body.get("is_cleared")))
        return {}

    async def _read(self, body: Json) -> Json:
        me = self._acting.me(body)
        channel = self._acting.seen(me, body.get("channel"))
        channel.read[me.id] = next(reversed(channel.messages), "")
        return {}

    async def _open_im(self, body: Json) -> Json:
        return {"channel": self._services.workspace.im(self._acting.me(body).id).id}

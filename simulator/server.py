"""The server: puts the parts together and serves API, sockets, control and page on one port."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from aiohttp import web

from simulator.clock import Ids, SystemClock, Timing
from simulator.control import Control
from simulator.delivery import Delivery
from simulator.errors import SlackError
from simulator.events import Events
from simulator.faults import Faults
from simulator.file_links import FileLinks
from simulator.files import Files
from simulator.functions import Functions
from simulator.groups import Groups
from simulator.http_events import HttpEvents
from simulator.hub import Hub
from simulator.interactions import Interactions
from simulator.log import Log
from simulator.posting import Posting
from simulator.rates import Rates
from simulator.services import Services
from simulator.sessions import Sessions
from simulator.sight import Sight
from simulator.socket_mode import SocketMode
from simulator.streaming import Streaming
from simulator.streams import Streams
from simulator.triggers import Rights
from simulator.views import Views
from simulator.web_api import WebApi
from simulator.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from simulator.clock import Clock
    from simulator.people import Command, Function, Json, Shortcut

PAGE = Path(__file__).parent / "page"
_CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


class Simulator:
    """A running simulated workspace; make one with `start`."""

    def __init__(self, services: Services, interactions: Interactions, runner: web.AppRunner) -> None:
        self._services = services
        self._interactions = interactions
        self._runner = runner
        self._ticking = asyncio.get_running_loop().create_task(_tick(services))

    @classmethod
    async def start(
        cls,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rates: bool = True,
        request_url: str | None = None,
        clock_rate: float = 1.0,
        clock: Clock | None = None,
        timing: Timing | None = None,
        commands: Iterable[Command] | None = None,
        subscriptions: Iterable[str] | None = None,
        shortcuts: Iterable[Shortcut] | None = None,
        functions: Iterable[Function] | None = None,
    ) -> Self:
        """Serve a fresh workspace. Raises OSError when the port is taken."""
        services = _services(
            clock=clock or SystemClock(),
            timing=timing or Timing(),
            rates=rates,
            request_url=request_url,
            clock_rate=clock_rate,
            commands=commands,
            subscriptions=subscriptions,
        )
        if shortcuts is not None:
            services.workspace.shortcuts = tuple(shortcuts)
        if functions is not None:
            services.workspace.functions = tuple(functions)
        interactions = Interactions(services)
        runner = web.AppRunner(_application(services, interactions), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        services.url = f"http://{host}:{runner.addresses[0][1]}"
        return cls(services, interactions, runner)

    @property
    def url(self) -> str:
        """Return where the page is."""
        return self._services.url

    @property
    def api_url(self) -> str:
        """Return slack_sdk's `base_url`."""
        return f"{self._services.url}/api/"

    @property
    def workspace(self) -> Workspace:
        """Return the workspace's state."""
        return self._services.workspace

    @property
    def services(self) -> Services:
        """Return the parts, for a test that needs one."""
        return self._services

    def set_request_url(self, url: str | None) -> None:
        """Deliver over signed HTTP to this URL while no socket is open."""
        self._services.http.url = url

    async def close(self) -> None:
        """Close all connections and stop serving."""
        self._ticking.cancel()
        for site in list(self._runner.sites):
            await site.stop()
        await self._services.delivery.close()
        await self._interactions.close_all()
        self._services.hub.close()
        await self._services.sockets.disconnect_all("link_disabled")
        await self._services.http.close()
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _tick(services: Services) -> None:
    while True:
        await asyncio.sleep(1.0)
        services.sweep()


def _services(
    *,
    clock: Clock,
    timing: Timing,
    rates: bool,
    request_url: str | None,
    clock_rate: float,
    commands: Iterable[Command] | None,
    subscriptions: Iterable[str] | None,
) -> Services:
    ids, hub, faults, log = Ids(), Hub(), Faults(), Log(clock)
    here = Workspace.default(clock, commands)

    def link_changed() -> None:
        hub.tell_all({"type": "link", "link": delivery.link})

    sockets = SocketMode(here.app, ids=ids, faults=faults, timing=timing, changed=link_changed)
    http = HttpEvents(here.app, clock=clock, timing=timing, url=request_url)
    delivery = Delivery(sockets, http, faults=faults, log=log, timing=timing)
    events = Events(workspace=here, delivery=delivery, ids=ids, clock=clock, subscriptions=subscriptions)
    sessions = Sessions(workspace=here, hub=hub, clock=clock, timing=timing)
    streams = Streams(clock=clock, timing=timing)
    posting = Posting(workspace=here, hub=hub, events=events, ids=ids, sessions=sessions, streams=streams)
    return Services(
        clock=clock,
        ids=ids,
        timing=timing,
        workspace=here,
        hub=hub,
        faults=faults,
        log=log,
        rates=Rates(clock, enabled=rates),
        rights=Rights(clock=clock, ids=ids, timing=timing, team=here.team),
        views=Views(team=here.team, app=here.app, ids=ids, clock=clock),
        sockets=sockets,
        http=http,
        delivery=delivery,
        events=events,
        posting=posting,
        sessions=sessions,
        streams=streams,
        streaming=Streaming(workspace=here, posting=posting, streams=streams, events=events, ids=ids),
        files=Files(team=here.team, clock=clock, ids=ids),
        functions=Functions(workspace=here, hub=hub, ids=ids),
        groups=Groups(workspace=here, events=events, clock=clock, ids=ids),
        clock_rate=clock_rate,
    )


def _application(services: Services, interactions: Interactions) -> web.Application:
    app = web.Application(middlewares=[_same_origin], client_max_size=64 * 1024 * 1024)
    api = WebApi(services)
    app.add_routes(
        [
            web.get("/api/{method}", api.handle),
            web.post("/api/{method}", api.handle),
            web.get("/link", services.sockets.connect),
            web.post("/response/{token}", _Responses(services, interactions).handle),
            *Sight(services).routes(),
            *Control(services, interactions).routes(),
            *FileLinks(services).routes(),
            web.get("/", _index),
            web.get("/static/{file:.+}", _static),
        ]
    )
    return app


class _Responses:
    """Serves response URLs."""

    def __init__(self, services: Services, interactions: Interactions) -> None:
        self._services = services
        self._interactions = interactions

    async def handle(self, request: web.Request) -> web.Response:
        """Apply one answer to an interaction."""
        body: Json = {}
        try:
            url = self._services.rights.use_response_url(request.match_info["token"])
            parsed: Any = json.loads(await request.text() or "{}")
            body = cast("Json", parsed) if isinstance(parsed, dict) else {}
            if url.thread_ts and "thread_ts" not in body and body.get("response_type") != "in_channel":
                body["thread_ts"] = url.thread_ts
            channel = self._services.workspace.channel(url.channel)
            self._interactions.respond(url.user, channel, body, url.source_ts)
        except ValueError:
            return self._refuse(body, "invalid_payload", 400)
        except SlackError as error:
            return self._refuse(body, error.code, 404 if error.code.endswith("_url") else 400)
        self._services.log.add("response_url", "response_url", body, ok=True)
        return web.Response(text="ok")

    def _refuse(self, body: Json, code: str, status: int) -> web.Response:
        self._services.log.add("response_url", "response_url", body, ok=False, error=code, status=status)
        return web.json_response({"ok": False, "error": code}, status=status)


@web.middleware
async def _same_origin(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    origin = request.headers.get("Origin")
    if request.path.startswith("/_sim") and origin is not None and origin.split("://", 1)[-1] != request.host:
        return web.json_response({"ok": False, "error": "cross_origin"}, status=403)
    return await handler(request)


async def _index(_request: web.Request) -> web.StreamResponse:
    return _file(PAGE / "index.html")


async def _static(request: web.Request) -> web.StreamResponse:
    return _file(PAGE / request.match_info["file"])


def _file(path: Path) -> web.StreamResponse:
    real = path.resolve()
    if not real.is_relative_to(PAGE) or not real.is_file():
        return web.Response(status=404, text="There is no such file.")
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _CONTENT_POLICY}
    return web.FileResponse(real, headers=headers | {"X-Content-Type-Options": "nosniff"})

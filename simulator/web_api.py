"""The Web API: finds the method, checks token and rate, lets faults happen, answers as Slack does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import web

from simulator import (
    method_chat,
    method_conversations,
    method_files,
    method_functions,
    method_misc,
    method_sessions,
    method_streams,
    method_views,
)
from simulator.arguments import merged, text
from simulator.errors import RateLimited, SlackError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from simulator.faults import Fault
    from simulator.people import Json
    from simulator.services import Services

    Method = Callable[[Services, Json], Awaitable[Json]]

METHODS: Final[Mapping[str, Method]] = {
    **method_chat.METHODS,
    **method_conversations.METHODS,
    **method_files.METHODS,
    **method_functions.METHODS,
    **method_misc.METHODS,
    **method_sessions.METHODS,
    **method_streams.METHODS,
    **method_views.METHODS,
}
#: Each of the two takes a token of its own and no other.
_OPEN: Final = "apps.connections.open"
_EXPORT: Final = "apps.manifest.export"


class WebApi:
    """Serves `/api/<method>`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        name = request.match_info["method"]
        try:
            args = await merged(request)
        except SlackError as error:
            return self._answer(name, {}, {"ok": False, "error": error.code})
        fault = self._services.faults.take(name)
        if fault is not None:
            refused = await self._before(fault, name, args)
            if refused is not None:
                return refused
        try:
            self._authorise(request, name, args)
            method = METHODS.get(name)
            if method is None:
                raise SlackError("unknown_method", req_method=name)  # noqa: TRY301  all refusals take one road
            self._services.rates.call(name)
            self._services.sweep()
            body = {"ok": True} | await method(self._services, args)
            if fault is not None and fault.kind == "duplicate":
                body = {"ok": True} | await method(self._services, args)
        except RateLimited as limited:
            return self._answer(
                name, args, {"ok": False, "error": "ratelimited"}, status=429, retry_after=limited.retry_after
            )
        except SlackError as error:
            return self._answer(name, args, {"ok": False, "error": error.code} | error.extra)
        if fault is not None and fault.kind == "drop_response":
            self._services.log.add("api", name, args, ok=True, error="response_dropped")
            return self._cut(request)
        return self._answer(name, args, body)

    def _authorise(self, request: web.Request, name: str, args: Json) -> None:
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ").strip() or text(args, "token")
        app = self._services.workspace.app
        if name == "api.test":
            return
        if not token:
            raise SlackError("not_authed")
        if token not in {app.bot_token, app.app_token, app.config_token, *self._services.functions.tokens}:
            raise SlackError("invalid_auth")
        own = {app.app_token: _OPEN, app.config_token: _EXPORT}.get(token, "")
        if own != (name if name in {_OPEN, _EXPORT} else ""):
            raise SlackError("not_allowed_token_type")

    async def _before(self, fault: Fault, name: str, args: Json) -> web.StreamResponse | None:
        if fault.kind == "error":
            return self._answer(name, args, {"ok": False, "error": fault.error})
        if fault.kind == "status":
            self._services.log.add("api", name, args, ok=False, error="http_status", status=fault.status)
            return web.Response(status=fault.status, text="upstream trouble")
        if fault.kind == "rate_limit":
            body = {"ok": False, "error": "ratelimited"}
            return self._answer(name, args, body, status=429, retry_after=fault.retry_after)
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
            return self._answer(name, args, {"ok": False, "error": "request_timeout"}, status=408)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        return None

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)

    def _answer(
        self, name: str, args: Json, body: Json, *, status: int = 200, retry_after: int | None = None
    ) -> web.Response:
        self._services.log.add("api", name, args, ok=bool(body["ok"]), error=body.get("error"), status=status)
        headers = {"X-OAuth-Scopes": self._services.workspace.app.scopes}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        return web.Response(
            text=json.dumps(body), status=status, headers=headers, content_type="application/json", charset="utf-8"
        )

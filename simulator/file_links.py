"""The addresses of files: private downloads for the app, uploads, and what the page shows to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.files import File
    from simulator.services import Services

_SIGN_IN = "<!doctype html><html><head><title>Sign in | Slack</title></head><body><h1>Sign in</h1></body></html>"
_SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}


class FileLinks:
    """Serves what files are read from and written to."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [
            web.get("/files-pri/{key}/download/{name}", self._private),
            web.get("/files-pri/{key}/{name}", self._private),
            web.post("/upload/v1/{token}", self._upload),
            web.get("/signin", self._sign_in),
            web.get("/_sim/file/{id}", self._for_page),
        ]

    async def _private(self, request: web.Request) -> web.StreamResponse:
        here = self._services.workspace
        try:
            file = self._services.files.find(request.match_info["key"].removeprefix(f"{here.team.id}-"))
        except SlackError:
            return web.Response(status=404, text="There is no such file.")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        known = {here.app.bot_token, *self._services.functions.tokens}
        if token not in known or not any(here.app.user_id in here.channel(c).members for c in file.channels):
            # As Slack does: no refusal, but the way to a page on which people sign in, with status 200.
            return web.Response(status=302, headers={"Location": f"{self._services.url}/signin?redir={request.path}"})
        return self._content(file)

    async def _sign_in(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=_SIGN_IN, content_type="text/html", headers=_SAFE)

    async def _for_page(self, request: web.Request) -> web.StreamResponse:
        here = self._services.workspace
        me = request.query.get("as", "")
        try:
            file = self._services.files.find(request.match_info["id"])
        except SlackError:
            return web.Response(status=404, text="There is no such file.")
        if not any(me in here.channel(c).members for c in file.channels):
            return web.Response(status=404, text="There is no such file.")
        return self._content(file)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        try:
            self._services.files.fill(request.match_info["token"], await request.read())
        except SlackError as error:
            return web.Response(status=400, text=error.code)
        return web.Response(text="OK")

    def _content(self, file: File) -> web.Response:
        headers = _SAFE | {"Content-Disposition": "attachment"}
        kind = file.mimetype if "/" in file.mimetype else "application/octet-stream"
        return web.Response(body=file.data, headers=headers | {"Content-Type": kind})

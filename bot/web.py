"""The web server: Slack's signed requests, liveness, readiness and metrics."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.app.async_app import AsyncApp

from agent.errors import ConfigurationError, StorageUnavailable

LARGEST_REQUEST = 2 * 1024 * 1024
SLACK_WAITS_S = 3.0

_log = structlog.get_logger(__name__)

Checks = Callable[[], Mapping[str, str]]
"""Name of each part to what is wrong with it; empty when it is well."""


@dataclass(frozen=True, slots=True)
class WebServer:
    """A listening server."""

    runner: web.AppRunner
    url: str

    async def stop(self) -> None:
        """Stop listening; requests under way are answered."""
        await self.runner.cleanup()


async def serve(
    host: str,
    port: int,
    *,
    bolt: AsyncApp | None,
    checks: Checks,
    metrics: Callable[[], bytes],
    warnings: Checks = dict,
) -> WebServer:
    """Listen; `bolt` handles `/slack/events` when given. Raises ConfigurationError when the address is taken.

    `metrics` makes the page that Prometheus reads.
    `warnings` say what an operator should mend although the server is ready.
    """
    app = web.Application(client_max_size=LARGEST_REQUEST)

    async def healthz(request: web.Request) -> web.Response:
        del request
        return web.json_response({"alive": True})

    async def readyz(request: web.Request) -> web.Response:
        del request
        parts = checks()
        is_ready = not any(parts.values())
        body = {"ready": is_ready, "parts": {name: said or "ok" for name, said in parts.items()}}
        body["warnings"] = {name: said for name, said in warnings().items() if said}
        return web.json_response(body, status=200 if is_ready else 503)

    async def read_metrics(request: web.Request) -> web.Response:
        del request
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", read_metrics)
    if bolt is not None:
        app.router.add_post("/slack/events", _slack(bolt))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {os.strerror(error.errno or 0).lower()}.",
            fix="Set another port, or stop what holds it.",
        ) from error
    bound = int(runner.addresses[0][1])
    return WebServer(runner, f"http://{host}:{bound}")


def _slack(bolt: AsyncApp) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        # Bolt turns a timestamp that is no number into a 500; a forged request deserves a 401.
        if not request.headers.get("X-Slack-Request-Timestamp", "").isdecimal():
            return web.Response(status=401, text="not signed by Slack")
        try:
            async with asyncio.timeout(SLACK_WAITS_S):
                answer = await bolt.async_dispatch(await to_bolt_request(request))
        except (TimeoutError, StorageUnavailable):
            return web.Response(status=503, text="not saved; please deliver again")
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            # Bolt reads some fields before any listener does, and trusts their types.
            _log.warning("request_not_understood", error=type(error).__name__)
            return web.Response(status=400, text="not understood")
        return await to_aiohttp_response(answer)

    return handle

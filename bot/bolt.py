"""Bolt, behind a first look at each payload: what its own middleware would trip over is mended or refused before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import structlog
from slack_bolt import BoltResponse
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest

TABLES: Final = ("event", "user", "view", "container", "message", "channel", "team")
"""Fields that Bolt reads as tables; some kinds of payload have a text there, none anything else."""

_log = structlog.get_logger(__name__)


class GuardedApp(AsyncApp):
    """As Bolt's, over HTTP and Socket Mode alike."""

    async def async_dispatch(self, req: AsyncBoltRequest) -> BoltResponse:
        """Go on with a payload that can be read; else 400, with a line in the log."""
        request = cast("Any", req)  # Bolt types its body only in part
        try:
            request.body = whole(request.body)
            wrong = wrong_field(request.body)
        except RecursionError:
            wrong = "depth"
        if wrong:
            _log.warning("request_not_understood", field=wrong)
            return BoltResponse(status=400, body="not understood")
        return await super().async_dispatch(req)


def whole(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The payload with `\ufffd` for halves of characters, which nothing could store; raises RecursionError."""
    written = json.dumps(body, ensure_ascii=False, check_circular=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        mended = written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return cast("Mapping[str, Any]", json.loads(mended))
    return body


def wrong_field(body: Mapping[str, Any]) -> str:
    """The first field that cannot be what Slack sends there; empty when there is none."""
    if not isinstance(body.get("type", ""), str | None):
        return "type"
    if body.get("type") == "event_callback" and not isinstance(body.get("event"), dict):
        return "event"
    for name in TABLES:
        if not isinstance(body.get(name), dict | str | None):
            return name
    return ""

"""Events, commands and interactions as signed HTTP requests to the app's one request URL."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import aiohttp

from simulator.errors import NotAcked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.clock import Clock, Timing
    from simulator.delivery import Kind
    from simulator.people import App, Json


def sign(secret: str, timestamp: str, body: str) -> str:
    """Return Slack's v0 signature of a request body."""
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256)
    return f"v0={digest.hexdigest()}"


def signed_headers(secret: str, timestamp: str, body: str, *, content_type: str) -> dict[str, str]:
    """Return the headers with which Slack sends a body."""
    return {
        "Content-Type": content_type,
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": sign(secret, timestamp, body),
    }


class HttpEvents:
    """The app's request URL, when it has one."""

    def __init__(self, app: App, *, clock: Clock, timing: Timing, url: str | None) -> None:
        self.url = url
        self._app = app
        self._clock = clock
        self._timing = timing
        self._session: aiohttp.ClientSession | None = None

    @property
    def up(self) -> bool:
        """Say whether there is a request URL."""
        return self.url is not None

    async def send(self, kind: Kind, payload: Json, *, attempt: int, reason: str) -> Json:
        """Post once and return the body of the answer. Raises NotAcked."""
        if kind == "events_api":
            body, content_type = json.dumps(payload), "application/json"
        else:
            form: Mapping[str, Any] = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            body, content_type = urlencode(form), "application/x-www-form-urlencoded"
        timestamp = str(int(self._clock.now()))
        headers = signed_headers(self._app.signing_secret, timestamp, body, content_type=content_type)
        if attempt:
            headers |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": reason}
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=self._timing.ack)
        try:
            async with self._session.post(
                self.url or "", data=body.encode(), headers=headers, timeout=timeout
            ) as answer:
                text = await answer.text()
                status = answer.status
        except TimeoutError:
            raise NotAcked("http_timeout") from None
        except aiohttp.ClientError:
            raise NotAcked("connection_failed") from None
        if status != 200:  # noqa: PLR2004  Slack takes 200 alone for a yes
            raise NotAcked("http_error")
        return _answer_body(text)

    async def close(self) -> None:
        """Close the connections to the app."""
        if self._session is not None:
            await self._session.close()


def _answer_body(text: str) -> Json:
    try:
        parsed: Any = json.loads(text) if text else {}
    except ValueError:
        return {"text": text}
    return cast("Json", parsed) if isinstance(parsed, dict) else {"text": text}

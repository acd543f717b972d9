"""What the simulated Slack refuses.

SimulatorError
├── SlackError          a Web API answer `{"ok": false, "error": code}`
│   └── RateLimited     … sent as HTTP 429 with Retry-After
├── NotAcked            the app did not acknowledge an envelope
└── WaitTimedOut        the test driver waited in vain
"""

from __future__ import annotations

from typing import Any


class SimulatorError(Exception):
    """Something in the simulated workspace went wrong."""


class SlackError(SimulatorError):
    """Raised when a Web API method refuses; `code` is Slack's own error code."""

    def __init__(self, code: str, **extra: Any) -> None:  # noqa: ANN401  any JSON may accompany an error
        super().__init__(code)
        self.code = code
        self.extra: dict[str, Any] = extra


class RateLimited(SlackError):
    """Raised when a method or channel is used too often; try again after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


class NotAcked(SimulatorError):
    """Raised when the app did not acknowledge; `reason` is Slack's retry reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WaitTimedOut(SimulatorError):
    """Raised when what the driver waited for did not happen in time."""

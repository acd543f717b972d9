"""How often the app may call: method tiers, and one post a second in each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from simulator.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.clock import Clock

#: calls a minute of methods that are not tier 3, which is 50
PER_MINUTE: Final[Mapping[str, int]] = {
    "apps.connections.open": 10,
    "conversations.list": 20,
    "users.list": 20,
    "usergroups.list": 20,
    "usergroups.users.list": 20,
    "reactions.remove": 20,
    "conversations.members": 100,
    "users.info": 100,
    "chat.postEphemeral": 100,
    "views.open": 100,
    "views.update": 100,
    "views.push": 100,
    "views.publish": 100,
    "api.test": 600,
    "auth.test": 600,
    "blocks.validate": 100,
    "chat.getPermalink": 600,
    "chat.startStream": 20,
    "chat.appendStream": 100,
    "chat.stopStream": 20,
    "files.info": 100,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
    "assistant.threads.setStatus": 600,
    "assistant.threads.setTitle": 100,
    "assistant.threads.setSuggestedPrompts": 100,
}
TIER_3: Final = 50
#: posts that may come at once in a channel before 1 a second holds
POST_BURST: Final = 4


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rates:
    """Token buckets; `enabled` switches them on and off."""

    def __init__(self, clock: Clock, *, enabled: bool) -> None:
        self.enabled = enabled
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def call(self, method: str) -> None:
        """Count a call. Raises RateLimited."""
        if method != "chat.postMessage":
            per_minute = PER_MINUTE.get(method, TIER_3)
            self._take(method, capacity=per_minute, per_second=per_minute / 60)

    def post(self, channel: str) -> None:
        """Count a message in a channel. Raises RateLimited."""
        self._take(f"post:{channel}", capacity=POST_BURST, per_second=1.0)

    def _take(self, key: str, *, capacity: float, per_second: float) -> None:
        if not self.enabled:
            return
        now = self._clock.now()
        bucket = self._buckets.setdefault(key, _Bucket(capacity, now))
        bucket.left = min(capacity, bucket.left + max(0.0, now - bucket.at) * per_second)
        bucket.at = now
        if bucket.left < 1:
            raise RateLimited(max(1, math.ceil((1 - bucket.left) / per_second)))
        bucket.left -= 1

"""What open pages and test drivers are told as it happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.people import Json

#: subscribing as this watches everybody at once
EVERYONE = "*"


class Hub:
    """Queues of pushes, one for each open page."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[Json | None], str] = {}

    def subscribe(self, user: str) -> asyncio.Queue[Json | None]:
        """Return a queue of what `user` is told; None ends it."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._queues[queue] = user
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Json | None]) -> None:
        """Stop filling a queue."""
        self._queues.pop(queue, None)

    def tell(self, users: Iterable[str], push: Json) -> None:
        """Tell these people; watchers of everybody are told once."""
        wanted = set(users)
        for queue, user in self._queues.items():
            if user in wanted:
                queue.put_nowait(push)
            elif user == EVERYONE:
                queue.put_nowait(push | {"to": sorted(wanted)})

    def tell_all(self, push: Json) -> None:
        """Tell everybody."""
        for queue in self._queues:
            queue.put_nowait(push)

    def close(self) -> None:
        """End all queues."""
        for queue in self._queues:
            queue.put_nowait(None)

"""Blocking work that is never abandoned: a cancelled caller waits until the thread has really ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Stop:
    """Told to a thread that its caller was cancelled. Once the work is `kept`, its result counts all the same."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self.kept = False

    @property
    def stopped(self) -> bool:
        """Whether the work should end as soon as it can, leaving nothing behind."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Ask the work to end."""
        self._stopped.set()


async def to_the_end(function: Callable[[Stop], T]) -> T:
    """Run `function` in a thread; a cancellation stops it and is raised only after the thread has ended.

    When the thread had already made its work durable (`stop.kept`), the truth is its result: that is returned and the
    cancellation is taken back.
    """
    stop = Stop()
    work = asyncio.ensure_future(asyncio.to_thread(function, stop))
    cancelled: asyncio.CancelledError | None = None
    times = 0
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
            times += 1
            stop.stop()
    if cancelled is None:
        return work.result()
    if stop.kept and work.exception() is None:
        task = asyncio.current_task()
        if task is not None:
            for _ in range(times):
                task.uncancel()
        return work.result()
    if not work.cancelled():
        # Retrieved, so that asyncio does not report as lost what the cancellation caused.
        work.exception()
    raise cancelled

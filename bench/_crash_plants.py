"""Bugs that the crash harness must find: put into the forked process to see that the harness can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agent.events import ActionStarted, Event
from agent.ports import Committed, Condition, Intention, Stored
from bot.posting import Poster
from storage.journal import SqliteJournal


def consume_after_effect() -> None:
    """Write `started`, and use the yes up, only together with the result."""
    real = SqliteJournal.commit
    held: dict[str, tuple[list[Event], Intention]] = {}

    async def commit(
        self: SqliteJournal,
        run: str,
        events: Sequence[Event],
        condition: Condition,
        *,
        blobs: Mapping[str, str] | None = None,
    ) -> Committed:
        if isinstance(condition, Intention) and condition.starts and isinstance(events[0], ActionStarted):
            held[run] = (list(events), condition)
            seq = (await self.read(run))[-1].seq + 1
            return Committed(seq, tuple(Stored(seq + at, 0.0, event) for at, event in enumerate(events)))
        if run in held:
            started, intention = held.pop(run)
            await real(self, run, started, intention)
        return await real(self, run, events, condition, blobs=blobs)

    setattr(SqliteJournal, "commit", commit)  # noqa: B010  # a method is replaced, which types do not foresee


def post_again() -> None:
    """Never look whether a message stands already."""

    async def find(self: Poster, channel: str, thread_ts: str, key: str, marker: str = "") -> None:
        del self, channel, thread_ts, key, marker

    setattr(Poster, "find", find)  # noqa: B010  # as above


def stream_again() -> None:
    """Never look whether a stream stands already, which has no key before it ends."""
    real = Poster.find

    async def find(
        self: Poster, channel: str, thread_ts: str, key: str, marker: str = ""
    ) -> tuple[str, int] | None:  # fmt: skip
        del marker
        return await real(self, channel, thread_ts, key)

    setattr(Poster, "find", find)  # noqa: B010  # as above


PLANTS: Mapping[str, Callable[[], None]] = {
    "consume-after-effect": consume_after_effect,
    "post-again": post_again,
    "stream-again": stream_again,
}

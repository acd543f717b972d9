"""What delivery works with: rows that are due, and the messages that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.blocks.live import Live
from bot.blocks.message import Message
from storage.outbox import OutboxRow


class Outbox(Protocol):
    """The part of storage.outbox that delivery needs."""

    def due(self, now: float, limit: int) -> Sequence[OutboxRow]:
        """Rows whose wanted revision was not sent and whose transport time has come, in lane order."""
        ...

    def next_at(self, now: float) -> float | None:
        """When a row that must wait becomes due; None when there is none."""
        ...

    async def sent(self, key: str, revision: int, channel: str, ts: str, then: str = "") -> None:
        """The message stands in Slack, showing at least this revision; `then` is wanted after it."""
        ...

    async def failed(self, key: str, error: str, next_at: float) -> None:
        """It did not work; again at `next_at` (transport time)."""
        ...


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message, and whom to write to directly when nobody can post where it belongs."""

    message: Message
    people: tuple[str, ...] = ()
    """Slack user ids."""
    then: str = ""
    """Key of the message that follows once this one stands: the next part of a long answer."""
    live: Live | None = None
    """What a stream would show of it; only for progress."""
    tells: bool = False
    """Whether it shows a decision. Once people have seen that, what came of it leaves room for other decisions."""


class Render(Protocol):
    """Makes messages of rows."""

    @property
    def channels(self) -> Mapping[str, str]:
        """Kind of message → id of the channel in which it stands; the other kinds go to their task's thread."""
        ...

    def __call__(self, row: OutboxRow, is_first: bool, /) -> Rendered | None:  # noqa: FBT001  # a row and its one fact
        """What is to be shown now, and whether it is the first post; None when there is nothing to show."""
        ...

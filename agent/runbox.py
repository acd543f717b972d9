"""The newest state of one run in memory, and the one way to write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agent import events as ev
from agent.ports import Committed, Condition, Journal
from agent.state import RunState, fold

MOST_KEPT, LONGEST_KEPT = 32, 8_192
"""Bodies of a driven run that are kept in memory, and characters of one; a run that waits keeps none."""


class RunBox:
    """The newest state of one run and the way to write to it."""

    def __init__(self, run: str, journal: Journal) -> None:
        self.run, self._journal = run, journal
        self.state = RunState(run=run)
        self.money = asyncio.Lock()
        self.door = asyncio.Lock()
        self._bodies: dict[str, str] = {}
        """The newest bodies that were written here, since what a model is told next are mostly these."""

    async def commit(
        self, events: Sequence[ev.Event], condition: Condition, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Append and fold; a cancellation is raised once it is known, and folded, what was written."""
        return await self.adopt(events, condition, blobs)

    async def adopt(
        self,
        events: Sequence[ev.Event],
        condition: Condition,
        blobs: Mapping[str, str] | None,
        *,
        folded: RunState | None = None,
        count: int = 0,
    ) -> Committed:
        """As `commit`; `folded` is the state with the first `count` of these events, which need no second fold."""
        try:
            committed = await self._journal.commit(self.run, events, condition, blobs=blobs)
        except asyncio.CancelledError:
            await self.catch_up()
            raise
        for digest, body in (blobs or {}).items():
            if len(body) <= LONGEST_KEPT:
                self._bodies[digest] = body
        while len(self._bodies) > MOST_KEPT:
            del self._bodies[next(iter(self._bodies))]
        if committed.first_seq != self.state.seq + 1:
            await self.catch_up()
        elif folded is not None and count and folded.seq == self.state.seq + count:  # nobody wrote in between
            self.state = fold(self.run, committed.events[count:], folded) if committed.events[count:] else folded
        else:
            self.state = fold(self.run, committed.events, self.state)
        return committed

    async def blob(self, digest: str) -> str:
        """A stored body; raises KeyError."""
        body = self._bodies.get(digest)
        return await self._journal.blob(digest) if body is None else body

    async def catch_up(self) -> None:
        """Fold what others appended: votes, deadlines, stops."""
        stored = await self._journal.read(self.run, self.state.seq)
        # Another commit of this run may have been folded while this read was under way.
        self.state = fold(self.run, (item for item in stored if item.seq > self.state.seq), self.state)

"""The newest state of one run in memory, and the one way to write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agent import events as ev
from agent.ports import Committed, Condition, Journal
from agent.state import RunState, fold


class RunBox:
    """The newest state of one run and the way to write to it."""

    def __init__(self, run: str, journal: Journal) -> None:
        self.run, self._journal = run, journal
        self.state = RunState(run=run)
        self.money = asyncio.Lock()
        self.door = asyncio.Lock()

    async def commit(
        self, events: Sequence[ev.Event], condition: Condition, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Append and fold; a cancellation waits until it is known what was written, and is raised then."""
        write = asyncio.ensure_future(self._journal.commit(self.run, events, condition, blobs=blobs))
        try:
            committed = await asyncio.shield(write)
        except asyncio.CancelledError:
            await self._fold(await write)
            raise
        await self._fold(committed)
        return committed

    async def _fold(self, committed: Committed) -> None:
        if committed.first_seq == self.state.seq + 1:
            self.state = fold(self.run, committed.events, self.state)
        else:
            await self.catch_up()

    async def catch_up(self) -> None:
        """Fold what others appended: votes, deadlines, stops."""
        stored = await self._journal.read(self.run, self.state.seq)
        # Another commit of this run may have been folded while this read was under way.
        self.state = fold(self.run, (item for item in stored if item.seq > self.state.seq), self.state)

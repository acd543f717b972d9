"""Moves that need nothing from outside, thought through together and written in one commit.

Each move is done on a draft of the run: its events are folded there and kept back. What follows from them can then be
drafted as well, until a move needs a model, a tool or a person. A crash in between loses thoughts, not effects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agent import events as ev
from agent.errors import SecondKeyError
from agent.ports import Clock, Committed, Condition, Intention, Stored
from agent.runbox import RunBox
from agent.state import RunState, fold
from agent.supervisor import (
    AskWorker,
    Begin,
    BeginStep,
    CloseStep,
    EvaluateStep,
    Finish,
    MakePlan,
    Move,
    NoteTimeOut,
    ProposeScripted,
    RateAction,
    TrimHistory,
    WriteAnswer,
)

MOVES_A_DRAFT = 32


class Draft:
    """A run as it will stand once the draft is written. The first commit after `leave` writes everything before it."""

    def __init__(self, box: RunBox, clock: Clock) -> None:
        self._box, self._clock = box, clock
        self._left = False
        self._events: list[ev.Event] = []
        self._blobs: dict[str, str] = {}
        self._state = box.state
        self.epoch = box.state.epoch
        self.money: asyncio.Lock = box.money
        self.door = asyncio.Lock()
        """Its own: the run's door is held by whoever drafts."""

    @property
    def holds(self) -> bool:
        """Whether something is kept back that was not written."""
        return bool(self._events)

    @property
    def state(self) -> RunState:
        """The state with the draft's events folded in; the real one once the draft was left."""
        return self._box.state if self._left and not self._events else self._state

    async def commit(
        self, events: Sequence[ev.Event], condition: Condition, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Keep the events back; after `leave`, write."""
        if self._left:
            return await self._write(events, condition, blobs)
        first, now = self._state.seq + 1, self._clock.now()
        stored = tuple(Stored(first + index, now, event) for index, event in enumerate(events))
        self._state = fold(self._state.run, stored, self._state)
        self._events += events
        self._blobs |= blobs or {}
        return Committed(first, stored)

    async def blob(self, digest: str) -> str:
        """A body, of the draft's own or a stored one; raises KeyError."""
        own = self._blobs.get(digest)
        return await self._box.blob(digest) if own is None else own

    async def write(self) -> None:
        """Write what was kept back, if the run's epoch is still the one that it was drafted on."""
        self._left = True
        if self._events:
            await self._write((), Intention(epoch=self.epoch), None)
        else:
            await asyncio.sleep(0)  # nothing came of it: let the others have the loop before it is tried again

    def leave(self) -> None:
        """From here on commits are real; the first one takes what was kept back along."""
        self._left = True

    async def _write(
        self, events: Sequence[ev.Event], condition: Condition, blobs: Mapping[str, str] | None
    ) -> Committed:
        kept, bodies = self._events, self._blobs
        self._events, self._blobs = [], {}
        try:
            return await self._box.adopt(
                [*kept, *events], condition, {**bodies, **(blobs or {})}, folded=self._state, count=len(kept)
            )
        except SecondKeyError:
            self._events, self._blobs = kept, bodies
            raise


def is_inner(move: Move) -> bool:
    """Whether a move needs nothing from outside: it only decides, reads and renders."""
    match move:
        case MakePlan() | WriteAnswer() | EvaluateStep():
            return not move.model
        case Begin() | BeginStep() | CloseStep() | NoteTimeOut() | RateAction() | ProposeScripted() | Finish():
            return True
        case TrimHistory():
            return True
        case _:
            return False


def follows_at_once(move: Move) -> bool:
    """Whether a move ends a step or the run, or rates the one call that was asked for: it is written with its cause."""
    match move:
        case WriteAnswer() | EvaluateStep():
            return not move.model
        case CloseStep() | BeginStep() | Finish() | RateAction():
            return True
        case _:
            return False


def asks_model(move: Move) -> bool:
    """Whether a move begins with a reservation, which can be written together with what led to it."""
    return isinstance(move, AskWorker | MakePlan | EvaluateStep | WriteAnswer) and bool(move.model)

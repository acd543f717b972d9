"""What came of a call or a tool: written down whatever happens, and where possible with what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent import events as ev
from agent.equipment import Box, Equipment
from agent.errors import JournalError, LeaseLost, StorageUnavailable
from agent.ports import Fact, Intention

RECORD_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """A tool or a model call has ended; nothing of it is written yet."""

    facts: Sequence[ev.Event]
    """It happened or was paid: written also after the run's epoch moved."""
    then: Sequence[ev.Event] = ()
    """What it leads to, if the run is still where it was."""
    blobs: Mapping[str, str] = field(default_factory=dict[str, str])


async def record(kit: Equipment, box: Box, ended: Ended) -> None:
    """Write down what came of it; it did happen, so a disk that is full for a while is waited for."""
    events = [*ended.facts, *ended.then]
    while True:
        try:
            if ended.then and events:
                await box.commit(events, Intention(epoch=box.state.epoch), ended.blobs)
            else:
                await box.commit(ended.facts, Fact(), ended.blobs)
        except StorageUnavailable:
            await kit.sleep(RECORD_AGAIN_S)
        except LeaseLost:
            raise
        except JournalError:
            if not ended.then or not events:
                raise
            events = []  # its plan came too late, but what was paid is a fact
        else:
            return

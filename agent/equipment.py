"""What every run works with, and the driver's view of one run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent import events as ev
from agent.grants import Standing
from agent.policy import Policy
from agent.ports import Clock, Committed, Condition, Ids, Journal
from agent.prompting import Prompts
from agent.resilience import Breakers
from agent.runbooks import Runbooks
from agent.state import RunState
from agent.telemetry import Telemetry
from agent.tools.base import ToolContext
from agent.tools.registry import Registry


def _no_grants(tool: str, requester: str) -> Sequence[Standing]:
    del tool, requester
    return ()


def _no_jitter() -> float:
    return 0.0


async def _nobody(key: str) -> bool:
    del key
    return False


class Box(Protocol):
    """The driver's view of its run: the newest state, and the one way to write."""

    money: asyncio.Lock
    """Held from the look at what is left until a reservation is written."""
    door: asyncio.Lock
    """Held from the look at an open takeover until a rating or a start is written: neither follows its opening."""

    @property
    def state(self) -> RunState:
        """The newest state known here."""
        ...

    async def commit(
        self, events: Sequence[ev.Event], condition: Condition, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Append to the run and fold."""
        ...

    async def blob(self, digest: str) -> str:
        """A body that the run's events name, also one that is not written yet; raises KeyError."""
        ...


@dataclass(frozen=True, slots=True)
class Equipment:
    """What every run works with."""

    journal: Journal
    clock: Clock
    ids: Ids
    registry: Registry
    policy: Callable[[], Policy]
    runbooks: Runbooks
    context: Callable[[RunState], ToolContext]
    find_secret: Callable[[str], str]
    """What kind of secret a text holds; empty when none."""
    redact: Callable[[str], str]
    telemetry: Telemetry
    grants: Callable[[str, str], Sequence[Standing]] = _no_grants
    """Grants of this tool for runs of this principal key that stand now."""
    may_still: Callable[[str], Awaitable[bool]] = _nobody
    """Whether this principal may still decide, looked up afresh."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    """How backoff waits; real seconds."""
    roll: Callable[[], float] = _no_jitter
    """A number from 0 to 1, by which backoff is spread; always 0 where nothing is set."""
    breakers: Breakers | None = None
    """Of the services behind tools; unset, none is left alone."""
    still_entitled: Callable[[str, Sequence[str]], Awaitable[frozenset[str]]] | None = None
    """Of an approval's voters, by their keys, those who may decide on it now; unset, the policy is asked."""
    prompts: Prompts = field(default_factory=Prompts)
    """What the models are told of their work."""

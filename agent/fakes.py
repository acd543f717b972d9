"""Fakes of the ports, for tests and benchmarks; they pass the same contract tests as the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.domain import Tier
from agent.errors import (
    AlreadyStarted,
    ApprovalNotValid,
    BudgetExceeded,
    EpochMoved,
    LeaseLost,
    ModelError,
    ModelUnavailable,
    Overtaken,
    RunPaused,
    RunStopped,
)
from agent.events import ActionStarted, ApprovalDecided, Event, ModelCallStarted, RunFinished, VoteCast
from agent.ports import Committed, Condition, Intention, ModelReply, ModelRequest, Stored
from agent.state import RunState, apply, fold


@dataclass(slots=True)
class ManualClock:
    """Both clocks stand still until they are moved."""

    at: float = 1_800_000_000.0
    rate: float = 1.0

    def now(self) -> float:
        """Business time."""
        return self.at

    def transport(self) -> float:
        """The same instant."""
        return self.at

    def monotonic(self) -> float:
        """The same instant."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.at += seconds


@dataclass(slots=True)
class CountingIds:
    """Ids in sequence, such as r1 and a2."""

    count: int = 0

    def new(self, kind: str) -> str:
        """The next one."""
        self.count += 1
        return f"{kind[0]}{self.count}"


@dataclass(slots=True)
class MemoryJournal:
    """A journal in memory with the same conditions as the real one."""

    clock: ManualClock = field(default_factory=ManualClock)
    lease_token: str = "lease-1"  # noqa: S105  # a fencing token, not a secret
    holder: str = "lease-1"
    stopped: set[str] = field(default_factory=set[str])
    paused: bool = False
    events: dict[str, list[Stored]] = field(default_factory=dict[str, list[Stored]])
    blobs: dict[str, str] = field(default_factory=dict[str, str])
    states: dict[str, RunState] = field(default_factory=dict[str, RunState])
    consumed: set[str] = field(default_factory=set[str])
    written: asyncio.Event = field(default_factory=asyncio.Event)

    async def commit(
        self, run: str, events: Sequence[Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Append when the condition holds."""
        await asyncio.sleep(0)
        state = self.states.get(run) or RunState(run=run)
        if isinstance(condition, Intention):
            self._check(state, condition)
        granted = condition.consumes if isinstance(condition, Intention) and condition.grant else ""
        for event in events:
            is_yes = isinstance(event, ApprovalDecided) and event.state == "approved" and event.approval != granted
            if is_yes or isinstance(event, VoteCast):
                raise ApprovalNotValid
            if isinstance(event, RunFinished) and event.follow_ups not in {-1, len(state.follow_ups)}:
                raise Overtaken
        first = state.seq + 1
        stored = tuple(Stored(first + index, self.clock.now(), event) for index, event in enumerate(events))
        after = fold(run, stored, state)
        reserves = any(isinstance(event, ModelCallStarted) and event.reserved_micro_usd for event in events)
        budget = condition.budget_micro_usd if isinstance(condition, Intention) else None
        if reserves and budget is not None and after.spent + after.reserved > budget:
            raise BudgetExceeded
        ends = any(isinstance(event, RunFinished) and event.follow_ups >= 0 for event in events)
        if ends and any(item.phase in {"proposed", "allowed", "approved"} for item in after.actions.values()):
            raise Overtaken
        self.states[run] = after
        self.events.setdefault(run, []).extend(stored)
        self.blobs.update(blobs or {})
        if isinstance(condition, Intention) and condition.consumes:
            self.consumed.add(condition.consumes)
        self.written.set()
        return Committed(first, stored)

    def _check(self, state: RunState, condition: Intention) -> None:
        if self.holder != self.lease_token:
            raise LeaseLost
        if state.epoch != condition.epoch:
            raise EpochMoved
        if not condition.starts:
            return
        if state.run in self.stopped:
            raise RunStopped
        if self.paused:
            raise RunPaused
        item = state.actions[condition.starts]
        if item.phase not in {"allowed", "approved"}:
            raise AlreadyStarted if item.phase in {"started", "finished"} else ApprovalNotValid
        needs_yes = item.tier is not Tier.LOW
        approval = state.approvals.get(condition.consumes)
        valid = (
            approval is not None
            and approval.state.value == "approved"
            and approval.id not in self.consumed
            and approval.digest == condition.digest
            and self.clock.now() < approval.start_before
        )
        if item.action.digest != condition.digest or (needs_yes and not valid):
            raise ApprovalNotValid

    async def read(self, run: str, after: int = 0) -> tuple[Stored, ...]:
        """Events after a sequence number."""
        return tuple(item for item in self.events.get(run, []) if item.seq > after)

    async def blob(self, digest: str) -> str:
        """A body."""
        return self.blobs[digest]

    async def reached(self, run: str, holds: Callable[[RunState], bool]) -> None:
        """Wait until something holds of a run."""
        while not holds(self.states.get(run) or RunState(run=run)):
            self.written.clear()
            await self.written.wait()

    def append(self, run: str, *events: Event) -> None:
        """What another writer (a click, the sweep) would append."""
        for event in events:
            state = self.states.get(run) or RunState(run=run)
            stored = Stored(state.seq + 1, self.clock.now(), event)
            self.states[run] = apply(state, stored)
            self.events.setdefault(run, []).append(stored)


@dataclass(slots=True)
class ScriptedModel:
    """Answers with the given replies in turn; an error in their place is raised."""

    replies: list[ModelReply | ModelError]
    chain: tuple[str, ...] = ("scripted:one",)
    cost: int = 1_000
    requests: list[ModelRequest] = field(default_factory=list[ModelRequest])

    def highest_cost(self, request: ModelRequest) -> int:
        """A fixed price."""
        del request
        return self.cost

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The next reply."""
        self.requests.append(request)
        await asyncio.sleep(0)
        if not self.replies:
            raise ModelUnavailable("The script has no further reply.")
        reply = self.replies.pop(0)
        if isinstance(reply, ModelError):
            raise reply
        return reply


def started(events: Iterable[Stored]) -> tuple[str, ...]:
    """Ids of the actions that were started, in order."""
    return tuple(item.event.action for item in events if isinstance(item.event, ActionStarted))

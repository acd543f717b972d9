"""The state of a run, and what can be read off it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.domain import ApprovalState, AttachedFile, Intent, Outcome, Plan, RunStatus, Task
from agent.parts import ActionState, Approval, ModelCall, StepState, Takeover, changed


@dataclass(frozen=True)
class RunState:
    """Everything the supervisor needs to know of a run; made only by `apply`."""

    run: str = ""
    seq: int = 0
    epoch: int = 0
    task: Task | None = None
    parent_run: str = ""
    context_blob: str = ""
    trace_id: str = ""
    span_id: str = ""
    status: RunStatus = RunStatus.QUEUED
    created_at: float = 0.0
    plan: Plan | None = None
    plan_failed: str = ""
    replans: int = 0
    """How many times a new plan took the place of what was left; each counts as a step."""
    steps: tuple[StepState, ...] = ()
    actions: Mapping[str, ActionState] = field(default_factory=dict[str, ActionState])
    approvals: Mapping[str, Approval] = field(default_factory=dict[str, Approval])
    takeovers: Mapping[str, Takeover] = field(default_factory=dict[str, Takeover])
    calls: Mapping[str, ModelCall] = field(default_factory=dict[str, ModelCall])
    co_requesters: frozenset[str] = frozenset()
    follow_ups: tuple[str, ...] = ()
    files: tuple[AttachedFile, ...] = ()
    files_owed: int = 0
    """Attached files that are still on their way."""
    heard: int = 0
    """How many of the follow-ups a model was told while it could still act on them."""
    stop_by: str = ""
    stop_reason: str = ""
    out_of_time: bool = False
    answer_blob: str = ""
    active_ms: int = 0
    """Milliseconds that calls and tools took so far; waits on people are not counted."""

    @property
    def spent(self) -> int:
        """Settled micro-USD."""
        return sum(call.cost for call in self.calls.values() if call.phase != "started")

    @property
    def reserved(self) -> int:
        """Micro-USD held for calls that are on the wire."""
        return sum(call.reserved for call in self.calls.values() if call.phase == "started")

    @property
    def tokens(self) -> int:
        """Tokens that its calls used, and may use that are on the wire."""
        return sum(call.tokens for call in self.calls.values())

    @property
    def standing(self) -> tuple[ActionState, ...]:
        """The actions in whose place no person had another one proposed."""
        gone = {item.action.revision.of for item in self.actions.values() if item.action.revision is not None}
        return tuple(item for key, item in self.actions.items() if key not in gone)

    @property
    def open_takeover(self) -> Takeover | None:
        """The takeover that is open or claimed, if any."""
        return (
            next((item for item in self.takeovers.values() if not item.state.is_final), None)
            if self.takeovers
            else None
        )

    @property
    def is_waiting(self) -> bool:
        """Whether people are asked and nothing is in flight."""
        if not self.approvals and not self.takeovers:
            return False
        asked = (
            self.open_takeover is not None
            or any(item.state is ApprovalState.PENDING or item.reason_open for item in self.approvals.values())
        )  # fmt: skip
        return asked and not self.in_flight

    @property
    def in_flight(self) -> bool:
        """Whether an action or a model call of the run has started and not ended; a question holds nothing up."""
        return any(item.phase == "started" for item in self.actions.values()) or any(
            item.phase == "started" and item.purpose != "question" for item in self.calls.values()
        )

    def denied_intents(self) -> frozenset[Intent]:
        """Intents that people denied, or let expire and did not ask for again, in this run (invariant 10)."""
        denied, expired = set[Intent](), set[Intent]()
        for item in self.actions.values():
            revision = item.action.revision
            if revision is not None and revision.cause == "ask_again" and revision.of in self.actions:
                expired.difference_update(self.actions[revision.of].intents)
            if item.outcome is Outcome.DENIED:
                denied.update(item.intents)
            elif item.outcome is Outcome.EXPIRED:
                expired.update(item.intents)
        return frozenset(denied | expired)


def put(state: RunState, **changes: object) -> RunState:
    """Change fields of a state that is still private to its fold."""
    state.__dict__.update(changes)
    return state


def put_action(state: RunState, item: ActionState) -> RunState:
    """As `put`, one action."""
    return put(state, actions={**state.actions, item.action.id: item})


def put_step(state: RunState, step: int, **changes: object) -> RunState:
    """As `put`, fields of one step."""
    steps = list(state.steps)
    steps[step] = changed(steps[step], **changes)
    return put(state, steps=tuple(steps))

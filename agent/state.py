"""The state of a run as a fold of its journal: `apply(state, event)` and the legal transitions; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from agent import events as ev
from agent.domain import (
    Action,
    ApprovalState,
    AttachedFile,
    Intent,
    Outcome,
    Plan,
    Reason,
    RunStatus,
    TakeoverState,
    Task,
    Tier,
)
from agent.ports import Stored

_Item = TypeVar("_Item")
ActionPhase = Literal["proposed", "allowed", "asked", "approved", "with_person", "started", "finished"]


class IllegalTransition(ValueError):
    """The event does not fit the state; the journal is damaged or of another release."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A wire call: open while `phase` is started."""

    id: str
    purpose: ev.Purpose
    step: int
    turn: int
    attempt: int
    model: str
    reserved: int
    phase: Literal["started", "finished", "failed"] = "started"
    reply_blob: str = ""
    cost: int = 0
    code: str = ""
    detail: str = ""
    retryable: bool = False
    tokens: int = 0
    """What it may use at most while it is open, then what it used, as far as anybody counted."""


@dataclass(frozen=True, slots=True)
class ActionState:
    """An action and where it stands."""

    action: Action
    phase: ActionPhase = "proposed"
    tier: Tier | None = None
    reasons: tuple[Reason, ...] = ()
    intents: tuple[Intent, ...] = ()
    undecidable: bool = False
    headline: str = ""
    preview_blob: str = ""
    approval: str = ""
    grant: str = ""
    takeover: str = ""
    outcome: Outcome | None = None
    output_blob: str = ""
    summary: str = ""
    code: str = ""
    attempt: int = 0
    lease_token: str = ""
    feedback: str = ""
    """What people said of it: a reason for a denial, an instruction at a hand-back."""
    again: bool = False
    """A person found that it did not happen, and wants the same call proposed anew."""
    rows: int = 0
    files: int = 0
    amount: int = 0
    irreversible: bool = False
    rules: tuple[str, ...] = ()
    """The rules that set who decides on it."""


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval and how it was decided."""

    id: str
    action: str
    digest: str
    epoch: int
    expires_at: float
    state: ApprovalState = ApprovalState.PENDING
    by: str = ""
    reason: str = ""
    reason_open: bool = False
    """Denied, and the run still waits for an optional reason."""
    start_before: float = 0.0
    quorum: int = 1
    yes: tuple[str, ...] = ()
    """Principal keys of who said yes."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """A takeover and who has it."""

    id: str
    action: str
    cause: Literal["high", "unknown"]
    state: TakeoverState = TakeoverState.OPEN
    by: str = ""
    claim_token: str = ""


@dataclass(frozen=True, slots=True)
class StepState:
    """A hand-over to a worker; its actions in the order of their proposal."""

    number: int
    planned: int
    feedback: str = ""
    actions: tuple[str, ...] = ()
    status: Literal["open", "done", "blocked", "failed"] = "open"
    summary: str = ""
    sources: tuple[str, ...] = ()
    code: str = ""
    decision: ev.StepDecision | Literal[""] = ""
    """What the supervisor made of it; empty until it is evaluated."""
    reason: str = ""
    advice: str = ""
    """What the next try is told."""
    target: int = -1
    seen: int = 0
    """How many of its actions the evaluation knew of."""
    trimmed: int = 0
    """How many of its turns are told in short, in `trimmed_blob`."""
    trimmed_blob: str = ""


@dataclass(frozen=True, slots=True)
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
        return next((item for item in self.takeovers.values() if not item.state.is_final), None)

    @property
    def is_waiting(self) -> bool:
        """Whether people are asked and nothing is in flight."""
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


def fold(run: str, stored: Iterable[Stored], state: RunState | None = None) -> RunState:
    """The state after these events; raises IllegalTransition."""
    state = _copy(state) if state is not None else RunState(run=run)
    for item in stored:
        _apply(state, item)
    if state.status in {RunStatus.RUNNING, RunStatus.WAITING}:  # no event asks for it in between
        _set(state, status=RunStatus.WAITING if state.is_waiting else RunStatus.RUNNING)
    return state


def apply(state: RunState, stored: Stored) -> RunState:
    """The state after one more event; raises IllegalTransition when it does not fit."""
    return fold(state.run, (stored,), state)


def _apply(state: RunState, stored: Stored) -> None:
    """Change a state that nobody else has seen yet: a copy an event would cost more than all the rest of a fold."""
    if stored.seq != state.seq + 1:
        raise IllegalTransition(f"run {state.run}: event {stored.seq} after {state.seq}")
    if state.status.is_final and not isinstance(stored.event, _AFTER_THE_END):
        raise IllegalTransition(f"run {state.run}: {stored.event.type} after the end")
    _step(_set(state, seq=stored.seq), stored.event, stored.at)


def _copy(item: _Item) -> _Item:
    """A shallow copy, at a fraction of what `dataclasses.replace` takes."""
    made = object.__new__(type(item))
    names: tuple[str, ...] = getattr(item, "__slots__")  # noqa: B009  # not every type has slots, but each of these
    for name in names:
        object.__setattr__(made, name, getattr(item, name))
    return made


def _with(item: _Item, **changes: object) -> _Item:
    """As `dataclasses.replace`, for the values of this module."""
    made = _copy(item)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def _set(state: RunState, **changes: object) -> RunState:
    """Change fields of a state that is still private to its fold."""
    for name, value in changes.items():
        object.__setattr__(state, name, value)
    return state


# Facts arrive whenever they arrive: an effect in flight may end, and a card be delivered, after a run was cancelled.
_AFTER_THE_END = (
    ev.ActionFinished,
    ev.ModelCallFinished,
    ev.ModelCallFailed,
    ev.ApprovalDelivered,
    ev.ApprovalDecided,
    ev.DenialExplained,
    ev.TakeoverClosed,
    ev.StopRequested,
    ev.GrantRevoked,
    ev.ChangesUndone,
)


def _step(state: RunState, event: ev.Event, at: float) -> RunState:  # noqa: C901, PLR0911, PLR0912  # one arm an event
    match event:
        case ev.RunCreated():
            return _set(
                state,
                task=event.task,
                parent_run=event.parent_run,
                context_blob=event.context_blob,
                files_owed=event.files,
                trace_id=event.trace_id,
                span_id=event.span_id,
                created_at=at,
                co_requesters=frozenset({event.task.principal.key}),
            )
        case ev.FilesAttached():
            return _set(
                state, files=(*state.files, *event.files), files_owed=max(0, state.files_owed - len(event.files))
            )
        case ev.RunStarted():
            return _set(state, status=RunStatus.RUNNING)
        case ev.CoRequesterAdded():
            return _set(state, co_requesters=state.co_requesters | {event.principal.key})
        case ev.FollowUpReceived():
            return _set(
                state,
                follow_ups=(*state.follow_ups, event.text_blob),
                co_requesters=state.co_requesters | {event.principal.key},
            )
        case ev.PlanMade():
            return _set(state, plan=event.plan, replans=state.replans + (state.plan is not None))
        case ev.PlanFailed():
            return _set(state, plan_failed=event.reason)
        case ev.StepStarted():
            return _set(
                state,
                steps=(*state.steps, StepState(number=event.step, planned=event.planned, feedback=event.feedback)),
            )
        case ev.StepFinished():
            return _step_with(
                state,
                event.step,
                status=event.status,
                summary=event.summary,
                sources=event.sources,
                code=event.code,
                decision="",
            )
        case ev.StepEvaluated():
            return _step_with(
                state,
                event.step,
                decision=event.decision,
                reason=event.reason,
                advice=event.feedback,
                target=event.target,
                seen=len(state.steps[event.step].actions),
            )
        case ev.HistoryTrimmed():
            return _step_with(state, event.step, trimmed=event.turns, trimmed_blob=event.summary_blob)
        case ev.StopRequested():
            return _set(state, stop_by=state.stop_by or event.by, stop_reason=state.stop_reason or event.reason)
        case ev.TimeRanOut():
            return _set(state, out_of_time=True)
        case ev.ChangesUndone():
            return state  # it concerns the project, and the run is over
        case ev.RunFinished():
            return _set(state, status=event.status, answer_blob=event.answer_blob)
        case ev.ModelCallStarted() | ev.ModelCallFinished() | ev.ModelCallFailed():
            return _call(state, event)
        case (
            ev.ActionProposed() | ev.ActionRated() | ev.ActionStarted() | ev.ActionFinished() | ev.ActionResumed()
        ):  # fmt: skip
            return _action(state, event)
        case ev.TakeoverAsked() | ev.TakeoverAnswered() | ev.GrantGiven() | ev.GrantRevoked():
            return state  # told beside the run, never to it; grants are looked up where they are used
        case (
            ev.ApprovalRequested()
            | ev.ApprovalDelivered()
            | ev.ApprovalReminded()
            | ev.DecidersChanged()
            | ev.VoteCast()
            | ev.ApprovalDecided()
            | ev.DenialExplained()
        ):
            return _approval(state, event)
        case _:
            return _takeover(state, event)


def _call(state: RunState, event: ev.ModelCallStarted | ev.ModelCallFinished | ev.ModelCallFailed) -> RunState:
    if isinstance(event, ev.ModelCallStarted):
        call = ModelCall(
            id=event.call,
            purpose=event.purpose,
            step=event.step,
            turn=event.turn,
            attempt=event.attempt,
            model=event.model,
            reserved=event.reserved_micro_usd,
            tokens=event.reserved_tokens,
        )
        # An answer can tell of words, but not act on them any more; who judges a step or explains the run sees none.
        hears = event.purpose in {"plan", "work"}
        heard = len(state.follow_ups) if hears else state.heard
        return _set(state, calls={**state.calls, call.id: call}, heard=heard)
    call = _get(state.calls, event.call)
    if call.phase != "started":
        raise IllegalTransition(f"model call {call.id} ended twice")
    if isinstance(event, ev.ModelCallFinished):
        tokens = event.input_tokens + event.output_tokens or call.tokens
        call = _with(call, phase="finished", reply_blob=event.reply_blob, cost=event.cost_micro_usd, tokens=tokens)
    else:
        call = _with(
            call,
            phase="failed",
            code=event.code,
            detail=event.detail,
            retryable=event.retryable,
            cost=event.cost_micro_usd,
            tokens=call.tokens if event.cost_micro_usd else 0,
        )
    took = 0 if call.purpose == "question" else event.duration_ms  # asked beside the run, in nobody's working time
    return _set(state, calls={**state.calls, call.id: call}, active_ms=state.active_ms + took)


def _action(
    state: RunState,
    event: ev.ActionProposed | ev.ActionRated | ev.ActionStarted | ev.ActionFinished | ev.ActionResumed,
) -> RunState:
    if isinstance(event, ev.ActionProposed):
        action = event.action
        if action.id in state.actions:
            raise IllegalTransition(f"action {action.id} proposed twice")
        step = state.steps[action.step]
        step = _with(step, actions=(*step.actions, action.id))
        state = _set(state, steps=_put(state.steps, action.step, step))
        return _with_action(state, ActionState(action=action))
    item = _get(state.actions, event.action)
    match event:
        case ev.ActionRated():
            return _with_action(
                state,
                _with(
                    item,
                    phase="allowed" if event.goes else "proposed",
                    grant=event.grant,
                    outcome=None,
                    tier=event.tier,
                    reasons=event.reasons,
                    intents=event.intents,
                    undecidable=event.undecidable,
                    headline=event.headline,
                    preview_blob=event.preview_blob,
                    rows=event.rows,
                    files=event.files,
                    amount=event.amount,
                    irreversible=event.irreversible,
                    rules=event.rules,
                ),
            )
        case ev.ActionStarted():
            if item.phase not in {"allowed", "approved"}:
                raise IllegalTransition(f"action {event.action} started while {item.phase}")
            return _with_action(
                state, _with(item, phase="started", attempt=event.attempt, lease_token=event.lease_token)
            )
        case ev.ActionResumed():
            state = _set(state, active_ms=state.active_ms + event.duration_ms)
            return _with_action(state, _with(item, phase="allowed", attempt=item.attempt + 1, lease_token=""))
        case ev.ActionFinished():
            state = _set(state, active_ms=state.active_ms + event.duration_ms)
            if item.phase == "finished" and item.outcome is not Outcome.UNKNOWN:
                raise IllegalTransition(f"action {event.action} ended twice")
            return _with_action(
                state,
                _with(
                    item,
                    phase="finished",
                    outcome=event.outcome,
                    output_blob=event.output_blob,
                    summary=event.summary,
                    code=event.code,
                ),
            )


def _approval(
    state: RunState,
    event: ev.ApprovalRequested
    | ev.ApprovalDelivered
    | ev.ApprovalReminded
    | ev.DecidersChanged
    | ev.VoteCast
    | ev.ApprovalDecided
    | ev.DenialExplained,
) -> RunState:
    if isinstance(event, ev.ApprovalRequested):
        approval = Approval(
            id=event.approval,
            action=event.action,
            digest=event.digest,
            epoch=event.epoch,
            expires_at=event.expires_at,
            quorum=event.quorum,
        )
        item = _with(
            _get(state.actions, event.action), phase="asked", approval=event.approval, outcome=None, feedback=""
        )
        return _with_action(_set(state, approvals={**state.approvals, approval.id: approval}), item)
    approval = _get(state.approvals, event.approval)
    item = _get(state.actions, approval.action)
    match event:
        case ev.ApprovalDelivered():
            approval = _with(approval, expires_at=event.expires_at)
        case ev.ApprovalReminded() | ev.DecidersChanged():
            pass
        case ev.VoteCast():  # a vote alone changes nothing; the decision follows at quorum
            others = tuple(key for key in approval.yes if key != event.principal.key)
            approval = _with(approval, yes=(*others, event.principal.key) if event.vote == "approve" else others)
        case ev.ApprovalDecided():
            withdraws_a_yes = approval.state is ApprovalState.APPROVED and event.state is ApprovalState.WITHDRAWN
            if approval.state is not ApprovalState.PENDING and not withdraws_a_yes:
                raise IllegalTransition(f"approval {approval.id} decided twice")
            approval = _with(
                approval,
                state=event.state,
                by=event.by,
                reason=event.reason,
                start_before=event.start_before,
                reason_open=event.reason_until > 0,
            )
            item = _decided(item, event)
        case ev.DenialExplained():
            approval = _with(approval, reason_open=False, reason=event.reason or approval.reason)
            item = _with(item, feedback=event.reason or item.feedback)
    return _with_action(_set(state, approvals={**state.approvals, approval.id: approval}), item)


_OUTCOME_OF = {
    ApprovalState.DENIED: Outcome.DENIED,
    ApprovalState.EXPIRED: Outcome.EXPIRED,
    ApprovalState.WITHDRAWN: Outcome.WITHDRAWN,
    ApprovalState.SUPERSEDED: Outcome.WITHDRAWN,
}


def _decided(item: ActionState, event: ev.ApprovalDecided) -> ActionState:
    if event.state is ApprovalState.APPROVED:
        return _with(item, phase="approved")
    if item.phase == "finished":
        return item
    return _with(item, phase="finished", outcome=_OUTCOME_OF[event.state], feedback=event.reason)


def _takeover(state: RunState, event: ev.Event) -> RunState:
    if isinstance(event, ev.TakeoverOpened):
        takeover = Takeover(id=event.takeover, action=event.action, cause=event.cause)
        item = _with(_get(state.actions, event.action), phase="with_person", takeover=takeover.id)
        return _with_action(_set(state, takeovers={**state.takeovers, takeover.id: takeover}), item)
    if not isinstance(event, ev.TakeoverClaimed | ev.TakeoverReleased | ev.TakeoverReminded | ev.TakeoverClosed):
        raise IllegalTransition(f"nothing is known of {event.type}")
    takeover = _get(state.takeovers, event.takeover)
    if takeover.state.is_final:
        raise IllegalTransition(f"takeover {takeover.id} is over")
    match event:
        case ev.TakeoverClaimed():
            takeover = _with(
                takeover, state=TakeoverState.CLAIMED, by=event.by.key, claim_token=event.claim_token
            )  # fmt: skip
        case ev.TakeoverReleased():
            takeover = _with(takeover, state=TakeoverState.OPEN, by="", claim_token="")
        case ev.TakeoverReminded():
            return state
        case ev.TakeoverClosed():
            takeover = _with(takeover, state=TakeoverState(event.state), by=event.by)
            item = _get(state.actions, takeover.action)
            item = _with(
                item,
                phase="finished",
                outcome=_OUTCOME_OF_TAKEOVER[takeover.cause, event.state],
                feedback=event.what,
                again=event.again,
                summary="; ".join(part for part in (event.what, event.reference, event.evidence) if part),
            )
            state = _with_action(_set(state, epoch=max(state.epoch, event.epoch)), item)
    return _set(state, takeovers={**state.takeovers, takeover.id: takeover})


# An unknown that a person says has happened did happen: by the agent, before the crash.
_OUTCOME_OF_TAKEOVER = {
    ("high", "done"): Outcome.DONE_BY_HUMAN,
    ("unknown", "done"): Outcome.SUCCEEDED,
    ("high", "handed_back"): Outcome.WITHDRAWN,
    ("unknown", "handed_back"): Outcome.WITHDRAWN,
    ("high", "aborted"): Outcome.CANCELLED,
    ("unknown", "aborted"): Outcome.UNKNOWN,
}


def _with_action(state: RunState, item: ActionState) -> RunState:
    return _set(state, actions={**state.actions, item.action.id: item})


def _step_with(state: RunState, step: int, **changes: object) -> RunState:
    return _set(state, steps=_put(state.steps, step, _with(state.steps[step], **changes)))


def _put(steps: tuple[StepState, ...], index: int, step: StepState) -> tuple[StepState, ...]:
    return (*steps[:index], step, *steps[index + 1 :])


def _get(items: Mapping[str, _Item], key: str) -> _Item:
    try:
        return items[key]
    except KeyError as error:
        raise IllegalTransition(f"nothing is known of {key}") from error

"""Everything that can be written into a run's journal, one frozen event each.

Bodies (messages, outputs, previews) are never in an event: a field named `*_blob` holds the content hash of a body that
is stored once. Times are business-clock seconds since the epoch; money is integer micro-USD; durations milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from agent.domain import (
    Action,
    ApprovalState,
    AttachedFile,
    Intent,
    Outcome,
    Plan,
    Principal,
    Reason,
    ReasonFor,
    RunStatus,
    Task,
    Tier,
    Value,
)
from agent.grants import Grant

Purpose = Literal["plan", "work", "answer", "question", "judge"]
StepDecision = Literal["continue", "retry", "send_back", "replan", "stop"]


class RunCreated(Value):
    """A task was accepted; the run is queued."""

    type: Literal["run_created"] = "run_created"
    task: Task
    parent_run: str = ""
    context_blob: str = ""
    """What the parent was asked and what came of it, as the models of this run are told; data, not instructions."""
    trace_id: str = ""
    span_id: str = ""
    asks_again: str = ""
    """The approval of the parent run that a person asks for again with this run."""
    files: int = 0
    """How many attached files are on their way; nothing is planned before they have come."""


class FilesAttached(Value):
    """The files of one message are in the run's workspace, or cannot be."""

    type: Literal["files_attached"] = "files_attached"
    files: tuple[AttachedFile, ...]


class RunStarted(Value):
    """A driver took the run up for the first time."""

    type: Literal["run_started"] = "run_started"
    policy_version: str


class CoRequesterAdded(Value):
    """Somebody's words entered the run's context, so they cannot decide on its later actions."""

    type: Literal["co_requester_added"] = "co_requester_added"
    principal: Principal
    cause: Literal[
        "follow_up", "file", "edit", "hand_back", "denial", "takeover", "ask_again", "quote", "parent"
    ]  # fmt: skip


class FollowUpReceived(Value):
    """A person added words to a running task."""

    type: Literal["follow_up_received"] = "follow_up_received"
    principal: Principal
    text_blob: str


class ModelCallStarted(Value):
    """A wire call is about to be made; its highest possible cost is reserved."""

    type: Literal["model_call_started"] = "model_call_started"
    call: str
    purpose: Purpose
    step: int = -1
    turn: int = 0
    attempt: int = 0
    model: str
    reserved_micro_usd: int
    request_blob: str = ""
    prompt_blob: str = ""
    """What the model was told of its work, so that a replay can say what changed since."""
    max_tokens: int = 0
    """Tokens that the reply may have at most."""
    reserved_tokens: int = 0
    """What it may use at most, read and written together; 0 when nobody counted."""
    waited_ms: int = 0
    """How long it was held back after a failure; of the run's active time, since no person was waited for."""


class ModelCallFinished(Value):
    """A wire call came back; the reservation is settled at its cost."""

    type: Literal["model_call_finished"] = "model_call_finished"
    call: str
    reply_blob: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    response_model: str = ""
    response_id: str = ""
    finish_reason: str = ""
    duration_ms: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class ModelCallFailed(Value):
    """A wire call failed; what it may have cost is settled at `cost_micro_usd`."""

    type: Literal["model_call_failed"] = "model_call_failed"
    call: str
    code: str
    detail: str = ""
    retryable: bool = False
    cost_micro_usd: int = 0
    duration_ms: int = 0


class PlanMade(Value):
    """The supervisor has a plan; a later one replaces the steps that were not begun."""

    type: Literal["plan_made"] = "plan_made"
    plan: Plan


class PlanFailed(Value):
    """Neither a model nor a runbook could plan the task; the run ends with this sentence."""

    type: Literal["plan_failed"] = "plan_failed"
    reason: str


class StepStarted(Value):
    """A worker was handed a step; every retry is a step of its own number."""

    type: Literal["step_started"] = "step_started"
    step: int
    planned: int
    """Index of the planned step in the plan."""
    feedback: str = ""


class StepFinished(Value):
    """A worker gave a step back."""

    type: Literal["step_finished"] = "step_finished"
    step: int
    status: Literal["done", "blocked", "failed"]
    summary: str
    sources: tuple[str, ...] = ()
    """What the worker names as showing it; its claim, like the summary."""
    code: str = ""
    """Why it was given back without a word of the worker: TURNS, ACTIONS, LOOP, NO_MODEL; empty: what else it says."""


class StepEvaluated(Value):
    """What follows from a step that is over: the supervisor's decision, by a rule or by a model."""

    type: Literal["step_evaluated"] = "step_evaluated"
    step: int
    decision: StepDecision
    """continue: it counts as done. retry: once more, with `feedback`. send_back: planned step `target` once more, then
    this one. replan: a new plan for what is left. stop: nothing that needs it is begun."""
    by: Literal["rule", "model", "review"] = "rule"
    reason: str = ""
    feedback: str = ""
    """What the next try is told."""
    target: int = -1
    """Index of the planned step that is sent back."""


class HistoryTrimmed(Value):
    """The first turns of a step are told in short from here on, so that its conversation fits."""

    type: Literal["history_trimmed"] = "history_trimmed"
    step: int
    turns: int
    """How many turns the summary stands for."""
    summary_blob: str
    tokens: int = 0
    """What the last request took, by the service's count."""


class ActionProposed(Value):
    """A tool call was proposed; written before anything happens."""

    type: Literal["action_proposed"] = "action_proposed"
    action: Action


class ActionRated(Value):
    """Facts were read off the action and the policy rated it."""

    type: Literal["action_rated"] = "action_rated"
    action: str
    tier: Tier
    reasons: tuple[Reason, ...] = ()
    intents: tuple[Intent, ...] = ()
    undecidable: bool = False
    headline: str = ""
    """What would happen, in one plain sentence."""
    facts_blob: str = ""
    preview_blob: str = ""
    policy_version: str = ""
    grant: str = ""
    """Id of the grant that covers it, so that nobody is asked; looked at again when it starts."""
    rows: int = 0
    """Rows that it would change, as far as that is known; summed over the run."""
    files: int = 0
    amount: int = 0
    """Money that it names, micro-units."""
    irreversible: bool = False
    rules: tuple[str, ...] = ()
    """The rules that set who decides and how; of a takeover they are looked up again at the click."""

    @property
    def goes(self) -> bool:
        """Whether it may start without anybody being asked now."""
        return self.tier is Tier.LOW or (self.tier is Tier.MEDIUM and bool(self.grant))


class ActionStarted(Value):
    """The action is about to have its effect; from here on it is never started again by the supervisor."""

    type: Literal["action_started"] = "action_started"
    action: str
    digest: str
    lease_token: str
    approval: str = ""
    attempt: int = 0
    grant: str = ""
    """The grant of which this is one use; its yes is the approval, written in the same transaction."""
    spends_micro_usd: int = 0
    """What the use takes off the grant's spend."""


class ActionFinished(Value):
    """What the action came to; `unknown` means that it may or may not have happened."""

    type: Literal["action_finished"] = "action_finished"
    action: str
    outcome: Outcome
    output_blob: str = ""
    summary: str = ""
    code: str = ""
    """The error's code when it was refused or failed."""
    duration_ms: int = 0


class ActionResumed(Value):
    """A started action may run again, as it is read-only or idempotent: its process died, or its service failed."""

    type: Literal["action_resumed"] = "action_resumed"
    action: str
    code: str = ""
    """What this attempt failed with, when it is tried again after a passing fault; empty for a process that died."""
    summary: str = ""
    duration_ms: int = 0


class ApprovalRequested(Value):
    """A medium action waits for people until `expires_at`."""

    type: Literal["approval_requested"] = "approval_requested"
    approval: str
    action: str
    digest: str
    epoch: int
    created_at: float
    expires_at: float
    timeout_s: float
    deciders: tuple[str, ...]
    """Principal keys of who may decide, as the policy named them when it was asked."""
    quorum: int = 1
    because: str = ""
    """Why it is asked again, when it is."""
    rules: tuple[str, ...] = ()
    """The rules that set who decides and how; at the click they are looked up again."""
    escalate_to: tuple[str, ...] = ()
    """Principal keys of who may decide as well once half of the time is over."""
    reason_for: tuple[ReasonFor, ...] = ()
    """Votes that need a reason."""
    floor_s: float = 0.0
    """Real seconds for which its card must have stood before a yes counts: it cannot be undone."""


class ApprovalDelivered(Value):
    """The card was first seen standing in Slack; the deadline moves once."""

    type: Literal["approval_delivered"] = "approval_delivered"
    approval: str
    delivered_at: float
    expires_at: float


class ApprovalReminded(Value):
    """Nobody has decided for a quarter of the time, or (escalated) for half of it."""

    type: Literal["approval_reminded"] = "approval_reminded"
    approval: str
    at: float
    escalated: bool = False
    deciders: tuple[str, ...] = ()
    """Principal keys of who may decide from here on as well."""


class DecidersChanged(Value):
    """The policy, a user group or the registry names others than when it was asked; looked up at a click."""

    type: Literal["deciders_changed"] = "deciders_changed"
    approval: str
    at: float
    deciders: tuple[str, ...]
    """Principal keys of all who may decide from here on."""


class VoteCast(Value):
    """One entitled person said yes or no."""

    type: Literal["vote_cast"] = "vote_cast"
    approval: str
    principal: Principal
    vote: Literal["approve", "deny"]
    at: float
    reason: str = ""
    policy_version: str = ""
    """Set by the store, as `receipt`: the policy by which the action was rated."""
    receipt: str = ""
    """Signature over the vote, the action's digest, who, when, and the policy (base64); none before receipts were."""


class ApprovalDecided(Value):
    """The one decision of an approval."""

    type: Literal["approval_decided"] = "approval_decided"
    approval: str
    state: ApprovalState
    at: float
    by: str = ""
    """Principal key of the last voter or withdrawer; empty when time or the system decided."""
    reason: str = ""
    start_before: float = 0.0
    """When approved: the yes lapses if the action did not start by then."""
    reason_until: float = 0.0
    """When denied: the run waits until then for an optional reason."""
    self_approved: bool = False
    voters: tuple[str, ...] = ()
    """When more than one yes was needed: principal keys of all that counted."""
    policy_version: str = ""
    """As of a vote."""
    receipt: str = ""
    """As of a vote; the store sets both, and starts nothing on a yes without."""


class DenialExplained(Value):
    """The reason for a denial came in, or its time is over (empty reason)."""

    type: Literal["denial_explained"] = "denial_explained"
    approval: str
    reason: str = ""
    by: str = ""


class GrantGiven(Value):
    """With their yes a person allowed further calls like this one."""

    type: Literal["grant_given"] = "grant_given"
    grant: Grant
    approval: str
    at: float


class GrantRevoked(Value):
    """Somebody took a grant back; journalled in the run in which it was given."""

    type: Literal["grant_revoked"] = "grant_revoked"
    grant: str
    by: str
    at: float


class TakeoverOpened(Value):
    """An action is given to a person: it is high, or nobody knows whether it happened."""

    type: Literal["takeover_opened"] = "takeover_opened"
    takeover: str
    action: str
    epoch: int
    cause: Literal["high", "unknown"]
    opened_at: float
    give_up_at: float
    deciders: tuple[str, ...]


class TakeoverClaimed(Value):
    """One person has it until `until` (business clock)."""

    type: Literal["takeover_claimed"] = "takeover_claimed"
    takeover: str
    by: Principal
    claim_token: str
    at: float
    until: float
    given_by: str = ""
    """Principal key of who handed it on to them; empty when they took it themselves."""


class TakeoverReleased(Value):
    """A claim ended without an outcome; the takeover is open again."""

    type: Literal["takeover_released"] = "takeover_released"
    takeover: str
    by: str = ""
    at: float
    why: Literal["released", "lapsed", "reassigned"]


class TakeoverReminded(Value):
    """Nobody has claimed it for a while; escalation is a timestamp on an open takeover."""

    type: Literal["takeover_reminded"] = "takeover_reminded"
    takeover: str
    at: float
    escalated: bool = False


class TakeoverAsked(Value):
    """Somebody asked something in a takeover's thread. It is no part of the run's context: the run never hears it."""

    type: Literal["takeover_asked"] = "takeover_asked"
    takeover: str
    by: Principal
    text_blob: str
    quiet: bool = False
    """A person has the takeover, so nobody answers; the words are only kept."""


class TakeoverAnswered(Value):
    """What was answered, from the run's state alone; an empty body when somebody took it over meanwhile."""

    type: Literal["takeover_answered"] = "takeover_answered"
    takeover: str
    question: int
    """Seq of the question's event."""
    answer_blob: str = ""


class TakeoverClosed(Value):
    """The takeover is over: done by the person, handed back, or aborted."""

    type: Literal["takeover_closed"] = "takeover_closed"
    takeover: str
    state: Literal["done", "handed_back", "aborted"]
    at: float
    by: str = ""
    what: str = ""
    """Done: what the person did. Handed back: the instruction. Aborted: the reason."""
    reference: str = ""
    evidence: str = ""
    epoch: int = 0
    """The run's epoch from here on; it moves with every hand-back."""
    again: bool = False
    """An unknown that did not happen, says a person: the same call is proposed anew, and rated anew."""
    policy_version: str = ""
    """As of a vote."""
    receipt: str = ""
    """As of a vote, over who ended it, how, and their words; none before endings had receipts."""


class StopRequested(Value):
    """A person or the operator wants the run to end now."""

    type: Literal["stop_requested"] = "stop_requested"
    by: str
    reason: str = ""


class ChangesUndone(Value):
    """What `apply_changes` had put into the project was taken back, or could not be (`problem` says why)."""

    type: Literal["changes_undone"] = "changes_undone"
    flag: int
    """The control row that asked for it."""
    by: str
    files: tuple[str, ...] = ()
    problem: str = ""


class TimeRanOut(Value):
    """The run used up its active time."""

    type: Literal["time_ran_out"] = "time_ran_out"
    active_s: float


class RunFinished(Value):
    """The run is over."""

    type: Literal["run_finished"] = "run_finished"
    status: RunStatus
    answer_blob: str = ""
    summary: str = ""
    code: str = ""
    follow_ups: int = -1
    """How many follow-ups the answer knows of; with another number in the journal the run does not end. -1: any."""


Event = (
    RunCreated
    | FilesAttached
    | RunStarted
    | CoRequesterAdded
    | FollowUpReceived
    | ModelCallStarted
    | ModelCallFinished
    | ModelCallFailed
    | PlanMade
    | PlanFailed
    | StepStarted
    | StepFinished
    | StepEvaluated
    | HistoryTrimmed
    | ActionProposed
    | ActionRated
    | ActionStarted
    | ActionFinished
    | ActionResumed
    | ApprovalRequested
    | ApprovalDelivered
    | ApprovalReminded
    | DecidersChanged
    | VoteCast
    | ApprovalDecided
    | DenialExplained
    | GrantGiven
    | GrantRevoked
    | TakeoverOpened
    | TakeoverClaimed
    | TakeoverReleased
    | TakeoverReminded
    | TakeoverAsked
    | TakeoverAnswered
    | TakeoverClosed
    | StopRequested
    | ChangesUndone
    | TimeRanOut
    | RunFinished
)

EVENT_VERSION = 1
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def encode(event: Event) -> str:
    """The JSON of an event as it is stored and hashed: its type, and what is not a field's default.

    So a default is part of the format: a later release may add a field with one, and never change one.
    """
    rest = event.model_dump_json(exclude_defaults=True, exclude={"type"})
    return f'{{"type":"{event.type}"' + (f",{rest[1:]}" if rest != "{}" else "}")


def decode(payload: str | bytes) -> Event:
    """Read a stored event; raises pydantic.ValidationError when it is none that this release knows."""
    return _ADAPTER.validate_json(payload)


def decode_python(payload: dict[str, Any]) -> Event:
    """Read an event from plain data; raises pydantic.ValidationError."""
    return _ADAPTER.validate_python(payload)

"""The words of the project as frozen values and enums; no I/O. Start reading here, then `events` and `state`."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict

Json = Any
MAX_STEPS = 10
MAX_TURNS_A_STEP = 8
MAX_ACTIONS_A_STEP = 20
BUDGET_MICRO_USD = 500_000
TOOL_TIMEOUT_S = 30.0
ACTIVE_TIME_S = 900.0
APPROVAL_TIMEOUT_S = 1800.0
TAKEOVER_LIMIT_S = 7 * 86_400.0
_LARGEST = 2**53 - 1
_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class Value(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunStatus(StrEnum):
    """Where a run stands; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen any more in the run."""
        return self in {RunStatus.COMPLETED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED}


class Worker(StrEnum):
    """Who does a step."""

    RESEARCH = "research"
    CODE = "code"
    REVIEW = "review"


class Tier(StrEnum):
    """How risky an action is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0, 1 or 2: higher is riskier."""
        return ("low", "medium", "high").index(self.value)


class Effect(StrEnum):
    """What an action does to the world: its effect class."""

    READ = "read"
    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    SEND = "send"
    SPEND = "spend"
    EXECUTE = "execute"


class Outcome(StrEnum):
    """What an action came to."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"
    DONE_BY_HUMAN = "done_by_human"
    UNKNOWN = "unknown"


class ApprovalState(StrEnum):
    """Where an approval stands; all but `pending` are decided."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


class TakeoverState(StrEnum):
    """Where a takeover stands; the last three are final."""

    OPEN = "open"
    CLAIMED = "claimed"
    DONE = "done"
    HANDED_BACK = "handed_back"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        """Whether the takeover is over."""
        return self not in {TakeoverState.OPEN, TakeoverState.CLAIMED}


class Principal(Value):
    """A person as the policy knows them: (slack, team, user) or (local, uid); never an e-mail, never the bot."""

    kind: Literal["slack", "local"] = "slack"
    team: str = ""
    user: str

    @property
    def key(self) -> str:
        """The one spelling used in rows, digests and comparisons, such as `slack:T1:U1` or `local:1000`."""
        return f"slack:{self.team}:{self.user}" if self.kind == "slack" else f"local:{self.user}"

    @classmethod
    def parse(cls, key: str) -> Principal:
        """Read a key back; raises ValueError when it is not one."""
        match key.split(":"):
            case ["slack", team, user] if team and user:
                return cls(kind="slack", team=team, user=user)
            case ["local", user] if user:
                return cls(kind="local", user=user)
            case _:
                raise ValueError(f"not a principal: {key!r}")


class Place(Value):
    """Where a task was asked: team, channel, thread and the message itself; empty for a terminal."""

    team: str = ""
    channel: str = ""
    thread_ts: str = ""
    message_ts: str = ""
    is_dm: bool = False


class Task(Value):
    """What a person asked, where and by whom."""

    id: str
    text: str
    principal: Principal
    place: Place = Place()


class AttachedFile(Value):
    """A file that a person attached to a task; what is in it is data."""

    name: str
    path: str = ""
    """Where it is in the run's workspace; empty when it could not be taken."""
    kind: str = ""
    """Its media type, as its sender says."""
    size: int = 0
    """Bytes."""
    why: str = ""
    """Why it could not be taken, one sentence; empty when it was."""


class ScriptedCall(Value):
    """One tool call of a runbook; its arguments are templates over earlier outputs."""

    id: str
    tool: str
    arguments: dict[str, Any] = {}
    rationale: str = ""


class PlannedStep(Value):
    """One hand-over to a worker; `script` is filled when a runbook planned it, so that no model is needed."""

    worker: Worker
    instruction: str
    expected: str = ""
    script: tuple[ScriptedCall, ...] = ()
    together: bool = False
    """Propose all scripted calls at once instead of one after the other."""
    needs: tuple[int, ...] | None = None
    """Indices of the planned steps whose outcome it needs; None: of all before it, as plans of old journals mean."""

    @property
    def writes(self) -> bool:
        """Whether it may write the workspace: no two such steps are open at once. A review may run code there."""
        return self.worker is not Worker.RESEARCH


class Plan(Value):
    """What the supervisor means to do; `answer` is a runbook's template for the final answer."""

    planner: str
    steps: tuple[PlannedStep, ...]
    answer: str = ""
    dropped: tuple[int, ...] = ()
    """Indices of steps that a later plan replaced; they keep their place, so that what was begun keeps its index."""
    evaluated: bool = False
    """Each of its steps ends with a journalled evaluation; plans of old journals have none."""

    @property
    def wanted(self) -> tuple[int, ...]:
        """Indices of the steps that still belong to the plan, in order."""
        every = range(len(self.steps))
        return tuple(index for index in every if index not in self.dropped) if self.dropped else tuple(every)

    def needs_of(self, index: int) -> tuple[int, ...]:
        """Indices of the wanted steps that must have worked out before this one is begun."""
        needs = self.steps[index].needs
        return tuple(item for item in self.wanted if item < index and (needs is None or item in needs))


class Intent(Value):
    """What an action would do to one thing: the effect class and the canonical target, such as `db:shop/orders`."""

    effect: Effect
    target: str


class Reason(Value):
    """One rule that had a say in a rating, and its sentence for people."""

    rule: str
    text: str


ReasonFor = Literal["approve", "deny"]


class Terms(Value):
    """How an action is asked: who may decide, how many must say yes, and by when."""

    rules: tuple[str, ...] = ()
    """The rules that set them; looked up again at the click, so that what they name then counts."""
    deciders: tuple[tuple[str, ...], ...] = ()
    """References as the rules write them; who is in each of them decides. Empty: the policy's approvers."""
    quorum: int = 1
    timeout_s: float = APPROVAL_TIMEOUT_S
    escalate_to: tuple[str, ...] = ()
    reason_for: tuple[ReasonFor, ...] = ()
    """Votes that need a reason."""
    self_approve: tuple[str, ...] = ()
    """Globs of principals' keys."""


class Risk(Value):
    """A rating with the rules that said so."""

    tier: Tier
    reasons: tuple[Reason, ...] = ()
    terms: Terms = Terms()


class Revision(Value):
    """Why a person had a call proposed anew: they changed its arguments, or asked again after it was not decided."""

    of: str
    """Id of the action in whose place the new one stands."""
    cause: Literal["edit", "ask_again"]
    by: str
    """Principal key."""


class Action(Value):
    """One proposed tool call; arguments are canonical and complete, the digest covers them."""

    id: str
    step: int
    turn: int
    tool: str
    arguments: dict[str, Any]
    digest: str
    schema_hash: str
    rationale: str = ""
    call_id: str = ""
    """The model's own id of the call, or the scripted call's."""
    exclusive: bool = True
    """Never runs at the same time as another exclusive action of the run: it writes the workspace or the world."""
    idempotent: bool = False
    """Running it twice is the same as once, so that a crash may run it again."""
    timeout_s: float = TOOL_TIMEOUT_S
    revision: Revision | None = None
    """Set when a person had it proposed, not the agent."""


def digest_of(
    *, run: str, action: str, principal: Principal, tool: str, schema_hash: str, arguments: dict[str, Any]
) -> str:
    """SHA-256, in hex, of the canonical JSON (RFC 8785) of what a yes is bound to (DESIGN.md §3.3).

    Raises ValueError when an argument has no canonical form (a float that is not finite, an integer over 2**53).
    """
    body = {
        "action": action,
        "arguments": arguments,
        "principal": principal.key,
        "run": run,
        "schema": schema_hash,
        "tool": tool,
    }
    return hashlib.sha256(canonical(body)).hexdigest()


def canonical(value: Json) -> bytes:
    """The RFC 8785 bytes of a JSON value; raises ValueError when it has none."""
    try:
        # The standard library writes the same bytes where numbers and names are plain, in half the time.
        return _PLAIN(value).encode() if _is_plain(value) else rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from error


def _is_plain(value: Json) -> bool:
    """Whether a value holds nothing of which RFC 8785 has a view of its own: floats, large integers, odd names."""
    open_: list[Json] = [value]
    while open_:
        one = open_.pop()
        kind = one.__class__
        if kind is dict:
            for name in one:
                if name.__class__ is not str or not name.isascii():  # others are sorted by their UTF-16
                    return False
            open_ += one.values()
        elif kind is list:
            open_ += one
        elif kind is int:
            if not -_LARGEST <= one <= _LARGEST:
                return False
        elif kind is not str and kind is not bool and one is not None:
            return False
    return True


def content_hash(text: str) -> str:
    """The SHA-256, in hex, under which a body is kept in `blobs`."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

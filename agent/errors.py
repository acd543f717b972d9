"""Every error of the project, one tree; an exception's docstring is its message for people.

SecondKeyError
├── ConfigurationError            the operator must mend something; exit 2
├── JournalError
│   ├── EpochMoved
│   ├── Overtaken
│   ├── LeaseLost
│   ├── RunStopped
│   ├── RunPaused
│   ├── RunQueued
│   ├── ApprovalNotValid
│   │   ├── GrantNotValid
│   │   └── ReceiptNotValid
│   ├── AlreadyStarted
│   └── UnknownRun
├── StorageUnavailable
├── DecisionError
│   ├── AlreadyDecided
│   ├── NotEntitled
│   ├── OwnRequest
│   ├── ReasonRequired
│   ├── TooSoon
│   ├── Redelivered
│   ├── NotClaimed
│   ├── GrantRefused
│   ├── StillPossible
│   ├── NotEditable
│   └── UnknownSubject
├── QuotaExceeded
├── ToolError
│   ├── ToolNotAllowed
│   ├── HostNotAllowed
│   ├── SecretNotAllowed
│   ├── BadArguments
│   ├── SecretInArguments
│   ├── PromptLeaked
│   ├── RepeatedCall
│   ├── SandboxUnavailable
│   ├── DeniedIntent
│   ├── PreviewMismatch
│   ├── ToolTimedOut
│   ├── McpUnavailable
│   └── ToolFailed
│       └── ToolUnavailable
├── ModelError
│   ├── ModelUnavailable          retryable: the network, a 5xx, overload
│   ├── ModelRateLimited          retryable, knows when
│   ├── ModelMisconfigured        key, name or base URL; not retryable
│   ├── ModelReplyInvalid         the reply is not what was asked for
│   └── UnknownPrice
├── BudgetExceeded
└── CircuitOpen
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class SecondKeyError(Exception):
    """Something went wrong in Second Key."""

    code: ClassVar[str] = "SECOND_KEY"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class ConfigurationError(SecondKeyError):
    """The configuration is not usable."""

    code = "CONFIGURATION"

    def __init__(self, message: str | None = None, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix
        """What the operator can do about it, one sentence."""


class JournalError(SecondKeyError):
    """The journal did not take the events."""

    code = "JOURNAL"


class EpochMoved(JournalError):
    """The run was handed back meanwhile, so this was decided on an old state of affairs."""

    code = "EPOCH_MOVED"


class Overtaken(JournalError):
    """Somebody added words to the run meanwhile, so it does not end without them."""

    code = "OVERTAKEN"


class LeaseLost(JournalError):
    """Another process drives the runs now."""

    code = "LEASE_LOST"


class RunStopped(JournalError):
    """The run was stopped."""

    code = "RUN_STOPPED"


class RunPaused(JournalError):
    """Everything is paused; nothing new starts until it is resumed."""

    code = "RUN_PAUSED"


class RunQueued(JournalError):
    """Other runs go first; this one waits for its turn."""

    code = "RUN_QUEUED"


class ApprovalNotValid(JournalError):
    """There is no approved, unexpired, unused decision on exactly this action."""

    code = "APPROVAL_NOT_VALID"


class GrantNotValid(ApprovalNotValid):
    """The permission under which this was to start does not hold any more."""

    code = "GRANT_NOT_VALID"


class ReceiptNotValid(ApprovalNotValid):
    """The yes for this has no receipt that holds: it was not given here, or the database was changed afterwards."""

    code = "RECEIPT_NOT_VALID"


class AlreadyStarted(JournalError):
    """The action was started before."""

    code = "ALREADY_STARTED"


class UnknownRun(JournalError):
    """There is no such run. `/agent runs` lists those that you may see."""

    code = "UNKNOWN_RUN"


class StorageUnavailable(SecondKeyError):
    """The database cannot be written at the moment; nothing was lost, please try again in a minute."""

    code = "STORAGE_UNAVAILABLE"


class DecisionError(SecondKeyError):
    """The decision was not taken."""

    code = "DECISION"


class AlreadyDecided(DecisionError):
    """Somebody or something else decided first."""

    code = "ALREADY_DECIDED"

    def __init__(self, message: str | None = None, *, state: str = "", by: str = "", at: float = 0.0) -> None:
        super().__init__(message)
        self.state, self.by, self.at = state, by, at


class NotEntitled(DecisionError):
    """You are not among the people who may do this."""

    code = "NOT_ENTITLED"


class OwnRequest(DecisionError):
    """Nobody decides on their own request; your words are part of this run, so somebody else must."""

    code = "OWN_REQUEST"


class GrantRefused(DecisionError):
    """This cannot be allowed beforehand; please decide on each request."""

    code = "GRANT_REFUSED"


class ReasonRequired(DecisionError):
    """A reason is required: the policy wants one for this decision, so nothing was decided yet."""

    code = "REASON_REQUIRED"


class Redelivered(DecisionError):
    """This was delivered before, and what it asked for is done already."""

    code = "REDELIVERED"


class TooSoon(DecisionError):
    """This cannot be undone, so a yes counts only once there was time to read the card; nothing was decided yet."""

    code = "TOO_SOON"


class NotClaimed(DecisionError):
    """Somebody else has this takeover, or nobody has claimed it yet."""

    code = "NOT_CLAIMED"


class StillPossible(DecisionError):
    """The process that died could still be doing it. Please look again in half a minute."""

    code = "STILL_POSSIBLE"


class NotEditable(DecisionError):
    """Nothing in this call can be changed by hand. You can deny it with a reason instead."""

    code = "NOT_EDITABLE"


class UnknownSubject(DecisionError):
    """This request is not known here."""

    code = "UNKNOWN_SUBJECT"


class QuotaExceeded(SecondKeyError):
    """Too many runs for now."""

    code = "QUOTA_EXCEEDED"

    def __init__(self, message: str | None = None, *, retry_at: float = 0.0, scope: str = "") -> None:
        super().__init__(message)
        self.retry_at, self.scope = retry_at, scope


class ToolError(SecondKeyError):
    """The tool call did not succeed."""

    code = "TOOL"


class ToolNotAllowed(ToolError):
    """This tool is not on the allowlist."""

    code = "TOOL_NOT_ALLOWED"


class HostNotAllowed(ToolError):
    """This place is not on the list of places that may be reached."""

    code = "HOST_NOT_ALLOWED"


class SecretNotAllowed(ToolError):
    """This secret is not known here, or not meant for this place."""

    code = "SECRET_NOT_ALLOWED"


class BadArguments(ToolError):
    """The arguments do not fit the tool's schema."""

    code = "BAD_ARGUMENTS"


class SecretInArguments(ToolError):
    """The arguments hold a secret; write secret:NAME instead."""

    code = "SECRET_IN_ARGUMENTS"


class PromptLeaked(ToolError):
    """The call carries the agent's own instructions, so it was not run. The run's thread shows what led to it."""

    code = "PROMPT_LEAKED"


class RepeatedCall(ToolError):
    """The agent goes round in circles with this call, so it was not run again."""

    code = "REPEATED_CALL"


class SandboxUnavailable(ToolError):
    """No sandbox works on this machine, so tools that need one are refused."""

    code = "SANDBOX_UNAVAILABLE"


class DeniedIntent(ToolError):
    """The same effect on the same target was denied or expired in this run."""

    code = "DENIED_INTENT"


class PreviewMismatch(ToolError):
    """What would be changed is no longer what the preview showed, so nothing was changed."""

    code = "PREVIEW_MISMATCH"


class ToolTimedOut(ToolError):
    """The tool call took longer than its limit and was ended."""

    code = "TOOL_TIMED_OUT"


class McpUnavailable(ToolError):
    """The MCP server of this tool cannot be reached at the moment."""

    code = "MCP_UNAVAILABLE"


class ToolFailed(ToolError):
    """The tool ran and failed."""

    code = "TOOL_FAILED"


class ToolUnavailable(ToolFailed):
    """The service behind the tool did not answer properly."""

    code = "TOOL_UNAVAILABLE"


class ModelError(SecondKeyError):
    """The model call did not succeed."""

    code = "MODEL"
    retryable: ClassVar[bool] = False


class ModelUnavailable(ModelError):
    """The model's service did not answer properly."""

    code = "MODEL_UNAVAILABLE"
    retryable = True

    def __init__(self, message: str | None = None, *, may_be_charged: bool = True) -> None:
        super().__init__(message)
        self.may_be_charged = may_be_charged
        """Whether the service may have worked for us all the same; not when it answered with an error at once."""


class ModelRateLimited(ModelError):
    """The model's service asks us to slow down."""

    code = "MODEL_RATE_LIMITED"
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelMisconfigured(ModelError):
    """The model's key, name or address is wrong."""

    code = "MODEL_MISCONFIGURED"


class ModelReplyInvalid(ModelError):
    """The model's reply is not what was asked for."""

    code = "MODEL_REPLY_INVALID"


class UnknownPrice(ModelError):
    """Nobody knows what this model costs; set a price for it in the configuration."""

    code = "UNKNOWN_PRICE"


class BudgetExceeded(SecondKeyError):
    """The run's budget does not allow another call."""

    code = "BUDGET_EXCEEDED"

    def __init__(self, message: str | None = None, *, scope: str = "run", retry_at: float = 0.0) -> None:
        super().__init__(message)
        self.scope, self.retry_at = scope, retry_at
        """Whose budget it is (run, tokens, person_day, everybody_day), and at which business time it begins anew."""


class CircuitOpen(SecondKeyError):
    """This service failed too often lately; it is left alone for a moment."""

    code = "CIRCUIT_OPEN"

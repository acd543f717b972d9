"""What people read: errors, states, money and time as plain words; one function turns any error into a sentence."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Final

from agent import errors
from agent.domain import ApprovalState, Outcome, Principal, RunStatus, TakeoverState
from agent.errors import AlreadyDecided, BudgetExceeded, ConfigurationError, QuotaExceeded, SecondKeyError
from bot.blocks.kit import when
from bot.blocks.text import inline, prose

RUN: Final = {
    RunStatus.QUEUED: "queued",
    RunStatus.RUNNING: "working",
    RunStatus.WAITING: "waiting for people",
    RunStatus.COMPLETED: "completed",
    RunStatus.PARTIAL: "ended, partly done",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "stopped",
}
"""A run's status for people."""

APPROVAL: Final = {
    ApprovalState.PENDING: "waits for an answer",
    ApprovalState.APPROVED: "approved",
    ApprovalState.DENIED: "denied",
    ApprovalState.EXPIRED: "expired: nobody answered in time",
    ApprovalState.WITHDRAWN: "withdrawn",
    ApprovalState.SUPERSEDED: "replaced by a newer request",
}
"""An approval's state for people."""

TAKEOVER: Final = {
    TakeoverState.OPEN: "waits for a person to take it",
    TakeoverState.CLAIMED: "a person has it",
    TakeoverState.DONE: "done by a person",
    TakeoverState.HANDED_BACK: "handed back to the agent",
    TakeoverState.ABORTED: "given up",
}
"""A takeover's state for people."""

OUTCOME: Final = {
    Outcome.SUCCEEDED: "done",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "took too long and was ended",
    Outcome.REFUSED: "refused, not run",
    Outcome.DENIED: "denied, not run",
    Outcome.EXPIRED: "expired, nobody answered: not run",
    Outcome.WITHDRAWN: "withdrawn, not run",
    Outcome.CANCELLED: "cancelled",
    Outcome.DONE_BY_HUMAN: "done by a person",
    Outcome.UNKNOWN: "nobody knows yet whether it happened",
}
"""What an action came to, for people."""

STILL_SAVING: Final = "Still saving. The card will show the outcome."
"""Said when a click was taken but the database is slow."""
WENT_WRONG: Final = "Something went wrong on our side and nothing was changed. Please try again."
"""Said when an error has no sentence of its own."""
INCOMPLETE: Final = "Slack sent this without all of its parts, so nothing was changed. Please try again from the card."
"""Said when a payload lacks fields."""


NEXT_STEP: Final[dict[type[BaseException], str]] = {
    errors.SecondKeyError: "Please try again; if it goes on, an operator finds the reason in the log.",
    errors.ConfigurationError: "An operator has to mend it; `secondkey doctor` names what is wrong.",
    errors.JournalError: "Please look at the run's thread, and ask again if something is missing.",
    errors.EpochMoved: "Please look at its newest card.",
    errors.Overtaken: "Its thread shows how it goes on.",
    errors.LeaseLost: "That one answers; please try again in a minute.",
    errors.RunStopped: "Mention me in its thread to start it anew.",
    errors.RunPaused: "An admin resumes with `/agent resume`.",
    errors.RunQueued: "Its thread shows how many go before it.",
    errors.ApprovalNotValid: "Please decide on its newest card.",
    errors.ReceiptNotValid: "An operator runs `secondkey audit verify`; ask again if it is still wanted.",
    errors.AlreadyStarted: "Its card shows what came of it.",
    errors.UnknownRun: "",
    errors.StorageUnavailable: "",
    errors.DecisionError: "Please look at the newest card, and try again there.",
    errors.AlreadyDecided: "The card shows who decided.",
    errors.NotEntitled: "The card names those who are.",
    errors.OwnRequest: "The card names who may.",
    errors.TooSoon: "Please read it, and press Approve again.",
    errors.NotClaimed: "Its card shows who has it; press Claim if nobody does.",
    errors.StillPossible: "",
    errors.UnknownSubject: "It may be of another installation; `/agent approvals` lists what waits.",
    errors.QuotaExceeded: "`/agent budget` says when the next one is possible.",
    errors.ToolError: "The run's thread says what the agent makes of it.",
    errors.ToolNotAllowed: "An operator can allow it in the policy.",
    errors.BadArguments: "The agent is told so and tries otherwise.",
    errors.SecretInArguments: "",
    errors.PromptLeaked: "",
    errors.RepeatedCall: "The agent is told so and tries otherwise.",
    errors.SandboxUnavailable: "An operator finds out why with `secondkey doctor`.",
    errors.DeniedIntent: "Give me the task anew if you want it asked once more.",
    errors.PreviewMismatch: "It is asked about anew, with a fresh preview.",
    errors.ToolTimedOut: "A smaller task may fit.",
    errors.McpUnavailable: "An operator finds out why with `secondkey mcp test`.",
    errors.ToolFailed: "The run's thread has the tool's own words.",
    errors.ToolUnavailable: "It is left alone for a while when it goes on so; please ask again later.",
    errors.ModelError: "Another model is tried if there is one; else please give me the task again later.",
    errors.ModelMisconfigured: "An operator has to mend it; `secondkey doctor` tries each model.",
    errors.UnknownPrice: "",
    errors.BudgetExceeded: "Give me the rest as a task of its own; `/agent budget` shows the limits.",
    errors.CircuitOpen: "Please try again in a minute.",
}
"""What a person can do about an error, by its class or the nearest above it; empty when its own words say so."""


def sentence(error: BaseException, *, command: str = "/agent") -> str:
    """What a person is told of an error, in one or two sentences, safe to post; details of bugs are not shown."""
    match error:
        case AlreadyDecided():
            return _already(error)
        case QuotaExceeded() | BudgetExceeded():
            again = f" Please try again at {when(error.retry_at)}." if error.retry_at else _next_step(error)
            return inline(str(error), 400) + again.replace("/agent", command)
        case ConfigurationError():
            return prose(f"{error} {error.fix}".strip() + ("" if error.fix else _next_step(error)), 500)
        case SecondKeyError():
            return prose(f"{error}{_next_step(error)}".replace("/agent", command), 500)
        case TimeoutError():
            return STILL_SAVING
        case _:
            return WENT_WRONG


_REPLACED: Final = {"edit": "changed", "ask_again": "asked again"}
"""What a person did with a request instead of deciding on it."""


def _next_step(error: SecondKeyError) -> str:
    """What the person can do; only behind a class's own words, since a message of its own says it itself."""
    if str(error) != inspect.cleandoc(type(error).__doc__ or ""):
        return ""
    step = next((NEXT_STEP[kind] for kind in type(error).__mro__ if kind in NEXT_STEP), "")
    return f" {step}" if step else ""


def _already(error: AlreadyDecided) -> str:
    """Who won, and when; the loser's click changed nothing."""
    if error.state in _REPLACED:
        return (
            f"This was already {_REPLACED[error.state]} by {person(error.by)} at {when(error.at)}; see the newer card."
        )
    try:
        state = APPROVAL[ApprovalState(error.state)].partition(":")[0]
    except ValueError:
        try:
            state = TAKEOVER[TakeoverState(error.state)]
        except ValueError:
            return inline(str(error), 400) + _next_step(error)
    if error.state == ApprovalState.EXPIRED:
        return "This expired before anybody answered, so it was not run. Your click changed nothing."
    by = f" by {person(error.by)}" if error.by else ""
    at = f" at {when(error.at)}" if error.at else ""
    return f"This was already {state}{by}{at}. Your click changed nothing."


def person(key: str) -> str:
    """A principal's key as Slack shows a person; it notifies them only in a new message."""
    try:
        who = Principal.parse(key)
    except ValueError:
        return inline(key, 80) or "somebody"
    return f"<@{who.user}>" if who.kind == "slack" else f"the operator (local user {inline(who.user, 40)})"


def people(keys: Iterable[str], most: int = 8) -> str:
    """Several people, such as `@a, @b and 3 more`."""
    all_of_them = list(keys)
    named = ", ".join(person(key) for key in all_of_them[:most])
    more = len(all_of_them) - most
    return f"{named} and {more} more" if more > 0 else named


def money(micro_usd: int) -> str:
    """Micro-USD as dollars; less than a cent keeps two figures that say something, and a little is never nothing."""
    dollars = micro_usd / 1_000_000
    if micro_usd <= 0:
        return "$0.00"
    if micro_usd < 50:  # noqa: PLR2004  what four figures would call nothing
        return "under $0.0001"
    return f"${dollars:.2f}" if dollars >= 0.01 else f"${dollars:.4f}"  # noqa: PLR2004  one cent


def duration(seconds: float) -> str:
    """A span in the largest unit that says enough: `12 s`, `3 min`, `2 h 5 min`, `7 days`."""
    whole = max(0, round(seconds))
    if whole < 60:  # noqa: PLR2004  seconds of a minute
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:  # noqa: PLR2004  minutes of an hour
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004  two days are still spoken of in hours
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(hours / 24)} days"


def count(number: int, one: str, many: str = "") -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def nearest(word: str, options: Iterable[str]) -> str:
    """The option that was probably meant; empty when none is near."""
    return next(iter(difflib.get_close_matches(word.lower(), list(options), n=1, cutoff=0.5)), "")

"""The card of an approval, in every state."""

from __future__ import annotations

from agent.domain import ApprovalState, Outcome, Tier
from bot.blocks.call import (
    argument_blocks,
    claim_text,
    code_of,
    preview_blocks,
    read_preview,
    reasons_of,
    reasons_text,
    title_of,
)
from bot.blocks.kit import Block, actions, button, context, header, section, when
from bot.blocks.message import Look, Message
from bot.blocks.text import bare, inline
from bot.words import OUTCOME, count, duration
from storage.rows import ApprovalRow
from storage.views import ActionView, ApprovalView

DIGEST_SHOWN = 12
"""Characters of the digest that a button carries: what was shown is what is decided."""


def value_of(subject: str, digest: str) -> str:
    """The value of a button: whose it is and what was shown."""
    return f"{subject}|{digest[:DIGEST_SHOWN]}"


def approval_card(view: ApprovalView, look: Look) -> Message:
    """The card: what would happen first, then evidence, the agent's own claim last; buttons only while pending."""
    item, tool = view.action, inline(view.action.action.tool, 80)
    title = title_of(item)
    state = _state_text(view, look)
    is_pending = view.approval.state == ApprovalState.PENDING
    blocks: list[Block] = [header(title), section(state)]
    if is_pending and not _others(view):
        blocks.append(section(_NOBODY))
    blocks += [section(f"*Exact call:* `{tool}`"), *argument_blocks(item.action.arguments)]
    blocks += preview_blocks(read_preview(view.preview))
    blocks.append(section(f"*Why it asks ({item.tier or 'medium'} risk)*\n{reasons_text(reasons_of(item))}"))
    if view.approval.because and not view.approval.because.startswith("grant:"):
        blocks.append(section(f"*Why it asks again:* {inline(view.approval.because, 500)}"))
    if claim := claim_text(item.action.rationale):
        blocks.append(section(claim))
    blocks.append(_footer(view, look))
    buttons = [_buttons(view.approval)] if is_pending else []
    text = f"{bare_state(view)}: {bare(title, 200)}"
    shorter = [
        header(title),
        section(state),
        section(f"*Exact call:* `{tool}`. See Details."),
        *buttons,
    ]
    return Message.of(_safe(text), [*blocks, *buttons], shorter)


_NOBODY = (
    ":warning: *Nobody but the people whose request this is could decide on it, and nobody decides on their own "
    "request.* An operator has to name another approver in the policy; or withdraw it."
)


def reminder(view: ApprovalView, look: Look) -> Message:
    """A word in the card's thread to those who may decide; it is posted, since an update would tell nobody."""
    who = ", ".join(look.who(key) for key in _others(view)[:10]) or "Nobody"
    late = "half" if view.approval.escalated_at else "a quarter"
    text = f"{who}: this has waited for {late} of its time. It expires at {when(view.approval.expires_at)}, unanswered."
    plain = f"Still waits for a yes: {bare(title_of(view.action), 200)}"
    return Message.of(_safe(plain), [section(f":hourglass_flowing_sand: {text}")], [section(text)])


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _others(view: ApprovalView) -> list[str]:
    """Deciders whose words are not part of the run."""
    return [key for key in view.approval.deciders if key not in view.co_requesters]


def bare_state(view: ApprovalView) -> str:
    """The state in a few plain words, for notifications."""
    match ApprovalState(view.approval.state):
        case ApprovalState.PENDING:
            return "Needs a yes"
        case ApprovalState.APPROVED:
            return f"Approved, {_run_words(view.action)}"
        case ApprovalState.DENIED:
            return "Denied, not run"
        case ApprovalState.EXPIRED:
            return "Expired, nobody answered: not run"
        case ApprovalState.WITHDRAWN:
            return "Withdrawn, not run"
        case ApprovalState.SUPERSEDED:
            return "Replaced by a newer request, not run"


def _state_text(view: ApprovalView, look: Look) -> str:
    row = view.approval
    match ApprovalState(view.approval.state):
        case ApprovalState.PENDING:
            return _pending(view, look)
        case ApprovalState.APPROVED:
            return _approved(view, look)
        case ApprovalState.DENIED:
            by = f" by {look.actor(row.decided_by)}" if row.decided_by else ""
            reason = f"\n*Reason:* {inline(row.reason, 600)}" if row.reason else ""
            return f":no_entry_sign: *Denied{by}* at {when(row.decided_at)}: not run.{reason}"
        case ApprovalState.EXPIRED:
            over = f"Time ran out at {when(row.decided_at)}."
            again = "Nobody said no; whoever asked can give me the task again."
            return f":hourglass: *Expired, nobody answered: not run.* {over} {again}"
        case ApprovalState.WITHDRAWN:
            by = f" by {look.actor(row.decided_by)}" if row.decided_by else ""
            why = f" {inline(row.reason, 400)}" if row.reason else ""
            return f":leftwards_arrow_with_hook: *Withdrawn{by}* at {when(row.decided_at)}: not run.{why}"
        case ApprovalState.SUPERSEDED:
            return ":arrows_counterclockwise: *Replaced by a newer request: not run.*"


def _pending(view: ApprovalView, look: Look) -> str:
    who = ", ".join(look.who(key) for key in _others(view)[:10]) or "nobody"
    asked = f"{who}: please decide." if look.is_first else f"May decide: {who}."
    row = view.approval
    until = f" Until {when(row.expires_at)}; silence is not a yes."
    votes = _yes(view)
    if view.approval.quorum <= 1:
        return f":key: *Needs a yes.* {asked}{until}"
    said = f" Yes so far: {', '.join(look.actor(key) for key in votes)}." if votes else ""
    return f":key: *Needs {count(view.approval.quorum, 'yes', 'yeses')}, has {len(votes)}.* {asked}{said}{until}"


def _yes(view: ApprovalView) -> list[str]:
    return [who for who, vote, _ in view.votes if vote == "approve"]


def _approved(view: ApprovalView, look: Look) -> str:
    row = view.approval
    voters = _yes(view) or [row.decided_by]
    by = ", ".join(look.actor(key) for key in voters if key)
    label = (
        " (`self_approved`: the requester's own yes, as the policy allows from a terminal)" if row.self_approved else ""
    )
    head = f":white_check_mark: *Approved by {by or 'the policy'}* at {when(row.decided_at)}{label}."
    if row.reason.startswith("grant:"):
        grant = inline(row.reason.removeprefix("grant:"), 40)
        head = f":white_check_mark: *Allowed beforehand by {by}*, permission `{grant}`, used at {when(row.decided_at)}."
    return f"{head}\n{_outcome_text(view.action, look)}"


def _run_words(action: ActionView) -> str:
    if action.outcome is not None:
        return OUTCOME[action.outcome]
    return "running" if action.phase == "started" else "about to start"


def _outcome_text(action: ActionView, look: Look) -> str:
    if action.outcome is None:
        return ":arrow_forward: *Running* now." if action.phase == "started" else ":clock1: About to start."
    mark = {
        Outcome.SUCCEEDED: ":white_check_mark:",
        Outcome.UNKNOWN: ":grey_question:",
        Outcome.DONE_BY_HUMAN: ":bust_in_silhouette:",
    }.get(action.outcome, ":x:")
    if action.outcome is Outcome.UNKNOWN:
        return (
            f"{mark} *Unknown: it started and its result was lost.* It is not run a second time by itself; "
            "a person is asked whether it happened."
        )
    seconds = (action.ended_at - action.started_at) / look.rate if action.started_at and action.ended_at else 0
    took = f" in {duration(seconds)}" if seconds >= 1 else ""
    code = f" (`{inline(code_of(action), 40)}`)" if code_of(action) else ""
    summary = f": {inline(action.summary, 500)}" if action.summary else ""
    return f"{mark} *{OUTCOME[action.outcome].capitalize()}*{took}{code}{summary}"


def _footer(view: ApprovalView, look: Look) -> Block:
    asked_by = f"Asked for by {look.actor(view.run.requester)}"
    run, row = inline(view.run.id, 40), view.approval
    ids = f"run `{run}` · request `{inline(row.id, 40)}` · call `{row.digest[:DIGEST_SHOWN]}`"
    return context(f"{asked_by} · {ids} · proposed by an AI")


def _buttons(row: ApprovalRow) -> Block:
    value = value_of(row.id, row.digest)
    # What needs several people cannot be allowed beforehand by one.
    allow = [button("Approve and allow…", "allow", value)] if row.quorum <= 1 and row.tier is Tier.MEDIUM else []
    return actions(
        f"approval:{row.id}",
        button("Approve", "approve", value),
        button("Deny", "deny", value),
        button("Details", "details", value),
        button("Withdraw", "withdraw", value),
        *allow,
    )

"""The card of an approval, in every state."""

from __future__ import annotations

from dataclasses import dataclass

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
from bot.blocks.successor import successor_text
from bot.blocks.text import bare, inline
from bot.words import OUTCOME, count, duration
from storage.rows import ApprovalRow
from storage.views import ActionView, ApprovalView

DIGEST_SHOWN = 12
"""Characters of the digest that a button carries: what was shown is what is decided."""


def value_of(subject: str, digest: str) -> str:
    """The value of a button: whose it is and what was shown."""
    return f"{subject}|{digest[:DIGEST_SHOWN]}"


@dataclass(frozen=True, slots=True)
class CardLinks:
    """Addresses of messages that a card points to; empty when they are not known."""

    run: str = ""
    """The thread of the task."""
    successor: str = ""
    """What stands in its place."""


def approval_card(view: ApprovalView, look: Look, links: CardLinks | None = None) -> Message:
    """The card: what would happen first, then evidence, the agent's own claim last; decided on only while pending."""
    links = links or CardLinks()
    item, tool = view.action, inline(view.action.action.tool, 80)
    title = title_of(item)
    state = _state_text(view, look, links)
    is_pending = view.approval.state == ApprovalState.PENDING
    blocks: list[Block] = [header(title), section(state)]
    if is_pending and not _others(view):
        blocks.append(section(_NOBODY))
    if changed := _changed(view, look):
        blocks.append(section(changed))
    blocks += preview_blocks(read_preview(view.preview))
    blocks += [section(f"*Exact call:* `{tool}`"), *argument_blocks(item.action.arguments)]
    blocks.append(section(f"*Why it asks ({item.tier or 'medium'} risk)*\n{reasons_text(reasons_of(item))}"))
    if view.approval.because and not view.approval.because.startswith("grant:"):
        blocks.append(section(f"*Why it asks again:* {inline(view.approval.because, 500)}"))
    blocks.append(_footer(view, look, links))
    if claim := claim_text(item.action.rationale, edited=_is_edited(item)):
        blocks.append(section(claim))
    buttons = _buttons(view)
    text = f"{bare_state(view)}: {bare(title, 200)}"
    shorter = [
        header(title),
        section(state),
        section(f"*Exact call:* `{tool}`. See Details."),
        *buttons,
    ]
    return Message.of(_safe(text), [*blocks, *buttons], shorter)


_VOTES = {"approve": "Approve", "deny": "Deny"}
_NOBODY = (
    ":warning: *Nobody but the people whose request this is could decide on it, and nobody decides on their own "
    "request.* An operator has to name another approver in the policy; or withdraw it."
)


def reminder(view: ApprovalView, look: Look) -> Message:
    """A word in the card's thread to those who may decide; it is posted, since an update would tell nobody."""
    who = ", ".join(look.who(key) for key in _others(view)[:10]) or "Nobody"
    late = "half" if view.approval.escalated_at else "a quarter"
    ends = when(view.approval.expires_at)
    text = f"{who}: this has waited for {late} of its time. If nobody answers, it expires at {ends}."
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


def _is_edited(item: ActionView) -> bool:
    revision = item.action.revision
    return revision is not None and revision.cause == "edit"


def _changed(view: ApprovalView, look: Look) -> str:
    """Who had it proposed, when that was a person: they do not decide on it."""
    revision = view.action.action.revision
    if revision is None:
        return ""
    if revision.cause == "edit":
        who = look.actor(revision.by)
        return f":pencil2: *Changed by {who}*, so somebody else must approve."
    return f":repeat: *Asked again by {look.actor(revision.by)}*, so somebody else must approve."


def _state_text(view: ApprovalView, look: Look, links: CardLinks) -> str:
    row, said = view.approval, successor_text(view, look, links.successor)
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
            again = f"\n{said}" if said else " Nobody said no; it can be asked again."
            return f":hourglass: *Expired, nobody answered: not run.* {over}{again}"
        case ApprovalState.WITHDRAWN:
            by = f" by {look.actor(row.decided_by)}" if row.decided_by else ""
            why = f" {inline(row.reason, 400)}" if row.reason else ""
            return (
                f":leftwards_arrow_with_hook: *Withdrawn{by}* at {when(row.decided_at)}: not run.{why}\n{said}".rstrip()
            )
        case ApprovalState.SUPERSEDED:
            return f":arrows_counterclockwise: *Replaced by a newer request: not run.*\n{said}".rstrip()


def _pending(view: ApprovalView, look: Look) -> str:
    who = ", ".join(look.who(key) for key in _others(view)[:10]) or "nobody"
    asked = f"{who}: please decide." if look.is_first else f"May decide: {who}."
    row = view.approval
    until = f" Until {when(row.expires_at)}; silence is not a yes."
    votes = _yes(view)
    late = f"{_wanted(row)}{_floor(row)}{_late(row)}"
    if view.approval.quorum <= 1:
        return f":key: *Needs a yes.* {asked}{until}{late}"
    said = f" Yes so far: {', '.join(look.actor(key) for key in votes)}." if votes else ""
    needs = f":key: *Needs {count(view.approval.quorum, 'yes', 'yeses')}, has {len(votes)}.*"
    return f"{needs} {asked}{said}{until}{late}{_given_reasons(view, look)}"


def _wanted(row: ApprovalRow) -> str:
    """That the buttons will ask for a reason."""
    asks = [_VOTES[vote] for vote in ("approve", "deny") if vote in row.reason_for]
    return f" {' and '.join(asks)} {'ask' if len(asks) > 1 else 'asks'} for a reason." if asks else ""


def _floor(row: ApprovalRow) -> str:
    """That a yes does not count at once, since it cannot be taken back."""
    return f" It cannot be undone: Approve counts {row.floor_s:g} s after this was posted." if row.floor_s else ""


def _given_reasons(view: ApprovalView, look: Look) -> str:
    """Why people said yes, as far as they said it, one line each."""
    row = view.approval
    said = {who: view.reasons.get(who, "") for who in _yes(view)}
    if row.state == ApprovalState.APPROVED and row.reason and not any(said.values()):
        said = {row.decided_by: row.reason}
    given = {who: reason for who, reason in said.items() if reason}
    if len(said) == 1:
        return "".join(f"\n*Reason:* {inline(reason, 600)}" for reason in given.values())
    return "".join(f"\n*Reason of {look.actor(who)}:* {inline(reason, 400)}" for who, reason in given.items())


def _late(row: ApprovalRow) -> str:
    """That nobody has answered for a while, and who was called when."""
    called = f"Reminded at {when(row.reminded_at)}" if row.reminded_at else ""
    if row.escalated_at:
        called = f"{called}, e" if called else "E"
        called = f"{called}scalated at {when(row.escalated_at)}"
    return f"\n:bell: {called}; nobody has decided yet." if called else ""


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
    # Of a person's own words none make it look like a permission: the system wrote what it was asked for.
    if row.reason.startswith("grant:") and row.because == row.reason:
        grant = inline(row.reason.removeprefix("grant:"), 40)
        head = f":white_check_mark: *Allowed beforehand by {by}*, permission `{grant}`, used at {when(row.decided_at)}."
    elif given := _given_reasons(view, look):
        head = f"{head}{given}"
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


def _footer(view: ApprovalView, look: Look, links: CardLinks) -> Block:
    asked_by = f"Asked for by {look.actor(view.run.requester)}"
    asked_by += f" in <{links.run}|the run's thread>" if links.run else ""
    run, row = inline(view.run.id, 40), view.approval
    ids = f"run `{run}` · request `{inline(row.id, 40)}` · call `{row.digest[:DIGEST_SHOWN]}`"
    return context(f"{asked_by} · {ids} · proposed by an AI")


def may_be_asked_again(view: ApprovalView) -> bool:
    """Whether it was neither decided nor replaced: then people may ask once more (invariant 10)."""
    row = view.approval
    # Once a person has it in a takeover, the same call is not to be had a second time beside it.
    is_newest = view.action.approval in {"", row.id} and not view.action.takeover
    undecided = row.state in {ApprovalState.EXPIRED, ApprovalState.WITHDRAWN}
    return undecided and is_newest and view.successor is None


def _buttons(view: ApprovalView) -> list[Block]:
    row = view.approval
    value = value_of(row.id, row.digest)
    if row.state != ApprovalState.PENDING:
        again = button("Ask again", "ask_again", value)
        return [actions(f"approval:{row.id}", again)] if may_be_asked_again(view) else []
    together = [button(f"Decide all ({len(view.waiting)})", "decide_all", value)] if len(view.waiting) > 1 else []
    # What needs several people cannot be allowed beforehand by one, nor what needs a reason each time.
    can_allow = row.quorum <= 1 and row.tier is Tier.MEDIUM and "approve" not in row.reason_for
    allow = [button("Approve and allow…", "allow", value)] if can_allow else []
    return [
        actions(
            f"approval:{row.id}",
            button("Approve", "approve", value),
            button("Deny", "deny", value),
            button("Edit", "edit", value),
            button("Details", "details", value),
            button("Withdraw", "withdraw", value),
            *allow,
            *together,
        )
    ]

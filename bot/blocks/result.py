"""The reply in a card's thread: what came of it, for whoever asked."""

from __future__ import annotations

from agent.domain import ApprovalState, Outcome
from bot.blocks.call import code_of, title_of
from bot.blocks.kit import section
from bot.blocks.message import Look, Message
from bot.blocks.text import bare, inline
from bot.words import OUTCOME
from storage.views import ApprovalView


def result_message(view: ApprovalView, look: Look, run_link: str = "") -> Message | None:
    """The reply once the outcome is final; None when there is nothing (more) to say.

    Nothing is said of a request in whose place a newer one stands, and nobody is told what they did themselves.
    """
    row, item = view.approval, view.action
    outcome = item.outcome
    is_newest = not item.approval or item.approval == row.id
    by_themselves = row.state == ApprovalState.WITHDRAWN and row.decided_by == view.run.requester
    if (
        outcome is None
        or not is_newest
        or by_themselves
        or row.state in {ApprovalState.PENDING, ApprovalState.SUPERSEDED}
    ):
        return None
    said = f"*{OUTCOME[outcome].capitalize()}*"
    by = _by(view, look)
    code = f" (`{inline(code_of(item), 40)}`)" if code_of(item) and outcome is not Outcome.SUCCEEDED else ""
    why = row.reason or item.summary
    detail = f"\n{inline(why, 600)}" if why else ""
    link = f"\n<{run_link}|The run's thread>" if run_link else ""
    text = f"{look.who(view.run.requester)}: {said}{by}{code}: {inline(title_of(item), 300)}.{detail}{link}"
    plain = f"{OUTCOME[outcome].capitalize()}: {bare(title_of(item), 200)}"
    safe = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Message.of(safe, [section(text)], [section(f"{said}: {inline(title_of(item), 300)}")])


def _by(view: ApprovalView, look: Look) -> str:
    row = view.approval
    match ApprovalState(row.state):
        case ApprovalState.APPROVED:
            yes = [who for who, vote, _ in view.votes if vote == "approve"] or [row.decided_by]
            names = ", ".join(look.actor(key) for key in yes if key)
            return f", approved by {names}" if names else ""
        case ApprovalState.DENIED | ApprovalState.WITHDRAWN:
            return f", by {look.actor(row.decided_by)}" if row.decided_by else ""
        case _:
            return ""

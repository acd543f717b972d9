"""What an old card says of what stands in its place."""

from __future__ import annotations

from bot.blocks.kit import when
from bot.blocks.message import Look
from bot.blocks.text import inline
from bot.words import OUTCOME
from storage.successors import Successor
from storage.views import ApprovalView


def successor_text(view: ApprovalView, look: Look, link: str) -> str:
    """Who changed it or asked again, when, and what came of that; empty when nobody did."""
    new = view.successor
    if new is None:
        return ""
    verb = "Changed" if new.cause == "edit" else "Asked again"
    return f"{verb} by {look.actor(new.by)} at {when(new.at)}. {_what_became(new, link)}"


def _what_became(new: Successor, link: str) -> str:
    what = "changed call" if new.cause == "edit" else "call"
    if new.approval:
        here = f"<{link}|the new request>" if link else "the new request"
        return f"Somebody else must approve {here}."
    if new.takeover:
        here = f"<{link}|a person has to do it>" if link else "a person has to do it"
        return f"The {what} is rated high: {here}."
    if new.outcome is not None:
        why = f": {inline(new.why, 300)}" if new.why else "."
        return f"The {what} was looked at: {OUTCOME[new.outcome]}{why}"
    if not new.action:
        here = f"<{link}|a new run>" if link else "a new run"
        return f"The task is taken up by {here}."
    return f"The {what} is being rated."

"""Words in a takeover's thread: what became of a claim, that nobody takes it, and answers to questions."""

from __future__ import annotations

from agent.domain import TakeoverState
from agent.events import Event, TakeoverClaimed, TakeoverReleased, TakeoverReminded
from bot.blocks.call import title_of
from bot.blocks.kit import context, section, when
from bot.blocks.message import Look, Message
from bot.blocks.takeover import may_take
from bot.blocks.text import bare, prose
from storage.questions import Question
from storage.views import TakeoverView


def takeover_note(view: TakeoverView, event: Event, look: Look) -> Message | None:
    """What is said of one event; None when there is nothing to say of it, or it no longer holds."""
    row = view.takeover
    match event:
        case TakeoverClaimed() if event.given_by and row.claim_token == event.claim_token:
            giver = look.actor(event.given_by)
            text = f":raised_hand: {look.who(event.by.key)}: {giver} gave you this until {when(event.until)}. "
            text += "When you are through, press Done, Hand back or Abort above; after that time it is open again."
        case TakeoverReleased(why="lapsed"):
            holder = look.who(event.by) if event.by else "Its holder"
            text = f":hourglass: {holder}: your time with this is over, so it is open again.{_called(view, look)}"
        case TakeoverReleased(why="released"):
            who = look.actor(event.by)
            text = f":leftwards_arrow_with_hook: {who} released this, so it is open again.{_called(view, look)}"
        case TakeoverReminded() if row.state == TakeoverState.OPEN:
            late = ":rotating_light: *Nobody takes this.*" if event.escalated else ":hourglass_flowing_sand:"
            ends = when(row.give_up_at, "{date_short} at {time}")
            called = _called(view, look) or _asked(view, look)
            text = f"{late} It has been open since {when(row.opened_at, '{date_short} at {time}')}.{called} "
            text += f"If nobody takes it, the run ends on {ends}."
        case _:
            return None
    return Message.of(_safe(f"Takeover: {bare(title_of(view.action), 200)}"), [section(text)], [section(text)])


def _called(view: TakeoverView, look: Look) -> str:
    """Who is called now; nobody as soon as somebody has it, or it is over."""
    if view.takeover.state != TakeoverState.OPEN:
        return ""
    return f" On call: {look.on_call}." if look.on_call else ""


def _asked(view: TakeoverView, look: Look) -> str:
    who = ", ".join(look.who(key) for key in may_take(view)[:10])
    return f" {who}: please take it." if who else ""


def said(question: Question, look: Look) -> Message:
    """The answer to a question about the run."""
    who = look.who(question.asked_by)
    body = f"{who}: {prose(question.answer, 2600)}"
    foot = context(
        "An AI answers from the run's record, and can be wrong. Nothing that is written here reaches the run."
    )
    return Message.of("An answer about this takeover", [section(body), foot], [section(body)])


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

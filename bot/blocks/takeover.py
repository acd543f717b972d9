"""The packet of a takeover, in every state: what a person needs to do it themselves, or to hand it back."""

from __future__ import annotations

from agent.domain import TakeoverState
from bot.blocks.approval import value_of
from bot.blocks.call import (
    argument_blocks,
    claim_text,
    preview_blocks,
    read_preview,
    reasons_of,
    reasons_text,
    title_of,
)
from bot.blocks.kit import Block, actions, button, context, divider, header, section, when
from bot.blocks.message import Look, Message
from bot.blocks.progress import done_so_far, plan_lines
from bot.blocks.text import bare, escape, inline
from bot.words import money
from storage.views import TakeoverView

ROWS = 5
"""Rows of a preview in the packet; the rest stands under Details."""


def takeover_packet(view: TakeoverView, look: Look) -> Message:
    """Goal, plan, what is done, the exact proposed call, why it is high, money left; and the buttons of its state."""
    item, run, tool = view.action, view.view.run, inline(view.action.action.tool, 80)
    title = title_of(item)
    is_unknown = view.takeover.cause == "unknown"
    asks = _asks(view)
    state = _state_text(view, look)
    # A closed packet is not rendered again, so it speaks of the moment at which it asked.
    plan = "Plan" if view.takeover.state in {TakeoverState.OPEN, TakeoverState.CLAIMED} else "Plan at that time"
    blocks: list[Block] = [header(f"{asks} {title}"), section(state)]
    if is_unknown and view.takeover.state in {TakeoverState.OPEN, TakeoverState.CLAIMED}:
        blocks.append(section(_UNKNOWN))
    blocks += [
        section(f"*Goal*\n{escape(view.view.task.text, 500)}"),
        section(f"*{plan}*\n{plan_lines(view.view, asks=True)}"),
        section(f"*Done so far*\n{done_so_far(view.view)}"),
        divider(),
        section(f"*The exact call that the agent proposed:* `{tool}`"),
        *argument_blocks(item.action.arguments, 3000),
        *preview_blocks(read_preview(view.preview), 1500, rows=ROWS),
    ]
    if not is_unknown:
        why = f"*Why a person has to do it ({item.tier or 'high'} risk)*\n{reasons_text(reasons_of(item))}"
        blocks.append(section(why))
    if claim := claim_text(item.action.rationale, 300):
        blocks.append(section(claim))
    never = "" if is_unknown else " · the agent never runs this"
    left = max(0, look.budget_micro_usd - run.spent_micro_usd - run.reserved_micro_usd)
    blocks.append(
        context(
            f"Asked for by {look.actor(run.requester)} · {money(left)} of the run's money left · "
            f"run `{inline(run.id, 40)}` · takeover `{inline(view.takeover.id, 40)}`{never}"
        )
    )
    row = _buttons(view)
    text = f"{asks} {bare(title, 200)}"
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    call = section(f"*The exact call:* `{tool}`. See Details.")
    return Message.of(safe, [*blocks, *row], [header(title), section(state), call, *row])


_CLOSED = {
    TakeoverState.DONE: "Done by a person:",
    TakeoverState.HANDED_BACK: "Handed back:",
    TakeoverState.ABORTED: "Given up:",
}


def _asks(view: TakeoverView) -> str:
    """What stands before the call in the title: what people are asked, or what came of it."""
    row = view.takeover
    if row.cause != "unknown":
        return _CLOSED.get(TakeoverState(row.state), "A person has to do this:")
    if row.state in {TakeoverState.OPEN, TakeoverState.CLAIMED}:
        return "Did this happen?"
    return "Looked into:"


_UNKNOWN = (
    ":grey_question: *Did this happen?* The agent started it and the process died before its result was kept. "
    "Please look where it would show, then say so. It is never run a second time by itself."
)


def _state_text(view: TakeoverView, look: Look) -> str:
    row = view.takeover
    match TakeoverState(row.state):
        case TakeoverState.OPEN:
            return _open(view, look)
        case TakeoverState.CLAIMED:
            who = look.actor(row.claimed_by)
            given = f" {look.actor(row.given_by)} handed it on." if row.given_by else ""
            return f":raised_hand: *{who} has it* until {when(row.claim_until)}.{given} The agent waits meanwhile."
        case TakeoverState.DONE:
            lines = [f":bust_in_silhouette: *Done by {look.actor(row.closed_by)}* at {when(row.closed_at)}."]
            lines += [f"*What was done:* {inline(row.what, 800)}"]
            lines += [f"*Reference:* {inline(row.reference, 300)}"] if row.reference else []
            lines += [f"*Evidence:* {inline(row.evidence, 600)}"] if row.evidence else []
            return "\n".join(lines)
        case TakeoverState.HANDED_BACK:
            said = f"\n*Instruction:* {inline(row.what, 800)}" if row.what else ""
            return (
                f":arrow_right_hook: *Handed back by {look.actor(row.closed_by)}* at {when(row.closed_at)}. The agent "
                f"looks at everything anew; the call below was not run.{said}"
            )
        case TakeoverState.ABORTED:
            by = f" by {look.actor(row.closed_by)}" if row.closed_by else ""
            said = f"\n*Reason:* {inline(row.what, 800)}" if row.what else ""
            return f":octagonal_sign: *Given up{by}* at {when(row.closed_at)}. It was not run.{said}"


def may_take(view: TakeoverView) -> list[str]:
    """Principal keys of those whom the policy names, without those whose words are in the run."""
    return [key for key in view.takeover.deciders if key not in view.view.co_requesters]


def _open(view: TakeoverView, look: Look) -> str:
    who = ", ".join(look.who(key) for key in may_take(view)[:10])
    if not who:
        return (
            ":warning: *Nobody but the people whose request this is could take it, and nobody decides on their own "
            "request.* An operator has to name another approver in the policy; or stop the run."
        )
    if view.takeover.cause == "unknown":
        asked = f"{who}: please find out." if look.is_first else f"May say what happened: {who}."
    else:
        asked = f"{who}: please take it." if look.is_first else f"May take it: {who}."
    asked += f" On call: {look.on_call}." if look.on_call else ""
    late = " *It has waited for long; please do take it.*" if view.takeover.escalated_at else ""
    ends = when(view.takeover.give_up_at, "{date_short} at {time}")
    return f":rotating_light: *Nothing runs until a person acts.* {asked}{late} If nobody does, the run ends on {ends}."


def _buttons(view: TakeoverView) -> list[Block]:
    value = value_of(view.takeover.id, view.action.action.digest)
    block_id = f"takeover:{view.takeover.id}"
    if view.takeover.cause == "unknown" and view.takeover.state in {TakeoverState.OPEN, TakeoverState.CLAIMED}:
        return [
            actions(
                block_id,
                button("It happened", "unknown_happened", value),
                button("It did not, run it", "unknown_run_again", value),
                button("Stop the run", "unknown_stop", value),
                button("Details", "details", value),
            )
        ]
    if view.takeover.state == TakeoverState.OPEN:
        return [actions(block_id, button("Claim", "takeover_claim", value), button("Details", "details", value))]
    if view.takeover.state == TakeoverState.CLAIMED:
        return [
            actions(
                block_id,
                button("Done", "takeover_done", value),
                button("Hand back", "takeover_hand_back", value),
                button("Abort", "takeover_abort", value),
                button("Reassign", "takeover_reassign", value),
                button("Release", "takeover_release", value),
                button("Details", "details", value),
            )
        ]
    return []

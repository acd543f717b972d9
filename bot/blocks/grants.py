"""Grants as people read them: the form, the exact scope before it is given, and the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.domain import Action, Intent
from agent.grants import CAPPED, SPEND, Grant
from bot.blocks.call import argument_blocks, title_of
from bot.blocks.kit import Block, context, fit, modal, plain, section, text_input, when
from bot.blocks.message import Look
from bot.blocks.text import bare, inline
from bot.words import count, money
from storage.grants import GrantRow
from storage.views import ApprovalView

FORM: Final = "grant_form"
CONFIRM: Final = "grant_confirm"
HOW_LONG, USES, FREE, SPENT = "how_long", "uses", "free", "spent"
"""Blocks of the form; each element's action_id is `value`."""
SPANS: Final[dict[str, tuple[str, bool, float]]] = {
    "run": ("For this run, at most a day", True, 86_400.0),
    "quarter": ("For 15 minutes", False, 900.0),
    "hour": ("For an hour", False, 3600.0),
}
"""Value → label, whether only this run, seconds."""
TIMES: Final = (1, 3, 5, 10, 25, 100)
FREEABLE: Final = 10
"""Arguments that the form offers; Slack shows ten checkboxes at most."""


def freeable(action: Action) -> list[str]:
    """Names of arguments that may be left free, in their order: those that a label shows as they are."""
    return [name for name in action.arguments if name and bare(name, 75) == name][:FREEABLE]


def form(view: ApprovalView, look: Look, kept: str, *, spends: bool) -> Block:
    """What would be allowed, and the choices; nothing is given before the next window has shown the exact scope."""
    action, intents = view.action.action, view.action.rating.intents if view.action.rating else ()
    blocks: list[Block] = [
        section(
            f"*You approve this, and allow the same again without being asked:* {inline(title_of(view.action), 300)}"
        ),
        section(
            f"*Tool:* `{inline(action.tool, 80)}`\n*For runs of:* {look.who(view.run.requester)}\n"
            f"*It may only:*\n{targets(intents)}"
        ),
        section("*With exactly these arguments*, but for those that you tick below:"),
        *argument_blocks(action.arguments, 2500),
        _one_of(HOW_LONG, "How long?", [(value, label) for value, (label, *_) in SPANS.items()], "run"),
        _one_of(USES, "How often?", [(str(n), count(n, "time")) for n in TIMES], "3"),
    ]
    names = freeable(action)
    if len(names) > 1:
        blocks.append(_ticks(FREE, "May differ", names))
    if spends:
        blocks.append(text_input(SPENT, "At most how many dollars in all?", multiline=False, most=12))
    blocks.append(context("Never for high risk, and never for runs that hold your own words. You can take it back."))
    return modal(FORM, "Approve and allow", fit(blocks), metadata=kept, submit="Next")


def confirm(grant: Grant, headline: str, look: Look, kept: str) -> Block:
    """The exact scope; sending it approves and gives."""
    blocks = [section(f"*You approve now:* {inline(headline, 300)}"), section("*And you allow, without being asked:*")]
    blocks += scope(grant, look)
    return modal(CONFIRM, "Exactly this", fit(blocks), metadata=kept, submit="Approve and allow")


def scope(grant: Grant, look: Look) -> list[Block]:
    """Everything that a grant allows, and where it ends."""
    whose = f"run `{inline(grant.run, 40)}`" if grant.run else f"every run of {look.who(grant.requester)}"
    caps = ", ".join(f"at most {count(grant.caps[name], name[:-1])}" for name in CAPPED if name in grant.caps)
    ends = f"until {when(grant.expires_at, '{date_short_pretty} {time}')}, {count(grant.max_uses, 'time')} at most"
    spent = f", {money(grant.max_spend_micro_usd)} at most in all" if grant.max_spend_micro_usd else ""
    lines = [
        f"*Tool:* `{inline(grant.tool, 80)}`",
        f"*For:* {whose}",
        f"*It may only:*\n{targets(grant.intents)}",
        *([f"*Each time:* {caps}"] if caps else []),
        f"*How long:* {ends}{spent}",
    ]
    free = ", ".join(f"`{inline(name, 60)}`" for name in grant.free)
    exact = [section("*Exactly these arguments:*"), *argument_blocks(grant.arguments, 2500)]
    return [section("\n".join(lines)), *exact, *([section(f"*Any value:* {free}")] if free else [])]


def targets(intents: Sequence[Intent], most: int = 20) -> str:
    """What may be done to whom, one line each."""
    lines = [f"• {item.effect.value} `{inline(item.target, 120)}`" for item in intents[:most]]
    more = [f"• and {len(intents) - most} more, as on the card"] if len(intents) > most else []
    return "\n".join([*lines, *more]) or "• what exactly these arguments do"


def listed(rows: Sequence[GrantRow], look: Look, now: float) -> list[Block]:
    """Grants, the newest first."""
    if not rows:
        return [section("Nothing is allowed beforehand.")]
    lines = [_line(row, look, now) for row in rows]
    foot = context(f"`{look.command} grants revoke &lt;id&gt;` takes one back")
    return fit([section("*Allowed beforehand*"), *(section(line) for line in lines), foot])


def _line(row: GrantRow, look: Look, now: float) -> str:
    grant = row.grant
    if row.revoked_at:
        state = f"taken back by {look.who(row.revoked_by)}"
    elif row.uses >= grant.max_uses:
        state = "used up"
    else:
        state = "has run out" if now >= row.expires_at else f"until {when(row.expires_at)}"
    whose = f"run `{inline(grant.run, 40)}`" if grant.run else f"runs of {look.who(grant.requester)}"
    free = f"; any {', '.join(inline(name, 40) for name in grant.free)}" if grant.free else ""
    does = ", ".join(f"{item.effect.value} {inline(item.target, 60)}" for item in grant.intents[:3])
    what = f"`{inline(row.id, 40)}` `{inline(grant.tool, 60)}` ({does or 'exact call'}{free})"
    return f"{what} for {whose}, by {look.who(row.by)}: {state}, {row.uses} of {grant.max_uses} used"


def _option(value: str, label: str) -> Block:
    return {"text": plain(bare(label, 75)), "value": value}


def _one_of(block_id: str, label: str, options: list[tuple[str, str]], initial: str) -> Block:
    made = [_option(value, text) for value, text in options]
    first = next(item for item in made if item["value"] == initial)
    kind = "radio_buttons" if block_id == HOW_LONG else "static_select"
    element: Block = {"type": kind, "action_id": "value", "options": made, "initial_option": first}
    return {"type": "input", "block_id": block_id, "label": plain(label), "element": element}


def _ticks(block_id: str, label: str, names: list[str]) -> Block:
    element: Block = {"type": "checkboxes", "action_id": "value", "options": [_option(name, name) for name in names]}
    hint = "At least one must stay as it is. What it may touch stays the same in any case."
    return {
        "type": "input", "block_id": block_id, "optional": True, "label": plain(label), "element": element,
        "hint": plain(hint),
    }  # fmt: skip


def spends_of(counts: dict[str, int], intents: Sequence[Intent]) -> bool:
    """Whether the form has to ask for a limit of money."""
    return bool(counts.get(SPEND)) or any(item.effect.value == "spend" for item in intents)

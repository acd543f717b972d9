"""The answer of a run, posted whole: the text, and for a partial one what was done, denied, expired and left out."""

from __future__ import annotations

from agent.domain import Outcome, RunStatus
from bot.blocks.kit import Block, context, section
from bot.blocks.message import Look, Message
from bot.blocks.progress import not_begun, what
from bot.blocks.text import SECTION, bare, inline, prose
from bot.words import OUTCOME, RUN, count, money
from storage.views import RunView

PARAGRAPHS = 3
"""Sections for the text of an answer."""
_LIST = 10


def answer_message(view: RunView, look: Look) -> Message:
    """The answer; its first post mentions the requester."""
    body = view.answer or view.run.summary or "There is nothing to report."
    run = view.run
    verdict = _NO_PLAN if run.status is RunStatus.FAILED and view.plan is None else _HEAD.get(run.status, "")
    head = f"{look.who(run.requester)} {verdict}".strip()
    blocks: list[Block] = [section(head), *(section(part) for part in _parts(body))]
    # What is written from the state lists it all by itself; what a model writes may leave something out.
    by_model = view.plan is not None and view.plan.planner == "model"
    if by_model and run.status is not RunStatus.COMPLETED and (listed := _list(view)):
        blocks.append(section(listed))
    cost = f"{count(len(view.steps), 'step')} · {money(run.spent_micro_usd)} · run `{inline(run.id, 40)}`"
    blocks.append(context(" · ".join([_author(view), cost, *_how_to_go_on(view)])))
    text = f"{RUN[run.status].capitalize()}: {bare(body, 300)}"
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Message.of(safe, blocks, [section(head), section(inline(body, 2500))])


_HEAD = {
    RunStatus.COMPLETED: ":white_check_mark: *Done.*",
    RunStatus.PARTIAL: ":warning: *Only a part is done.*",
    RunStatus.FAILED: ":x: *It failed.*",
    RunStatus.CANCELLED: ":octagonal_sign: *It was stopped.*",
}
_NO_PLAN = ":x: *I cannot do this.*"


def _author(view: RunView) -> str:
    """Who wrote the answer; a runbook's, and the news that there is no plan, come from no model."""
    if view.plan is None:
        return "Written without a model"
    if view.plan.planner.startswith("runbook:"):
        return "Written from a runbook, without a model"
    return "Written by an AI; it can be wrong"


def _how_to_go_on(view: RunView) -> list[str]:
    """In a channel the bot hears mentions only (invariant 6), also in its own thread."""
    place = view.task.place
    return ["mention me to go on"] if place.channel and not place.is_dm else []


def _parts(body: str) -> list[str]:
    """The text in at most three sections, split at line ends; what does not fit is said to be missing."""
    parts, rest = list[str](), body.strip()
    while rest and len(parts) < PARAGRAPHS:
        piece = rest[: SECTION - 400]
        if len(piece) < len(rest) and "\n" in piece[1000:]:
            piece = piece[: piece.rindex("\n")]
        parts.append(prose(piece))
        rest = rest[len(piece) :].lstrip("\n")
    if rest:
        parts[-1] += f"\n_… and {len(rest)} more characters_"
    return parts


def _list(view: RunView) -> str:
    """What was done, and what was not, one line each."""
    lines = list[str]()
    for outcome in Outcome:
        items = [item for item in view.standing if item.outcome is outcome]
        lines += [f"• *{OUTCOME[outcome]}*: {what(item)}" for item in items[:_LIST]]
        if len(items) > _LIST:
            lines.append(f"• and {len(items) - _LIST} more ({OUTCOME[outcome]})")
    lines += [f"• *not begun*: {inline(item, 150)}" for item in not_begun(view)]
    return "*What became of it*\n" + "\n".join(lines[:30]) if lines else ""

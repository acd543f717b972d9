"""The answer of a run, posted whole, in as many messages as its text needs.

Of a partial one also what was done, denied, expired and left out; then what it was read from, what it cost, and two
buttons to say how it was.
"""

from __future__ import annotations

from agent.domain import Outcome, RunStatus
from bot.blocks.kit import MESSAGE, Block, context, plain, section
from bot.blocks.message import Look, Message
from bot.blocks.parts import pages_of
from bot.blocks.progress import not_begun, what
from bot.blocks.sources import sources_line
from bot.blocks.text import bare, inline, width
from bot.words import OUTCOME, RUN, count, money
from storage.views import RunView

FEEDBACK = "feedback"
"""Action id of the feedback buttons; their value is `<run>|good` or `<run>|bad`."""
_LIST = 10


def answer_message(view: RunView, look: Look) -> Message:
    """The answer's first message, which is all of it unless it is long; its first post mentions the requester."""
    return answer_messages(view, look)[0]


def answer_messages(view: RunView, look: Look) -> list[Message]:
    """All messages of the answer, in their order."""
    body = _body(view)
    found = pages_of(body)
    pages: list[list[Block]] = [[section(text) for text in page] for page in found.pages]
    pages[0].insert(0, section(_head(view, look)))
    tail = _tail(view)
    if _length([*pages[-1], *tail]) > MESSAGE:
        pages.append([])
    rest = (
        f"_{found.missing:,} more characters are left out: the answer is too long for Slack._" if found.missing else ""
    )
    if rest:
        pages[-1].append(section(rest))
    status = f"{RUN[view.run.status].capitalize()}: {bare(body, 300)}"
    messages = list[Message]()
    for number, page in enumerate(pages, start=1):
        of_all = f"part {number} of {len(pages)}"
        note = [context(f"{of_all} · {rest}" if rest and number == 1 else of_all)] if len(pages) > 1 else []
        whole = [*page, *note, *(tail if number == len(pages) else ())]
        text = status if number == 1 else f"The answer, {of_all}"
        safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        messages.append(Message.of(safe, whole, [*page, *note]))
    return messages


_HEADS = {
    RunStatus.COMPLETED: ":white_check_mark: *Done.*",
    RunStatus.PARTIAL: ":warning: *Only a part is done.*",
    RunStatus.FAILED: ":x: *It failed.*",
    RunStatus.CANCELLED: ":octagonal_sign: *It was stopped.*",
}
_NO_PLAN = ":x: *I cannot do this.*"


def _body(view: RunView) -> str:
    return view.answer or view.run.summary or "There is nothing to report."


def _head(view: RunView, look: Look) -> str:
    run = view.run
    verdict = _NO_PLAN if run.status is RunStatus.FAILED and view.plan is None else _HEADS.get(run.status, "")
    if run.status is RunStatus.CANCELLED and view.stop is not None:
        verdict += f" By {look.actor(view.stop.by)}."
    return f"{look.who(run.requester)} {verdict}".strip()


def _tail(view: RunView) -> list[Block]:
    """What stands under the text: what became of the rest, sources, author, cost, and how to go on."""
    run = view.run
    blocks = list[Block]()
    # What is written from the state lists it all by itself; what a model writes may leave something out.
    by_model = view.plan is not None and view.plan.planner == "model"
    lists_itself = run.status is not RunStatus.COMPLETED and not by_model
    if by_model and run.status is not RunStatus.COMPLETED and (listed := _list(view)):
        blocks.append(section(listed))
    if not lists_itself and (sources := sources_line(view)):
        blocks.append(context(sources))
    cost = f"{count(view.used_steps, 'step')} · {money(run.spent_micro_usd)} · run `{inline(run.id, 40)}`"
    blocks.append(context(" · ".join([_author(view), cost, *_how_to_go_on(view)])))
    if run.channel and run.status is not RunStatus.CANCELLED:
        blocks.append(feedback_buttons(run.id))
    return blocks


def feedback_buttons(run: str) -> Block:
    """Two small buttons; whoever may see the run can press one."""
    return {
        "type": "context_actions",
        "block_id": f"feedback:{run}"[:255],
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": FEEDBACK,
                "positive_button": {
                    "text": plain("Good answer"),
                    "value": f"{run}|good",
                    "accessibility_label": "This answer is good",
                },
                "negative_button": {
                    "text": plain("Bad answer"),
                    "value": f"{run}|bad",
                    "accessibility_label": "This answer is not good",
                },
            }
        ],
    }


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


def _length(blocks: list[Block]) -> int:
    """Characters of sections and contexts, with some air."""
    texts = [block.get("text", {}).get("text", "") for block in blocks]
    texts += [element["text"] for block in blocks for element in block.get("elements", ()) if "text" in element]
    return sum(width(str(text)) for text in texts) + 600

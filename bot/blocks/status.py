"""What `/agent` answers: one run, the list of runs, help."""

from __future__ import annotations

from collections.abc import Sequence

from agent.domain import RunStatus
from bot.blocks.kit import Block, context, fit, section, when
from bot.blocks.message import Look
from bot.blocks.progress import plan_lines, turn_line, what
from bot.blocks.text import inline
from bot.blocks.usage import lines
from bot.words import OUTCOME, RUN, count, money
from storage.short_ids import short
from storage.views import ActionView, RunLine, RunView


def run_status(view: RunView, look: Look, links: Sequence[str] = (), place: int = 0) -> list[Block]:
    """One run: what it is, where it stands (`place` in the queue), what it did and what it waits for."""
    run = view.run
    asked = f"asked for by {look.who(run.requester)} · {when(run.created_at, '{date_short_pretty} {time}')}"
    blocks: list[Block] = [
        section(f"*{inline(run.title, 300) or 'A task'}*\n*{RUN[run.status]}* · {asked}"),
        section(turn_line(place) or f"*Plan*\n{plan_lines(view)}"),
        section(f"*Calls*\n{_calls(view)}"),
    ]
    if links and run.status is RunStatus.WAITING:
        blocks.append(section(":key: " + ", ".join(f"<{url}|question {at}>" for at, url in enumerate(links, start=1))))
    blocks.append(
        context(f"run `{inline(run.id, 40)}` · {count(len(view.steps), 'step')} · {money(run.spent_micro_usd)}")
    )
    return fit(blocks)


def _calls(view: RunView, most: int = 10) -> str:
    """The last calls with their ids, which `why` takes."""
    lines_ = [f"• `{short(item.id)}` {_state(item)}: {what(item)}" for item in view.actions[-most:]]
    if len(view.actions) > most:
        lines_.insert(0, f"• {len(view.actions) - most} earlier ones")
    return "\n".join(lines_) or "• nothing yet"


def _state(item: ActionView) -> str:
    if item.outcome is not None:
        return OUTCOME[item.outcome]
    return {"started": "running", "asked": "waits for a yes", "with_person": "with a person"}.get(item.phase, "to come")


def run_line(view: RunLine, look: Look, *, is_mine: bool = False) -> str:
    """One run in one line of a list; in a list of one's own, who asked goes without saying."""
    by = "" if is_mine else f" · {look.who(view.requester)}"
    return f"`{short(view.id)}` *{RUN[view.status]}* · {inline(view.title, 120)}{by}"


def run_list(views: Sequence[RunLine], look: Look, which: str, more: int = 0) -> list[Block]:
    """Runs, newest first."""
    if not views:
        return [section(f"No runs ({which}). Mention me with a task to start one.")]
    rows = [run_line(view, look, is_mine=which == "mine") for view in views]
    blocks = [section(f"*Runs ({which})*"), *(section("\n".join(rows[at : at + 8])) for at in range(0, len(rows), 8))]
    tail = f"and {more} more · " if more else ""
    return fit(
        [
            *blocks,
            context(f"{tail}`{look.command} status &lt;run&gt;` shows one; the first letters of its id are enough"),
        ]
    )


def help_text(command: str, bot: str = "") -> str:
    """What can be typed, and what people are asked about."""
    me = f"<@{bot}>" if bot else "me"
    return (
        "*I am an AI that does tasks and asks people before anything that matters.*\n"
        f"Mention {me} in a channel or write me a message with a task. Low risk runs; medium risk asks for a yes; "
        "high risk is done by a person.\n"
        f"{lines(command)}"
    )

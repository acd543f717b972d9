"""What `/agent` answers: one run, the list of runs, help; and the Home tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.domain import RunStatus
from bot.blocks.kit import Block, context, divider, fit, header, section, when
from bot.blocks.message import Look
from bot.blocks.progress import done_so_far, plan_lines
from bot.blocks.text import inline, prose
from bot.words import RUN, count, money
from storage.views import RunLine, RunView

VERBS: Final = ("status", "runs", "stop", "help")
"""What can follow the command."""


def run_status(view: RunView, look: Look, links: Sequence[str] = ()) -> list[Block]:
    """One run: what it is, where it stands, what it did and what it waits for."""
    run = view.run
    asked = f"asked for by {look.who(run.requester)} · {when(run.created_at, '{date_short_pretty} {time}')}"
    blocks: list[Block] = [
        section(f"*{inline(run.title, 300) or 'A task'}*\n*{RUN[run.status]}* · {asked}"),
        section(f"*Plan*\n{plan_lines(view)}"),
        section(f"*Calls*\n{done_so_far(view)}"),
    ]
    if links and run.status is RunStatus.WAITING:
        blocks.append(section(":key: " + ", ".join(f"<{url}|question {at}>" for at, url in enumerate(links, start=1))))
    blocks.append(
        context(f"run `{inline(run.id, 40)}` · {count(len(view.steps), 'step')} · {money(run.spent_micro_usd)}")
    )
    return fit(blocks)


def run_line(view: RunLine, look: Look, *, is_mine: bool = False) -> str:
    """One run in one line of a list; in a list of one's own, who asked goes without saying."""
    by = "" if is_mine else f" · {look.who(view.requester)}"
    return f"`{inline(view.id, 40)}` *{RUN[view.status]}* · {inline(view.title, 120)}{by}"


def run_list(views: Sequence[RunLine], look: Look, which: str, more: int = 0) -> list[Block]:
    """Runs, newest first."""
    if not views:
        return [section(f"No runs ({which}). Mention me with a task to start one.")]
    lines = [run_line(view, look, is_mine=which == "mine") for view in views]
    blocks = [section(f"*Runs ({which})*"), *(section("\n".join(lines[at : at + 8])) for at in range(0, len(lines), 8))]
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
        f"• `{command} status [run]`: where a run stands\n"
        f"• `{command} runs [mine|all|waiting]`: the runs that you may see\n"
        f"• `{command} stop &lt;run&gt;|all`: end a run; `all` ends yours, and for admins everybody's\n"
        f"• `{command} help`: this"
    )


def home(waiting: Sequence[RunLine], mine: Sequence[RunLine], look: Look, bot: str = "", refusal: str = "") -> Block:
    """The Home tab: what waits for people first, then one's own runs; or only why the bot takes no tasks."""
    if refusal:
        return {"type": "home", "blocks": [section(prose(refusal, 500))]}
    blocks: list[Block] = [header("What waits for people")]
    blocks.append(section("\n".join(run_line(view, look) for view in waiting[:10]) or "Nothing waits."))
    blocks += [divider(), header("Your runs")]
    blocks.append(
        section(
            "\n".join(run_line(view, look, is_mine=True) for view in mine[:10])
            or "You have not asked for anything yet."
        )
    )
    blocks += [divider(), section(help_text(look.command, bot))]
    return {"type": "home", "blocks": fit(blocks)}

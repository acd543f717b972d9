"""The Home tab: what waits for the reader, their takeovers and runs, budget, health, and the kill switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.domain import TakeoverState
from bot.blocks.approval import value_of
from bot.blocks.call import argument_blocks, title_of
from bot.blocks.inquiry import budget_lines, next_run
from bot.blocks.kit import Block, actions, button, context, divider, header, plain, section, when
from bot.blocks.message import Look
from bot.blocks.status import help_text
from bot.blocks.text import inline, prose
from bot.words import RUN, money
from storage.quotas import Quotas
from storage.short_ids import short
from storage.spending import Left, Spent
from storage.views import ApprovalView, RunLine, TakeoverView

PAUSE, RESUME, REFRESH = "home_pause", "home_resume", "home_refresh"
"""Action ids of the Home's own buttons; those of requests are the same as on their cards."""
MOST: Final = 8
"""Requests and runs of one kind that are looked up to be shown."""
_REQUEST_BLOCKS: Final = 70
"""Blocks for requests, so that health and kill switch always have their place."""
_ARGUMENTS: Final = 700
"""Characters of all arguments of one request, each cut on its own; Details has them whole."""


@dataclass(frozen=True, slots=True)
class HomeView:
    """Everything that one person's Home shows."""

    approvals: Sequence[ApprovalView] = ()
    """On which they may decide, the next to expire first."""
    held: Sequence[TakeoverView] = ()
    """Takeovers that they have, or (open ones) could take."""
    waiting: Sequence[tuple[RunLine, str]] = ()
    """Other runs that wait for people and that they may see, each with its address."""
    mine: Sequence[tuple[RunLine, str]] = ()
    today: Spent = field(default_factory=lambda: Spent(0, 0, 0))
    left: Left = field(default_factory=lambda: Left(None, None, None, 0.0))
    quotas: Quotas = field(default_factory=Quotas)
    budget_micro_usd: int = 0
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    """Each part of the bot and what is wrong with it; empty texts when all is well."""
    is_paused: bool = False
    is_admin: bool = False
    note: str = ""
    """A private word, ready for a message; it stands on top for a while."""
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    """Addresses of cards and packets, by the id of the approval or takeover."""


def refused_home(refusal: str) -> Block:
    """What somebody sees who may not ask: only why."""
    return {"type": "home", "blocks": [section(prose(refusal, 500))]}


def home(view: HomeView, look: Look, bot: str = "") -> Block:
    """The Home, the most pressing first."""
    blocks: list[Block] = []
    if view.note:
        blocks += [section(f":bell: {view.note}"), divider()]
    if view.is_paused:
        blocks.append(section(":double_vertical_bar: *Everything is paused.* Nothing new starts until it is resumed."))
    blocks += [header("What waits for you"), *_requests(view, look)]
    if view.waiting:
        blocks += [divider(), header("What waits for others"), section(_runs(view.waiting, look, is_mine=False))]
    blocks += [divider(), header("Your runs")]
    blocks.append(section(_runs(view.mine, look, is_mine=True) or "You have not asked for anything yet."))
    spent = budget_lines(view.today, view.left, view.quotas, view.budget_micro_usd)
    blocks += [divider(), header("Your budget"), section(f"{spent}\n{next_run(view.left)}")]
    blocks += [divider(), header("Health"), section(_health(view)), _switch(view)]
    blocks += [divider(), section(help_text(look.command, bot))]
    return {"type": "home", "blocks": blocks[:100]}


def _requests(view: HomeView, look: Look) -> list[Block]:
    if not view.approvals and not view.held:
        return [section("Nothing waits for you.")]
    items = [_approval(item, view.links.get(item.approval.id, ""), look) for item in view.approvals[:MOST]]
    items += [_takeover(item, view.links.get(item.takeover.id, ""), look) for item in view.held[:MOST]]
    blocks: list[Block] = []
    shown = 0
    for item in items:
        if len(blocks) + len(item) > _REQUEST_BLOCKS:
            break
        blocks += [divider(), *item] if blocks else item
        shown += 1
    more = len(view.approvals) + len(view.held) - shown
    if more:
        blocks.append(context(f"and {more} more; `{look.command} approvals` lists all"))
    return blocks


def _approval(item: ApprovalView, link: str, look: Look) -> list[Block]:
    row, title = item.approval, inline(title_of(item.action), 200)
    named = f"<{link}|{title}>" if link else title
    by = look.who(item.run.requester)
    said = f":key: *{named}*\n`{inline(row.tool, 80)}` · asked for by {by} · until {when(row.expires_at)}"
    value = value_of(row.id, row.digest)
    return [
        section(said),
        *argument_blocks(item.action.action.arguments, _ARGUMENTS),
        actions(
            f"home:{row.id}",
            button("Approve", "approve", value),
            button("Deny", "deny", value),
            button("Details", "details", value),
        ),
    ]


def _takeover(item: TakeoverView, link: str, look: Look) -> list[Block]:
    row, title = item.takeover, inline(title_of(item.action), 200)
    named = f"<{link}|{title}>" if link else title
    value = value_of(row.id, item.action.action.digest)
    details = button("Details", "details", value)
    if row.state == TakeoverState.CLAIMED:
        said = f":raised_hand: *{named}*\nYou have it until {when(row.claim_until)}."
        buttons = [
            button("Done", "takeover_done", value),
            button("Hand back", "takeover_hand_back", value),
            button("Abort", "takeover_abort", value),
            button("Release", "takeover_release", value),
            details,
        ]
    else:
        asked = look.who(item.view.run.requester)
        said = f":rotating_light: *{named}*\nA person has to do this; asked for by {asked}."
        claim = [] if row.cause == "unknown" else [button("Claim", "takeover_claim", value)]
        buttons = [*claim, details]
    arguments = argument_blocks(item.action.action.arguments, _ARGUMENTS)
    return [section(said), *arguments, actions(f"home:{row.id}", *buttons)]


def _runs(runs: Sequence[tuple[RunLine, str]], look: Look, *, is_mine: bool) -> str:
    lines: list[str] = []
    for run, link in runs:
        title = inline(run.title, 100) or "A task"
        named = f"<{link}|{title}>" if link else title
        by = "" if is_mine else f" · {look.who(run.requester)}"
        cost = f" · {money(run.spent_micro_usd)}" if is_mine else ""
        lines.append(f"`{short(run.id)}` *{RUN[run.status]}*{cost} · {named}{by}")
    return "\n".join(lines)


def _health(view: HomeView) -> str:
    wrong = [f"• *{inline(part, 40)}*: {inline(text, 200)}" for part, text in view.problems.items() if text]
    if not wrong:
        return ":white_check_mark: All parts work."
    return ":warning: Not all is well:\n" + "\n".join(wrong)


def _switch(view: HomeView) -> Block:
    """Refresh for everybody; for admins the kill switch, behind a question."""
    buttons = [button("Refresh", REFRESH, "home")]
    if view.is_admin:
        buttons.append(_resume() if view.is_paused else _pause())
    return actions("home:switch", *buttons)


def _pause() -> Block:
    text = "Nothing new starts in any run until somebody resumes. What runs now ends by itself."
    return button("Pause all", PAUSE, "all", style="danger") | {"confirm": _confirm("Pause everything?", text, "Pause")}


def _resume() -> Block:
    text = "Every run goes on where it stands; those paused one by one go on as well."
    return button("Resume", RESUME, "all") | {"confirm": _confirm("Resume everything?", text, "Resume")}


def _confirm(title: str, text: str, yes: str) -> Block:
    return {"title": plain(title), "text": plain(text), "confirm": plain(yes), "deny": plain("Leave it")}

"""What `/agent` shows: status, runs, approvals, why and budget."""

from __future__ import annotations

from agent.domain import RunStatus
from agent.errors import UnknownRun, UnknownSubject
from bot.blocks import inquiry, usage
from bot.blocks.call import title_of
from bot.blocks.kit import Block, section
from bot.blocks.message import Look
from bot.blocks.status import help_text, run_list, run_status
from bot.blocks.text import inline
from bot.identity import Person
from bot.listeners.links import card_link
from bot.listeners.naming import find_run, find_subject
from bot.listeners.payload import Command
from bot.listeners.services import UNFINISHED, Services
from bot.listeners.visibility import could_decide, may_see, visible
from bot.words import nearest
from storage.rows import ApprovalRow, TakeoverRow
from storage.spending import Left, Spending, Spent

SHOWN = 20
"""Runs of one list."""
LOOKED_AT = 200
"""Runs and requests looked through for a list."""
WHICH = ("mine", "all", "waiting")
"""What `runs` can be followed by."""
DAY_S = 86_400.0


def look_of(services: Services) -> Look:
    """How people are named in what only one person sees."""
    return Look(command=services.command, rate=services.clock.rate)


async def show_help(services: Services, typed: Command, person: Person) -> list[Block]:
    """What can be typed."""
    del typed, person
    return [section(help_text(services.command, services.bot_user))]


async def status(services: Services, typed: Command, person: Person) -> list[Block]:
    """One run: the one named, else the newest of theirs."""
    if len(typed.words) > 1:
        run = await find_run(services, person, typed.words[1])
    else:
        own = services.queries.runs(requester=person.principal.key, statuses=UNFINISHED, limit=1)
        own = own or services.queries.runs(requester=person.principal.key, limit=1)
        if not own:
            return [section("You have asked for nothing yet. Mention me with a task to start a run.")]
        run = own[0]
    view = services.queries.run_view(run.id)
    if view is None:
        raise UnknownRun
    place = services.place(run.id) if view.run.status is RunStatus.QUEUED else 0
    return run_status(view, look_of(services), services.links(view), place)


async def runs(services: Services, typed: Command, person: Person) -> list[Block]:
    """Theirs, all that they may see, or those that wait."""
    which = typed.words[1].lower() if len(typed.words) > 1 else "mine"
    if which not in WHICH:
        meant = nearest(which, WHICH) or "mine"
        return [
            section(
                f"I do not know `{inline(which, 40)}`. Did you mean `{services.command} runs {meant}`? "
                f"It is typed {usage.form(services.command, 'runs')}."
            )
        ]
    if which == "mine":
        found = list(services.queries.runs(requester=person.principal.key, limit=SHOWN))
        return run_list(found, look_of(services), which)
    statuses = (RunStatus.WAITING,) if which == "waiting" else ()
    all_of_them = services.queries.runs(statuses=statuses, limit=LOOKED_AT)
    return run_list(await visible(services, person, all_of_them, SHOWN), look_of(services), which)


async def approvals(services: Services, typed: Command, person: Person) -> list[Block]:
    """What waits for them, then what waits for others and they may see."""
    del typed
    mine, others = await waiting_for(services, person)
    return inquiry.waiting_list(mine, others, look_of(services), services.clock.now())


async def waiting_for(services: Services, person: Person) -> tuple[list[inquiry.Waiting], list[inquiry.Waiting]]:
    """Approvals and takeovers that wait: those on which this person may decide, and the others that they may see."""
    mine: list[inquiry.Waiting] = []
    others: list[inquiry.Waiting] = []
    pending = services.queries.pending_approvals(LOOKED_AT)
    for row in (*pending, *services.queries.open_takeovers(LOOKED_AT)):
        run = services.queries.run(row.run)
        if run is None or not await may_see(services, person, run):
            continue
        could = could_decide(services, person, row)
        if isinstance(row, TakeoverRow) and row.claimed_by:
            could = row.claimed_by == person.principal.key
        (mine if could else others).append(_waiting(services, row))
    return mine, others


def _waiting(services: Services, row: ApprovalRow | TakeoverRow) -> inquiry.Waiting:
    if isinstance(row, ApprovalRow):
        view, key = services.queries.approval_view(row.id), f"card:{row.id}"
    else:
        view, key = services.queries.takeover_view(row.id), f"takeover:{row.id}"
    co_requesters = services.queries.co_requesters(row.run)
    return inquiry.Waiting(
        subject=row,
        headline=title_of(view.action) if view is not None else row.tool,
        link=card_link(services, key),
        may_decide=tuple(key for key in row.deciders if key not in co_requesters),
    )


async def why(services: Services, typed: Command, person: Person) -> list[Block]:
    """One call's rating and what became of it; only of runs that they may see (invariant 15)."""
    if len(typed.words) < 2:  # noqa: PLR2004  the verb and what it is about
        return [section(f"Of which one? It is typed {usage.form(services.command, 'why')}.")]
    found = await find_subject(services, person, typed.words[1])
    view = services.queries.run_view(found.run)
    item = next((item for item in view.actions if item.id == found.action), None) if view is not None else None
    if view is None or item is None:
        raise UnknownSubject
    asked = [row for row in view.approvals if row.action == item.id]
    taken = next((row for row in reversed(view.takeovers) if row.action == item.id), None)
    facts = services.queries.body(item.rating.facts_blob) if item.rating is not None else ""
    return inquiry.why(
        item,
        view.run,
        look_of(services),
        approvals=asked,
        takeover=taken,
        facts=facts,
        co_requesters=view.co_requesters,
    )


def spent_today(services: Services, person: Person) -> tuple[Spent, Left]:
    """What they spent since midnight where they are, and what the quotas still allow."""
    now, key = services.clock.now(), person.principal.key
    midnight = (now + person.utc_offset_s) // DAY_S * DAY_S - person.utc_offset_s
    spending = Spending(services.db)
    return spending.since(key, midnight), spending.left(key, now, services.quota)


async def budget(services: Services, typed: Command, person: Person) -> list[Block]:
    """What they spent today, what their runs cost, and when the next one is possible."""
    del typed
    today, left = spent_today(services, person)
    days = Spending(services.db).days(person.principal.key, services.clock.now(), services.budgets)
    last = services.queries.runs(requester=person.principal.key, limit=5)
    return inquiry.budget(today, left, services.quota, services.budget_micro_usd, last, days)

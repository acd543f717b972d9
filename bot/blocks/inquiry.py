"""What `/agent approvals`, `why` and `budget` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from agent.domain import ApprovalState, TakeoverState
from agent.facts.model import Facts
from bot.blocks.call import reasons_of, reasons_text, title_of
from bot.blocks.kit import Block, context, fit, section, when
from bot.blocks.message import Look
from bot.blocks.text import inline
from bot.words import APPROVAL, OUTCOME, TAKEOVER, count, duration, money, people
from storage.quotas import Quotas
from storage.rows import ApprovalRow, TakeoverRow
from storage.short_ids import short
from storage.spending import DayMoney, Left, Spent
from storage.views import ActionView, RunLine

_MOST = 12
"""Requests shown of one list."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request that waits for people, as a list shows it."""

    subject: ApprovalRow | TakeoverRow
    headline: str
    link: str
    """Address of its card; empty when that does not stand yet."""
    may_decide: tuple[str, ...]
    """Principal keys."""


def waiting_list(mine: Sequence[Waiting], others: Sequence[Waiting], look: Look, now: float) -> list[Block]:
    """What waits for the reader, then what waits for others."""
    if not mine and not others:
        return [section("Nothing waits for people.")]
    blocks: list[Block] = []
    for name, found in (("For you", mine), ("For others", others)):
        if found:
            lines = [_waiting(item, look, now) for item in found[:_MOST]]
            lines += [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
            blocks += [section(f"*{name}*\n{lines[0]}"), *(section(line) for line in lines[1:])]
    tail = f"`{look.command} why &lt;id&gt;` says why one asks; the cards stand behind the links"
    return fit([*blocks, context(tail)])


def _waiting(item: Waiting, look: Look, now: float) -> str:
    row, title = item.subject, inline(item.headline, 140)
    named = f"<{item.link}|{title}>" if item.link else title
    who = people(item.may_decide) if item.may_decide else "nobody but those whose request it is"
    if isinstance(row, ApprovalRow):
        left = duration(max(0.0, row.expires_at - now) / look.rate)
        until = f"until {when(row.expires_at)} (in {left})"
        return f":key: {named} · `{short(row.id)}`\nMay decide: {who} · {until}"
    if row.state == TakeoverState.CLAIMED:
        return f":raised_hand: {named} · `{short(row.id)}`\n{look.who(row.claimed_by)} has it"
    return f":rotating_light: {named} · `{short(row.id)}`\nMay take it: {who}"


def why(
    item: ActionView,
    run: RunLine,
    look: Look,
    *,
    approvals: Sequence[ApprovalRow] = (),
    takeover: TakeoverRow | None = None,
    facts: str = "",
    co_requesters: Sequence[str] = (),
) -> list[Block]:
    """One call: tier, rules, facts (`facts` is their JSON), what people decided, what it came to."""
    tier = item.tier.value if item.tier else "not rated yet"
    blocks: list[Block] = [
        section(f"*{inline(title_of(item), 300)}*\n`{inline(item.action.tool, 80)}` · risk: *{tier}*"),
        section(f"*Rules*\n{reasons_text(reasons_of(item))}"),
        section(f"*Facts*\n{_facts(facts)}"),
    ]
    decided = [_decision(row, look, co_requesters) for row in approvals[-4:]]
    if takeover is not None:
        decided.append(_takeover(takeover, look))
    if not decided:
        decided = ["No person was asked."]
    blocks.append(section("*People*\n" + "\n".join(decided)))
    code = f" (`{inline(getattr(item.ended, 'code', ''), 40)}`)" if getattr(item.ended, "code", "") else ""
    came = OUTCOME[item.outcome] if item.outcome else {"started": "running"}.get(item.phase, "not started")
    summary = f": {inline(item.summary, 400)}" if item.summary else ""
    blocks.append(section(f"*Outcome*\n{came}{code}{summary}"))
    policy = item.rating.policy_version if item.rating else ""
    version = f" · policy `{inline(policy, 20)}`" if policy else ""
    blocks.append(context(f"action `{item.id}` · run `{short(run.id)}` · asked by {look.who(run.requester)}{version}"))
    return fit(blocks)


def _facts(body: str) -> str:
    try:
        facts = Facts.model_validate_json(body)
    except ValidationError:
        return "• not kept (any more)"
    lines = [f"• {effect.effect.value}: {inline(effect.target, 150)}" for effect in facts.effects[:8]]
    if len(facts.effects) > 8:  # noqa: PLR2004  as many as are shown
        lines.append(f"• and {len(facts.effects) - 8} more targets")
    lines.append(f"• reaches: {facts.where} · {facts.reversibility}")
    for name, found in (("verbs", facts.verbs), ("flags", facts.flags)):
        lines += [f"• {name}: {inline(', '.join(found), 300)}"] if found else []
    counted = ", ".join(f"{name} {number}" for name, number in facts.counts.items())
    lines += [f"• counts: {inline(counted, 200)}"] if counted else []
    lines += [f"• not decidable: {inline(text, 200)}" for text in facts.undecidable[:5]]
    return "\n".join(lines)


def _decision(row: ApprovalRow, look: Look, co_requesters: Sequence[str]) -> str:
    state = APPROVAL[ApprovalState(row.state)]
    if row.state == ApprovalState.PENDING:
        who = people([key for key in row.deciders if key not in co_requesters]) or "nobody"
        return f"• approval `{short(row.id)}`: {state} until {when(row.expires_at)}; may decide: {who}"
    by = f" by {look.who(row.decided_by)}" if row.decided_by else ""
    own = " (their own request, as the policy allows)" if row.self_approved else ""
    reason = f": {inline(row.reason, 300)}" if row.reason else ""
    return f"• approval `{short(row.id)}`: {state}{by} at {when(row.decided_at)}{own}{reason}"


def _takeover(row: TakeoverRow, look: Look) -> str:
    who = row.closed_by or row.claimed_by
    by = f" ({look.who(who)})" if who else ""
    what = f": {inline(row.what, 300)}" if row.what else ""
    return f"• takeover `{short(row.id)}`: {TAKEOVER[TakeoverState(row.state)]}{by}{what}"


def budget_lines(today: Spent, left: Left, quotas: Quotas, budget_micro_usd: int) -> str:
    """What somebody spent today, the limits, and what they still allow."""
    way = f", {money(today.on_the_way)} on the way" if today.on_the_way else ""
    lines = [
        f"• *Today:* {money(today.micro_usd)}{way} in {count(today.runs, 'run')}",
        f"• *A run:* at most {money(budget_micro_usd)}",
    ]
    for name, limit, still in (
        ("Your runs an hour", quotas.per_person, left.person),
        ("Everybody's runs an hour", quotas.everybody, left.everybody),
        ("Yours at once", quotas.at_once, left.at_once),
    ):
        lines.append(f"• *{name}:* " + ("no limit" if still is None else f"{still} of {limit} left"))
    return "\n".join(lines)


def next_run(left: Left) -> str:
    """When the next run is possible."""
    if not left.next_at:
        return "You can start a run now."
    if left.next_at == float("inf"):
        return "The next run is possible when one of yours is over or waits for people."
    return f"The next run is possible at {when(left.next_at)}."


def day_lines(days: DayMoney) -> str:
    """What model calls may still cost on this day, and when it begins anew."""
    lines: list[str] = []
    for name, limit, taken in (
        ("You a day", days.budgets.person_day, days.person.taken),
        ("Everybody a day", days.budgets.everybody_day, days.everybody.taken),
    ):
        left = f"{money(max(0, limit - taken))} of {money(limit)} left" if limit else "no limit"
        lines.append(f"• *{name}:* {left}")
    if days.budgets.person_day or days.budgets.everybody_day:
        lines.append(f"• *Anew at:* {when(days.anew_at)}")
    return "\n".join(lines)


def budget(  # noqa: PLR0917  # what somebody spent, and each kind of limit
    today: Spent,
    left: Left,
    quotas: Quotas,
    budget_micro_usd: int,
    last: Sequence[RunLine],
    days: DayMoney | None = None,
) -> list[Block]:
    """The same with the budgets of the day and what the last runs cost."""
    of_day = f"\n{day_lines(days)}" if days is not None else ""
    blocks: list[Block] = [
        section("*Your budget*\n" + budget_lines(today, left, quotas, budget_micro_usd) + of_day),
        section(next_run(left)),
    ]
    if last:
        lines = [f"• `{short(run.id)}` {money(run.spent_micro_usd)} · {inline(run.title, 100)}" for run in last]
        blocks.append(section("*Your last runs*\n" + "\n".join(lines)))
    return fit(blocks)

"""Who may see and stop a run (invariant 15): its requesters, deciders, admins, and who is in its channel."""

from __future__ import annotations

from collections.abc import Iterable

from bot.identity import Person
from bot.listeners.services import Services
from storage.rows import ApprovalRow, TakeoverRow
from storage.views import RunLine


def is_admin(services: Services, person: Person) -> bool:
    """Whether they administer the workspace, or the configuration names them."""
    return not person.refusal and (person.is_admin or person.principal.user in services.admins)


def is_in_charge(services: Services, person: Person, run: RunLine) -> bool:
    """Whether they may stop it: who asked for it, who may decide, admins."""
    if person.refusal:
        return False
    principal = person.principal
    return (
        principal.key == run.requester
        or services.identity.may_decide(principal)
        or is_admin(services, person)
        or principal.key in services.queries.co_requesters(run.id)
    )


async def may_see(services: Services, person: Person, run: RunLine) -> bool:
    """Whether they may read what the run does. A direct message's channel lets nobody else in."""
    if person.refusal:
        return False
    if is_in_charge(services, person, run):
        return True
    if not run.channel or run.channel.startswith("D"):
        return False
    return person.principal.user in await services.members.of(run.channel, services.client, services.clock)


def could_decide(services: Services, person: Person, row: ApprovalRow | TakeoverRow) -> bool:
    """Whether they may decide on it now, as the decision itself will be checked again at the click."""
    key = person.principal.key
    return (
        not person.refusal
        and key in row.deciders
        and services.identity.may_decide(person.principal, row)
        and key not in services.queries.co_requesters(row.run)
    )


async def visible(services: Services, person: Person, runs: Iterable[RunLine], limit: int) -> list[RunLine]:
    """The first of the runs that they may see."""
    found = list[RunLine]()
    for run in runs:
        if len(found) >= limit:
            break
        if await may_see(services, person, run):
            found.append(run)
    return found

"""What a person means by the id that they typed: one thing they may see, or a word about which ones it could be."""

from __future__ import annotations

from typing import Final

from agent.errors import UnknownRun, UnknownSubject
from bot.blocks.text import inline
from bot.identity import Person
from bot.listeners.services import Services
from bot.listeners.visibility import may_see, visible
from storage.short_ids import Found, ShortIds, short
from storage.views import RunLine

NAMED: Final = 5
"""How many of those that are meant are named."""


def typed_id(word: str) -> str:
    """An id as people paste it."""
    return word.strip("`<>*_.,:").lower()


async def find_run(services: Services, person: Person, word: str) -> RunLine:
    """The one run whose id begins so; raises UnknownRun, also for one that they may not see."""
    prefix = typed_id(word)
    found = await visible(services, person, ShortIds(services.db).runs(prefix), NAMED + 1)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownRun(f"There is no such run for you. `{services.command} runs` lists yours.")
    ids = [f"`{run.id}` ({inline(run.title, 40)})" for run in found[:NAMED]]
    more = " and more" if len(found) > NAMED else ""
    raise UnknownRun(f"`{inline(prefix, 20)}` is the beginning of {', '.join(ids)}{more}. Please type one more letter.")


async def find_subject(services: Services, person: Person, word: str) -> Found:
    """The one action, approval or takeover that is meant; raises UnknownSubject as above."""
    prefix = typed_id(word)
    found: list[Found] = []
    for item in ShortIds(services.db).subjects(prefix):
        run = services.queries.run(item.run)
        if run is not None and await may_see(services, person, run):
            found.append(item)
        if len({(one.run, one.action) for one in found}) > NAMED:
            break
    if not found:
        raise UnknownSubject(
            f"There is no such action or approval for you. `{services.command} status` and "
            f"`{services.command} approvals` show their ids."
        )
    if len({(item.run, item.action) for item in found}) == 1:
        return found[0]
    ids = [f"`{item.id}` ({item.kind} of run `{short(item.run)}`)" for item in found[:NAMED]]
    more = " and more" if len(found) > NAMED else ""
    raise UnknownSubject(
        f"`{inline(prefix, 20)}` is the beginning of {', '.join(ids)}{more}. Please type one more letter."
    )

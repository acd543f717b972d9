"""What `/agent` does: run, stop, pause, resume, and taking a grant back."""

from __future__ import annotations

from agent.errors import NotEntitled
from bot.anchoring import Refused
from bot.blocks import usage
from bot.blocks.kit import Block, section
from bot.blocks.text import inline
from bot.identity import Person
from bot.listeners import granting, replies
from bot.listeners.links import link
from bot.listeners.naming import find_run
from bot.listeners.payload import Command
from bot.listeners.services import UNFINISHED, Services
from bot.listeners.visibility import is_admin, is_in_charge
from bot.words import RUN, count
from storage.anchors import Anchor
from storage.short_ids import short
from storage.views import RunLine

RUN_S = 1.6
"""How long a new run is waited for, so that the answer can name it, seconds."""
LOOKED_AT = 200
"""Runs of one person that are stopped at once."""


async def start(services: Services, typed: Command, person: Person) -> list[Block]:
    """A task in this channel: a message of ours says who asked, and the run lives in its thread."""
    text = services.redact(typed.rest.strip())
    if not text:
        return [section(f"What shall I do? It is typed {usage.form(services.command, 'run')}.")]
    if len(text) > services.task_characters:
        raise Refused(f"This is {len(text):,} characters long and I take at most {services.task_characters:,}.")
    if services.anchoring is None:
        raise Refused("Tasks cannot be taken here just now. Please mention me in a channel.")
    principal = person.principal
    anchor = Anchor(
        id=f"command:{typed.trigger_id or services.ids.new('anchor')}",
        via="command",
        team=principal.team,
        channel=typed.who.channel,
        thread_ts="",
        principal=principal.key,
        text=text,
    )
    try:
        taken = await services.anchoring.asked(anchor, RUN_S)
    except TimeoutError:
        return [section("Taken. It appears in this channel in a moment; should that not work, I write you directly.")]
    run = services.queries.run(taken.run)
    if run is None:
        return [section("Taken.")]
    address = link(services, run.channel, run.thread_ts)
    where = f"<{address}|its thread>" if address else "its thread"
    paused = " Everything is paused, so it begins when that ends." if everything_paused(services) else ""
    return [section(f"Taken: run `{short(run.id)}`, see {where}.{paused}")]


async def stop(services: Services, typed: Command, person: Person) -> list[Block]:
    """End one run, or all."""
    if len(typed.words) < 2:  # noqa: PLR2004  the verb and what it is about
        return [section(f"Which run? `{services.command} stop &lt;run&gt;`, or `{services.command} stop all`.")]
    if await _came_before(services, typed):
        return [section("That was taken already.")]
    reason = f"{services.command} stop"
    if typed.words[1].lower() == "all":
        return await _stop_all(services, person, reason)
    run = await find_run(services, person, typed.words[1])
    await _must_be_in_charge(services, typed, person, run, "stop")
    if run.status.is_final:
        return [section(f"Run `{inline(run.id, 40)}` is over already: {RUN[run.status]}.")]
    await services.control.stop(run.id, by=person.principal.key, reason=reason)
    return [
        section(f"Run `{inline(run.id, 40)}` is stopping. Nothing more starts in it; its thread says when it is over.")
    ]


async def _stop_all(services: Services, person: Person, reason: str) -> list[Block]:
    by = person.principal.key
    if is_admin(services, person):
        stopped = await services.control.stop("", by=by, reason=reason)
        return [section(f"{count(len(stopped), 'run')} of everybody stopping." if stopped else "No run was going.")]
    own = services.queries.runs(requester=by, statuses=UNFINISHED, limit=LOOKED_AT)
    for run in own:
        await services.control.stop(run.id, by=by, reason=reason)
    return [section(f"{count(len(own), 'run')} of yours stopping." if own else "No run of yours was going.")]


async def pause(services: Services, typed: Command, person: Person) -> list[Block]:
    """Let nothing new start in one run, or (admins) at all."""
    if await _came_before(services, typed):
        return [section("That was taken already.")]
    if len(typed.words) < 2 or typed.words[1].lower() == "all":  # noqa: PLR2004  the verb and what it is about
        await must_be_admin(services, typed.who.user, person, "pause")
        return [section(await pause_everything(services, person))]
    run = await find_run(services, person, typed.words[1])
    await _must_be_in_charge(services, typed, person, run, "pause")
    if run.status.is_final:
        return [section(f"Run `{inline(run.id, 40)}` is over already: {RUN[run.status]}.")]
    if any(flag.kind == "pause" and flag.run == run.id for flag in services.control.standing()):
        return [section(f"Run `{inline(run.id, 40)}` is paused already.")]
    await services.control.write("pause", run=run.id, by=person.principal.key, reason=f"{services.command} pause")
    back = f"`{services.command} resume {short(run.id)}`"
    return [section(f"Run `{inline(run.id, 40)}` is paused: nothing new starts in it. {back} lets it go on.")]


async def resume(services: Services, typed: Command, person: Person) -> list[Block]:
    """Go on again."""
    if await _came_before(services, typed):
        return [section("That was taken already.")]
    if len(typed.words) < 2 or typed.words[1].lower() == "all":  # noqa: PLR2004  the verb and what it is about
        await must_be_admin(services, typed.who.user, person, "resume")
        return [section(await resume_everything(services, person))]
    run = await find_run(services, person, typed.words[1])
    await _must_be_in_charge(services, typed, person, run, "resume")
    if not any(flag.kind == "pause" and flag.run == run.id for flag in services.control.standing()):
        return [section(f"Run `{inline(run.id, 40)}` was not paused by itself.")]
    await services.control.write("resume", run=run.id, by=person.principal.key, reason=f"{services.command} resume")
    still = " Everything is still paused, so it waits for that." if everything_paused(services) else ""
    return [section(f"Run `{inline(run.id, 40)}` goes on.{still}")]


def everything_paused(services: Services) -> bool:
    """Whether nothing new may start anywhere."""
    halted = any(flag.kind in {"pause", "kill"} and not flag.run for flag in services.control.standing())
    return halted or services.control.killed_by_file


async def pause_everything(services: Services, person: Person) -> str:
    """Pause all runs, and say so; who may is checked by the caller."""
    if everything_paused(services):
        return f"Everything is paused already; `{services.command} resume` goes on."
    await services.control.write("pause", by=person.principal.key, reason="kill switch")
    return f"Everything is paused: nothing new starts in any run. `{services.command} resume` goes on."


async def resume_everything(services: Services, person: Person) -> str:
    """End every pause, and say so; who may is checked by the caller."""
    if services.control.killed_by_file:
        return "The kill file stops everything; an operator has to remove it."
    if not any(flag.kind in {"pause", "kill"} for flag in services.control.standing()):
        return "Nothing was paused."
    await services.control.write("resume", by=person.principal.key, reason="kill switch")
    return "Everything goes on."


async def must_be_admin(services: Services, user: str, person: Person, what: str) -> None:
    """Raise NotEntitled, and keep a row of it, unless they are an admin at this moment."""
    if is_admin(services, person):
        return
    await replies.audit_of(services, "not_entitled", person.principal.team, user, detail=what)
    raise NotEntitled("Only admins pause and resume everything. Who asked for a run can pause or stop that one.")


async def _must_be_in_charge(services: Services, typed: Command, person: Person, run: RunLine, what: str) -> None:
    if is_in_charge(services, person, run):
        return
    await replies.audit(services, "not_entitled", typed.who, run.id, what)
    raise NotEntitled(f"Only who asked for it, who may decide, or an admin can {what} a run.")


async def _came_before(services: Services, typed: Command) -> bool:
    key = f"command:{typed.trigger_id}" if typed.trigger_id else ""
    return bool(key) and await services.inbox.seen(key)


async def grants(services: Services, typed: Command, person: Person) -> list[Block]:
    """What people allowed beforehand; with `revoke`, take one of them back."""
    words = typed.words[1:]
    if not words or words[0].lower() == "list":
        return await granting.list_grants(services, person)
    if words[0].lower() != "revoke" or len(words) < 2:  # noqa: PLR2004  the word and the id
        return [section(f"It is typed {usage.form(services.command, 'grants')}.")]
    if await _came_before(services, typed):
        return [section("That was taken already.")]
    return await granting.revoke(services, person, words[1:])

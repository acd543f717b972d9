"""The slash command: status, runs, stop and help, answered to the person alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from agent.domain import RunStatus
from agent.errors import NotEntitled, UnknownRun
from bot.blocks.kit import Block, section
from bot.blocks.message import Look
from bot.blocks.status import VERBS, help_text, run_list, run_status
from bot.blocks.text import inline
from bot.identity import Person
from bot.listeners import replies
from bot.listeners.payload import Command, command_of, who_of
from bot.listeners.services import Bolt, Services
from bot.listeners.visibility import is_admin, is_in_charge, may_see, visible
from bot.words import INCOMPLETE, RUN, STILL_SAVING, count, nearest, sentence
from storage.views import RunLine

UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
SHOWN = 20
"""Runs of one list."""
LOOKED_AT = 200
"""Runs looked through for a list."""
WHICH = ("mine", "all", "waiting")
"""What `runs` can be followed by."""
_log = structlog.get_logger("listeners")
Verb = Callable[[Services, Command, Person], Awaitable[list[Block]]]


def register(app: Bolt, services: Services) -> None:
    """Listen to the configured command."""

    async def command(ack: AsyncAck, body: dict[str, Any]) -> None:
        typed = command_of(body)
        if typed is None:
            services.tasks.start(replies.audit(services, "bad_payload", who_of(body), detail="command"))
            await ack(INCOMPLETE)
            return
        try:
            blocks = await services.tasks.within(answer(services, typed))
        except TimeoutError:
            await ack(STILL_SAVING.replace("card", "run's thread"))
        except Exception as error:  # noqa: BLE001  # whatever it is, the person is answered
            _log.info("command_refused", error=str(error))
            await ack(sentence(error, command=services.command))
        else:
            await ack(text=_text_of(blocks), blocks=blocks, response_type="ephemeral")

    app.command(services.command)(command)


def _text_of(blocks: list[Block]) -> str:
    return str(blocks[0]["text"]["text"])[:500] if blocks and "text" in blocks[0] else "Second Key"


async def answer(services: Services, typed: Command) -> list[Block]:
    """What is shown for a command; raises errors that `bot.words.sentence` explains."""
    person = await services.identity.person(typed.who.user, typed.who.team)
    if person.refusal:
        await replies.audit(services, "may_not_ask", typed.who, detail=" ".join(typed.words)[:100])
        raise NotEntitled(person.refusal)
    verb = typed.words[0].lower() if typed.words else "help"
    if verb in _VERBS:
        return await _VERBS[verb](services, typed, person)
    meant = nearest(verb, VERBS)
    hint = f"Did you mean `{services.command} {meant}`?" if meant else f"`{services.command} help` lists what I know."
    return [section(f"I do not know `{inline(verb, 40)}`. {hint}")]


def _look(services: Services) -> Look:
    return Look(command=services.command, rate=services.clock.rate)


async def _help(services: Services, typed: Command, person: Person) -> list[Block]:
    del typed, person
    return [section(help_text(services.command, services.bot_user))]


async def _find(services: Services, typed: Command, person: Person) -> RunLine:
    """The run named by the second word; raises UnknownRun, also for one that they may not see."""
    prefix = typed.words[1].strip("`<>").lower()
    run = services.queries.find_run(prefix)
    if run is None or not await may_see(services, person, run):
        raise UnknownRun(f"There is no such run, or more than one begins so. `{services.command} runs` lists yours.")
    return run


async def _status(services: Services, typed: Command, person: Person) -> list[Block]:
    if len(typed.words) > 1:
        run = await _find(services, typed, person)
    else:
        own = services.queries.runs(requester=person.principal.key, statuses=UNFINISHED, limit=1)
        own = own or services.queries.runs(requester=person.principal.key, limit=1)
        if not own:
            return [section("You have asked for nothing yet. Mention me with a task to start a run.")]
        run = own[0]
    view = services.queries.run_view(run.id)
    if view is None:
        raise UnknownRun
    return run_status(view, _look(services), services.links(view))


async def _runs(services: Services, typed: Command, person: Person) -> list[Block]:
    which = typed.words[1].lower() if len(typed.words) > 1 else "mine"
    if which not in WHICH:
        meant = nearest(which, WHICH) or "mine"
        return [section(f"I do not know `{inline(which, 40)}`. Did you mean `{services.command} runs {meant}`?")]
    if which == "mine":
        found = list(services.queries.runs(requester=person.principal.key, limit=SHOWN))
        return run_list(found, _look(services), which)
    statuses = (RunStatus.WAITING,) if which == "waiting" else ()
    all_of_them = services.queries.runs(statuses=statuses, limit=LOOKED_AT)
    return run_list(await visible(services, person, all_of_them, SHOWN), _look(services), which)


async def _stop(services: Services, typed: Command, person: Person) -> list[Block]:
    if len(typed.words) < 2:  # noqa: PLR2004  the verb and what it is about
        return [section(f"Which run? `{services.command} stop &lt;run&gt;`, or `{services.command} stop all`.")]
    key = f"command:{typed.trigger_id}" if typed.trigger_id else ""
    if key and await services.inbox.seen(key):
        return [section("That was taken already.")]
    by, reason = person.principal.key, f"{services.command} stop"
    if typed.words[1].lower() == "all":
        return await _stop_all(services, person, reason)
    run = await _find(services, typed, person)
    if not is_in_charge(services, person, run):
        await replies.audit(services, "not_entitled", typed.who, run.id, "stop")
        raise NotEntitled("Only who asked for it, who may decide, or an admin can stop a run.")
    if run.status.is_final:
        return [section(f"Run `{inline(run.id, 40)}` is over already: {RUN[run.status]}.")]
    await services.control.stop(run.id, by=by, reason=reason)
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


_VERBS: dict[str, Verb] = {"help": _help, "status": _status, "runs": _runs, "stop": _stop}

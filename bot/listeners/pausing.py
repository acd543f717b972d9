"""Pause and resume from Slack, for admins: everything, a run, a tool or a person."""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import NotEntitled, UnknownRun
from bot.blocks.text import inline
from bot.identity import DECIDING_FRESH_S, Person
from bot.listeners import replies
from bot.listeners.payload import Who
from bot.listeners.services import Services
from bot.listeners.visibility import is_admin
from storage.scopes import EVERYTHING, BadScope, Scope


async def pause(services: Services, who: Who, words: Sequence[str]) -> str:
    """Let nothing of a scope start, as `all`, `run ID`, `tool NAME`, `person @U1`, or nothing for all.

    Returns a sentence. Raises NotEntitled, UnknownRun or BadScope.
    """
    person = await _admin(services, who, "pause")
    scope = scope_of(services, words)
    await services.control.pause(scope, by=person.principal.key, reason=f"{services.command} pause")
    how = "" if scope == EVERYTHING else f" {_typed(scope)}"
    return f"{_named(scope)} is paused: nothing new starts. `{services.command} resume{how}` goes on."


async def resume(services: Services, who: Who, words: Sequence[str]) -> str:
    """End the pauses of a scope, or every one; returns a sentence. Raises as `pause`."""
    person = await _admin(services, who, "resume")
    scope = scope_of(services, words)
    standing = [flag for flag in services.control.standing() if flag.kind in {"pause", "kill"}]
    await services.control.resume(scope, by=person.principal.key)
    left = dict.fromkeys(str(flag.scope) for flag in standing if scope not in {EVERYTHING, flag.scope})
    killed = [str(one) for one in services.control.kill_scopes()]
    still = [f" Still paused: {inline(', '.join(left), 300)}."] if left else []
    still += [f" An operator's kill file still stops {inline(', '.join(killed), 300)}."] if killed else []
    if not any(scope in {EVERYTHING, flag.scope} for flag in standing):
        return f"{_named(scope)} was not paused.{''.join(still)}"
    return f"{_named(scope)} goes on.{''.join(still)}"


def scope_of(services: Services, words: Sequence[str]) -> Scope:
    """What the words name; raises UnknownRun or BadScope."""
    match [word.strip("`<>") for word in words]:
        case [] | ["all"]:
            return EVERYTHING
        case ["run", name] | [name] if (run := services.queries.find_run(name.lower())) is not None:
            return Scope("run", run.id)
        case ["run", _] | [_]:
            raise UnknownRun
        case ["tool", name]:
            return Scope.parse(f"tool:{name}")
        case ["person", name]:
            return Scope.parse(f"person:{name.lstrip('@')}")
        case _:
            raise BadScope


async def _admin(services: Services, who: Who, verb: str) -> Person:
    """The person when they administer, looked up afresh; else a refusal that leaves a row."""
    person = await services.identity.person(who.user, who.team, fresh_s=DECIDING_FRESH_S)
    if not is_admin(services, person):
        await replies.audit(services, "not_entitled", who, detail=verb)
        raise NotEntitled("Only admins can pause and resume.")
    return person


def _named(scope: Scope) -> str:
    return "Everything" if scope == EVERYTHING else f"`{inline(_typed(scope), 200)}`"


def _typed(scope: Scope) -> str:
    return f"{scope.kind} {scope.name}"

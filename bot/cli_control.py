"""`secondkey stop`, `pause` and `resume`: control rows, written without the lease, and how soon they had an effect."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.clock import RandomIds, SystemClock
from agent.errors import ConfigurationError, UnknownRun
from agent.tools.registry import default_tools
from bot.config import Settings
from bot.words import RUN, count
from storage.control import Control
from storage.database import Database
from storage.lease import Lease
from storage.queries import Queries
from storage.scopes import EVERYTHING, Scope

PATIENCE_S = 10.0
"""How long a running server is waited for, real seconds."""
_LOOK_EVERY_S = 0.002
NEXT_START = "stored; honoured at the next start"


@dataclass(frozen=True, slots=True)
class Named:
    """What was typed; at most one is set, none means everything."""

    run: str = ""
    """A run's id, or the beginning of one."""
    tool: str = ""
    person: str = ""
    """A Slack user id, or a whole principal key."""


def stop(settings: Settings, named: Named, *, reason: str = "") -> int:
    """End the runs that are meant; 1 when a running server did not obey. Raises UnknownRun or BadScope."""
    return asyncio.run(_stop(settings, named, reason))


def pause(settings: Settings, named: Named, *, reason: str = "") -> int:
    """Let nothing of it start until `resume`. Raises UnknownRun or BadScope."""
    return asyncio.run(_pause(settings, named, reason))


def resume(settings: Settings, named: Named) -> int:
    """End the pauses and kills of exactly this, or (everything) every one; 1 when the kill file still stands."""
    return asyncio.run(_resume(settings, named))


def _scope(queries: Queries, named: Named) -> Scope:
    if named.run:
        line = queries.find_run(named.run)
        if line is None:
            raise UnknownRun(f"There is no run {named.run}, or more than one begins so; `secondkey status` lists them.")
        return Scope("run", line.id)
    if named.tool or named.person:
        kind, name = ("tool", named.tool) if named.tool else ("person", named.person.strip("<@>"))
        return Scope.parse(f"{kind}:{name}")
    return EVERYTHING


def _warn_of_unknown(db: Database, scope: Scope) -> None:
    """A name that nothing has yet is allowed, for it may come; but it may also be a slip."""
    known = {tool.name for tool in default_tools()}
    used = "SELECT 1 FROM actions WHERE tool = ? LIMIT 1"
    if scope.tool and scope.tool not in known and not db.read(lambda c: c.execute(used, (scope.tool,)).fetchone()):
        sys.stdout.write(f"No tool {scope.tool} is known here; it is taken all the same.\n")
    asked = "SELECT 1 FROM runs WHERE requester = ? OR requester LIKE '%:' || ? LIMIT 1"
    values = (scope.person, scope.person)
    if scope.person and not db.read(lambda c: c.execute(asked, values).fetchone()):
        sys.stdout.write(f"{scope.person} has asked for nothing here yet; it is taken all the same.\n")


async def _stop(settings: Settings, named: Named, reason: str) -> int:
    async with beside(settings) as db:
        queries, control = Queries(db), Control(db, kill_file=settings.kill_file)
        scope = _scope(queries, named)
        if scope.run:
            line = queries.run(scope.run)
            if line is not None and line.status.is_final:
                return _say(f"Run {line.id} is over already: {RUN[line.status]}.")
            runs, what = (scope.run,), f"run {scope.run}"
        else:
            runs = control.going(scope)
            if not runs:
                _warn_of_unknown(db, scope)
                return _say("No run was going." if scope == EVERYTHING else f"No run of {scope} was going.")
            what = count(len(runs), "run") if scope == EVERYTHING else f"{count(len(runs), 'run')} of {scope}"
        begun = time.perf_counter()
        await control.write("stop", scope=scope, by=who(), reason=reason)

        def is_over() -> bool:
            return all((found := queries.run(one)) is None or found.status.is_final for one in runs)

        return await await_effect(db, f"Stop of {what}", f"{what[:1].upper()}{what[1:]} stopped", begun, is_over)


async def _pause(settings: Settings, named: Named, reason: str) -> int:
    async with beside(settings) as db:
        control = Control(db, kill_file=settings.kill_file)
        scope = _scope(Queries(db), named)
        what = "Everything" if scope == EVERYTHING else str(scope)
        if any(flag.kind == "pause" and flag.scope == scope for flag in control.standing()):
            again = "`secondkey resume`" if scope == EVERYTHING else f"`secondkey resume --{scope.kind} {scope.name}`"
            return _say(f"{what} is paused already; {again} goes on.")
        _warn_of_unknown(db, scope)
        begun = time.perf_counter()
        flag = await control.pause(scope, by=who(), reason=reason)
        order = "Pause" if scope == EVERYTHING else f"Pause of {scope}"
        done = "Paused" if scope == EVERYTHING else f"{scope} paused"
        return await await_effect(db, order, done, begun, lambda: control.is_taken(flag))


async def _resume(settings: Settings, named: Named) -> int:
    async with beside(settings) as db:
        control = Control(db, kill_file=settings.kill_file)
        scope = _scope(Queries(db), named)
        if killed := control.kill_scopes():
            names = "everything" if EVERYTHING in killed else ", ".join(str(one) for one in killed)
            sys.stdout.write(f"The file {settings.kill_file} stops {names}; remove it to go on.\n")
        standing = [flag for flag in control.standing() if flag.kind in {"pause", "kill"}]
        if not any(scope in {EVERYTHING, flag.scope} for flag in standing):
            sys.stdout.write("Nothing was paused.\n" if scope == EVERYTHING else f"{scope} was not paused.\n")
            return int(bool(killed))
        begun = time.perf_counter()
        flag = await control.resume(scope, by=who())
        done = "Resumed" if scope == EVERYTHING else f"{scope} resumed"
        code = await await_effect(db, "Resume", done, begun, lambda: control.is_taken(flag))
        left = [str(one.scope) for one in standing if scope not in {EVERYTHING, one.scope}]
        if left:
            sys.stdout.write(f"Still paused: {', '.join(dict.fromkeys(left))}.\n")
        return code or int(bool(killed))


@asynccontextmanager
async def beside(settings: Settings) -> AsyncGenerator[Database]:
    """The database, beside a server or without one; raises ConfigurationError or StorageUnavailable."""
    if not settings.database.is_file():
        raise ConfigurationError(
            f"There is no database at {settings.database}.", fix="Start `secondkey serve` once, or set `data`."
        )
    db = await Database.join(settings.database, clock=SystemClock(settings.clock_rate))
    try:
        yield db
    finally:
        await db.close()


async def await_effect(db: Database, order: str, done: str, begun: float, has_happened: Callable[[], bool]) -> int:
    """Say how long it took until a running server obeyed, or that none runs."""
    server = Lease(db, RandomIds(), holder="").current()
    if server is None:
        return _say(f"{order}: {NEXT_START}.")
    while not has_happened():
        if time.perf_counter() - begun > PATIENCE_S:
            sys.stdout.write(
                f"Stored, but {server.holder}, which drives the runs, has not obeyed within {PATIENCE_S:.0f} s. "
                "It does when it comes to, and any other at its start.\n"
            )
            return 1
        await asyncio.sleep(_LOOK_EVERY_S)
    return _say(f"{done} in {(time.perf_counter() - begun) * 1000:.0f} ms.")


def who() -> str:
    """The principal key of whoever types."""
    return f"local:{os.getuid()}"


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0

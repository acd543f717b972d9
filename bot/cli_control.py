"""`secondkey stop`, `pause` and `resume`: control rows, written without the lease, and how soon they had an effect."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from agent.clock import RandomIds, SystemClock
from agent.domain import RunStatus
from agent.errors import ConfigurationError, UnknownRun
from bot.config import Settings
from bot.words import RUN, count
from storage.control import Control
from storage.database import Database
from storage.lease import Lease
from storage.queries import Queries

PATIENCE_S = 10.0
"""How long a running server is waited for, real seconds."""
_LOOK_EVERY_S = 0.002
_UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
_EVERYTHING = 1_000_000
NEXT_START = "stored; honoured at the next start"


def stop(settings: Settings, prefix: str, *, reason: str = "") -> int:
    """Stop one run, or every run with an empty prefix; 1 when a running server did not obey. Raises UnknownRun."""
    return asyncio.run(_stop(settings, prefix, reason))


def pause(settings: Settings, *, reason: str = "") -> int:
    """Let nothing new start until `resume`."""
    return asyncio.run(_pause(settings, reason))


def resume(settings: Settings) -> int:
    """End every pause and kill; 1 when the kill file still stands."""
    return asyncio.run(_resume(settings))


async def _stop(settings: Settings, prefix: str, reason: str) -> int:
    async with beside(settings) as db:
        queries, control = Queries(db), Control(db, kill_file=settings.kill_file)
        if prefix:
            line = queries.find_run(prefix)
            if line is None:
                raise UnknownRun(
                    f"There is no run {prefix}, or more than one begins so; `secondkey status` lists them."
                )
            if line.status.is_final:
                return _say(f"Run {line.id} is over already: {RUN[line.status]}.")
            runs, run, what = (line.id,), line.id, f"run {line.id}"
        else:
            going = queries.runs(statuses=_UNFINISHED, limit=_EVERYTHING)
            if not going:
                return _say("No run was going.")
            runs, run, what = tuple(item.id for item in going), "", count(len(going), "run")
        begun = time.perf_counter()
        await control.write("stop", run=run, by=who(), reason=reason)

        def is_over() -> bool:
            return all((found := queries.run(one)) is None or found.status.is_final for one in runs)

        return await await_effect(db, f"Stop of {what}", f"{what[:1].upper()}{what[1:]} stopped", begun, is_over)


async def _pause(settings: Settings, reason: str) -> int:
    async with beside(settings) as db:
        control = Control(db, kill_file=settings.kill_file)
        if any(flag.kind == "pause" and not flag.run for flag in control.standing()):
            return _say("Everything is paused already; `secondkey resume` goes on.")
        begun = time.perf_counter()
        flag = await control.write("pause", by=who(), reason=reason)
        return await await_effect(db, "Pause", "Paused", begun, lambda: control.is_taken(flag))


async def _resume(settings: Settings) -> int:
    async with beside(settings) as db:
        control = Control(db, kill_file=settings.kill_file)
        if control.killed_by_file:
            sys.stdout.write(f"The file {settings.kill_file} stops everything; remove it to go on.\n")
        if not any(flag.kind in {"pause", "kill"} for flag in control.standing()):
            sys.stdout.write("Nothing was paused.\n")
            return int(control.killed_by_file)
        begun = time.perf_counter()
        flag = await control.write("resume", by=who())
        code = await await_effect(db, "Resume", "Resumed", begun, lambda: control.is_taken(flag))
        return code or int(control.killed_by_file)


@asynccontextmanager
async def beside(settings: Settings) -> AsyncGenerator[Database]:
    """The database, without the lease; raises ConfigurationError when there is none."""
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
    """Whoever typed the command, as a principal's key."""
    return f"local:{os.getuid()}"


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0

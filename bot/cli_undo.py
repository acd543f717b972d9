"""`secondkey undo RUN`: a control row, written without the lease, and what came of it."""

from __future__ import annotations

import asyncio
import sys
import time

from agent.errors import UnknownRun
from agent.events import ChangesUndone
from bot.cli_control import await_effect, beside, who
from bot.config import Settings
from bot.words import count
from storage.control import Control
from storage.database import Database
from storage.journal import read_events
from storage.queries import Queries


def undo(settings: Settings, prefix: str, *, reason: str = "") -> int:
    """Have what a run put into the project taken back; 1 when it could not be. Raises UnknownRun."""
    return asyncio.run(_undo(settings, prefix, reason))


async def _undo(settings: Settings, prefix: str, reason: str) -> int:
    async with beside(settings) as db:
        line = Queries(db).find_run(prefix)
        if line is None:
            raise UnknownRun(f"There is no run {prefix}, or more than one begins so; `secondkey status` lists them.")
        begun = time.perf_counter()
        flag = await Control(db).write("undo", run=line.id, by=who(), reason=reason)
        order = f"Undo of run {line.id}"
        code = await await_effect(db, order, f"{order} looked at", begun, lambda: _told(db, line.id, flag) is not None)
        told = _told(db, line.id, flag)
        if told is None:
            return code
        if told.problem:
            sys.stdout.write(f"Nothing was changed. {told.problem}\n")
            return 1
        sys.stdout.write(
            f"Taken back in {count(len(told.files), 'file')}:\n" + "".join(f"  {one}\n" for one in told.files)
        )
        return 0


def _told(db: Database, run: str, flag: int) -> ChangesUndone | None:
    events = db.read(lambda conn: read_events(conn, run))
    return next((one.event for one in events if isinstance(one.event, ChangesUndone) and one.event.flag == flag), None)

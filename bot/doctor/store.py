"""The database: readable, whole, of this release, its chains unbroken, and who works on it now."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp

from agent.errors import ConfigurationError
from agent.ports import Clock
from bot.config import Settings
from bot.doctor.finding import Finding, broken, mend, unknown, well
from bot.words import count
from storage.audit import verify_connection
from storage.database import read_only
from storage.schema import is_current
from storage.upgrade import missing

_QUICK_S = 20.0
_READY_S = 3.0
_MOST_EVENTS = 200_000
"""More events than that are left to `secondkey audit verify`, which may take its time."""


async def look_at_database(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Look at the file, and at the server that works on it, if one does."""
    path = settings.database
    if settings.kill_file.exists():
        said = f"The file {settings.kill_file} stands there, so nothing starts."
        kill = [mend("stop", said, "Remove it when work may go on.")]
    else:
        kill = [well("stop", "No KILL file stands in the way.")]
    if not path.is_file():
        return iter((*kill, well("database", f"{path} is not there yet; `serve` makes it.")))
    found, holder = await asyncio.to_thread(_read, settings, clock)
    server = [await _server(settings, holder)] if holder else [well("server", "No server drives runs at the moment.")]
    return iter((*kill, *found, *server))


def _read(settings: Settings, clock: Clock) -> tuple[list[Finding], str]:
    path = settings.database
    try:
        with closing(read_only(path)) as conn:
            found = [_whole(conn, clock)]
            if found[0].level == "broken":
                return found, ""
            if not is_current(conn):
                return [*found, _outdated(path)], ""
            found += [well("schema", "It has this release's schema."), _chains(conn)]
            now = clock.transport()
            row = conn.execute("SELECT holder FROM lease WHERE name = 'driver' AND expires_at > ?", (now,)).fetchone()
            return found, str(row[0]) if row else ""
    except sqlite3.Error as error:
        fix = "Check the file's rights and disk; else restore a backup (`secondkey restore`)."
        return [broken("database", f"{path} cannot be read: {error}.", fix)], ""


def _outdated(path: Path) -> Finding:
    """What `serve` makes of a schema that is not this release's."""
    try:
        said = f"The database is of an earlier release: {count(len(missing(path)), 'migration')} to apply."
    except ConfigurationError as error:
        return broken("schema", str(error), error.fix)
    return mend("schema", said, "`serve` brings it up to date and keeps a copy; so does `secondkey migrate`.")


def _whole(conn: sqlite3.Connection, clock: Clock) -> Finding:
    """SQLite's own quick check, ended when it takes too long."""
    until = clock.monotonic() + _QUICK_S
    conn.set_progress_handler(lambda: int(clock.monotonic() > until), 100_000)
    try:
        said = str(conn.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "interrupt" not in str(error):
            raise
        return unknown(
            "database", f"SQLite's quick check did not end within {_QUICK_S:g} s.", "Run it at a quiet hour."
        )
    finally:
        conn.set_progress_handler(None, 0)
    if said != "ok":
        fix = "Stop the server, keep the file, and restore a backup (`secondkey restore`)."
        return broken("database", f"SQLite finds damage: {said[:200]}", fix)
    return well("database", "SQLite's quick check finds it whole.")


def _chains(conn: sqlite3.Connection) -> Finding:
    (events,) = conn.execute("SELECT count(*) FROM events").fetchone()
    if events > _MOST_EVENTS:
        text = f"The journal has {count(events, 'event')}, too many for a quick look."
        return unknown("journal", text, "`secondkey audit verify` walks all of it.")
    conn.execute("BEGIN")
    verdict = verify_connection(conn)
    if verdict.ok:
        return well("journal", f"Every chain verifies: {count(verdict.runs, 'run')}, {count(verdict.events, 'event')}.")
    where = f"run {verdict.run}, row {verdict.seq}" if verdict.run else "the chain over the heads"
    said = f"The journal was changed: {where}: {verdict.problem}."
    return broken("journal", said, "`secondkey audit verify` names every such row; ask who could write the file.")


async def _server(settings: Settings, holder: str) -> Finding:
    """What the server that holds the lease says of itself."""
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  # read, not listened on
    url = f"http://{host}:{settings.port}/readyz"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_READY_S)) as session,
            session.get(url) as answer,
        ):
            body = await answer.json(content_type=None)
            parts: dict[str, str] = {str(name): str(said) for name, said in body["parts"].items()}
            warnings: dict[str, str] = {str(name): str(said) for name, said in body.get("warnings", {}).items()}
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError):
        text = f"A server ({holder}) drives runs, and does not answer at {url}."
        return unknown("server", text, "Name its port with --port, if it is another one.")
    bad = [f"{name}: {said}" for name, said in (parts | warnings).items() if said != "ok"]
    if bad:
        return mend(
            "server", f"A server ({holder}) drives runs and says: {'; '.join(bad)[:500]}.", "Mend what it names."
        )
    return well("server", f"A server ({holder}) drives runs, and is ready.")

"""`secondkey audit verify`, `export` and `retain`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sqlite3
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from agent.clock import SystemClock
from agent.errors import ConfigurationError, UnknownRun
from bot.config import Settings
from bot.words import count
from storage.audit import Verdict, verify_file
from storage.database import Database, read_only
from storage.export import Selection, export_csv, export_jsonl
from storage.retention import Retained, Retention

HEADS, PUBLIC = "audit-heads.jsonl", "audit.pub"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `export` was asked for, as it was typed."""

    format: str = "jsonl"
    since: str = ""
    until: str = ""
    run: str = ""
    principal: str = ""
    output: Path | None = None


def verify(database: Path, heads: Path | None, public_key: Path | None, *, as_json: bool = False) -> int:
    """Print the verdict; 0 when everything verifies, 1 when something was changed. Raises ConfigurationError."""
    _must_be_there(database)
    if heads is None and database.with_name(HEADS).exists():
        heads = database.with_name(HEADS)
    if heads is not None and public_key is None:
        public_key = next(
            (path for path in (heads.with_name(PUBLIC), database.with_name(PUBLIC)) if path.exists()), None
        )
        if public_key is None:
            raise ConfigurationError(f"There is no {PUBLIC} beside {heads}.", fix="Name it with --public-key.")
    if public_key is None and database.with_name(PUBLIC).exists():
        public_key = database.with_name(PUBLIC)  # receipts are checked without the heads too
    try:
        verdict = verify_file(database, heads, public_key)
    except sqlite3.Error as error:
        raise _unusable(database, error) from error
    if as_json:
        json.dump(asdict(verdict), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n".join(_told(verdict)) + "\n")
    return 0 if verdict.ok else 1


def _told(verdict: Verdict) -> Iterator[str]:
    size = f"{count(verdict.runs, 'run')}, {count(verdict.events, 'event')}, {count(verdict.heads, 'chained head')}"
    if verdict.ok:
        yield f"The journal verifies: {size}; payloads dropped in {count(verdict.dropped, 'run')}."
    else:
        yield f"THE JOURNAL WAS CHANGED ({size}). The first bad row:"
        for finding in verdict.findings[:_SHOWN]:
            place = f"run {finding.run}, row {finding.seq}" if finding.run else "chain over the heads"
            yield _plain(f"  {place}: {finding.why}: {finding.problem}")
        if len(verdict.findings) > _SHOWN:
            yield f"  and {len(verdict.findings) - _SHOWN} more"
    if verdict.signed is not None:
        signed = verdict.signed
        at = _moment(signed.at) if signed.lines else "never"
        yield f"Signed heads: {count(signed.lines, 'line')} up to row {signed.n}, the newest {at}, key {signed.key}."
        if signed.unreadable:
            yield f"  {count(signed.unreadable, 'line')} of them cannot be read, as after a crash; the rest counts."
    if verdict.receipts is not None:
        told = verdict.receipts
        without = f"; {count(told.unsigned, 'one is', 'are')} older than receipts" if told.unsigned else ""
        held = f"{count(told.decisions, 'decision')} and {count(told.votes, 'vote')}"
        if told.takeovers:
            held = f"{held.replace(' and ', ', ')} and {count(told.takeovers, 'ending')} of takeovers"
        yield f"Receipts: {held} hold, key {told.key}{without}."
    yield "What this does not find:"
    for sentence in verdict.cannot_find:
        yield f"  - {sentence}"


def export(database: Path, wanted: Wanted) -> int:
    """Write the records that are wanted. Raises ConfigurationError or UnknownRun."""
    _must_be_there(database)
    since, until = moment_of(wanted.since, float("-inf")), moment_of(wanted.until, float("inf"))
    write = export_csv if wanted.format == "csv" else export_jsonl
    try:
        with closing(read_only(database)) as conn:
            conn.execute("BEGIN")
            run = _one(conn, wanted.run) if wanted.run else ""
            selection = Selection(since=since, until=until, run=run, principal=wanted.principal)
            with _output(wanted.output) as out:
                written = write(conn, selection, out)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except sqlite3.Error as error:
        raise _unusable(database, error) from error
    if wanted.output is not None:
        sys.stdout.write(f"Wrote {count(written, 'record')} to {wanted.output}.\n")
    return 0


def retain(settings: Settings, days: float | None, *, dry_run: bool) -> int:
    """Drop payloads that are older than `days`, or than the setting says. Raises ConfigurationError."""
    if days is not None and not days > 0:  # which NaN is not, either
        raise ConfigurationError("--days must be more than 0.", fix="Name a number of days.")
    _must_be_there(settings.database)
    return asyncio.run(_retain(settings, days or settings.retention_days, dry_run=dry_run))


async def _retain(settings: Settings, days: float, *, dry_run: bool) -> int:
    db = await Database.join(settings.database, clock=SystemClock(settings.clock_rate))
    try:
        retention = Retention(db, days=days)
        if dry_run:
            due = await retention.old_runs()
            done, said = Retained(len(due), sum(length for _, length in due)), "Would drop"
        else:
            done, said = await retention.drop(), "Dropped"
    finally:
        await db.close()
    bodies = "" if dry_run else f" and {count(done.bodies, 'body', 'bodies')} that nothing else names"
    what = f"the payloads of {count(done.runs, 'run')} ({count(done.events, 'event')}){bodies}"
    sys.stdout.write(f"{said} {what}: what ended more than {days:g} days ago. Hashes stay.\n")
    return 0


def _must_be_there(database: Path) -> None:
    if not database.is_file():
        raise ConfigurationError(
            f"There is no database at {database}.", fix="Name it with --config or --database, or set `data`."
        )


def _unusable(database: Path, error: sqlite3.Error) -> ConfigurationError:
    return ConfigurationError(f"{database} cannot be used: {error}.", fix="Name a database of Second Key.")


def _one(conn: sqlite3.Connection, prefix: str) -> str:
    found = conn.execute("SELECT id FROM runs WHERE substr(id, 1, length(:p)) = :p LIMIT 2", {"p": prefix}).fetchall()
    if len(found) != 1:
        raise UnknownRun(
            f"More than one run begins with {prefix}; type more of it." if found else f"There is no run {prefix}."
        )
    return found[0][0]


def moment_of(text: str, otherwise: float) -> float:
    """Seconds of an ISO moment (UTC without a zone), `otherwise` for an empty one; raises ConfigurationError."""
    if not text:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no time.", fix="Write it as 2026-11-23 or 2026-11-23T14:00:00Z."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@contextmanager
def _output(path: Path | None) -> Generator[TextIO]:
    """Standard output, or a file that only its owner may read: payloads are what people wrote."""
    if path is None:
        out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="backslashreplace", newline="")
        try:
            yield out
            out.flush()
        finally:
            out.detach()
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.", fix="Name another file.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)

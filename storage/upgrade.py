"""From an earlier release's database to this one's: checked before and after, and what stood there is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigurationError
from storage.archive import DATABASE, alone, check, copy_database, told
from storage.audit import Verdict
from storage.database import read_only
from storage.schema import applied, migrate
from storage.tables import STATEMENTS


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an earlier release's database needs; `verdict` is of before it was touched."""

    database: Path
    todo: tuple[str, ...]
    verdict: Verdict

    @property
    def copy(self) -> Path:
        """Where the database of before stands afterwards."""
        return self.database.with_name(f"{DATABASE}.before-{self.todo[-1]}")


def missing(database: Path) -> tuple[str, ...]:
    """The migrations that a database lacks, oldest first; raises ConfigurationError when it is not one of ours.

    An empty file lacks nothing: it is made, not brought up to date.
    """
    try:
        with closing(read_only(database)) as conn:
            there = applied(conn)
            if not there and conn.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                return ()
    except sqlite3.Error as error:
        raise ConfigurationError(f"{database} cannot be read: {error}.", fix="Name a database.") from error
    unknown = [name for name in there if name not in STATEMENTS]
    if unknown or not there:
        what = "a newer release" if unknown else "something else than Second Key"
        raise ConfigurationError(f"{database} is of {what}.", fix="Use the release that wrote it.")
    return tuple(name for name in STATEMENTS if name not in there)


def planned(database: Path) -> Upgrade | None:
    """What is to be done, once the database was checked; None when nothing is. Raises ConfigurationError."""
    todo = missing(database)
    if not todo:
        return None
    verdict = check(database.parent)
    if not verdict.ok:
        raise ConfigurationError(
            f"The database does not verify ({told(verdict)}).", fix="Look at `secondkey audit verify`."
        )
    return Upgrade(database, todo, verdict)


def carry_out(upgrade: Upgrade) -> Verdict:
    """Keep a copy, migrate, check again; to be done while nobody drives the runs. Raises ConfigurationError."""
    database, before = upgrade.database, upgrade.verdict
    try:
        upgrade.copy.unlink(missing_ok=True)
        copy_database(database, upgrade.copy)
        migrate(database)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"The migration failed and changed nothing: {error}.", fix="Look at the disk and try again."
        ) from error
    after = check(database.parent)
    if not after.ok or (after.runs, after.events) != (before.runs, before.events):
        raise ConfigurationError(
            f"After the migration it does not verify ({told(after)}).", fix=f"Put {upgrade.copy} back in its place."
        )
    return after


def upgraded(database: Path, now: Callable[[], float], *, patience_s: float = 0.0) -> Upgrade | None:
    """Bring a database to this release before it is opened; None when it is new or current. Blocks.

    Waits so long (real seconds) for a process that still drives its runs, such as one that has just been killed.
    Raises ConfigurationError.
    """
    if not database.is_file() or not missing(database):
        return None
    try:
        with alone(database, now, "an upgrade", patience_s=patience_s):
            upgrade = planned(database)  # another process may have done it meanwhile
            if upgrade is not None:
                carry_out(upgrade)
            return upgrade
    except sqlite3.Error as error:
        fix = "Look at its rights and its disk."
        raise ConfigurationError(f"{database} cannot be used: {error}.", fix=fix) from error

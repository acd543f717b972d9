"""`secondkey backup`, `restore` and `migrate`: each checks before and after, and nothing that was there is lost."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from agent.clock import SystemClock
from agent.errors import ConfigurationError
from bot.cli_control import who
from bot.config import Settings
from bot.words import count
from storage.archive import (
    DATABASE,
    HEADS,
    Inside,
    alone,
    check,
    migrations_of,
    opened,
    save,
    told,
)
from storage.audit import Verdict, verify_file
from storage.keys import PRIVATE, PUBLIC, fingerprint, load_or_make, sync_folder
from storage.restored import hold_back
from storage.tables import STATEMENTS
from storage.upgrade import planned, upgraded

_BESIDE = ("", "-wal", "-shm", "-journal")


def backup(settings: Settings, target: Path, *, with_key: bool, force: bool) -> int:
    """Write one file beside a running server; raises ConfigurationError."""
    _must_be_there(settings.database)
    if target.exists() and not force:
        raise ConfigurationError(f"{target} is there already.", fix="Name another file, or overwrite with --force.")
    if not target.absolute().parent.is_dir():
        raise ConfigurationError(f"There is no folder {target.absolute().parent}.", fix="Make it, or name another one.")
    try:
        inside, verdict = save(
            settings.database,
            settings.heads_file,
            target.absolute(),
            at=SystemClock().transport(),
            release=metadata.version("secondkey"),
            with_key=with_key,
        )
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"The backup could not be written: {error}.", fix="Look at the disk.") from error
    size = target.stat().st_size
    _say(f"Wrote {target}: {size:,} bytes, {_of(verdict)}, checked.")
    if inside.key and not inside.has_key:
        _say(f"The private key {PRIVATE} (fingerprint {inside.key}) is not in it: keep a copy of it apart.")
    elif inside.has_key:
        _say("It holds the private key of the audit: whoever reads it can sign in its place.")
    _say("Workspaces, the configuration and the secrets of its environment are not in it.")
    return 0


def restore(settings: Settings, archive: Path, *, force: bool, new_key: bool) -> int:
    """Put a backup's files into the data folder; what stood there is kept. Raises ConfigurationError."""
    if not archive.is_file():
        raise ConfigurationError(f"There is no file {archive}.", fix="Name a backup.")
    data = settings.data.absolute()
    if settings.database.exists() and not force:
        raise ConfigurationError(
            f"{settings.database} is there already.",
            fix="Name another folder with `data`, or use --force: what is there is kept aside.",
        )
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _idle(settings, force=force), opened(archive, data) as (found, inside, verdict):
            if not verdict.ok:
                raise ConfigurationError(
                    f"What was saved does not verify ({told(verdict)}).",
                    fix="Take another backup; nothing was changed.",
                )
            _must_be_known(inside)
            clock = SystemClock(settings.clock_rate)
            held = hold_back(found / DATABASE, by=who(), now=clock.now(), transport=clock.transport())
            placing = _Placing(data, inside, keeps_key=_key_fits(data, inside, new_key=new_key))
            after = placing.place(found)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"It could not be restored: {error}.", fix="Look at the disk.") from error
    made = datetime.fromtimestamp(inside.at, tz=UTC)
    _say(f"Restored {archive} of {made:%Y-%m-%d %H:%M:%S} UTC into {data}: {_of(after)}, checked before and after.")
    if placing.aside is not None:
        _say(f"What stood there is in {placing.aside}.")
    if not placing.keeps_key:
        _say(
            f"A new key signs from now on. What was signed before verifies with audit-{inside.key}.pub and "
            f"audit-heads-{inside.key}.jsonl; a yes that was given before counts for nothing, and is asked again."
        )
    if held:
        _say(
            f"{count(held, 'run')} had not ended, and what they did since is not known here: everything is paused, so "
            "that nothing is done twice. `secondkey status` lists them, `secondkey stop RUN` ends one, `secondkey "
            "resume` lets the rest go on."
        )
    if set(inside.migrations) != set(STATEMENTS):
        _say("It is of an earlier release: `secondkey migrate --dry-run` shows what the next start does to it.")
    return 0


def migrate(settings: Settings, *, dry_run: bool) -> int:
    """Bring the database to this release's schema, with a check before and after and a copy kept."""
    _must_be_there(settings.database)
    upgrade = planned(settings.database)
    if upgrade is None:
        if not migrations_of(settings.database):
            raise ConfigurationError(f"{settings.database} is empty.", fix="`secondkey serve` makes it.")
        before = check(settings.database.parent)
        _must_verify(before, "The database", "Look at `secondkey audit verify`.")
        _say(f"Nothing to do: {settings.database} has the schema of this release, and it verifies ({_of(before)}).")
        return 0
    before = upgrade.verdict
    _say(f"{count(len(upgrade.todo), 'migration')} to apply to {settings.database} ({_of(before)}, verified):")
    for name in upgrade.todo:
        _say(f"  {name}: {'; '.join(_summary(statement) for statement in STATEMENTS[name])}")
    if dry_run:
        _say(f"A copy would be kept at {upgrade.copy}. Nothing was changed.")
        return 0
    upgraded(settings.database, SystemClock().transport)
    _say(f"Done, and it verifies ({_of(before)}). The copy from before is {upgrade.copy}; remove it when all is well.")
    return 0


@contextmanager
def _idle(settings: Settings, *, force: bool) -> Generator[None]:
    """Nobody drives the runs there, and nobody begins to; raises ConfigurationError."""
    with ExitStack() as stack:
        if settings.database.is_file():
            try:
                stack.enter_context(alone(settings.database, SystemClock().transport, "a restore or migration"))
            except sqlite3.Error as error:
                if not force:
                    raise ConfigurationError(
                        f"{settings.database} cannot be read: {error}.",
                        fix="Stop every Second Key on this folder, then use --force.",
                    ) from error
        yield


def _key_fits(data: Path, inside: Inside, *, new_key: bool) -> bool:
    """Whether what was signed verifies with the key that will be in the folder; raises ConfigurationError."""
    if inside.has_key or not inside.key:
        return True
    if (data / PRIVATE).is_file():
        there = fingerprint(load_or_make(data).public_key())
        if there == inside.key:
            return True
        what = f"{data / PRIVATE} is another key ({there}) than the one that signed what was saved ({inside.key})."
    else:
        what = f"The key that signed what was saved ({inside.key}) is not in the backup and not in {data}."
    if new_key:
        return False
    raise ConfigurationError(
        what, fix=f"Put that {PRIVATE} into the folder first; if it is lost, go on with a new one by --new-key."
    )


@dataclass(slots=True)
class _Placing:
    """Puts the files of a backup in their places, and back what stood there when that does not verify."""

    data: Path
    inside: Inside
    keeps_key: bool
    aside: Path | None = None

    def place(self, found: Path) -> Verdict:
        """Do it; raises ConfigurationError, OSError or sqlite3.Error, and then everything is as it was."""
        self._put_aside()
        placed: list[Path] = []
        try:
            for name in self.inside.files:
                placed.append(self.data / self._name(name))
                (found / name).replace(placed[-1])
            sync_folder(self.data)
            verdict = self._verify()
            _must_verify(verdict, "What was restored", "Try again; everything is as it was.")
        except BaseException:
            for path in placed:
                path.unlink(missing_ok=True)
            for path in self.aside.iterdir() if self.aside is not None else ():
                path.replace(self.data / path.name)
            raise
        return verdict

    def _name(self, name: str) -> str:
        if self.keeps_key:
            return name
        return {HEADS: f"audit-heads-{self.inside.key}.jsonl", PUBLIC: f"audit-{self.inside.key}.pub"}.get(name, name)

    def _put_aside(self) -> None:
        """Move what stands there into a folder of its own."""
        names = [*(DATABASE + end for end in _BESIDE), HEADS, PUBLIC]
        if self.inside.has_key:
            names.append(PRIVATE)
        there = [self.data / name for name in names if (self.data / name).exists()]
        if not there:
            return
        moment = datetime.fromtimestamp(SystemClock().transport(), tz=UTC)
        self.aside = self.data / f"before-restore-{moment:%Y%m%dT%H%M%S%f}"
        self.aside.mkdir(mode=0o700)
        for path in there:
            path.replace(self.aside / path.name)

    def _verify(self) -> Verdict:
        if self.keeps_key:
            return check(self.data)
        heads, public = self.data / self._name(HEADS), self.data / self._name(PUBLIC)
        return verify_file(self.data / DATABASE, heads if heads.is_file() else None, public)


def _must_be_known(inside: Inside) -> None:
    if any(name not in STATEMENTS for name in inside.migrations):
        raise ConfigurationError(
            f"It was made by a newer release ({inside.release}).", fix="Restore it with that release."
        )


def _must_verify(verdict: Verdict, what: str, fix: str) -> None:
    if not verdict.ok:
        raise ConfigurationError(f"{what} does not verify ({told(verdict)}).", fix=fix)


def _must_be_there(database: Path) -> None:
    if not database.is_file():
        raise ConfigurationError(f"There is no database at {database}.", fix="Set `data`, or name --config.")


def _summary(statement: str) -> str:
    words: Sequence[str] = statement.split()
    return " ".join(words[: 3 if words[0] == "CREATE" else 6]).partition("(")[0].strip()


def _of(verdict: Verdict) -> str:
    return f"{count(verdict.runs, 'run')}, {count(verdict.events, 'event')}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")

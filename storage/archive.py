"""A backup: the database as one snapshot, the signed heads and their public key in a tar file; and back again.

The heads are copied before the database, so that nothing is signed which the copy does not hold. What is taken out of
an archive is named here, not there: a path in it is never followed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from agent.errors import ConfigurationError
from storage.audit import Verdict, verify_file
from storage.database import read_only
from storage.keys import PRIVATE, PUBLIC, fingerprint, load_public, sync_folder
from storage.schema import applied

DATABASE, HEADS, MANIFEST = "secondkey.db", "audit-heads.jsonl", "backup.json"
FORMAT = 1
_MEMBERS = (DATABASE, HEADS, PUBLIC, PRIVATE)
_CHUNK = 1 << 20
_MANIFEST_BYTES = 65_536
_HELD_S = 300.0
_POLL_S = 0.25
_HOLD = """INSERT INTO lease VALUES ('driver', ?, ?, ?, 0) ON CONFLICT DO UPDATE SET token = excluded.token,
  holder = excluded.holder, expires_at = excluded.expires_at"""


@dataclass(frozen=True, slots=True)
class Inside:
    """What an archive holds, by its own words, which were checked against its content."""

    at: float
    """Real time at which it was made, seconds."""
    release: str
    migrations: tuple[str, ...]
    key: str
    """Fingerprint of the key that signed heads and decisions; empty when nothing was signed yet."""
    files: Mapping[str, tuple[int, str]]
    """Name → bytes and SHA-256."""

    @property
    def has_key(self) -> bool:
        """Whether the private key is in it."""
        return PRIVATE in self.files


def save(
    database: Path, heads: Path, target: Path, *, at: float, release: str, with_key: bool = False
) -> tuple[Inside, Verdict]:
    """Write the archive beside a running server; raises ConfigurationError, OSError or sqlite3.Error.

    Nothing stands at `target` before the copy was checked: its pages, and every chain in it.
    """
    folder = database.parent
    with _scratch(target.parent) as scratch:
        for name, source in {HEADS: heads, PUBLIC: folder / PUBLIC, PRIVATE: folder / PRIVATE}.items():
            if source.is_file() and (name != PRIVATE or with_key):
                shutil.copyfile(source, scratch / name)
                (scratch / name).chmod(0o600)
        copy_database(database, scratch / DATABASE)
        verdict = check(scratch)
        if not verdict.ok:
            raise ConfigurationError(
                f"The database does not verify ({told(verdict)}), so it was not saved.",
                fix="Look at `secondkey audit verify`, and keep the data folder as it is.",
            )
        public = scratch / PUBLIC
        inside = Inside(
            at=at,
            release=release,
            migrations=migrations_of(scratch / DATABASE),
            key=fingerprint(load_public(public)) if public.is_file() else "",
            files={name: _measure(scratch / name) for name in _MEMBERS if (scratch / name).is_file()},
        )
        made = scratch / "archive"
        _pack(scratch, made, inside)
        made.replace(target)
        sync_folder(target.parent)
    return inside, verdict


@contextmanager
def opened(archive: Path, within: Path) -> Generator[tuple[Path, Inside, Verdict]]:
    """The archive's files in a folder of their own in `within`, checked; raises ConfigurationError or OSError."""
    with _scratch(within) as scratch:
        inside = _unpack(archive, scratch)
        yield scratch, inside, check(scratch)


def check(folder: Path) -> Verdict:
    """Check every page and every chain of a folder's database; raises ConfigurationError when SQLite finds damage."""
    database, heads, public = folder / DATABASE, folder / HEADS, folder / PUBLIC
    try:
        with closing(read_only(database)) as conn:
            said = [row[0] for row in conn.execute("PRAGMA integrity_check(5)")]
        if said != ["ok"]:
            raise ConfigurationError(f"The database is damaged: {said[0]}.", fix="Take another backup.")
        return verify_file(database, heads if heads.is_file() else None, public if public.is_file() else None)
    except sqlite3.Error as error:
        raise ConfigurationError(f"The database is damaged: {error}.", fix="Take another backup.") from error


def told(verdict: Verdict) -> str:
    """A failed verdict in a few words."""
    place = f"run {verdict.run}, row {verdict.seq}" if verdict.run else "the chain over the heads"
    return f"{place}: {verdict.why}: {verdict.problem}"


def copy_database(source: Path, target: Path) -> None:
    """One consistent snapshot in one file, beside whoever writes; raises sqlite3.Error."""
    with closing(read_only(source)) as conn, closing(sqlite3.connect(target, isolation_level=None)) as other:
        conn.backup(other)  # all pages in one step: a writer goes on in the log meanwhile
        other.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
    target.chmod(0o600)
    _sync(target)


def migrations_of(database: Path) -> tuple[str, ...]:
    """The migrations that were applied to a file, oldest first; raises sqlite3.Error."""
    with closing(read_only(database)) as conn:
        return applied(conn)


@contextmanager
def _scratch(parent: Path) -> Generator[Path]:
    """A folder on the same disk that only its owner may read, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".secondkey-", dir=parent) as folder:
        yield Path(folder)


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _pack(folder: Path, target: Path, inside: Inside) -> None:
    body = {
        "format": FORMAT,
        "at": inside.at,
        "release": inside.release,
        "migrations": list(inside.migrations),
        "key": inside.key,
        "files": {name: {"bytes": size, "sha256": digest} for name, (size, digest) in inside.files.items()},
    }
    text = json.dumps(body, indent=2).encode()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_entry(MANIFEST, len(text), inside.at), io.BytesIO(text))
        for name, (size, _) in inside.files.items():
            with (folder / name).open("rb") as file:
                tar.addfile(_entry(name, size, inside.at), file)
    target.chmod(0o600)
    _sync(target)


def _entry(name: str, size: int, at: float) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, int(at), 0o600
    return entry


def _unpack(archive: Path, folder: Path) -> Inside:
    """Take out what is known by name, and compare it with what the archive says of itself."""
    try:
        with tarfile.open(archive, "r:") as tar:
            inside = _manifest(tar)
            for name, (size, digest) in inside.files.items():
                _take(_inner(tar, name, size), folder / name)
                _must_be(folder / name, (size, digest))
    except (tarfile.TarError, KeyError, ValueError, TypeError, EOFError) as error:
        raise ConfigurationError(f"{archive} is no backup of Second Key.", fix="Name another file.") from error
    return inside


def _inner(tar: tarfile.TarFile, name: str, most: int) -> BinaryIO:
    """A regular file of the archive, of so many bytes at most; raises KeyError."""
    member = tar.getmember(name)
    source = tar.extractfile(member) if member.isreg() and member.size <= most else None
    if source is None:
        raise KeyError(name)
    return cast("BinaryIO", source)


def _must_be(path: Path, measure: tuple[int, str]) -> None:
    if _measure(path) != measure:
        raise ConfigurationError(
            f"The backup was changed or damaged: {path.name} is not what was saved.", fix="Take another backup."
        )


def _manifest(tar: tarfile.TarFile) -> Inside:
    body: dict[str, Any] = json.loads(_inner(tar, MANIFEST, _MANIFEST_BYTES).read())
    if body["format"] != FORMAT:
        raise ConfigurationError(f"The backup has format {body['format']}.", fix="Restore it with a newer release.")
    files = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in body["files"].items()}
    if DATABASE not in files or not set(files) <= set(_MEMBERS):
        raise KeyError(DATABASE)
    steps = tuple(str(name) for name in body["migrations"])
    return Inside(float(body["at"]), str(body["release"]), steps, str(body["key"]), files)


def _take(source: BinaryIO, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def alone(database: Path, now: Callable[[], float], holder: str, *, patience_s: float = 0.0) -> Generator[None]:
    """Hold the lease of a file that is about to be changed, so that no server starts on it meanwhile.

    Waits so long (real seconds) for a process that still holds it, such as one that has just been killed. Then raises
    ConfigurationError while another process drives its runs; sqlite3.Error when the file cannot be used.
    """
    until = now() + patience_s
    while other := _held(database, now(), holder):
        if now() >= until:
            fix = "Stop it first; it lets go within ten seconds."
            raise ConfigurationError(f"{other} drives the runs of {database.parent}.", fix=fix)
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        with closing(sqlite3.connect(database, isolation_level=None)) as conn:
            conn.execute("UPDATE lease SET expires_at = 0 WHERE name = 'driver' AND token = ?", (holder,))


def _held(database: Path, now: float, holder: str) -> str:
    """Take the lease; who has it when somebody else does."""
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        row = conn.execute("SELECT holder FROM lease WHERE name = 'driver' AND expires_at > ?", (now,)).fetchone()
        if row is not None:
            conn.execute("ROLLBACK")
            return str(row[0])
        conn.execute(_HOLD, (holder, holder, now + _HELD_S))
        conn.execute("COMMIT")
        return ""

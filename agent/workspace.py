"""A run's own copy of the project: made on first need, compared with what it was made from, applied back."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.applying import drop_note, latest, put_all, take_back, taken_back, write_note
from agent.domain import canonical
from agent.errors import PreviewMismatch, ToolFailed
from agent.facts.path import is_credentials, is_plain
from agent.tools import bases as limits
from agent.tools.bases import Base, Change, load_bases, read_file, read_now, save_bases
from agent.tools.beneath import Beneath
from agent.tools.diffing import unified
from agent.tools.listing import ignored, list_project
from agent.tools.threads import Stop, to_the_end

ATTACHED = "attachments"
"""Folder of the workspace for what people attach."""
OUTPUTS = "outputs"
"""Folder of the workspace for what tools gave that is too long to be shown whole."""
ATTACHMENTS = 100
"""Files of one name there."""


@dataclass(frozen=True, slots=True)
class Diff:
    """Everything that the run changed; `sha256` covers every path, content and mode before and after."""

    changes: tuple[Change, ...]
    text: str
    sha256: str
    size: int
    """Bytes of the files added and changed."""
    conflicts: tuple[str, ...] = ()
    """Files changed here whose original in the project has moved since they were copied."""
    left_out: tuple[str, ...] = ()
    """Links, devices, what lies in a `.git`, and names that nobody can read, which are never taken over."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, sorted."""
        return tuple(change.path for change in self.changes)


@dataclass(frozen=True, slots=True)
class View:
    """A folder to read from and the files in it that may be read, sorted."""

    folder: Path
    paths: tuple[str, ...]


class Workspace:
    """The copy of one run at `root`: `files/` (all that a sandbox sees), `manifest.json`, later `backup/`."""

    def __init__(self, root: Path, project: Path) -> None:
        self._root, self._project = root, project

    @property
    def files(self) -> Path:
        """The folder with the files themselves."""
        return (self._root / "files").resolve()

    @property
    def exists(self) -> bool:
        """Whether the copy was made already."""
        return (self._root / "manifest.json").is_file()

    async def ensure(self) -> Path:
        """Make the copy if it is not there; returns `files`. Raises ToolFailed."""
        await asyncio.to_thread(self._make)
        return self.files

    async def view(self) -> View:
        """The run's copy if it has one, else the project itself; raises ToolFailed."""
        return await asyncio.to_thread(self._view)

    async def diff(self) -> Diff:
        """What differs from what was copied; raises ToolFailed when it is over 256 MiB."""
        return await asyncio.to_thread(self._diff)

    async def attach(self, name: str, data: bytes) -> str:
        """Put a file that a person attached into `attachments/`, never over another one; returns its path.

        It is no part of the project, so no diff ever holds it. The same file once more is the same path. Raises
        ToolFailed.
        """
        return await asyncio.to_thread(self._attach, ATTACHED, name, data)

    async def keep(self, name: str, data: bytes) -> str:
        """Put a tool's whole output into `outputs/`, as `attach` does; returns its path. Raises ToolFailed."""
        return await asyncio.to_thread(self._attach, OUTPUTS, name, data)

    async def apply(self, sha256: str) -> Path:
        """Put exactly the diff with this hash into the project; returns the folder with what was there before.

        Raises PreviewMismatch when the diff is another one by now or the project has moved, ToolFailed when a file
        cannot be written; everything written till then is put back.
        """
        return await to_the_end(lambda stop: self._apply(sha256, stop))

    async def take_back(self, order: str) -> tuple[str, ...]:
        """Take back the newest changes that were put into the project; returns the files.

        The same order, a word of letters and digits, is carried out once, however often it is given. Raises
        PreviewMismatch when a file has changed since, ToolFailed when there is nothing to take back or a file cannot be
        written; then everything is as it was.
        """
        return await to_the_end(lambda _: self._take_back(order))

    async def adopt(self) -> None:
        """Make the project itself the workspace, without a copy: for a person's own calls. Raises ToolFailed."""
        await asyncio.to_thread(self._adopt)

    def _adopt(self) -> None:
        try:
            self._root.mkdir(parents=True)
            (self._root / "files").symlink_to(self._project)
            save_bases(self._root / "manifest.json", {})
        except OSError as error:
            raise ToolFailed(f"The workspace cannot be made: {error.strerror}.") from error

    def _make(self) -> None:
        if self.exists:
            return
        paths = list_project(self._project)
        self._root.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=self._root.parent))
        try:
            (making / "files").mkdir()
            bases: dict[str, Base] = {}
            left = limits.MAX_BYTES
            with Beneath(self._project) as project, Beneath(making / "files") as files:
                for path in paths:
                    size, sha256, executable = files.take(project, path, left)
                    left -= size
                    bases[path] = Base(sha256, executable)
                files.settle()
            save_bases(making / "manifest.json", bases)
            making.chmod(0o755)
            try:
                making.rename(self._root)
            except OSError:
                # Another action of the run was first, which is as good.
                if not self.exists:
                    raise
        except OSError as error:
            raise ToolFailed(f"The project cannot be copied: {error.strerror}.") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _attach(self, folder: str, name: str, data: bytes) -> str:
        self._make()
        kept, own = self._attached(), load_bases(self._root / "manifest.json")
        base = Base(hashlib.sha256(data).hexdigest(), executable=False)
        stem, dot, ending = name.rpartition(".") if "." in name[1:] else (name, "", "")
        with Beneath(self.files) as files:
            for number in range(1, ATTACHMENTS + 1):
                path = f"{folder}/{stem}{f'-{number}' if number > 1 else ''}{dot}{ending}"
                if kept.get(path) == base:
                    return path
                if path not in kept and path not in own and _is_free(files, path, data):
                    files.write(path, data)
                    save_bases(self._root / "attachments.json", {**kept, path: base})
                    return path
        raise ToolFailed(f"There are too many attachments with the name {name}.")

    def _attached(self) -> dict[str, Base]:
        file = self._root / "attachments.json"
        return load_bases(file) if file.is_file() else {}

    def _view(self) -> View:
        if not self.exists:
            return View(self._project, list_project(self._project))
        with Beneath(self.files) as files:
            regular = (path for path, entry in files.walk() if stat.S_ISREG(entry.st_mode))
            found = tuple(sorted(path for path in regular if not is_credentials(path) and _is_taken(path)))
        return View(self.files, found)

    def _diff(self) -> Diff:
        if not self.exists:
            return Diff((), "", _hash(()), 0)
        bases = load_bases(self._root / "manifest.json")
        with Beneath(self.files) as files, Beneath(self._project) as project:
            present, left_out = self._present(files, bases)
            present -= self._attached().keys()
            changes: list[Change] = []
            texts: list[str] = []
            conflicts: list[str] = []
            left = limits.MAX_BYTES
            size = 0
            for path in sorted(present | bases.keys()):
                data, after = read_file(files, path, left) if path in present else (b"", None)
                left -= len(data)
                before = bases.get(path)
                if after == before:
                    continue
                old, now = read_now(project, path)
                if now != before:
                    conflicts.append(path)
                size += len(data)
                binary = _is_binary(data) or _is_binary(old)
                kind = "added" if before is None else "removed" if after is None else "changed"
                changes.append(Change(path, kind, before, after, binary))
                modes = (before.executable if before else None, after.executable if after else None)
                texts.append(unified(path, old, data, modes=modes, binary=binary))
        return Diff(tuple(changes), "".join(texts), _hash(changes), size, tuple(conflicts), left_out)

    def _present(self, files: Beneath, bases: dict[str, Base]) -> tuple[set[str], tuple[str, ...]]:
        regular: set[str] = set()
        left_out: list[str] = []
        for path, found in files.walk():
            if stat.S_ISREG(found.st_mode) and _is_taken(path):
                regular.add(path)
            else:
                left_out.append(path)
        return regular - ignored(self._project, sorted(regular - bases.keys())), tuple(sorted(left_out))

    def _apply(self, sha256: str, stop: Stop) -> Path:
        diff = self._diff()
        if diff.sha256 != sha256:
            raise PreviewMismatch
        if diff.conflicts:
            raise PreviewMismatch(
                f"{', '.join(diff.conflicts[:5])} changed in the project meanwhile, so nothing was changed."
            )
        backups = self._root / "backup"
        backups.mkdir(exist_ok=True)
        backup = Path(tempfile.mkdtemp(prefix=f"{sha256[:12]}-", dir=backups))
        bases = load_bases(self._root / "manifest.json")
        write_note(backup, diff.changes)
        try:
            with Beneath(self._project) as project, Beneath(self.files) as files, Beneath(backup) as kept:
                bases = put_all(diff.changes, bases, (files, project, kept), stop)
        except (ToolFailed, PreviewMismatch):
            drop_note(backup)
            raise
        stop.kept = True
        save_bases(self._root / "manifest.json", bases)
        return backup

    def _take_back(self, order: str) -> tuple[str, ...]:
        done = taken_back(self._root / "backup", order)
        if done is not None:
            return done
        backup = latest(self._root / "backup")
        if backup is None:
            raise ToolFailed("There are no changes of this run that could be taken back.")
        bases = load_bases(self._root / "manifest.json")
        with Beneath(self._project) as project:
            done, bases = take_back(backup, bases, project, order)
        save_bases(self._root / "manifest.json", bases)
        return done


def _is_taken(path: str) -> bool:
    return is_plain(path) and not _is_repository(path)


def _is_repository(path: str) -> bool:
    """Whether it lies in git's own folder, in whatever case a file system may read."""
    return any(part.casefold() == ".git" for part in path.split("/"))


def _is_free(files: Beneath, path: str, data: bytes) -> bool:
    """Whether nothing is there, or exactly this: a process that died had written it and not noted it."""
    if files.stat(path) is None:
        return True
    try:
        return files.read(path, len(data)) == data
    except ToolFailed:
        return False


def _is_binary(data: bytes) -> bool:
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _hash(changes: Sequence[Change]) -> str:
    body = [
        [change.path, list(change.before) if change.before else None, list(change.after) if change.after else None]
        for change in changes
    ]
    return hashlib.sha256(canonical(body)).hexdigest()

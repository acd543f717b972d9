"""Where a demonstration works: a data folder of its own, the sample shop, and a copy of the project."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigurationError, ToolFailed
from agent.tools.listing import list_project
from bot.shop import make_shop

RUNBOOKS = Path(__file__).with_name("demo_runbooks.toml")
"""The tasks that fit the sample shop."""
MOST_BYTES = 256 * 1_048_576
_LOCK = "demo.lock"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a demonstration works."""

    data: Path
    origin: Path
    """The project as it was named."""
    project: Path
    """What agents read and change: the copy, or the origin itself."""
    shop: Path

    @property
    def log(self) -> Path:
        """Everything that would be noise in a terminal."""
        return self.data / "secondkey.log"


@contextmanager
def alone(data: Path, *, fresh: bool, tour: bool) -> Generator[None]:
    """Hold the data folder, emptied when `fresh`; raises ConfigurationError when it is another's or in use."""
    lock = data / _LOCK
    held = any(data.iterdir()) if data.is_dir() else False
    if held and not lock.exists():
        raise ConfigurationError(f"{data} is not empty and no demo made it.", fix="Name a new folder with --data.")
    if held and tour and not fresh:
        raise ConfigurationError("The tour begins with untouched files.", fix="Name a new folder with --data, or none.")
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise ConfigurationError(
            f"The data folder {data} cannot be used: {error.strerror}.", fix="Name another one with --data."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"A demo works in {data} already.", fix="End that one, or name another folder with --data."
            ) from error
        if fresh:
            _empty(data)
        (data / ".gitignore").write_text("*\n", encoding="utf-8")
        yield


def _empty(data: Path) -> None:
    for path in data.iterdir():
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def prepare(origin: Path | None, data: Path, *, in_place: bool) -> Place:
    """Make the shop and the copy of the project unless they are there; raises ConfigurationError."""
    origin = (origin or _this_project()).resolve()
    if not origin.is_dir():
        raise ConfigurationError(f"The project {origin} is not a folder.", fix="Name a folder with --project.")
    project = origin if in_place else data / "project"
    if not project.exists():
        _copy(origin, project, data)
    return Place(data=data, origin=origin, project=project, shop=make_shop(data / "shop.db"))


def _this_project() -> Path:
    """The checkout that this code runs from, else the current folder."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() and (checkout / "simulator").is_dir() else Path.cwd()


def _copy(origin: Path, project: Path, data: Path) -> None:
    """Copy what git lists, as a git work tree of its own, so that `git diff` there shows what an agent changed."""
    git = shutil.which("git")
    if git is None and any((folder / ".git").exists() for folder in (origin, *origin.parents, *data.parents)):
        raise ConfigurationError("The project is kept in git, and git is not installed.", fix="apt-get install git")
    try:
        paths = [path for path in list_project(origin) if not (origin / path).is_relative_to(data)]
    except ToolFailed as error:
        raise ConfigurationError(str(error), fix="Name another folder with --project.") from error
    if sum((origin / path).stat().st_size for path in paths) > MOST_BYTES:
        raise ConfigurationError(
            f"{origin} is larger than {MOST_BYTES // 1_048_576} MiB.", fix="Name a smaller folder with --project."
        )
    making = project.with_name(f"{project.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    for path in paths:
        target = making / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin / path, target, follow_symlinks=False)
    if git is not None:
        for words in (("init", "--quiet"), ("add", "--all")):
            environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(data)}
            subprocess.run((git, "-C", str(making), *words), env=environment, capture_output=True, check=True)  # noqa: S603  # fixed words
    making.rename(project)

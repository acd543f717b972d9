"""The Python packages that run_python may import: what is installed in a folder that the operator filled."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from agent.errors import BadArguments, ConfigurationError

MOST = 200
_HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,98}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.+!_-]{1,60}")


@dataclass(frozen=True, slots=True)
class Packages:
    """A set of installed packages; nothing is ever added to it from here."""

    folder: Path
    """What a sandbox binds read-only and Python searches."""
    versions: Mapping[str, str]
    """Version by name, names in their one spelling."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self.versions))

    @property
    def words(self) -> str:
        """Such as `numpy 2.1.0, pandas 2.3.1`."""
        return ", ".join(f"{name} {self.versions[name]}" for name in self.names)

    def check(self, wanted: Sequence[str]) -> None:
        """Raise BadArguments for the first package that is not in the set, with those that are."""
        for name in wanted:
            if spelt(name) not in self.versions:
                raise BadArguments(
                    f"There is no package {name[:60]!r} here, and nothing can be installed. There are: {self.words}."
                )


def spelt(name: str) -> str:
    """A package's name in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def load_packages(folder: Path) -> Packages:
    """Read what is installed in a folder (`pip install --target`) or a virtual environment; raises ConfigurationError.

    Blocks.
    """
    place = folder.resolve()
    if (place / "pyvenv.cfg").is_file():
        place = place / "lib" / _HERE / "site-packages"
        if not place.is_dir():
            raise ConfigurationError(
                f"The environment {folder} of `python_packages` is for another Python than this one, {_HERE}.",
                fix=f"Make it anew with {_HERE} -m venv.",
            )
    if not place.is_dir():
        raise ConfigurationError(f"`python_packages` is no folder: {folder}.", fix=_FIX)
    found: dict[str, str] = {}
    for one in metadata.distributions(path=[str(place)]):
        name, version = spelt(one.name or ""), one.version or ""
        if _NAME.fullmatch(name) and _VERSION.fullmatch(version):
            found.setdefault(name, version)
    if not found:
        raise ConfigurationError(f"Nothing is installed in {folder} of `python_packages`.", fix=_FIX)
    if len(found) > MOST:
        raise ConfigurationError(
            f"More than {MOST} packages are installed in {folder} of `python_packages`.",
            fix="Name a folder with what agents need and no more.",
        )
    return Packages(place, MappingProxyType(found))


_FIX = "Fill it from a lock file: pip install --require-hashes --target FOLDER -r requirements.txt."

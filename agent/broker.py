"""The secrets broker: agents write `secret:NAME`, the value joins at the edge, after the gate, for one place only."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import BadArguments, ConfigurationError, SecretNotAllowed
from agent.tools.egress import read_url

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
#: A program that speaks MCP, as `[mcp.NAME]` declares it.
_SERVER = re.compile(r"mcp:[a-z][a-z0-9-]{0,19}")
_REFERENCE = re.compile(r"\bsecret:([A-Z][A-Z0-9_]{0,63})")
_COMMAND_TIMEOUT_S = 10.0
_MOST_BYTES = 65_536
#: A shorter value could not be kept out of sight: it would stand in half of all texts.
_SHORTEST = 8
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Source(BaseModel):
    """Where one secret comes from and where it may go, as `[secrets.NAME]` says it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    origin: str = Field(alias="from", pattern=r"^(?:env|file|command):.")
    """`env:VARIABLE`, `file:/path` or `command:words`."""
    hosts: tuple[str, ...] = ()
    """Origins to which it may be sent, such as `https://api.example.com`; `mcp:NAME` for an MCP server's program."""
    databases: tuple[str, ...] = ()
    """Names of the databases whose password it is."""

    @property
    def places(self) -> tuple[str, ...]:
        """Everything that it is bound to, as tools name it."""
        return (*self.hosts, *(f"database:{name}" for name in self.databases))


class Broker:
    """Holds the values. Nothing but `fill` gives one out; `known` is for keeping them out of sight."""

    def __init__(
        self, sources: Mapping[str, Mapping[str, Any]] = _NOTHING, environment: Mapping[str, str] = _NOTHING
    ) -> None:
        """Read every value once, so that it is known what to keep out of sight. Blocks; raises ConfigurationError."""
        self._environment = environment
        self._sources: dict[str, Source] = {}
        self._values: dict[str, str] = {}
        self._earlier: dict[str, str] = {}
        for name, given in sources.items():
            self._sources[name] = _source(name, given)
            self._values[name] = self._read(name)

    @property
    def known(self) -> Mapping[str, str]:
        """Name to value of every secret that is or was in use, for `find_secret` and `redact`."""
        return {**self._values, **self._earlier}

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._sources))

    def for_place(self, place: str) -> tuple[str, ...]:
        """Names of the secrets that may be sent to an origin, sorted."""
        return tuple(name for name in self.names if place in self._sources[name].places)

    def check(self, text: str, place: str) -> tuple[str, ...]:
        """The secrets that a text refers to; raises SecretNotAllowed when one may not go to this origin."""
        names = tuple(dict.fromkeys(_REFERENCE.findall(text)))
        for name in names:
            source = self._sources.get(name)
            if source is None:
                raise SecretNotAllowed(f"There is no secret called {name}.")
            if place not in source.places:
                raise SecretNotAllowed(f"The secret {name} is not meant for {place}.")
        return names

    def fill(self, text: str, place: str, escape: Callable[[str], str] = str) -> str:
        """The text with every reference replaced by its value, for this origin; raises SecretNotAllowed. Blocks.

        A value in a file is read anew, so that it can be changed while everything runs.
        """
        for name in self.check(text, place):
            if self._sources[name].origin.startswith("file:"):
                self._renew(name)
        return _REFERENCE.sub(lambda found: escape(self._values[found[1]]), text)

    def _renew(self, name: str) -> None:
        try:
            value = self._read(name)
        except ConfigurationError as error:
            raise SecretNotAllowed(f"The secret {name} cannot be read at the moment.") from error
        if value != self._values[name]:
            self._earlier[f"{name} (earlier {len(self._earlier) + 1})"] = self._values[name]
            self._values[name] = value

    def _read(self, name: str) -> str:
        kind, _, rest = self._sources[name].origin.partition(":")
        match kind:
            case "env":
                value = self._environment.get(rest, "")
            case "file":
                value = _from_file(name, Path(rest))
            case _:
                value = _from_command(name, rest, self._environment)
        value = value.removesuffix("\n").removesuffix("\r")
        if len(value) < _SHORTEST or "\0" in value or "\n" in value:
            what = "is not set" if not value else "is no single line of eight characters or more"
            raise ConfigurationError(f"The secret {name} {what}.", fix=f"Mend what {kind}:… of [secrets.{name}] gives.")
        return value


def references(text: str) -> tuple[str, ...]:
    """Names of the secrets that a text refers to."""
    return tuple(dict.fromkeys(_REFERENCE.findall(text)))


def _source(name: str, given: Mapping[str, Any]) -> Source:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"A secret cannot be called {name!r}.", fix="Write its name in capitals, such as API_TOKEN."
        )
    try:
        source = Source.model_validate(dict(given))
        hosts = tuple(host if _SERVER.fullmatch(host) else read_url(host).origin for host in source.hosts)
    except (ValidationError, BadArguments) as error:
        raise ConfigurationError(
            f"[secrets.{name}] is not usable.",
            fix="Give it `from` (env:NAME, file:/path or command:words), and `hosts` like https://host or `databases`.",
        ) from error
    return source.model_copy(update={"hosts": hosts})


def _from_file(name: str, path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_mode & stat.S_IROTH:
                raise ConfigurationError(
                    f"The file of the secret {name} is readable for everybody, or no file.", fix=f"chmod 600 {path}"
                )
            return file.read(_MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The secret {name} cannot be read.", fix=f"Put it into {path}.") from error


def _from_command(name: str, text: str, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own words, without a shell
            shlex.split(text),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=True,
        )
        return done.stdout[:_MOST_BYTES].decode()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # What the command says may hold the value, so it is not repeated.
        raise ConfigurationError(
            f"The command of the secret {name} did not give it ({type(error).__name__}).",
            fix=f"Run what [secrets.{name}] names by hand.",
        ) from error

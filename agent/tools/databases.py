"""The databases that query_sql may reach: files of SQLite, and PostgreSQL servers whose password the broker holds."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.broker import Broker
from agent.errors import ConfigurationError, SecretNotAllowed
from agent.facts.sql import Dialect

_REFERENCE = re.compile(r"secret:[A-Z][A-Z0-9_]{0,63}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_SCHEMES = frozenset({"postgresql", "postgres"})
#: What an address may say besides the place; others could switch off what holds a session in.
_OPTIONS = frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey"})
_LOCAL_NAMES = frozenset({"localhost"})
_PORT = 5432
SPOKEN: Final[Mapping[Dialect, str]] = MappingProxyType({"sqlite": "SQLite", "postgres": "PostgreSQL"})
"""A dialect as people and models call it."""


@dataclass(frozen=True, slots=True)
class Database:
    """A named SQLite file that query_sql may reach."""

    name: str
    path: Path
    writable: bool = True

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it speaks."""
        return "sqlite"


@dataclass(frozen=True, slots=True)
class Server:
    """A named PostgreSQL database that query_sql may reach; where it is, and never its password."""

    name: str
    place: Mapping[str, str]
    """What libpq is told: host, port, user, dbname and what concerns TLS."""
    password: str = ""
    """Such as `secret:SHOP_PASSWORD`; the broker puts the value in when a connection is made."""
    writable: bool = True

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it speaks."""
        return "postgres"

    @property
    def bound(self) -> str:
        """The place to which the broker binds its password."""
        return bound_place(self.name)


NamedDatabase = Database | Server


class _Given(BaseModel):
    """A table `[databases.NAME]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    path: Path | None = None
    password: str = ""
    writable: bool = True


def bound_place(name: str) -> str:
    """How a secret's `databases` and a connection name the same database."""
    return f"database:{name}"


def named_databases(
    given: Mapping[str, Path | Mapping[str, Any]], broker: Broker, *, has_driver: bool | None = None
) -> dict[str, NamedDatabase]:
    """The databases that the configuration names; raises ConfigurationError with the fix.

    `has_driver` says whether the extra `postgres` is installed; looked up when it is None.
    """
    found: dict[str, NamedDatabase] = {}
    for name, item in given.items():
        found[name] = Database(name, item) if isinstance(item, Path) else _from_table(name, item, broker)
    driver = importlib.util.find_spec("psycopg") is not None if has_driver is None else has_driver
    servers = [name for name, one in found.items() if isinstance(one, Server)]
    if servers and not driver:
        raise ConfigurationError(
            f"The database {servers[0]!r} is a PostgreSQL one, and its driver is not installed.",
            fix="Install the extra: pip install 'secondkey[postgres]'.",
        )
    return found


def dialects_of(given: Mapping[str, Path | Mapping[str, Any]]) -> dict[str, Dialect]:
    """Whose SQL each configured database speaks, by its settings alone: without a secret or a driver."""
    return {
        name: "sqlite" if isinstance(item, Path) or not item.get("url") else "postgres" for name, item in given.items()
    }


def _from_table(name: str, table: Mapping[str, Any], broker: Broker) -> NamedDatabase:
    try:
        given = _Given.model_validate(dict(table))
    except ValidationError as error:
        # The words of the error would repeat what was given, and that may be a password.
        raise _unusable(name, "has a setting that is unknown or of the wrong kind") from error
    if given.path is not None and not given.url and not given.password:
        return Database(name, given.path, writable=given.writable)
    if given.path is not None or not given.url:
        raise _unusable(name, "needs either `path` or `url`")
    if not _NAME.fullmatch(name):
        raise _unusable(name, "needs a name of letters, digits, - and _")
    server = Server(name, _place(name, given.url), given.password, given.writable)
    if given.password:
        if not _REFERENCE.fullmatch(given.password):
            raise _unusable(name, "holds a password")
        try:
            broker.check(given.password, server.bound)
        except SecretNotAllowed as error:
            secret = given.password.removeprefix("secret:")
            raise ConfigurationError(
                f"The secret {secret} is not known, or not meant for the database {name!r}.",
                fix=f'Write [secrets.{secret}] with `from` and databases = ["{name}"].',
            ) from error
    return server


def _place(name: str, url: str) -> Mapping[str, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORT
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _unusable(name, "has an address that cannot be read") from error
    if parts.password is not None:
        raise _unusable(name, "holds a password")
    if parts.scheme not in _SCHEMES or parts.fragment or "," in parts.netloc or "\0" in unquote(url):
        raise _unusable(name, "has an address that is none of PostgreSQL")
    if unknown := [key for key, _ in options if key not in _OPTIONS]:
        raise _unusable(name, f"has an address with {unknown[0][:40]!r}, which is not possible here")
    told = dict(options)
    host = unquote(host) or told.get("host", "")
    user, dbname = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    if not host or not user or not dbname:
        raise _unusable(name, "needs a host, a user and a database in its address")
    place = {**told, "host": host, "port": str(port), "user": user, "dbname": dbname}
    if "sslmode" not in place:
        place |= {"sslmode": "prefer"} if _is_local(host) else {"sslmode": "verify-full"}
    if place["sslmode"] == "verify-full":
        place.setdefault("sslrootcert", "system")
    return MappingProxyType(place)


def _is_local(host: str) -> bool:
    if host.startswith("/") or host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unusable(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"[databases.{name}] {why}.",
        fix='Write url = "postgresql://user@host:5432/database" and password = "secret:NAME", or a path to a file.',
    )

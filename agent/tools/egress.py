"""Where http_request may go: an exact list of origins and methods. Empty means nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import BadArguments, ConfigurationError, HostNotAllowed

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_URL = 4_096
_DEFAULT_PORTS: Mapping[str, int] = MappingProxyType({"http": 80, "https": 443})
_URL = re.compile(r"(?P<scheme>https?)://(?P<place>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?", re.IGNORECASE)
_SIGNS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*")
_ESCAPES = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: What some resolvers read as a number: 127.1, 0x7f.1, 2130706433.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
#: Some servers cut what follows a semicolon off each part of a path, and some decode twice.
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|;|%3b|$)", re.IGNORECASE)
_HIDDEN_SLASH = re.compile(r"%(?:25)*(?:2f|5c|00)|%25(?:25)*2e", re.IGNORECASE)
_MOST_NAME, _MOST_PORT = 253, 65_535


@dataclass(frozen=True, slots=True)
class Url:
    """A web address in its one spelling."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    """With its question mark; empty when there is none."""

    @property
    def origin(self) -> str:
        """Such as `https://api.example.com`, with the port only when it is not the scheme's own."""
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}{self.query}"


def read_url(text: str) -> Url:
    """Take an address apart; raises BadArguments for everything that two readers could read in two ways."""
    if len(text) > MAX_URL:
        raise BadArguments(f"The address is longer than {MAX_URL} characters.")
    text = text.partition("#")[0]
    found = _URL.fullmatch(text)
    if found is None:
        raise BadArguments("The address must begin with https:// or http://.")
    if not _SIGNS.fullmatch(text) or _ESCAPES.search(text):
        raise BadArguments(
            "The address has a sign that no address has; write it as % and two digits, and a host in a-z."
        )
    place, path = found["place"].lower(), found["path"] or "/"
    if "@" in place:
        raise BadArguments("The address must hold no user or password.")
    name, colon, port = place.partition(":")
    if colon and not port.isdigit():
        raise BadArguments("The address has a port that is no number.")
    if len(name) > _MOST_NAME or not _NAME.fullmatch(name) or _NUMERIC.fullmatch(name):
        raise BadArguments("The address must name its host in plain letters: no numbers for an address, no brackets.")
    if _DOTS.search(path) or _HIDDEN_SLASH.search(path):
        raise BadArguments("The address has a path that leads back, or a hidden slash.")
    scheme = found["scheme"].lower()
    number = int(port) if colon else _DEFAULT_PORTS[scheme]
    if not 0 < number <= _MOST_PORT:
        raise BadArguments("The address has a port that does not exist.")
    return Url(scheme, name, number, path, found["query"] or "")


class Allowed(BaseModel):
    """What may be done at one origin, as `[egress."https://api.example.com"]` says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[str, ...] = Field(default=("GET", "HEAD"))
    private: bool = False
    """Its name may lead to this machine or the networks behind it; never to a cloud's metadata service."""


class Egress:
    """The list of origins; nothing else is reached."""

    def __init__(self, origins: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Raises ConfigurationError for an origin or a method that is none."""
        found: dict[str, Allowed] = {}
        for origin, given in (origins or {}).items():
            try:
                url, allowed = read_url(origin), Allowed.model_validate(dict(given))
            except (BadArguments, ValidationError) as error:
                raise ConfigurationError(
                    f"The origin {origin!r} of [egress] is not usable: {error}.", fix="Write it like https://host."
                ) from error
            unknown = [name for name in allowed.methods if name not in METHODS]
            if url.path != "/" or url.query or unknown:
                raise ConfigurationError(
                    f"The origin {origin!r} of [egress] has {'methods that are unknown' if unknown else 'a path'}.",
                    fix=f"Name scheme, host and port only, and methods among {', '.join(METHODS)}.",
                )
            found[url.origin] = allowed
        self._origins: Mapping[str, Allowed] = MappingProxyType(found)

    def __bool__(self) -> bool:
        return bool(self._origins)

    @property
    def origins(self) -> tuple[str, ...]:
        """Where something may be reached, sorted."""
        return tuple(sorted(self._origins))

    def words(self, secrets: Sequence[str], origin: str) -> str:
        """One origin for a model, such as `GET at https://api.example.com (secrets: API_TOKEN)`."""
        methods = ", ".join(self._origins[origin].methods)
        return f"{methods} at {origin}" + (f" (secrets: {', '.join(secrets)})" if secrets else "")

    def allowed(self, method: str, url: Url) -> Allowed:
        """What the list says of a request; raises HostNotAllowed when it does not stand there."""
        allowed = self._origins.get(url.origin)
        if allowed is None:
            raise HostNotAllowed(f"{url.origin} is not on the list of places that may be reached.")
        if method not in allowed.methods:
            raise HostNotAllowed(f"{method} is not among the methods that are allowed at {url.origin}.")
        return allowed

"""A server as `[mcp.NAME]` of secondkey.toml declares it: a command in a sandbox, or an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import BadArguments, ConfigurationError
from agent.tools.egress import Egress, Url, read_url

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: These would change the programs that put the sandbox up.
_NOT_THEIRS = re.compile(r"LD_|GLIBC_|GCONV_|LOCPATH|NLSPATH|MALLOC_|BASH_ENV|ENV$", re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_|~-]{1,64}")
#: These belong to the connection or to the protocol.
_OURS = frozenset(
    """host connection content-length content-type transfer-encoding upgrade te trailer expect keep-alive cookie accept
    accept-encoding forwarded via mcp-session-id mcp-protocol-version last-event-id""".split()  # noqa: SIM905 - a list of words reads as words
)
_METHODS = ("POST", "DELETE")


class McpServerSettings(BaseModel):
    """One server; either `command` or `url` is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str = ""
    """Program to start, as an absolute path or by its name in /usr/bin; it speaks over its standard streams."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    """Its whole environment; `secret:NAME` stands for a secret that is meant for `mcp:SERVER`."""
    read_only: tuple[Path, ...] = ()
    """Folders that it may read besides the system's; nothing of this machine else."""
    url: str = ""
    """Address of a server that speaks streamable HTTP."""
    headers: dict[str, str] = {}
    """Sent with every request; `secret:NAME` stands for a secret that is meant for the address's origin."""
    private: bool = False
    """The address may lead to this machine or the networks behind it; never to a cloud's metadata service."""
    reads: tuple[str, ...] = ()
    """Tools of which the operator knows that they change nothing; what the server itself claims counts for nothing."""
    timeout_s: Annotated[float, Field(ge=2, le=300)] = 30.0
    """Seconds that one call may take."""

    @property
    def address(self) -> Url:
        """`url` taken apart; only for a server that has one."""
        return read_url(self.url)

    @property
    def egress(self) -> Egress:
        """Where its requests may go: to its own origin and nowhere else."""
        return Egress({self.address.origin: {"methods": _METHODS, "private": self.private}})


def read_servers(given: Mapping[str, Mapping[str, Any]]) -> dict[str, McpServerSettings]:
    """The servers by name; raises ConfigurationError with the place and the fix."""
    return {name: _read(name, one) for name, one in given.items()}


def _read(name: str, given: Mapping[str, Any]) -> McpServerSettings:
    place = f"[mcp.{name[:40]}]"
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"An MCP server cannot be called {name[:40]!r}.", fix="Use up to 20 small letters, digits and hyphens."
        )
    try:
        found = McpServerSettings.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{place} is not usable: {where}: {first['msg']}.", fix=f"Mend {place}.") from error
    if bool(found.command) == bool(found.url):
        raise ConfigurationError(f"{place} needs either `command` or `url`.", fix="Set exactly one of them.")
    if problem := _of_command(found) if found.command else _of_url(found):
        raise ConfigurationError(f"{place} is not usable: {problem}.", fix=f"Mend {place}.")
    return found


def _of_command(found: McpServerSettings) -> str:
    if found.headers or found.private:
        return "`headers` and `private` are for a server with a `url`"
    if "/" in found.command and not Path(found.command).is_absolute():
        return "`command` is neither an absolute path nor a plain name"
    if any("\0" in word for word in (found.command, *found.args)):
        return "its command holds a sign that no command has"
    for name, value in found.env.items():
        if not _VARIABLE.fullmatch(name) or _NOT_THEIRS.match(name) or "\0" in value:
            return f"{name[:40]!r} cannot be set in its environment"
    return next((why for why in map(_of_folder, found.read_only) if why), "")


def _of_folder(folder: Path) -> str:
    if not folder.is_absolute() or ".." in folder.parts or folder == Path("/"):
        return f"{str(folder)!r} of `read_only` is no absolute path of a folder"
    return "" if folder.exists() else f"{str(folder)!r} of `read_only` is not there"


def _of_url(found: McpServerSettings) -> str:
    if found.args or found.env or found.read_only:
        return "`args`, `env` and `read_only` are for a server with a `command`"
    try:
        address = found.address
    except BadArguments as error:
        return str(error).rstrip(".")
    if address.query:
        return "its address has a query; a secret belongs into `headers`"
    for name, value in found.headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS or not value.isprintable() or not value.isascii():
            return f"the header {name[:40]!r} cannot be set"
    return ""

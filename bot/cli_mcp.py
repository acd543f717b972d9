"""`secondkey mcp list | test | trust | forget`: which servers there are, what they offer, and what of it is trusted."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from agent.broker import Broker
from agent.clock import SystemClock
from agent.errors import StorageUnavailable, ToolError
from agent.mcp.definition import Definition, Offer, difference, full_name
from agent.mcp.texts import clean
from agent.sandbox.none import NoSandbox
from agent.sandbox.select import choose
from agent.secrets import redact
from bot.config import Settings
from bot.mcp_servers import McpServers
from bot.words import count
from storage.database import Database, read_only
from storage.mcp_tools import TrustedTool, trust, trusted

OK, FAILED = 0, 1
State = Literal["trusted", "new", "changed", "gone"]
_SHOWN = 400


@dataclass(frozen=True, slots=True)
class Standing:
    """One tool of a server, as it was trusted and as it is offered now; at least one of the two is there."""

    name: str
    before: Definition | None
    now: Definition | None

    @property
    def state(self) -> State:
        """How the two compare."""
        if self.now is None:
            return "gone"
        if self.before is None:
            return "new"
        return "trusted" if self.before.hash == self.now.hash else "changed"


def print_list(settings: Settings, *, as_json: bool) -> int:
    """Print the declared servers and how many of their tools are trusted; speaks to none of them."""
    servers, known = servers_of(settings, Broker(), Path()), trusted_tools(settings)
    rows = [_row(servers, name, [one for one in known if one.server == name]) for name in servers.names]
    if as_json:
        return _print_json(rows)
    if not rows:
        return _say("No MCP server is declared; [mcp.NAME] of secondkey.toml declares one.")
    table = Table("server", "kind", "where", "trusted tools")
    for row in rows:
        named = ", ".join(row["tools"][:6]) + (" …" if len(row["tools"]) > 6 else "")  # noqa: PLR2004 - as many as fit
        table.add_row(row["server"], row["kind"], row["where"], named or f"none: secondkey mcp trust {row['server']}")
    Console().print(table)
    return OK


def test(settings: Settings, name: str, *, as_json: bool) -> int:
    """Connect, and print what the server offers beside what is trusted; 1 when it cannot be reached or has changed."""
    return asyncio.run(_test(settings, name, as_json=as_json))


def trust_server(settings: Settings, name: str, *, yes: bool, as_json: bool, ask: Callable[[str], str] = input) -> int:
    """Connect, show what is new and what changed, ask, and pin the tools; 1 when the answer is no."""
    return asyncio.run(_trust(settings, name, yes=yes, as_json=as_json, ask=ask))


def forget(settings: Settings, name: str) -> int:
    """Trust no tool of this server any more; it need not be declared."""

    async def write() -> int:
        there = [one for one in trusted_tools(settings) if one.server == name]
        async with _database(settings) as db:
            await db.write(lambda tx: trust(tx, name, (), by=_who()))
        return _say(f"{count(len(there), 'tool')} of {name} forgotten; a running server drops them within a second.")

    return asyncio.run(write())


async def _test(settings: Settings, name: str, *, as_json: bool) -> int:
    known = [one for one in trusted_tools(settings) if one.server == name]
    try:
        about, offer = await _look(settings, name)
    except ToolError as error:
        if as_json:
            return _print_json({"server": name, "ok": False, "error": str(error), "code": error.code}, FAILED)
        return _say(f"{name}: {clean(str(error), 600)} ({error.code})", FAILED)
    found = _standings(known, offer)
    changed = any(one.state in {"changed", "gone"} for one in found)
    if as_json:
        tools = [_tool_row(name, one) for one in found]
        body = {"server": name, "ok": not changed, "about": about, "tools": tools, "refused": dict(offer.refused)}
        return _print_json(body, FAILED if changed else OK)
    _say(f"{name}: {about}")
    _show(name, found, offer)
    return FAILED if changed else OK


async def _trust(settings: Settings, name: str, *, yes: bool, as_json: bool, ask: Callable[[str], str]) -> int:
    known = [one for one in trusted_tools(settings) if one.server == name]
    about, offer = await _look(settings, name)
    found = _standings(known, offer)
    if not as_json:
        _say(f"{name}: {about}")
        _show(name, found, offer)
    news = [one for one in found if one.state != "trusted"]
    if news and not yes:
        words = f"Trust {count(len(offer.tools), 'tool')} of {name} as shown? Each call still asks. [y/N] "
        if as_json or (await asyncio.to_thread(_answer, ask, words)).strip().lower() not in {"y", "yes"}:
            return _say("Nothing was changed; --yes answers yes." if not as_json else "{}", FAILED)
    if news:
        async with _database(settings) as db:
            await db.write(lambda tx: trust(tx, name, offer.tools.values(), by=_who()))
    if as_json:
        return _print_json({"server": name, "tools": [_tool_row(name, one) for one in found], "changed": len(news)})
    return _say(f"{count(len(offer.tools), 'tool')} trusted; a running server has them within a second.")


async def _look(settings: Settings, name: str) -> tuple[str, Offer]:
    """What a server calls itself and offers, from a connection of our own. Raises ToolError."""
    with tempfile.TemporaryDirectory(prefix="secondkey-mcp-", ignore_cleanup_errors=True) as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        servers = servers_of(settings, Broker(settings.secrets, dict(os.environ)), Path(folder))
        server = servers.server(name)
        servers.sandbox = await choose() if servers.settings(name).command else NoSandbox()
        try:
            return await server.about(), await server.offer()
        finally:
            await servers.close()


def servers_of(settings: Settings, broker: Broker, data: Path) -> McpServers:
    """The declared servers for one command; scratch folders below `data`. Raises ConfigurationError."""
    return McpServers.read(settings.mcp, data=data, broker=broker, clock=SystemClock())


def trusted_tools(settings: Settings) -> tuple[TrustedTool, ...]:
    """What is trusted by now; nothing before there is a database."""
    if not settings.database.is_file():
        return ()
    with closing(read_only(settings.database)) as conn:
        there = conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'mcp_tools'").fetchone()
        return trusted(conn) if there else ()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    """The database, beside a server or, before there ever was one, made here."""
    clock = SystemClock(settings.clock_rate)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"{settings.data} cannot be made: {error.strerror}") from error
    is_there = settings.database.is_file()
    db = await (Database.join if is_there else Database.open)(settings.database, clock=clock)
    try:
        yield db
    finally:
        await db.close()


def _standings(known: list[TrustedTool], offer: Offer) -> list[Standing]:
    before = {one.definition.name: one.definition for one in known}
    names = sorted({*before, *offer.tools})
    return [Standing(name, before.get(name), offer.tools.get(name)) for name in names]


def _show(server: str, found: list[Standing], offer: Offer) -> None:
    for one in found:
        _say(f"\n{one.state:8} {full_name(server, one.name)}")
        if one.state in {"changed", "gone"} and one.before is not None:
            _say(difference(one.before, one.now))
        elif one.now is not None:
            said = clean(one.now.description or one.now.title, _SHOWN)
            _say("  " + (said.replace("\n", "\n  ") or "(it says nothing of itself)"))
            if one.state == "new":
                _say(f"  arguments: {_schema(one.now)}")
            if one.now.claims:
                _say(f"  claims, unproved: {', '.join(one.now.claims)}")
    for name, why in offer.refused.items():
        _say(f"\nrefused  {name}\n  {why}")


def _schema(one: Definition) -> str:
    properties: Any = one.input_schema.get("properties", {})
    wanted: Any = one.input_schema.get("required", [])
    names: list[str] = [str(name) for name in properties]
    return clean(", ".join(f"{name}{'' if name in wanted else '?'}" for name in names), _SHOWN) or "none"


def _row(servers: McpServers, name: str, known: list[TrustedTool]) -> dict[str, Any]:
    declared = servers.settings(name)
    where = declared.url or " ".join((declared.command, *declared.args))
    tools = [full_name(name, one.definition.name) for one in known]
    return {"server": name, "kind": "http" if declared.url else "stdio", "where": redact(where), "tools": tools}


def _tool_row(server: str, one: Standing) -> dict[str, Any]:
    shown = one.now or one.before
    assert shown is not None  # noqa: S101 - one of the two is there
    row: dict[str, Any] = {"tool": full_name(server, one.name), "state": one.state, "hash": shown.hash}
    row |= {"description": clean(shown.description, 2_000), "claims": list(shown.claims)}
    if one.state in {"changed", "gone"} and one.before is not None:
        row["difference"] = difference(one.before, one.now)
    return row


def _answer(ask: Callable[[str], str], words: str) -> str:
    try:
        return ask(words)
    except (EOFError, OSError):  # nobody is there to be asked
        return ""


def _who() -> str:
    return f"local:{os.getuid()}"


def _print_json(body: Mapping[str, Any] | list[dict[str, Any]], code: int = OK) -> int:
    json.dump(body, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return code


def _say(text: str, code: int = OK) -> int:
    sys.stdout.write(f"{text}\n")
    return code

"""Tools of MCP servers as an operator trusted them; a tool that is not here does not exist for the agent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from agent.mcp.definition import Definition
from storage.audit import refused
from storage.database import Tx


@dataclass(frozen=True, slots=True)
class TrustedTool:
    """A tool of a server, who trusted it and when (business time)."""

    server: str
    definition: Definition
    trusted_by: str
    trusted_at: float


def trusted(conn: sqlite3.Connection) -> tuple[TrustedTool, ...]:
    """Every trusted tool, by server and name; one whose row was changed by hand is left out."""
    rows = conn.execute(
        "SELECT server, hash, definition_json, trusted_by, trusted_at FROM mcp_tools ORDER BY server, tool"
    )
    found: list[TrustedTool] = []
    for server, digest, body, by, at in rows:
        try:
            definition = Definition.model_validate_json(body)
            is_whole = definition.hash == digest
        except ValueError:
            continue
        if is_whole:
            found.append(TrustedTool(server, definition, by, at))
    return tuple(found)


def trust(tx: Tx, server: str, definitions: Iterable[Definition], *, by: str) -> None:
    """From now on exactly these are a server's tools, none for a server that is trusted no more. The audit says so."""
    before = dict(tx.conn.execute("SELECT tool, hash FROM mcp_tools WHERE server = ?", (server,)))
    now = {one.name: one for one in definitions}
    for name in before.keys() - now.keys():
        tx.conn.execute("DELETE FROM mcp_tools WHERE server = ? AND tool = ?", (server, name))
        refused(tx, kind="mcp_forgotten", principal=by, subject=f"{server}/{name}")
    for name, one in now.items():
        if before.get(name) == one.hash:
            continue
        row = (server, name, one.hash, one.model_dump_json(), by, tx.now)
        tx.conn.execute("INSERT OR REPLACE INTO mcp_tools VALUES (?, ?, ?, ?, ?, ?)", row)
        refused(tx, kind="mcp_trusted", principal=by, subject=f"{server}/{name}", detail=one.hash)

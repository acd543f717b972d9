"""What the terminal prints: the status of runs."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlite_utils import Database

from agent.errors import ConfigurationError, UnknownRun
from bot.config import Settings
from bot.words import money

NEWEST = 20


def print_status(settings: Settings, prefix: str, *, as_json: bool) -> int:
    """Print the newest runs, or one run with its actions; works beside a running server. Raises UnknownRun."""
    database = _open(settings.database)
    try:
        if prefix:
            _print_run(_one(database, prefix), _actions(database, _one(database, prefix)["id"]), as_json=as_json)
        else:
            query = "SELECT id, status, title, requester, steps, spent_micro_usd, created_at FROM runs "
            _print_runs(_rows(database, query + "ORDER BY created_at DESC LIMIT ?", [NEWEST]), as_json=as_json)
    finally:
        database.close()
    return 0


def _rows(database: Database, query: str, parameters: Sequence[object] | dict[str, object]) -> list[dict[str, Any]]:
    return list(cast("Any", database).query(query, parameters))  # sqlite-utils types its rows only in part


def _open(path: Path) -> Database:
    if not path.is_file():
        raise ConfigurationError(
            f"There is no database at {path}.",
            fix="Start `secondkey serve` once, or set `data`; after a demo: SECONDKEY_DATA=.secondkey/demo.",
        )
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        connection.execute("SELECT 1 FROM runs LIMIT 1")
        return Database(connection)
    except sqlite3.Error as error:
        fix = "Check its rights, and that `data` names the folder of a Second Key."
        raise ConfigurationError(f"{path} cannot be read: {error}.", fix=fix) from error


def _one(database: Database, prefix: str) -> dict[str, Any]:
    query = "SELECT * FROM runs WHERE substr(id, 1, length(:p)) = :p LIMIT 2"
    found = _rows(database, query, {"p": prefix})
    if len(found) != 1:
        raise UnknownRun(
            f"More than one run begins with {prefix}; type more of it." if found else f"There is no run {prefix}."
        )
    row = found[0]
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in row.items()}


def _actions(database: Database, run: str) -> list[dict[str, Any]]:
    query = "SELECT id, tool, tier, phase, outcome FROM actions WHERE run = ? ORDER BY proposed_seq"
    return _rows(database, query, [run])


def _print_runs(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        json.dump(rows, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    if not rows:
        sys.stdout.write("No runs yet.\n")
        return
    table = Table("run", "status", "asked", "by", "steps", "cost", "task")
    for row in rows:
        table.add_row(
            row["id"],
            row["status"],
            _moment(row["created_at"]),
            row["requester"].rpartition(":")[2],
            str(row["steps"]),
            money(row["spent_micro_usd"]),
            escape(row["title"][:60]),
        )
    Console().print(table)


def _print_run(row: dict[str, Any], actions: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        json.dump({**row, "actions": actions}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    console = Console()
    console.print(f"[bold]{row['id']}[/] {row['status']}  {escape(row['title'])}")
    console.print(f"asked {_moment(row['created_at'])} by {row['requester']}, {money(row['spent_micro_usd'])}")
    if actions:
        table = Table("action", "tool", "risk", "outcome")
        for action in actions:
            table.add_row(action["id"], action["tool"], action["tier"] or "", action["outcome"] or action["phase"])
        console.print(table)
    if row["summary"]:
        console.print(escape(row["summary"]))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")

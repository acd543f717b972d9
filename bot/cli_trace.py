"""`secondkey trace RUN`: a run's tree from the journal; reads only, needs neither a server nor a collector."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from agent.broker import Broker
from agent.errors import ConfigurationError, UnknownRun
from agent.ports import Stored
from agent.secrets import redact, redacted
from agent.timeline import Node, timeline
from bot.blocks.text import shown
from bot.checks import known_secrets
from bot.config import Settings
from bot.words import duration, money
from storage.database import read_only
from storage.journal import read_events

DETAIL = 160
WIDE = 240
"""Characters of a line that goes into a file or a pipe."""
_STYLE = {"chat": "cyan", "tool": "bold", "step": "bold", "wait": "yellow", "takeover": "yellow", "decision": "magenta"}


def trace(settings: Settings, prefix: str, environment: dict[str, str], *, as_json: bool) -> int:
    """Print it; raises ConfigurationError, UnknownRun, or JournalError when retention dropped its payloads."""
    run, stored = recorded(settings, prefix)
    known = {**known_secrets(settings, environment), **Broker(settings.secrets, environment).known}
    root = timeline(run, stored)
    if as_json:
        json.dump(redacted(root.as_json(), lambda text: redact(text, known)), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(tree_of(root, lambda text: redact(text, known)))
    return 0


def recorded(settings: Settings, prefix: str) -> tuple[str, tuple[Stored, ...]]:
    """The one run whose id begins so, and its journal; raises as `trace`."""
    if not settings.database.is_file():
        raise ConfigurationError(f"There is no database at {settings.database}.", fix="Set `data`.")
    try:
        with closing(read_only(settings.database)) as conn:
            conn.execute("BEGIN")
            query = "SELECT id FROM runs WHERE substr(id, 1, length(:p)) = :p ORDER BY id <> :p LIMIT 2"
            found = [run for (run,) in conn.execute(query, {"p": prefix})]
            if not prefix or not found:
                raise UnknownRun(f"There is no run {prefix}; `secondkey status` lists them.")
            if len(found) > 1 and found[0] != prefix:
                raise UnknownRun(f"More than one run begins with {prefix}; type more of it.")
            return found[0], read_events(conn, found[0])
    except sqlite3.Error as error:
        raise ConfigurationError(f"{settings.database} cannot be read: {error}.", fix="Check the file.") from error


def tree_of(node: Node, cover: Callable[[str], str]) -> Tree:
    """The tree as a terminal shows it."""
    made = Tree(_label(node, cover), guide_style="dim")
    for child in node.children:
        made.add(tree_of(child, cover))
    return made


def _label(node: Node, cover: Callable[[str], str]) -> Text:
    style = "red" if node.is_bad else _STYLE.get(node.kind, "")
    if node.kind == "run":
        name = f"{node.name} {datetime.fromtimestamp(node.start, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
    elif node.kind in {"chat", "tool", "wait", "step", "takeover", "plan"}:
        name = node.name
    else:
        name = f"{node.kind}: {node.name}"
    label = Text(shown(name), style)
    facts = [node.status] if node.status else []
    if node.end is None:
        facts.append("still open")
    elif (node.seconds is not None and node.end > node.start) or node.took_ms is not None:
        facts.append(_span(node.seconds or 0.0))
    if node.input_tokens or node.output_tokens:
        facts.append(f"{node.input_tokens:,} + {node.output_tokens:,} tokens")
    if node.cost_micro_usd:
        facts.append(money(node.cost_micro_usd))
    if facts:
        label.append(f"  {' · '.join(facts)}", "dim")
    if node.detail:
        detail = " ".join(shown(cover(node.detail[: DETAIL * 4])).split())
        label.append(f"  {detail if len(detail) <= DETAIL else detail[: DETAIL - 1] + '…'}", "italic dim")
    return label


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else duration(seconds)  # noqa: PLR2004  # a minute

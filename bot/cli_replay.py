"""`secondkey policy replay`: which ratings of the journal another policy would change; reads only, needs no server."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agent import events as ev
from agent.chain import chain_of
from agent.domain import Risk
from agent.errors import ConfigurationError, JournalError
from agent.facts.model import Facts
from agent.policy import Policy
from agent.state import IllegalTransition, RunState, apply
from agent.tools.registry import default_tools
from bot.cli_policy import policy_of
from bot.config import Settings
from bot.words import count
from storage.blobs import read_blob
from storage.database import read_only
from storage.journal import read_events


@dataclass(frozen=True, slots=True)
class Change:
    """One rating that would come out otherwise."""

    run: str
    action: str
    tool: str
    headline: str
    was: str
    would_be: str
    rules: tuple[str, ...]
    decided: str
    """What people said at the time: approved, denied, expired …; empty when nobody was asked."""


@dataclass(slots=True)
class _Again:
    policy: Policy
    reads: frozenset[str]
    """Tools that only read, by their own word."""
    compared: int = 0
    skipped: int = 0
    """Ratings whose facts retention dropped, or that another release wrote."""


def replay(settings: Settings, file: Path | None, *, as_json: bool) -> int:
    """Rate everything in the journal again and print what would change. Raises ConfigurationError."""
    policy = policy_of(settings, file)
    if not settings.database.is_file():
        raise ConfigurationError(f"There is no database at {settings.database}.", fix="Set `data`.")
    seen = _Again(policy, frozenset(tool.name for tool in default_tools() if tool.read_only))
    try:
        with closing(read_only(settings.database)) as conn:
            conn.execute("BEGIN")
            runs = [run for (run,) in conn.execute("SELECT id FROM runs ORDER BY created_at, id")]
            changes = [change for run in runs for change in _changes(conn, run, seen)]
    except sqlite3.Error as error:
        raise ConfigurationError(f"{settings.database} cannot be read: {error}.", fix="Check the file.") from error
    if as_json:
        body = {"policy": policy.version, "compared": seen.compared, "skipped": seen.skipped}
        json.dump(body | {"changes": [asdict(item) for item in changes]}, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
        return 0
    for item in changes:
        decided = f", {item.decided} then" if item.decided else ""
        line = f"{item.run} {item.action} {item.tool}: {item.was} → {item.would_be}{decided} ({', '.join(item.rules)})"
        sys.stdout.write("".join(sign if sign.isprintable() else " " for sign in line) + "\n")
    left = f"; {seen.skipped} could not be compared" if seen.skipped else ""
    sys.stdout.write(f"{len(changes)} of {count(seen.compared, 'rating')} would change{left}.\n")
    return 0


def _changes(conn: sqlite3.Connection, run: str, again: _Again) -> Iterator[Change]:
    try:
        stored = read_events(conn, run)
    except JournalError:
        return  # retention dropped what it was about
    state = RunState(run=run)
    found: dict[str, Change] = {}
    for item in stored:
        if isinstance(item.event, ev.ActionRated):
            change = _compare(conn, state, item.event, item.at, again)
            if change is not None:
                found[change.action] = change
        try:
            state = apply(state, item)
        except IllegalTransition:
            again.skipped += 1
            break
    for change in found.values():
        approval = state.approvals.get(state.actions[change.action].approval)
        yield change if approval is None else replace(change, decided=approval.state.value)


def _compare(
    conn: sqlite3.Connection, state: RunState, rated: ev.ActionRated, at: float, again: _Again
) -> Change | None:
    action = state.actions[rated.action].action
    try:
        facts = Facts.model_validate_json(read_blob(conn, rated.facts_blob))
    except (KeyError, ValueError):
        again.skipped += 1
        return None
    if state.task is None:
        return None
    again.compared += 1
    risk: Risk = again.policy.rate(
        action.tool, action.arguments, facts, state.task.principal, read_only=action.tool in again.reads,
        channel=state.task.place.channel, at=at, chain=chain_of(state, action.id, facts),
    )  # fmt: skip
    after_denial = any(reason.rule in {"after_denial", "analyser_failed"} for reason in rated.reasons)
    if risk.tier is rated.tier or (after_denial and risk.tier.rank <= rated.tier.rank):
        return None
    rules = tuple(reason.rule for reason in risk.reasons)
    return Change(state.run, action.id, action.tool, rated.headline, rated.tier.value, risk.tier.value, rules, "")

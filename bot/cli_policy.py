"""`secondkey policy check | test`: reads a policy, finds what its author cannot have meant, and tries it."""

from __future__ import annotations

import json
import sqlite3
import sys
import tomllib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from agent.domain import Tier, Value
from agent.errors import ConfigurationError
from agent.facts.sql import Dialect
from agent.hypothetical import Call, rate_call
from agent.policy import Policy, load_policy
from agent.policy_check import check_policy
from agent.tools.databases import dialects_of
from agent.tools.registry import default_tools
from bot.config import Settings
from bot.words import count
from storage.database import read_only
from storage.policies import Loaded, last_loaded

_SOON_TOOLS = ("run_shell", "http_request")
_SQLITE: Mapping[str, Dialect] = MappingProxyType({})


class TableTest(Value):
    """One row of a table of tests."""

    name: str = Field(min_length=1, max_length=200)
    tool: str
    args: dict[str, Any] = {}
    principal: str = ""
    channel: str = ""
    at: datetime | None = None
    facts: dict[str, Any] = {}
    chain: dict[str, int] = {}
    tier: Tier
    rules: tuple[str, ...] = ()
    """Rules that must be among those that said so."""
    quorum: int | None = None
    timeout_s: float | None = None
    deciders: tuple[str, ...] | None = None
    """References as a rule writes them."""
    reason: tuple[str, ...] | None = None


class Table(Value):
    """A file of table tests."""

    test: tuple[TableTest, ...]


def policy_of(settings: Settings, file: Path | None) -> Policy:
    """The policy of a file, or the configured one with the configured people; raises ConfigurationError."""
    policy = load_policy(file or settings.policy)
    approvers = tuple(dict.fromkeys((*policy.people.approvers, *settings.approvers)))
    return replace(policy, people=policy.people.model_copy(update={"approvers": approvers}))


def check(settings: Settings, file: Path | None, *, strict: bool, as_json: bool) -> int:
    """Print what is wrong with a policy; 1 when something is unsafe, or (strict) anything was found."""
    policy = policy_of(settings, file)
    found = check_policy(policy, (*(tool.name for tool in default_tools()), *_SOON_TOOLS))
    server = _server(settings)
    bad = any(item.level == "unsafe" for item in found) or (strict and bool(found))
    if as_json:
        body = {"version": policy.version, "mode": policy.mode, "findings": [item.model_dump() for item in found]}
        print_json(body | {"server": {"version": server.version, "problem": server.problem} if server else None})
        return int(bad)
    rules = count(len(policy.own), "own rule")
    shipped = len(policy.shipped)
    say(f"The policy {policy.version} can be used: {rules} beside {shipped} shipped ones, mode {policy.mode}.")
    for item in found:
        say(f"  {item.level}: {item.rule}: {item.text}")
    if server is not None and file is None:
        if server.problem:
            say(f"The server could not take the file over and still works with {server.version}: {server.problem}")
        elif server.version != policy.version:
            say(f"The server works with {server.version}; send it SIGHUP to have it read this one.")
    return int(bad)


def _server(settings: Settings) -> Loaded | None:
    """What the server loaded last, as far as it left a note."""
    if not settings.database.is_file():
        return None
    try:
        with closing(read_only(settings.database)) as conn:
            return last_loaded(conn)
    except sqlite3.Error:
        return None  # of another release, or busy: the policy itself can be checked all the same


def test(settings: Settings, file: Path | None, tests: Path | None) -> int:
    """Try a policy against its table; 1 when a row comes out otherwise. Raises ConfigurationError."""
    policy = policy_of(settings, file)
    source = file or settings.policy
    beside = source.with_name(f"{source.stem}_tests.toml") if source is not None else None
    if tests is None and beside is not None and not beside.is_file():
        raise ConfigurationError(f"There are no tests at {beside}.", fix="Write some, or name them with --tests.")
    path = tests or beside
    text = _read(path) if path else shipped_tests()
    # What is shipped is written in SQLite's SQL, whatever databases are called here.
    dialects = dialects_of(settings.databases) if path else {}
    failed = 0
    table = read_table(text, str(path or "the shipped tests"))
    for row in table.test:
        wrong = try_row(policy, row, dialects)
        failed += bool(wrong)
        if wrong:
            say(f"FAILED {row.name}: {'; '.join(wrong)}")
    say(f"{len(table.test) - failed} of {count(len(table.test), 'test')} came out as written.")
    return int(failed > 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"The tests {path} cannot be read: {why}.", fix="Name a file of tests.") from error


def shipped_tests() -> str:
    """The table that comes with the shipped policy; a start for one's own."""
    return resources.files("agent").joinpath("policy_tests.toml").read_text(encoding="utf-8")


def read_table(text: str, where: str) -> Table:
    """A table of tests; raises ConfigurationError with the place."""
    try:
        return Table.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is not TOML: {error}.", fix="Mend that line.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{where} is not valid at {place}: {first['msg']}.", fix="Mend that row.") from error


def try_row(policy: Policy, row: TableTest, dialects: Mapping[str, Dialect] = _SQLITE) -> list[str]:
    """What came out otherwise than the row says; empty when it is right."""
    call = {"tool": row.tool, "args": row.args, "principal": row.principal, "channel": row.channel, "facts": row.facts}
    at = row.at.replace(tzinfo=row.at.tzinfo or UTC).timestamp() if row.at else 0.0
    try:
        risk, _ = rate_call(policy, Call.model_validate(call | {"at": at, "chain": row.chain}), dialects)
    except ValueError as error:
        return [str(error).replace("\n", " ")]
    rules = {reason.rule for reason in risk.reasons}
    wrong: list[str] = []
    if risk.tier is not row.tier:
        wrong.append(f"it is {risk.tier} ({', '.join(sorted(rules))}), not {row.tier}")
    if missing := set(row.rules) - rules:
        wrong.append(f"{', '.join(sorted(missing))} did not say so, but {', '.join(sorted(rules))}")
    terms = risk.terms
    for name, wanted, got in (
        ("quorum", row.quorum, terms.quorum),
        ("timeout_s", row.timeout_s, terms.timeout_s),
        ("deciders", row.deciders, tuple(one for each in terms.deciders for one in each)),
        ("reason", row.reason, terms.reason_for),
    ):
        if wanted is not None and wanted != got:
            wrong.append(f"{name} is {got!r}, not {wanted!r}")
    return wrong


def print_json(body: object) -> None:
    """Print JSON for a script."""
    json.dump(body, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def say(text: str) -> None:
    """Print words of people and models without what a terminal would obey."""
    plain = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
    sys.stdout.write(f"{plain}\n")

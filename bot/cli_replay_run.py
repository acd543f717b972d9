"""`secondkey replay RUN`: a recorded run again, offline: what other prompts or another policy would change in it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent import events as ev
from agent.broker import Broker
from agent.clock import SystemClock
from agent.errors import ConfigurationError
from agent.moves import Limits
from agent.policy import Policy
from agent.ports import Stored
from agent.prompting import Prompts
from agent.recorded import scenario_of
from agent.replaying import Material, Replayed, offline, replay
from agent.rerating import Rerated, Said, rerate
from agent.runbooks import Runbooks
from agent.secrets import redact, redacted
from agent.state import IllegalTransition
from agent.terms import Scope
from agent.tools.egress import Egress
from agent.tools.http import HttpRequest
from agent.tools.own import load_tools
from agent.tools.registry import Registry, default_tools
from bot.blocks.text import shown
from bot.checks import known_secrets
from bot.cli_policy import policy_of
from bot.cli_trace import recorded
from bot.config import Settings
from bot.mcp_servers import McpServers
from bot.words import count, duration
from storage.approvers import Approver, covering, standing
from storage.blobs import read_blob
from storage.database import read_only
from storage.mcp_tools import trusted

_DOORS = {"go": "runs", "ask": "asks", "person": "a person does it", "refuse": "refused", "grant": "allowed beforehand"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    run: str
    policy: Path | None = None
    prompts: Path | None = None
    scenario: Path | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class _Registered:
    """The registry of approvers as it stands; user groups are Slack's, and have whom the run recorded."""

    entries: Sequence[Approver]
    at: float
    groups: Mapping[str, frozenset[str]]

    def members(self, group: str) -> frozenset[str]:
        """Slack user ids of whom the run asked for this group; nobody of a group that it did not know."""
        return self.groups.get(group, frozenset())

    def registered(self, scope: Scope) -> tuple[str, ...]:
        """Whom the registry names for this."""
        return covering(self.entries, tool=scope.tool, channel=scope.channel, tier=scope.tier, now=self.at)


def replay_run(settings: Settings, environment: dict[str, str], wanted: Wanted) -> int:
    """Replay one run and print what would change. Raises ConfigurationError, UnknownRun or JournalError."""
    run, stored = recorded(settings, wanted.run)
    known = {**known_secrets(settings, environment), **Broker(settings.secrets, environment).known}

    def cover(text: str) -> str:
        return redact(text, known)

    with closing(read_only(settings.database)) as conn:

        def body(digest: str) -> str:
            return read_blob(conn, digest)

        try:
            if wanted.scenario is not None:
                limits = {"judge": settings.judge, "history_tokens": settings.history_tokens}
                return _write_scenario(scenario_of(run, stored, body, limits), cover, wanted.scenario)
            material, groups = _material(settings, conn, body, wanted, stored)
            calls = asyncio.run(replay(run, stored, material))
            reading = frozenset(
                name for name in material.registry.names if material.registry.get(name).read_only
            )  # fmt: skip
            ratings, skipped = rerate(run, stored, material.policy, body, reading=reading)
        except IllegalTransition as error:
            raise ConfigurationError(
                f"The journal of {run} does not fold with this release: {error}.", fix="`secondkey audit verify`."
            ) from error
        except sqlite3.Error as error:
            raise ConfigurationError(f"{settings.database} cannot be read: {error}.", fix="Check the file.") from error
    if wanted.as_json:
        told = _as_json(run, calls, ratings, skipped, material.policy.version)
        told["groups"] = {group: sorted(groups.get(group, ())) for group in material.policy.groups}
        json.dump(redacted(told, cover), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    for line in _lines(run, calls, ratings, skipped, wanted):
        sys.stdout.write(shown(cover(line)) + "\n")
    for group in material.policy.groups:
        who = ", ".join(sorted(groups.get(group, ()))) or "nobody, since the run never asked it"
        sys.stdout.write(shown(f"The user group {group} is Slack's; here it has whom the run recorded: {who}.") + "\n")
    return 0


def _material(
    settings: Settings, conn: sqlite3.Connection, body: Callable[[str], str], wanted: Wanted, stored: Sequence[Stored]
) -> tuple[Material, Mapping[str, frozenset[str]]]:
    """What the run is replayed with, and who is taken to be in which user group."""
    http = (
        (HttpRequest(egress=Egress(settings.egress), broker=Broker(settings.secrets, {})),) if settings.egress else ()
    )
    servers = McpServers.read(
        settings.mcp, data=settings.data, broker=Broker(settings.secrets, {}), clock=SystemClock()
    )  # fmt: skip
    outside = servers.tools(trusted(conn) if settings.mcp else ())
    tools = offline((*default_tools(), *http, *load_tools(settings.tools), *outside))
    policy = policy_of(settings, wanted.policy)
    (last,) = conn.execute("SELECT coalesce(max(created_at), 0) FROM runs").fetchone()
    entries = standing(lambda query, values: conn.execute(query, tuple(values)))
    groups = _groups(replace(policy_of(settings, None), directory=_Registered(entries, float(last), {})), stored)
    return Material(
        body=body,
        registry=Registry(tools, timeouts=settings.tool_timeouts),
        runbooks=Runbooks.load(settings.runbooks),
        policy=replace(policy, directory=_Registered(entries, float(last), groups)),
        prompts=Prompts.load(settings.prompts),
        others=Prompts.load(wanted.prompts) if wanted.prompts is not None else None,
        limits=Limits(judge=settings.judge, history_tokens=settings.history_tokens),
    ), groups


def _groups(configured: Policy, stored: Sequence[Stored]) -> Mapping[str, frozenset[str]]:
    """Who is in the groups of the configured policy, as far as the run shows: whom it asked without naming them."""
    asked: set[str] = set()
    named: set[str] = set()
    for event in (item.event for item in stored):
        if isinstance(event, ev.ApprovalRequested | ev.TakeoverOpened):
            asked.update(event.deciders)
        if isinstance(event, ev.ApprovalRequested):
            asked.update(event.escalate_to)
        if isinstance(event, ev.RunCreated):
            named = set(configured.everybody(event.task.principal.team))
    users = frozenset(key.rpartition(":")[2] for key in asked - named if not key.startswith("local:"))
    return dict.fromkeys(configured.groups, users)


def _write_scenario(scenario: dict[str, Any], cover: Callable[[str], str], target: Path) -> int:
    text = json.dumps(redacted(scenario, cover), indent=1, ensure_ascii=False)
    try:
        target.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}.", fix="Name another file.") from error
    sys.stdout.write(
        f"Wrote {target}: people have other names in it, secrets are covered; read it before you share it.\n"
        "Put it into tests/scenario/recorded/, where the tests run it.\n"
    )
    return 0


def _as_json(
    run: str, calls: Sequence[Replayed], ratings: Sequence[Rerated], skipped: int, version: str
) -> dict[str, Any]:
    first = next((one for one in calls if one.differs), None)
    return {
        "run": run,
        "policy": version,
        "moves": [
            {"seq": one.seq, "call": one.call, "purpose": one.purpose, "step": one.step, "turn": one.turn,
             "model": one.model, "rebuilt": one.rebuilt, "request_changed": bool(one.differs),
             "same_reading": one.same_reading, "then": list(one.then), "now": list(one.now)}
            for one in calls
        ],
        "first_request_changed": first and {"seq": first.seq, "call": first.call, "diff": first.differs},
        "ratings": len(ratings),
        "skipped": skipped,
        "decisions_changed": [asdict(one) for one in ratings if one.changed],
    }  # fmt: skip


def _lines(
    run: str, calls: Sequence[Replayed], ratings: Sequence[Rerated], skipped: int, wanted: Wanted
) -> Iterator[str]:
    moves: list[tuple[int, str]] = [(one.seq, _call_line(one)) for one in calls]
    moves += [(one.seq, _rating_line(one)) for one in ratings]
    yield f"Run {run}: {count(len(calls), 'wire call')}, {count(len(ratings), 'rating')}, again and offline."
    for seq, line in sorted(moves):
        yield f"  {seq:4} {line}"
    first = next((one for one in calls if one.differs), None)
    what = f"the prompts in {wanted.prompts}" if wanted.prompts is not None else "the prompts of today"
    if first is None:
        yield f"No request would be another one with {what}."
    else:
        yield f"The first request that is another one with {what}: call {first.call}, row {first.seq}."
        yield from first.differs.splitlines()
    changed = [one for one in ratings if one.changed]
    left = f" {skipped} could not be rated again." if skipped else ""
    yield f"{len(changed)} of {count(len(ratings), 'decision')} would be another one with this policy.{left}"
    for one in changed:
        yield from _in_full(one)


def _call_line(one: Replayed) -> str:
    where = f" step {one.step + 1} turn {one.turn + 1}" if one.step >= 0 else ""
    if not one.rebuilt:
        return f"{one.purpose}{where} {one.model}: today's code does not ask for this"
    request = "ANOTHER REQUEST" if one.differs else "same request"
    if one.same_reading:
        return f"{one.purpose}{where} {one.model}: {request}, the reply leads to the same"
    then, now = ("; ".join(said) or "nothing" for said in (one.then, one.now))
    return f"{one.purpose}{where} {one.model}: {request}, THE REPLY LEADS ELSEWHERE: then {then}; now {now}"


def _rating_line(one: Rerated) -> str:
    if not one.changed:
        return f"rate {one.tool}: {one.then.tier}, {one.then.door}"
    return f"rate {one.tool}: {one.then.tier}, {one.then.door} → {one.now.tier.upper()}, {one.now.door.upper()}"


def _in_full(one: Rerated) -> Iterator[str]:
    yield f"  {one.action} {one.tool}: {one.headline}"
    for name, value in one.arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from (f"    {name}: {line}" for line in text.splitlines() or [""])
    decided = f"; {one.decided}" if one.decided else ""
    yield f"    then: {_said(one.then)}{decided}"
    yield from (f"      {rule}: {text}" for rule, text in one.then.reasons)
    yield f"    now:  {_said(one.now)}"
    yield from (f"      {rule}: {text}" for rule, text in one.now.reasons)


def _said(said: Said) -> str:
    door = {
        "go": "runs",
        "ask": "asks",
        "person": "a person does it",
        "refuse": "refused",
        "grant": "allowed beforehand",
    }
    parts = [said.tier, door[said.door]]
    if said.quorum:
        parts.append(f"{count(said.quorum, 'yes', 'yeses')} of {', '.join(said.deciders) or 'nobody'}")
        parts.append(f"within {duration(said.timeout_s)}")
    if said.reason_for:
        parts.append(f"with a reason to {' and '.join(said.reason_for)}")
    return ", ".join(parts)

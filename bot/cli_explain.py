"""`secondkey policy explain`: why a call is rated as it is, by whom, when, and after what else in its run."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent import events as ev
from agent.chain import Chain, chain_of
from agent.clock import SystemClock
from agent.domain import Principal, Reason, Risk, Tier
from agent.errors import ConfigurationError, JournalError
from agent.facts.model import Facts
from agent.hypothetical import Call, rate_call
from agent.state import IllegalTransition, RunState, fold
from agent.tools.databases import dialects_of
from agent.tools.registry import default_tools
from bot.cli_audit import moment_of
from bot.cli_policy import policy_of, print_json, say
from bot.config import Settings
from bot.words import count
from storage.blobs import read_blob
from storage.database import read_only
from storage.journal import read_events


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a call, as it was typed; empty fields are what they are without a word."""

    principal: str = ""
    """A principal's key; somebody of the home team when empty."""
    channel: str = ""
    at: str = ""
    """ISO moment (UTC without a zone); now when empty."""
    chain: str = ""
    """JSON object: what the run did so far, this call included."""
    facts: str = ""
    """JSON object: facts that only a look at files and databases would tell, such as `{"counts": {"rows": 5}}`."""
    run: str = ""
    """A run of the journal, or the beginning of its id, whose chain, requester and channel count."""


def explain_call(
    settings: Settings, file: Path | None, *, tool: str, arguments: str, around: Around, as_json: bool
) -> int:
    """Rate a call that nobody made. Raises ConfigurationError."""
    call: dict[str, Any] = {"tool": tool, "args": object_of(arguments or "{}", "arguments are", "--args '{\"a\": 1}'")}
    call["at"] = moment_of(around.at, SystemClock(settings.clock_rate).now())
    if around.facts:
        call["facts"] = object_of(around.facts, "facts are", '--facts \'{"counts": {"rows": 5}}\'')
    state = _state(settings, around.run) if around.run else None
    if state is not None and state.task is not None:
        call |= {"principal": state.task.principal.key, "channel": state.task.place.channel}
    if around.principal:
        call["principal"] = _principal(around.principal)
    if around.channel:
        call["channel"] = around.channel
    policy, dialects = policy_of(settings, file), dialects_of(settings.databases)
    try:
        if around.chain:
            call["chain"] = object_of(around.chain, "chain is", '--chain \'{"rows": 900, "actions": 4}\'')
        elif state is not None:
            _, facts = rate_call(policy, Call.model_validate(call), dialects)
            call["chain"] = chain_of(state, "", facts)
        given = Call.model_validate(call)
        risk, facts = rate_call(policy, given, dialects)
    except ValueError as error:
        raise ConfigurationError(
            f"The call is not valid: {_wrong(error)}.", fix="Mend that; `secondkey policy explain --help`."
        ) from error
    if as_json:
        print_json(_body(risk, facts, policy.version) | _context(given))
        return 0
    say(f"{risk.tier}, by the policy {policy.version}:")
    _reasons(risk.reasons)
    if risk.tier is not Tier.LOW:
        say(_asked(risk))
    say(f"Facts: {facts.model_dump_json(exclude_defaults=True)}")
    say(f"Around it: {json.dumps(_context(given), ensure_ascii=False)}")
    return 0


def explain_action(settings: Settings, file: Path | None, action: str, *, at: str, as_json: bool) -> int:
    """Say why an action of the journal was rated as it was, and how it would be now. Raises ConfigurationError."""
    state, rated, facts = _recorded(settings, action)
    item = state.actions[rated.action].action
    assert state.task is not None  # noqa: S101  # a run without a task is no state
    policy = policy_of(settings, file)
    given = Call(
        tool=item.tool, args=item.arguments, principal=state.task.principal.key, channel=state.task.place.channel,
        at=moment_of(at, SystemClock(settings.clock_rate).now()), chain=chain_of(state, item.id, facts or Facts()),
    )  # fmt: skip
    now = policy.rate(
        item.tool, item.arguments, facts or Facts(), state.task.principal, read_only=item.tool in _reads(),
        channel=given.channel, at=given.at, chain=given.chain,
    )  # fmt: skip
    if as_json:
        was = _body(Risk(tier=rated.tier, reasons=rated.reasons), facts or Facts(), rated.policy_version)
        then = {"action": item.id, "tool": item.tool, "args": item.arguments, **was, "now": now.tier}
        print_json(then | {"now_rules": [reason.model_dump() for reason in now.reasons]} | _context(given))
        return 0
    say(f"{item.id}: {rated.headline}\nRated {rated.tier} by the policy {rated.policy_version}:")
    _reasons(rated.reasons)
    say(f"The policy {policy.version} would say {now.tier}:")
    _reasons(now.reasons)
    if facts is not None:
        say(f"Facts: {facts.model_dump_json(exclude_defaults=True)}")
    say(f"Around it: {json.dumps(_context(given), ensure_ascii=False)}")
    return 0


def _recorded(settings: Settings, prefix: str) -> tuple[RunState, ev.ActionRated, Facts | None]:
    """The run as it stood when the action was last rated, the rating, and its facts as far as they are kept."""
    query = "SELECT run, id, rated_seq FROM actions WHERE id >= ? AND id < ? LIMIT 2"
    with closing(_open(settings)) as conn:
        try:
            rows = conn.execute(query, (prefix, prefix + "\U0010ffff")).fetchall()
            if len(rows) != 1 or not rows[0][2]:
                raise ConfigurationError(
                    f"No rated action begins with {prefix}, or more than one.", fix="See `secondkey status RUN`."
                )
            run, seq = str(rows[0][0]), int(rows[0][2])
            stored = read_events(conn, run)
            rated = stored[seq - 1].event
            assert isinstance(rated, ev.ActionRated)  # noqa: S101  # rated_seq names it
            return fold(run, stored[: seq - 1]), rated, _facts(conn, rated)
        except (sqlite3.Error, JournalError, IllegalTransition) as error:
            raise _unreadable(settings, error) from error


def _state(settings: Settings, prefix: str) -> RunState:
    with closing(_open(settings)) as conn:
        try:
            found = conn.execute(
                "SELECT id FROM runs WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2", (prefix,)
            ).fetchall()
            if len(found) != 1:
                raise ConfigurationError(
                    f"No run begins with {prefix}, or more than one.", fix="`secondkey status` lists them."
                )
            return fold(found[0][0], read_events(conn, found[0][0]))
        except (sqlite3.Error, JournalError, IllegalTransition) as error:
            raise _unreadable(settings, error) from error


def _open(settings: Settings) -> sqlite3.Connection:
    if not settings.database.is_file():
        raise ConfigurationError(f"There is no database at {settings.database}.", fix="Set `data`.")
    try:
        return read_only(settings.database)
    except sqlite3.Error as error:
        raise _unreadable(settings, error) from error


def _unreadable(settings: Settings, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"{settings.database} cannot be read: {error}.", fix="Check the file.")


def _facts(conn: sqlite3.Connection, rated: ev.ActionRated) -> Facts | None:
    try:
        return Facts.model_validate_json(read_blob(conn, rated.facts_blob)) if rated.facts_blob else None
    except (KeyError, ValueError):
        return None  # retention dropped it, or it is of a release with other facts


def _reads() -> frozenset[str]:
    return frozenset(tool.name for tool in default_tools() if tool.read_only)


def _wrong(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def object_of(text: str, what: str, example: str) -> dict[str, Any]:
    """A JSON object as it was typed; raises ConfigurationError with an example of it."""
    try:
        given: object = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ConfigurationError(f"The {what} no JSON object.", fix=f"Write them like {example}.")
    return given  # pyright: ignore[reportUnknownVariableType]  # the keys of a JSON object are texts


def _principal(key: str) -> str:
    try:
        return Principal.parse(key).key
    except ValueError as error:
        raise ConfigurationError(
            f"{key!r} is no person.", fix="Write a key such as slack:T0:U0 or local:1000."
        ) from error


def _context(given: Call) -> dict[str, Any]:
    chain: Chain = given.chain
    at = datetime.fromtimestamp(given.at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"principal": given.principal, "channel": given.channel, "at": at, "chain": chain.model_dump()}


def _asked(risk: Risk) -> str:
    who = " and in ".join(", ".join(one) for one in risk.terms.deciders) or "the policy's approvers"
    if risk.tier is Tier.HIGH:
        return f"A person does it: {who}."
    return f"Decided by {who}; {count(risk.terms.quorum, 'yes', 'yeses')} within {risk.terms.timeout_s:g} s."


def _body(risk: Risk, facts: Facts, version: str) -> dict[str, Any]:
    return {
        "tier": risk.tier,
        "rules": [reason.model_dump() for reason in risk.reasons],
        "facts": facts.model_dump(mode="json"),
        "terms": risk.terms.model_dump(mode="json"),
        "policy": version,
    }


def _reasons(reasons: tuple[Reason, ...]) -> None:
    for reason in reasons:
        say(f"  {reason.rule}: {reason.text}")

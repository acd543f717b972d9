"""`secondkey approvers test`: whether somebody may decide on such an action now, and what could not be found out."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace

from aiohttp import ClientError
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from agent.clock import SystemClock
from agent.domain import Principal, Terms
from agent.errors import ConfigurationError
from agent.facts.sql import Dialect
from agent.hypothetical import Call, rate_call
from agent.policy import Policy
from agent.terms import Scope
from agent.tools.databases import dialects_of
from bot.cli_explain import object_of
from bot.cli_policy import policy_of, say
from bot.config import Settings
from bot.groups import UserGroups
from bot.identity import Identity, NotVerified
from storage.approvers import Approver, covering, standing
from storage.database import read_only

_LOOK_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """Who is asked about, and on what they would decide; empty fields stand for anything."""

    person: str
    """A Slack user id or a principal's key."""
    tool: str = ""
    channel: str = ""
    tier: str = ""
    arguments: str = ""
    """JSON object of the call's arguments: then the rules say exactly whose decision it is."""
    team: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known. `may` is None when it hangs on something that could not be found out."""

    person: str
    may: bool | None
    why: str
    rules: Mapping[str, bool | None] = field(default_factory=dict[str, "bool | None"])
    """Rules with deciders of their own → whether they are among them; only when no arguments say which rules hold."""
    unknown: tuple[str, ...] = ()
    """What could not be found out, one sentence each."""


@dataclass(slots=True)
class _Slack:
    """What Slack said; nothing when it was not asked."""

    team: str = ""
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    refusal: str = ""
    unknown: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Directory:
    """Groups and registry as they are now; remembers which groups it was asked for in vain."""

    groups: Mapping[str, frozenset[str]]
    entries: Iterable[Approver]
    now: float
    missed: set[str] = field(default_factory=set[str])

    def members(self, group: str) -> frozenset[str]:
        """As agent.terms.Directory."""
        if group not in self.groups:
            self.missed.add(group)
        return self.groups.get(group, frozenset())

    def registered(self, scope: Scope) -> tuple[str, ...]:
        """As agent.terms.Directory."""
        return covering(self.entries, tool=scope.tool, channel=scope.channel, tier=scope.tier, now=self.now)


def test(settings: Settings, question: Question, *, as_json: bool) -> int:
    """Say whether somebody may decide on such an action now; 1 when not, or not for certain.

    With a Slack token their account and the user groups are looked up. Raises ConfigurationError.
    """
    policy = policy_of(settings, None)
    slack = asyncio.run(_ask_slack(settings, policy, question.person))
    answer = _answer(settings, policy, question, slack)
    if as_json:
        json.dump(asdict(answer), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        head = {True: "Yes", False: "No", None: "Cannot be told"}[answer.may]
        say(f"{head}: {answer.why}")
        for rule, named in answer.rules.items():
            own = {True: "among its deciders", False: "not among its deciders", None: "cannot be told"}[named]
            say(f"  rule {rule}: {own}")
        for sentence in answer.unknown:
            say(f"  not known: {sentence}")
    return 0 if answer.may else 1


def _answer(settings: Settings, policy: Policy, question: Question, slack: _Slack) -> Answer:
    clock = SystemClock(settings.clock_rate)
    team = slack.team or question.team
    key = question.person if ":" in question.person else Principal(team=team, user=question.person).key
    if slack.refusal:
        return Answer(key, may=False, why=slack.refusal, unknown=tuple(slack.unknown))
    entries = _entries(settings)
    terms, tier = _terms(policy, question, clock.now(), dialects_of(settings.databases))
    scope = Scope(tool=question.tool, channel=question.channel, tier=tier)

    def named(terms: Terms) -> bool | None:
        directory = _Directory(slack.groups, entries, clock.now())
        found = replace(policy, directory=directory).deciders(team, terms, scope)
        if key in found:
            return True
        return None if directory.missed else False

    may = named(terms)
    registered = bool({key, question.person} & set(_Directory({}, entries, clock.now()).registered(scope)))
    own = [rule.text for rule in (*policy.shipped, *policy.own) if rule.text.deciders]
    rules = {} if question.arguments else {rule.name: named(policy.terms([rule])) for rule in own}
    return Answer(key, may=may, why=_why(may, terms, registered=registered), rules=rules, unknown=tuple(slack.unknown))


def _why(may: bool | None, terms: Terms, *, registered: bool) -> str:  # noqa: FBT001  # three answers, not a switch
    of = f"the deciders of {', '.join(terms.rules)}" if terms.deciders else "the policy's approvers"
    if may is None:
        return f"it hangs on the members of a user group among {of}."
    if may:
        by = "the registry names them for this" if registered and not terms.deciders else f"they are among {of}"
        return f"{by}."
    return f"they are not among {of}, and the registry does not name them for this."


def _terms(
    policy: Policy, question: Question, now: float, dialects: Mapping[str, Dialect]
) -> tuple[Terms, str]:  # fmt: skip
    """How such a call is asked, and its tier when it was given with its arguments."""
    if not question.arguments:
        return policy.terms(()), question.tier
    args = object_of(question.arguments, "arguments are", "--args '{\"a\": 1}'")
    call = Call(tool=question.tool, args=args, channel=question.channel, at=now)
    risk, _ = rate_call(policy, call, dialects)
    return risk.terms, question.tier or risk.tier.value


def _entries(settings: Settings) -> tuple[Approver, ...]:
    if not settings.database.is_file():
        return ()
    try:
        with closing(read_only(settings.database)) as conn:
            return standing(conn.execute)
    except sqlite3.Error as error:
        raise ConfigurationError(f"{settings.database} cannot be read: {error}.", fix="Check the file.") from error


async def _ask_slack(settings: Settings, policy: Policy, person: str) -> _Slack:
    token = settings.slack_bot_token.get_secret_value()
    if not token:
        groups = ", ".join(policy.groups)
        hangs = f" and who is in {groups}" if groups else ""
        return _Slack(unknown=[f"without `slack_bot_token` Slack was not asked who they are{hangs}"])
    client = AsyncWebClient(token=token, base_url=settings.slack_api_url, timeout=5, retry_handlers=[])
    clock, said = SystemClock(), _Slack()
    try:
        async with asyncio.timeout(_LOOK_UP_S):
            here = await client.auth_test()  # pyright: ignore[reportUnknownMemberType]  # slack_sdk types its arguments only in part
            team = str(here.get("team_id") or "")
            groups = UserGroups(client, clock)
            await groups.refresh(policy.groups)
            said = _Slack(team, {group: groups.members(group) for group in policy.groups if groups.is_known(group)})
            if groups.problem:
                said.unknown.append(groups.problem)
            if not person.startswith("local:"):
                identity = Identity(client, team, clock, decides=lambda _: True)
                said.refusal = (await identity.person(person.rpartition(":")[2])).refusal
            return said
    except NotVerified as error:
        return _Slack(said.team, said.groups, refusal=str(error), unknown=said.unknown)  # nobody vouches for them
    except (SlackClientError, ClientError, TimeoutError, OSError) as error:
        return _Slack(unknown=[f"Slack did not answer ({type(error).__name__})"])

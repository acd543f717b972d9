"""Slack: tokens and scopes, the clock, channels, people and user groups, as far as a bot's token can see them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, cast

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from agent.domain import Principal
from agent.errors import ConfigurationError, NotEntitled
from agent.ports import Clock
from agent.terms import Scope
from bot.channels import find_channels
from bot.config import Settings
from bot.doctor.configured import policy_of, registered
from bot.doctor.finding import Finding, broken, mend, unknown, well
from bot.doctor.manifest import look_at_manifest, ours
from bot.groups import UserGroups
from bot.identity import Identity
from bot.words import count
from storage.approvers import Approver, covering

ASK_S = 10.0
SKEW_MEND_S, SKEW_BROKEN_S = 5.0, 120.0
"""Slack refuses nothing of ours for a wrong clock, but a signature older than 300 s is refused by us."""
_REINSTALL = "Paste manifest.yml into the app's settings (App Manifest), and reinstall the app to the workspace."
_ITS_OWN_TROUBLE = frozenset(
    {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_UNREACHABLE = (SlackClientError, ClientError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class _Here:
    """What auth.test said."""

    team: str
    team_name: str
    bot_id: str
    scopes: frozenset[str] | None
    """None when Slack did not name them."""
    skew_s: float | None
    """How far this machine is ahead of Slack; None when Slack did not say its time."""


@dataclass(frozen=True, slots=True)
class _Directory:
    """As agent.terms.Directory: user groups as Slack names them, the registry as the database has it."""

    groups: UserGroups
    entries: tuple[Approver, ...]
    now: float
    """Business time, seconds."""

    def members(self, group: str) -> frozenset[str]:
        return self.groups.members(group)

    def registered(self, scope: Scope) -> tuple[str, ...]:
        return covering(self.entries, tool=scope.tool, channel=scope.channel, tier=scope.tier, now=self.now)


def missing_tokens(settings: Settings, *, over_http: bool) -> Iterator[Finding]:
    """The tokens of the chosen transport: there, and of the right kind."""
    bot, app = settings.slack_bot_token.get_secret_value(), settings.slack_app_token.get_secret_value()
    secret = settings.slack_signing_secret.get_secret_value()
    yield from _token("SLACK_BOT_TOKEN", bot, "xoxb-", "OAuth & Permissions, Bot User OAuth Token")
    if over_http:
        if not secret:
            yield broken("tokens", "SLACK_SIGNING_SECRET is not set.", "Copy it from Basic Information of your app.")
        elif secret.startswith(("xoxb-", "xapp-")):
            yield broken("tokens", "SLACK_SIGNING_SECRET holds a token.", "Copy the secret from Basic Information.")
        else:
            yield well("tokens", "SLACK_SIGNING_SECRET is set; only a request from Slack can prove it.")
    else:
        where = "Basic Information, App-Level Tokens, with connections:write"
        yield from _token("SLACK_APP_TOKEN", app, "xapp-", where)


def _token(name: str, value: str, start: str, where: str) -> Iterator[Finding]:
    if not value:
        yield broken("tokens", f"{name} is not set.", f"Copy it from your app's settings: {where}.")
    elif not value.startswith(start):
        text = f"{name} does not begin with {start}, so it is another kind of token."
        yield broken("tokens", text, f"Copy the right one from your app's settings: {where}.")


async def look_at_slack(
    settings: Settings, clock: Clock, *, over_http: bool, config_token: str = ""
) -> Iterator[Finding]:
    """Ask Slack; without usable tokens it is not asked, and that is said.

    `config_token` is a configuration token of the app's owner, with which its manifest can be read.
    """
    found = list(missing_tokens(settings, over_http=over_http))
    if not settings.slack_bot_token.get_secret_value():
        text = "Slack was not asked: without SLACK_BOT_TOKEN nothing can be known of scopes, channels and people."
        return iter((*found, unknown("slack", text, "Set the tokens, and run this again.")))
    client = AsyncWebClient(
        token=settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        timeout=int(ASK_S),
        retry_handlers=[],
    )
    try:
        here = await _who(client, clock)
    except SlackApiError as error:
        return iter((*found, _refused("SLACK_BOT_TOKEN", _code(error), "Reinstall the app if need be, and copy it.")))
    except _UNREACHABLE as error:
        text = f"Slack cannot be reached at {settings.slack_api_url} ({type(error).__name__})."
        return iter((*found, broken("slack", text, "Check the network, a proxy, and slack_api_url.")))
    found += [well("tokens", f"SLACK_BOT_TOKEN is taken: {here.team_name} ({here.team})."), _skew(here)]
    found += _scopes(here)
    if not over_http and settings.slack_app_token.get_secret_value():
        found.append(await _socket(client, settings))
    found += await _channels(client, settings)
    found += await _people(client, settings, clock, here)
    found += await look_at_manifest(client, here.bot_id, config_token, command=settings.command)
    return iter(found)


async def _who(client: AsyncWebClient, clock: Clock) -> _Here:
    async with asyncio.timeout(ASK_S):
        answer = await cast("Any", client).auth_test()  # the SDK types its methods only in part
    received = clock.transport()
    headers = {str(name).lower(): str(value) for name, value in dict(answer.headers).items()}
    scopes = headers.get("x-oauth-scopes")
    return _Here(
        team=str(answer.get("team_id", "")),
        team_name=str(answer.get("team", "")),
        bot_id=str(answer.get("bot_id", "")),
        scopes=frozenset(one.strip() for one in scopes.split(",") if one.strip()) if scopes is not None else None,
        skew_s=_ahead(headers.get("date", ""), received),
    )


def _ahead(date: str, received: float) -> float | None:
    try:
        return received - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _refused(name: str, code: str, fix: str) -> Finding:
    if code in _ITS_OWN_TROUBLE:
        return unknown("slack", f"Slack has trouble of its own just now ({code}).", "Run this again in a minute.")
    return broken("tokens", f"Slack refuses {name} ({code}).", fix)


def _skew(here: _Here) -> Finding:
    if here.skew_s is None:
        return unknown("clock", "Slack did not say what time it is.")
    if abs(here.skew_s) < SKEW_MEND_S:
        return well("clock", "This machine's clock and Slack's agree.")
    side = "ahead of" if here.skew_s > 0 else "behind"
    text = f"This machine's clock is {abs(here.skew_s):.0f} s {side} Slack's."
    fix = "Keep the time with NTP (timedatectl set-ntp true); deadlines and signatures are measured by it."
    return (broken if abs(here.skew_s) >= SKEW_BROKEN_S else mend)("clock", text, fix)


def _scopes(here: _Here) -> Iterator[Finding]:
    wanted = ours().scopes
    if here.scopes is None:
        yield unknown("scopes", "Slack did not name the scopes of the token.")
        return
    missing, more = sorted(wanted - here.scopes), sorted(here.scopes - wanted)
    if missing:
        yield broken("scopes", f"The app lacks {', '.join(missing)}.", _REINSTALL)
    else:
        yield well("scopes", f"All {len(wanted)} scopes of the manifest are granted.")
    if more:
        text = f"The app may do more than it needs: {', '.join(more)}."
        yield mend("scopes", text, "Take them out under OAuth & Permissions, and reinstall the app.")


async def _socket(client: AsyncWebClient, settings: Settings) -> Finding:
    """Ask for an address of a socket, and do not connect to it."""
    try:
        async with asyncio.timeout(ASK_S):
            await cast("Any", client).apps_connections_open(
                app_token=settings.slack_app_token.get_secret_value()
            )  # the SDK types its methods only in part
    except SlackApiError as error:
        fix = "Make an app-level token with connections:write, and switch Socket Mode on."
        return _refused("SLACK_APP_TOKEN", _code(error), fix)
    except _UNREACHABLE as error:
        return unknown("tokens", f"SLACK_APP_TOKEN could not be tried ({type(error).__name__}).", "Try again.")
    return well("tokens", "SLACK_APP_TOKEN is taken, and Socket Mode is on.")


async def _channels(client: AsyncWebClient, settings: Settings) -> Iterator[Finding]:
    channels = await find_channels(client, settings)
    names = dict.fromkeys((settings.actions_channel, settings.takeover_channel or settings.actions_channel))
    said = " and ".join(f"#{name.lstrip('#')}" for name in names)
    if channels.problem:
        fix = f"Make {said}, and type `/invite @Second Key` there; or set `actions_channel`."
        return iter((broken("channels", channels.problem, fix),))
    return iter((well("channels", f"The bot is in {said}."),))


async def _people(client: AsyncWebClient, settings: Settings, clock: Clock, here: _Here) -> list[Finding]:
    """Whom the policy names: user groups that can be read, and approvers who are full members."""
    try:
        policy = policy_of(settings)
    except ConfigurationError:
        return []  # told by the look at the configuration
    groups = UserGroups(client, clock)
    called = (settings.on_call,) if settings.on_call.startswith("S") else ()
    named = tuple(dict.fromkeys((*policy.groups, *called)))
    await groups.refresh(named)
    found = list(_groups(groups, named))
    registry = await asyncio.to_thread(registered, settings)
    policy = replace(policy, directory=_Directory(groups, registry, clock.now()))
    keys = [key for key in policy.everybody(here.team) if key.startswith("slack:")]
    identity = Identity(client, here.team, clock, decides=lambda _: True)
    found += await _approvers(identity, sorted(keys))
    if settings.on_call.startswith(("U", "W")):
        found += await _called(identity, settings.on_call)
    return found


def _groups(groups: UserGroups, named: Iterable[str]) -> Iterator[Finding]:
    if groups.problem:
        fix = "Check the ids (S…) and the scope usergroups:read; a group that is switched off has no members."
        yield broken("groups", f"{groups.problem[:1].upper()}{groups.problem[1:]}.", fix)
    for group in named:
        if groups.problem and group in groups.problem:
            continue
        members = groups.members(group)
        if members:
            yield well("groups", f"{group} has {count(len(members), 'member')}.")
        else:
            yield mend("groups", f"Nobody is in {group}.", "Put people into the group, or name another one.")


async def _approvers(identity: Identity, keys: list[str]) -> list[Finding]:
    refused = await asyncio.gather(*(_refusal(identity, key) for key in keys))
    able = [key for key, why in zip(keys, refused, strict=True) if not why]
    found = [
        mend("approvers", f"{key.rpartition(':')[2]} cannot decide: {why}", "Name a full member of the workspace.")
        for key, why in zip(keys, refused, strict=True)
        if why
    ]
    if not able:
        fix = "Name Slack user ids of full members as `approvers` (profile, Copy member ID)."
        return [*found, broken("approvers", "Nobody whom the policy names as approver can decide.", fix)]
    if len(able) == 1:
        text = "Only one person can decide, and nobody decides on their own request."
        return [*found, mend("approvers", text, "Name a second approver.")]
    return [*found, well("approvers", f"{count(len(able), 'person', 'people')} can decide.")]


async def _called(identity: Identity, user: str) -> list[Finding]:
    why = await _refusal(identity, Principal(team=identity.home_team, user=user).key)
    if not why:
        return [well("on_call", f"{user} can be called.")]
    return [mend("on_call", f"{user} is called when a takeover opens, and cannot take it: {why}", "Set `on_call`.")]


async def _refusal(identity: Identity, key: str) -> str:
    """Why somebody cannot decide; empty when they can."""
    try:
        who = Principal.parse(key)
        await identity.may_ask(who.user, who.team)
    except ValueError:
        return "the key cannot be read."
    except NotEntitled as error:
        return str(error)
    return ""


def _code(error: SlackApiError) -> str:
    response: Mapping[str, Any] = cast("Any", error).response
    return str(response.get("error", "unknown"))

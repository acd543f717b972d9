"""Slack's payloads read field by field: a missing or wrong field gives None, never an exception."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

Body = Mapping[str, Any]
# None of them reads over the next "<", which Slack escapes inside: else 40,000 of them would take half a minute.
_MENTION: Final = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_LINK: Final = re.compile(r"<((?:https?|mailto|tel|ftp):[^|<>]*)(?:\|([^<>]*))?>")
_CHANNEL: Final = re.compile(r"<#([A-Z0-9]+)(?:\|([^<>]*))?>")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SPECIAL: Final = re.compile(r"<!(?:subteam\^)?([^|<>]*)(?:\|([^<>]*))?>")


@dataclass(frozen=True, slots=True)
class Who:
    """The person who acts, with the team that the payload says they act from, and a place to answer them."""

    user: str
    team: str
    channel: str = ""
    thread_ts: str = ""
    response_url: str = ""
    in_home: bool = False
    """Whether they act in the app's Home, where there is no channel to answer in."""


@dataclass(frozen=True, slots=True)
class Click:
    """A click on one of our buttons: whose subject it is and what was shown."""

    who: Who
    action_id: str
    trigger_id: str
    subject: str
    shown: str
    """The first characters of the digest that the card showed."""
    view_id: str = ""
    """The modal in which the button stands; empty for one of a message."""

    @property
    def key(self) -> str:
        """What a second delivery of it is known by; empty when the payload holds nothing of the kind."""
        return f"click:{self.trigger_id}:{self.action_id}" if self.trigger_id else ""


@dataclass(frozen=True, slots=True)
class Submission:
    """A modal that was sent, or closed; a field that is missing reads as empty."""

    who: Who
    view_id: str
    hash: str
    metadata: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command."""

    who: Who
    trigger_id: str
    command: str
    words: tuple[str, ...]
    rest: str = ""
    """What follows the first word, as it was typed."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a person."""

    who: Who
    event_id: str
    text: str
    ts: str
    thread_ts: str
    is_dm: bool
    event: Body
    """The whole event, for what only some messages have."""

    @property
    def has_files(self) -> bool:
        """Whether files came with it."""
        return bool(self.event.get("files"))


def mapping(value: object) -> Body:
    """The value when it is a mapping, else an empty one."""
    return cast("Body", value) if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """The value when it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def user_of(value: object) -> str:
    """The value when it can be a person's id, else an empty text: nobody is looked up by anything else."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def first(value: object) -> Body:
    """The first item of a list when it is a mapping, else an empty one."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return mapping(items[0]) if items else {}


def who_of(body: Body) -> Who | None:
    """Who sent an interaction or a command; None when the payload does not say."""
    user = mapping(body.get("user"))
    user_id = user_of(user.get("id")) or user_of(body.get("user_id"))
    team = text_of(user.get("team_id")) or text_of(mapping(body.get("team")).get("id")) or text_of(body.get("team_id"))
    if not user_id:
        return None
    container, message = mapping(body.get("container")), mapping(body.get("message"))
    return Who(
        user=user_id,
        team=team,
        channel=text_of(mapping(body.get("channel")).get("id"))
        or text_of(container.get("channel_id"))
        or text_of(body.get("channel_id")),
        thread_ts=text_of(message.get("thread_ts")) or text_of(container.get("thread_ts")),
        response_url=text_of(body.get("response_url")),
        in_home=mapping(body.get("view")).get("type") == "home",
    )


def click_of(body: Body) -> Click | None:
    """A click; None when a field is missing."""
    who, action = who_of(body), first(body.get("actions"))
    subject, _, shown = text_of(action.get("value")).partition("|")
    action_id = text_of(action.get("action_id"))
    if who is None or not subject or not action_id:
        return None
    return Click(
        who=who,
        action_id=action_id,
        trigger_id=text_of(body.get("trigger_id")),
        subject=subject,
        shown=shown,
        view_id=text_of(mapping(body.get("view")).get("id")),
    )


def submission_of(body: Body) -> Submission | None:
    """A submitted or closed modal; None when a field is missing."""
    who, view = who_of(body), mapping(body.get("view"))
    view_id = text_of(view.get("id"))
    if who is None or not view_id:
        return None
    values = mapping(mapping(view.get("state")).get("values"))
    return Submission(
        who=who,
        view_id=view_id,
        hash=text_of(view.get("hash")),
        metadata=text_of(view.get("private_metadata")),
        values={block: _entered(mapping(mapping(item).get("value"))) for block, item in values.items()},
    )


def _entered(state: Body) -> str:
    """What was typed or chosen in one field."""
    chosen = text_of(mapping(state.get("selected_option")).get("value")) or text_of(state.get("selected_user"))
    return text_of(state.get("value")) or chosen or text_of(state.get("selected_conversation"))


def command_of(body: Body) -> Command | None:
    """A slash command; None when a field is missing."""
    who, command = who_of(body), text_of(body.get("command"))
    if who is None or not command:
        return None
    text = plain(text_of(body.get("text")), "")
    rest = text.split(maxsplit=1)[1] if len(text.split(maxsplit=1)) > 1 else ""
    return Command(
        who=who, trigger_id=text_of(body.get("trigger_id")), command=command, words=tuple(text.split()), rest=rest
    )


def said_of(body: Body, bot_user: str) -> Said | None:
    """A person's own new message; None for bots, edits, deletions, joins and whatever else is no new message."""
    event = mapping(body.get("event"))
    user, channel, ts = user_of(event.get("user")), text_of(event.get("channel")), text_of(event.get("ts"))
    subtype = text_of(event.get("subtype"))
    if not user or not channel or not ts or event.get("bot_id") or event.get("bot_profile") or user == bot_user:
        return None
    if (subtype and subtype not in {"file_share", "thread_broadcast"}) or event.get("edited") or event.get("hidden"):
        return None
    team = text_of(event.get("user_team")) or text_of(event.get("source_team")) or text_of(event.get("team"))
    thread_ts = text_of(event.get("thread_ts"))
    return Said(
        who=Who(user=user, team=team or text_of(body.get("team_id")), channel=channel, thread_ts=thread_ts),
        event_id=text_of(body.get("event_id")),
        text=plain(text_of(event.get("text")), bot_user),
        ts=ts,
        thread_ts=thread_ts,
        is_dm=event.get("channel_type") == "im" or (not event.get("channel_type") and channel.startswith("D")),
        event=event,
    )


def plain(text: str, bot_user: str) -> str:
    """Slack's markup as plain words: links as addresses, the mention of the bot left out."""
    text = _MENTION.sub(lambda match: "" if match[1] == bot_user and bot_user else f"@{match[1]}", text)
    text = _LINK.sub(
        lambda match: match[1] if not match[2] or match[2] in match[1] else f"{match[2]} ({match[1]})", text
    )
    text = _CHANNEL.sub(lambda match: f"#{match[2] or match[1]}", text)
    text = _SPECIAL.sub(lambda match: f"@{match[2] or match[1]}", text)
    return html.unescape(text).strip()

"""The workspace's state: people, channels and messages, with no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from simulator.errors import SlackError
from simulator.people import (
    COMMANDS,
    FUNCTIONS,
    PEOPLE,
    SHORTCUTS,
    App,
    Command,
    Function,
    Json,
    Person,
    Shortcut,
    Team,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.clock import Clock

#: what a person may type between angle brackets; everything else is escaped as Slack does
_TOKEN = re.compile(r"<(?:@[UW][A-Z0-9]+|#[CG][A-Z0-9]+|![a-z]+[^<>]*|https?://[^<>\s]+|mailto:[^<>\s]+)(?:\|[^<>]*)?>")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt);)")


def escape(text: str) -> str:
    """Escape what a person typed, leaving mentions, links and entities that are escaped already."""
    parts: list[str] = []
    at = 0
    for token in _TOKEN.finditer(text):
        parts += [_escape_plain(text[at : token.start()]), token.group()]
        at = token.end()
    parts.append(_escape_plain(text[at:]))
    return "".join(parts)


def _escape_plain(text: str) -> str:
    return _BARE_AMPERSAND.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;")


@dataclass(slots=True)
class Channel:
    """A channel or direct message and what was said in it."""

    id: str
    name: str
    members: list[str]
    purpose: str = ""
    is_private: bool = False
    is_im: bool = False
    user: str = ""
    archived: bool = False
    #: messages by ts, oldest first
    messages: dict[str, Json] = field(default_factory=dict[str, Json])
    #: replies' ts by their root's ts
    threads: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    #: up to which ts each person has read
    read: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def kind(self) -> str:
        """Return Slack's channel_type."""
        return "im" if self.is_im else "group" if self.is_private else "channel"

    def as_slack(self, bot_user: str) -> Json:
        """Return Slack's conversation object, as the bot sees it."""
        shape: Json = {
            "id": self.id,
            "created": 0,
            "is_im": self.is_im,
            "is_channel": self.kind == "channel",
            "is_group": self.kind == "group",
            "is_private": self.is_private or self.is_im,
            "is_archived": self.archived,
        }
        if self.is_im:
            return shape | {"user": self.user, "is_open": True}
        return shape | {
            "name": self.name,
            "name_normalized": self.name,
            "is_member": bot_user in self.members,
            "num_members": len(self.members),
            "purpose": {"value": self.purpose, "creator": "", "last_set": 0},
            "topic": {"value": "", "creator": "", "last_set": 0},
        }


class Workspace:
    """One Slack workspace: people, channels, messages, ephemerals."""

    def __init__(self, clock: Clock, *, team: Team | None = None, app: App | None = None) -> None:
        self.team = team or Team()
        self.app = app or App()
        self.commands: tuple[Command, ...] = COMMANDS
        self.shortcuts: tuple[Shortcut, ...] = SHORTCUTS
        self.functions: tuple[Function, ...] = FUNCTIONS
        #: the app's manifest, for whoever asks with the configuration token
        self.manifest: Json = {}
        #: the prompts of the app's manifest, and those that it set since, with their title, by direct message
        self.prompts: list[Json] = []
        self.set_prompts: dict[str, tuple[str, list[Json]]] = {}
        #: titles of assistant threads, by channel and thread
        self.titles: dict[tuple[str, str], str] = {}
        self.people: dict[str, Person] = {}
        self.channels: dict[str, Channel] = {}
        #: who receives an ephemeral message, and the message, by channel and ts
        self.ephemerals: dict[tuple[str, str], tuple[str, Json]] = {}
        self.usergroups: dict[str, Json] = {}
        self._clock = clock
        self._last_ts = 0

    @classmethod
    def default(cls, clock: Clock, commands: Iterable[Command] | None = None) -> Workspace:
        """Return the workspace of Harbour Coffee, with nothing said in it yet."""
        here = cls(clock)
        here.commands = COMMANDS if commands is None else tuple(commands)
        bot = here.app.user_id
        for person in PEOPLE:
            here.people[person.id] = person
        here.people[bot] = Person(bot, "second_key", here.app.name, "AI agent", role="bot", color="1d3b53")
        staff = ["U0MAYA", "U0OMAR", "U0INES"]
        here.channels = {
            "C0GENERAL": Channel("C0GENERAL", "general", [*staff, "U0THEO", bot], "Everything that concerns everyone"),
            "C0DATA": Channel("C0DATA", "data-team", [*staff, "U0THEO", "U0EVE", bot], "Orders, stock and reports"),
            "C0ACTIONS": Channel("C0ACTIONS", "ai-actions", [*staff, bot], "What Second Key asks people about"),
        }
        for person in PEOPLE:
            here.im(person.id)
        here.usergroups["S0APPROVERS"] = {
            "id": "S0APPROVERS",
            "team_id": here.team.id,
            "name": "Approvers",
            "handle": "approvers",
            "users": ["U0OMAR", "U0INES"],
            "user_count": 2,
            "date_delete": 0,
        }
        return here

    def person(self, user_id: str) -> Person:
        """Return a person. Raises SlackError `user_not_found`."""
        try:
            return self.people[user_id]
        except KeyError:
            raise SlackError("user_not_found") from None

    def change_person(self, user_id: str, **changes: Any) -> Person:  # noqa: ANN401  fields of Person
        """Replace fields of a person, such as `deleted` or `role`. Raises SlackError `user_not_found`."""
        changed = replace(self.person(user_id), **changes)
        self.people[user_id] = changed
        return changed

    def channel(self, ref: str) -> Channel:
        """Return a channel by id or name. Raises SlackError `channel_not_found`."""
        if ref in self.channels:
            return self.channels[ref]
        name = ref.removeprefix("#")
        for channel in self.channels.values():
            if name and channel.name == name:
                return channel
        raise SlackError("channel_not_found")

    def im(self, user_id: str) -> Channel:
        """Return the direct message of a person and the app, made on first use. Raises SlackError `cannot_dm_bot`."""
        if self.person(user_id).is_bot:
            raise SlackError("cannot_dm_bot")
        ref = f"D{user_id[1:]}"
        if ref not in self.channels:
            self.channels[ref] = Channel(ref, "", [user_id, self.app.user_id], is_im=True, user=user_id)
        return self.channels[ref]

    def is_shared(self, channel: Channel) -> bool:
        """Say whether people of another workspace are in a channel."""
        return any(self.people[user].team_id != self.team.id for user in channel.members if user in self.people)

    def next_ts(self) -> str:
        """Return a message ts: seconds with six decimals, never twice the same."""
        self._last_ts = max(self._last_ts + 1, int(self._clock.now() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def message(self, channel: Channel, ts: str) -> Json:
        """Return a message. Raises SlackError `message_not_found`."""
        try:
            return channel.messages[ts]
        except KeyError:
            raise SlackError("message_not_found") from None

    def add(self, channel: Channel, message: Json) -> Json:
        """Keep a message, under its thread's root when `thread_ts` is given. Raises SlackError `thread_not_found`."""
        message.setdefault("ts", self.next_ts())
        root_ts = message.get("thread_ts")
        if root_ts is not None:
            root = channel.messages.get(root_ts)
            if root is None:
                raise SlackError("thread_not_found")
            root_ts = root.get("thread_ts", root_ts)
            message["thread_ts"] = root_ts
            root = channel.messages[root_ts]
            replies = channel.threads.setdefault(root_ts, [])
            replies.append(message["ts"])
            channel.messages[message["ts"]] = message
            self._count_replies(channel, root, replies)
        else:
            channel.messages[message["ts"]] = message
        channel.read[message["user"]] = message["ts"]
        return message

    def remove(self, channel: Channel, ts: str) -> Json:
        """Take a message away. Raises SlackError `message_not_found`."""
        message = self.message(channel, ts)
        del channel.messages[ts]
        root_ts = message.get("thread_ts")
        if root_ts and root_ts != ts and root_ts in channel.messages:
            replies = channel.threads[root_ts]
            replies.remove(ts)
            self._count_replies(channel, channel.messages[root_ts], replies)
        return message

    def _count_replies(self, channel: Channel, root: Json, replies: list[str]) -> None:
        users = [channel.messages[ts]["user"] for ts in replies]
        root["thread_ts"] = root["ts"]
        root["reply_count"] = len(replies)
        root["reply_users"] = list(dict.fromkeys(users))
        root["reply_users_count"] = len(root["reply_users"])
        root["latest_reply"] = replies[-1] if replies else root["ts"]

    def roots(self, channel: Channel) -> list[Json]:
        """Return the messages that stand in the channel itself, oldest first."""
        return [m for m in channel.messages.values() if m.get("thread_ts", m["ts"]) == m["ts"]]

    def thread(self, channel: Channel, ts: str) -> list[Json]:
        """Return a thread, its root first. Raises SlackError `thread_not_found`."""
        if ts not in channel.messages:
            raise SlackError("thread_not_found")
        root_ts: str = channel.messages[ts].get("thread_ts", ts)
        if root_ts not in channel.messages:
            return [channel.messages[ts]]
        return [channel.messages[root_ts], *(channel.messages[t] for t in channel.threads.get(root_ts, []))]

    def unread(self, channel: Channel, user: str) -> tuple[int, int]:
        """Return how many messages, and how many that mention them, a person has not read."""
        since = channel.read.get(user, "")
        fresh = [m for ts, m in channel.messages.items() if ts > since and m["user"] != user]
        roots = sum(m.get("thread_ts", m["ts"]) == m["ts"] for m in fresh)
        mentions = sum(channel.is_im or f"<@{user}>" in f"{m.get('text')}{m.get('blocks')}" for m in fresh)
        return max(roots, mentions), mentions

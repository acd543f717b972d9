"""Saying, changing and deleting things: state, pages and events kept in step."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from simulator.blocks import dicts, with_ids
from simulator.errors import SlackError
from simulator.workspace import escape

if TYPE_CHECKING:
    from simulator.clock import Ids
    from simulator.events import Events
    from simulator.hub import Hub
    from simulator.people import Json
    from simulator.workspace import Channel, Workspace


class Posting:
    """The one place where messages come, change and go."""

    def __init__(self, *, workspace: Workspace, hub: Hub, events: Events, ids: Ids) -> None:
        self._workspace = workspace
        self._hub = hub
        self._events = events
        self._ids = ids
        #: what the app says it is doing, by channel and thread
        self.statuses: dict[tuple[str, str], str] = {}
        #: threads whose status is an agent session's, which only the app changes
        self._sessions: set[tuple[str, str]] = set()

    def person_posts(
        self, user: str, channel: Channel, text: str, thread_ts: str | None, files: list[Json] | None = None
    ) -> Json:
        """Post as a person. Raises SlackError `not_in_channel`, `is_archived` or `no_text`."""
        self._writable(channel, user)
        if not text.strip() and not files:
            raise SlackError("no_text")
        message: Json = {
            "type": "message",
            "user": user,
            "channel": channel.id,
            "team": self._workspace.team.id,
            "client_msg_id": self._ids.secret(),
            "text": escape(text),
        }
        if files:
            message |= {"subtype": "file_share", "files": files}
        return self._post(channel, message, thread_ts)

    def bot_posts(self, channel: Channel, args: Json) -> Json:
        """Post as the app what passed the limits. Raises SlackError `not_in_channel` or `is_archived`."""
        self._writable(channel, self._workspace.app.user_id)
        message = self._bot_message(channel, args)
        posted = self._post(channel, message, args.get("thread_ts"))
        thread_ts = str(posted.get("thread_ts", posted["ts"]))
        if (channel.id, thread_ts) not in self._sessions:
            self.status(channel, thread_ts, "")
        return posted

    def bot_whispers(self, user: str, channel: Channel, args: Json) -> Json:
        """Show a message to one person only."""
        ts = self._workspace.next_ts()
        message = self._bot_message(channel, args) | {"ephemeral": True, "ts": ts}
        if args.get("thread_ts"):
            message["thread_ts"] = args["thread_ts"]
        self._workspace.ephemerals[channel.id, ts] = (user, message)
        self._hub.tell([user], {"type": "ephemeral", "message": copy.deepcopy(message)})
        return message

    def bot_changes(self, channel: Channel, ts: str, args: Json) -> Json:
        """Change a message of the app. Raises SlackError `message_not_found` or `cant_update_message`."""
        message = self._workspace.message(channel, ts)
        if message.get("bot_id") != self._workspace.app.bot_id:
            raise SlackError("cant_update_message")
        before = copy.deepcopy(message)
        self._apply(message, args)
        if not message.get("blocks"):
            message["edited"] = {"user": self._workspace.app.user_id, "ts": self._workspace.next_ts()}
        self._changed(channel, message)
        self._events.changed(channel, message, before)
        return message

    def replace_ephemeral(self, channel: Channel, ts: str, args: Json) -> None:
        """Change an ephemeral message. Raises SlackError `message_not_found`."""
        held = self._workspace.ephemerals.get((channel.id, ts))
        if held is None:
            raise SlackError("message_not_found")
        user, message = held
        self._apply(message, args)
        self._hub.tell([user], {"type": "message_changed", "message": copy.deepcopy(message)})

    def delete_ephemeral(self, channel: Channel, ts: str) -> None:
        """Take an ephemeral message away. Raises SlackError `message_not_found`."""
        held = self._workspace.ephemerals.pop((channel.id, ts), None)
        if held is None:
            raise SlackError("message_not_found")
        self._hub.tell([held[0]], {"type": "message_deleted", "channel": channel.id, "ts": ts})

    def person_edits(self, user: str, channel: Channel, ts: str, text: str) -> Json:
        """Edit one's own message. Raises SlackError `cant_update_message`."""
        message = self._workspace.message(channel, ts)
        if message["user"] != user:
            raise SlackError("cant_update_message")
        before = copy.deepcopy(message)
        message |= {"text": escape(text), "edited": {"user": user, "ts": self._workspace.next_ts()}}
        self._changed(channel, message)
        self._events.changed(channel, message, before)
        return message

    def delete(self, user: str, channel: Channel, ts: str) -> None:
        """Delete one's own message. Raises SlackError `message_not_found` or `cant_delete_message`."""
        if self._workspace.message(channel, ts)["user"] != user:
            raise SlackError("cant_delete_message")
        message = self._workspace.remove(channel, ts)
        self._hub.tell(channel.members, {"type": "message_deleted", "channel": channel.id, "ts": ts})
        self._tell_root(channel, message)
        self._events.deleted(channel, message)

    def react(self, user: str, channel: Channel, ts: str, name: str, *, add: bool) -> None:
        """Add or remove a reaction. Raises SlackError `already_reacted` or `no_reaction`."""
        message = self._workspace.message(channel, ts)
        reactions: list[Json] = message.setdefault("reactions", [])
        entry = next((r for r in reactions if r["name"] == name), None)
        if (entry is not None and user in entry["users"]) is add:
            raise SlackError("already_reacted" if add else "no_reaction")
        if add and entry is None:
            reactions.append({"name": name, "users": [user], "count": 1})
        elif entry is not None:
            users: list[str] = entry["users"]
            users.append(user) if add else users.remove(user)
            entry["count"] = len(users)
            if not users:
                reactions.remove(entry)
        self._changed(channel, message)
        event: Json = {"type": "reaction_added" if add else "reaction_removed", "user": user, "reaction": name}
        item = {"type": "message", "channel": channel.id, "ts": ts}
        self._events.emit(event | {"item": item, "item_user": message["user"], "event_ts": ts}, channel)

    def session(self, channel: Channel, thread_ts: str, status: str) -> None:
        """Show the status of an agent session, which posting does not clear."""
        self._sessions.add((channel.id, thread_ts))
        self.status(channel, thread_ts, status)

    def status(self, channel: Channel, thread_ts: str, status: str) -> None:
        """Show what the app is doing in a thread; an empty status, or the app's next message there, clears it."""
        key = (channel.id, thread_ts)
        if self.statuses.get(key, "") == status:
            return
        self.statuses[key] = status
        push = {"type": "status", "channel": channel.id, "thread_ts": thread_ts, "status": status}
        self._hub.tell(channel.members, push)

    def _writable(self, channel: Channel, user: str) -> None:
        if channel.archived:
            raise SlackError("is_archived")
        if user not in channel.members:
            raise SlackError("channel_not_found" if channel.is_private or channel.is_im else "not_in_channel")

    def _bot_message(self, channel: Channel, args: Json) -> Json:
        app = self._workspace.app
        message: Json = {
            "type": "message",
            "user": app.user_id,
            "bot_id": app.bot_id,
            "app_id": app.id,
            "team": self._workspace.team.id,
            "channel": channel.id,
            "bot_profile": {"id": app.bot_id, "app_id": app.id, "name": app.name, "deleted": False},
        }
        self._apply(message, args)
        message.setdefault("text", "")
        return message

    def _apply(self, message: Json, args: Json) -> None:
        if args.get("markdown_text"):
            args = args | {
                "blocks": [{"type": "markdown", "text": args["markdown_text"]}],
                "text": args["markdown_text"],
            }
        if isinstance(args.get("text"), str):
            message["text"] = args["text"]
        if args.get("blocks") is not None:
            message["blocks"] = with_ids(args["blocks"], self._ids)
        if args.get("metadata") is not None:
            message["metadata"] = args["metadata"]
        if args.get("attachments") is not None:
            message["attachments"] = [
                attachment | ({"blocks": with_ids(attachment["blocks"], self._ids)} if attachment.get("blocks") else {})
                for attachment in dicts(args["attachments"])
            ]
        for key in ("blocks", "attachments"):
            if message.get(key) == []:
                del message[key]

    def _post(self, channel: Channel, message: Json, thread_ts: str | None) -> Json:
        if thread_ts:
            message["thread_ts"] = str(thread_ts)
        message = self._workspace.add(channel, message)
        self._hub.tell(channel.members, {"type": "message", "message": copy.deepcopy(message)})
        self._tell_root(channel, message)
        self._events.message(channel, message)
        return message

    def _changed(self, channel: Channel, message: Json) -> None:
        self._hub.tell(channel.members, {"type": "message_changed", "message": copy.deepcopy(message)})

    def _tell_root(self, channel: Channel, reply: Json) -> None:
        root = channel.messages.get(reply.get("thread_ts", ""))
        if root is not None and root["ts"] != reply["ts"]:
            self._changed(channel, root)

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
    from simulator.sessions import Sessions
    from simulator.streams import Streams
    from simulator.workspace import Channel, Workspace


class Posting:
    """The one place where messages come, change and go."""

    def __init__(
        self, *, workspace: Workspace, hub: Hub, events: Events, ids: Ids, sessions: Sessions, streams: Streams
    ) -> None:
        self._workspace = workspace
        self._hub = hub
        self._events = events
        self._ids = ids
        self._sessions = sessions
        self._streams = streams

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

    def bot_posts(self, channel: Channel, args: Json, extra: Json | None = None) -> Json:
        """Post as the app what passed the limits. Raises SlackError `not_in_channel` or `is_archived`."""
        self._writable(channel, self._workspace.app.user_id)
        message = self._bot_message(channel, args) | (extra or {})
        posted = self._post(channel, message, args.get("thread_ts"))
        self._sessions.spoke(channel, str(posted.get("thread_ts", posted["ts"])))
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
        """Change a message of the app, unless it is being streamed.

        Raises SlackError `message_not_found`, `cant_update_message` or `streaming_state_conflict`.
        """
        message = self._workspace.message(channel, ts)
        if message.get("bot_id") != self._workspace.app.bot_id:
            raise SlackError("cant_update_message")
        if self._streams.is_open(channel.id, ts):
            raise SlackError("streaming_state_conflict")
        before = copy.deepcopy(message)
        self._apply(message, args)
        message.pop("streaming_state", None)
        if not message.get("blocks"):
            message["edited"] = {"user": self._workspace.app.user_id, "ts": self._workspace.next_ts()}
        self.redraw(channel, message)
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
        self.redraw(channel, message)
        self._events.changed(channel, message, before)
        return message

    def delete(self, user: str, channel: Channel, ts: str) -> None:
        """Delete one's own message. Raises SlackError `message_not_found` or `cant_delete_message`."""
        if self._workspace.message(channel, ts)["user"] != user or self._streams.is_open(channel.id, ts):
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
        self.redraw(channel, message)
        event: Json = {"type": "reaction_added" if add else "reaction_removed", "user": user, "reaction": name}
        item = {"type": "message", "channel": channel.id, "ts": ts}
        self._events.emit(event | {"item": item, "item_user": message["user"], "event_ts": ts}, channel)

    def redraw(self, channel: Channel, message: Json) -> None:
        """Show a message as it stands now to everybody in its channel."""
        self._hub.tell(channel.members, {"type": "message_changed", "message": copy.deepcopy(message)})

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

    def _tell_root(self, channel: Channel, reply: Json) -> None:
        root = channel.messages.get(reply.get("thread_ts", ""))
        if root is not None and root["ts"] != reply["ts"]:
            self.redraw(channel, root)

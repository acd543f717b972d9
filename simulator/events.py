"""Events API envelopes: what happened in the workspace, as the app is told of it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.clock import Clock, Ids
    from simulator.delivery import Delivery
    from simulator.people import Json
    from simulator.workspace import Channel, Workspace

#: the events that an agent app subscribes to
SUBSCRIPTIONS: Final = frozenset(
    {
        "agent_session_stopped",
        "app_context_changed",
        "app_home_opened",
        "app_mention",
        "message",
        "subteam_created",
        "subteam_members_changed",
        "subteam_updated",
    }
)
#: events that come without a subscription
_ALWAYS: Final = frozenset({"function_executed"})


class Events:
    """Tells the app what it subscribed to."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        delivery: Delivery,
        ids: Ids,
        clock: Clock,
        subscriptions: Iterable[str] | None = None,
    ) -> None:
        self.subscriptions = SUBSCRIPTIONS if subscriptions is None else frozenset(subscriptions)
        self._workspace = workspace
        self._delivery = delivery
        self._ids = ids
        self._clock = clock

    def emit(self, event: Json, channel: Channel | None = None) -> None:
        """Send an event, if it is subscribed to and the bot is in the channel."""
        bot = self._workspace.app.user_id
        if event["type"] not in self.subscriptions | _ALWAYS or (channel is not None and bot not in channel.members):
            return
        self._delivery.event(self._envelope(copy.deepcopy(event), channel))

    def message(self, channel: Channel, message: Json) -> None:
        """Tell of a new message and, when it mentions the bot in a channel, of the mention."""
        about = message | {"channel": channel.id, "channel_type": channel.kind, "event_ts": message["ts"]}
        if self._workspace.is_shared(channel):
            home = self._workspace.people[message["user"]].team_id
            about |= {"team": home, "user_team": home, "source_team": home}
        for key in ("metadata", "reply_count", "reply_users", "reply_users_count", "latest_reply"):
            about.pop(key, None)
        self.emit(about, channel)
        bot = self._workspace.app.user_id
        if f"<@{bot}>" in message.get("text", "") and message["user"] != bot and not channel.is_im:
            mention = {key: value for key, value in about.items() if key not in {"channel_type", "subtype"}}
            self.emit(mention | {"type": "app_mention"}, channel)

    def changed(self, channel: Channel, message: Json, before: Json) -> None:
        """Tell of an edited message."""
        self.emit(self._hidden(channel, "message_changed") | {"message": message, "previous_message": before}, channel)

    def deleted(self, channel: Channel, message: Json) -> None:
        """Tell of a deleted message."""
        self.emit(
            self._hidden(channel, "message_deleted") | {"deleted_ts": message["ts"], "previous_message": message},
            channel,
        )

    def _hidden(self, channel: Channel, subtype: str) -> Json:
        ts = self._workspace.next_ts()
        return {
            "type": "message",
            "subtype": subtype,
            "hidden": True,
            "channel": channel.id,
            "channel_type": channel.kind,
            "ts": ts,
            "event_ts": ts,
        }

    def _envelope(self, event: Json, channel: Channel | None) -> Json:
        team, app = self._workspace.team, self._workspace.app
        return {
            "token": app.verification_token,
            "team_id": team.id,
            "context_team_id": team.id,
            "context_enterprise_id": None,
            "api_app_id": app.id,
            "event": event,
            "type": "event_callback",
            "event_id": self._ids.new("Ev"),
            "event_time": int(self._clock.now()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": team.id,
                    "user_id": app.user_id,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": channel is not None and self._workspace.is_shared(channel),
            "event_context": f"4-{self._ids.secret()}",
        }

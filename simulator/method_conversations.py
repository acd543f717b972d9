"""Web API: conversations.*."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from simulator.arguments import channel_of, flag, page, text
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


async def open_conversation(services: Services, args: Json) -> Json:
    """Open the direct message with one person."""
    users = [user for user in text(args, "users").split(",") if user]
    if len(users) != 1:
        raise SlackError("users_list_not_supplied" if not users else "not_enough_users")
    if services.workspace.person(users[0]).deleted:
        raise SlackError("user_disabled")
    im = services.workspace.im(users[0])
    if not flag(args, "return_im"):
        return {"channel": {"id": im.id}}
    return {"channel": im.as_slack(services.workspace.app.user_id)}


async def info(services: Services, args: Json) -> Json:
    """Describe a channel that the bot can see."""
    channel = channel_of(services.workspace, args, member=False)
    shape = channel.as_slack(services.workspace.app.user_id)
    return {"channel": shape | {"is_ext_shared": services.workspace.is_shared(channel)}}


async def list_channels(services: Services, args: Json) -> Json:
    """List the channels that the bot can see."""
    bot = services.workspace.app.user_id
    return _listed(services, args, [c.id for c in services.workspace.channels.values() if c.kind == "channel"], bot)


async def users_conversations(services: Services, args: Json) -> Json:
    """List the channels that a person, by default the bot, is in."""
    user = text(args, "user") or services.workspace.app.user_id
    services.workspace.person(user)
    return _listed(services, args, [], user)


def _listed(services: Services, args: Json, visible: list[str], user: str) -> Json:
    kinds = {
        {"public_channel": "channel", "private_channel": "group"}.get(kind.strip(), kind.strip())
        for kind in text(args, "types", "public_channel").split(",")
    }
    bot = services.workspace.app.user_id
    found = [
        channel.as_slack(bot)
        for channel in services.workspace.channels.values()
        if channel.kind in kinds
        and (user in channel.members or channel.id in visible)
        and (channel.kind == "channel" or bot in channel.members)
        and not (channel.archived and flag(args, "exclude_archived"))
    ]
    items, cursor = page(found, args, default=100)
    return {"channels": items, "response_metadata": {"next_cursor": cursor}}


async def history(services: Services, args: Json) -> Json:
    """List what stands in a channel, newest first."""
    channel = channel_of(services.workspace, args)
    found = _between(services.workspace.roots(channel), args)[::-1]
    return _messages(found, args)


async def replies(services: Services, args: Json) -> Json:
    """List a thread, its root first."""
    channel = channel_of(services.workspace, args)
    thread = services.workspace.thread(channel, text(args, "ts"))
    return _messages([thread[0], *_between(thread[1:], args)], args)


def _between(messages: list[Json], args: Json) -> list[Json]:
    oldest, latest, inclusive = text(args, "oldest", "0"), text(args, "latest"), flag(args, "inclusive")
    try:
        low, high = float(oldest or 0), float(latest) if latest else float("inf")
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None
    return [
        message
        for message in messages
        if low < float(message["ts"]) < high or (inclusive and message["ts"] in {oldest, latest})
    ]


def _messages(found: list[Json], args: Json) -> Json:
    items, cursor = page(found, args, default=100)
    shown = copy.deepcopy(items)
    if not flag(args, "include_all_metadata"):
        for message in shown:
            message.pop("metadata", None)
    answer: Json = {"messages": shown, "has_more": bool(cursor)}
    return answer | ({"response_metadata": {"next_cursor": cursor}} if cursor else {})


async def members(services: Services, args: Json) -> Json:
    """List who is in a channel."""
    channel = channel_of(services.workspace, args, member=False)
    items, cursor = page([{"id": user} for user in channel.members], args, default=100)
    return {"members": [item["id"] for item in items], "response_metadata": {"next_cursor": cursor}}


async def join(services: Services, args: Json) -> Json:
    """Put the bot into a public channel."""
    channel = channel_of(services.workspace, args, member=False)
    bot = services.workspace.app.user_id
    if channel.is_im:
        raise SlackError("method_not_supported_for_channel_type")
    if channel.archived:
        raise SlackError("is_archived")
    if bot not in channel.members:
        channel.members.append(bot)
        services.hub.tell_all({"type": "channels"})
        services.events.emit(
            {"type": "member_joined_channel", "user": bot, "channel": channel.id, "team": services.workspace.team.id},
            channel,
        )
    return {"channel": channel.as_slack(bot)}


METHODS = {
    "conversations.open": open_conversation,
    "conversations.info": info,
    "conversations.list": list_channels,
    "conversations.history": history,
    "conversations.replies": replies,
    "conversations.members": members,
    "conversations.join": join,
    "users.conversations": users_conversations,
}

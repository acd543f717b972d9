"""Web API: chat.* and reactions.*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.arguments import channel_of, text
from simulator.errors import SlackError
from simulator.limits import check_message

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


async def post_message(services: Services, args: Json) -> Json:
    """Post to a channel, a thread or, by user id, a direct message."""
    channel = channel_of(services.workspace, args)
    check_message(args)
    services.rates.post(channel.id)
    message = services.posting.bot_posts(channel, args)
    return {"channel": channel.id, "ts": message["ts"], "message": message}


async def update(services: Services, args: Json) -> Json:
    """Change a message of the bot; blocks that are not given stay."""
    channel = channel_of(services.workspace, args)
    check_message(args)
    message = services.posting.bot_changes(channel, text(args, "ts"), args)
    return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": message}


async def delete(services: Services, args: Json) -> Json:
    """Delete a message of the bot."""
    channel = channel_of(services.workspace, args)
    services.posting.delete(services.workspace.app.user_id, channel, text(args, "ts"))
    return {"channel": channel.id, "ts": text(args, "ts")}


async def post_ephemeral(services: Services, args: Json) -> Json:
    """Show a message to one member of a channel."""
    channel = channel_of(services.workspace, args)
    check_message(args)
    user = services.workspace.person(text(args, "user"))
    if user.id not in channel.members:
        raise SlackError("user_not_in_channel")
    if channel.archived:
        raise SlackError("is_archived")
    return {"message_ts": services.posting.bot_whispers(user.id, channel, args)["ts"]}


async def get_permalink(services: Services, args: Json) -> Json:
    """Return a link to a message on the simulator's page."""
    channel = channel_of(services.workspace, args)
    message = services.workspace.message(channel, text(args, "message_ts"))
    thread = f"&thread={message['thread_ts']}" if message.get("thread_ts") else ""
    link = f"{services.url}/#channel={channel.id}{thread}&ts={message['ts']}"
    return {"channel": channel.id, "permalink": link}


async def add_reaction(services: Services, args: Json) -> Json:
    """React to a message."""
    return _react(services, args, add=True)


async def remove_reaction(services: Services, args: Json) -> Json:
    """Take a reaction back."""
    return _react(services, args, add=False)


def _react(services: Services, args: Json, *, add: bool) -> Json:
    channel = channel_of(services.workspace, args)
    name = text(args, "name").strip(":")
    if not name:
        raise SlackError("invalid_name")
    services.posting.react(services.workspace.app.user_id, channel, text(args, "timestamp"), name, add=add)
    return {}


METHODS = {
    "chat.postMessage": post_message,
    "chat.update": update,
    "chat.delete": delete,
    "chat.postEphemeral": post_ephemeral,
    "chat.getPermalink": get_permalink,
    "reactions.add": add_reaction,
    "reactions.remove": remove_reaction,
}

"""Web API: chat.startStream, chat.appendStream and chat.stopStream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import streams
from simulator.arguments import channel_of, text
from simulator.errors import SlackError
from simulator.limits import check_message
from simulator.sessions import SESSION_STATUS

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


async def start_stream(services: Services, args: Json) -> Json:
    """Begin a streamed message in a thread; the thread's agent session is then processing."""
    channel = channel_of(services.workspace, args)
    recipient = text(args, "recipient_user_id") or None
    if not channel.is_im:
        if recipient is None:
            raise SlackError("missing_recipient_user_id")
        if not text(args, "recipient_team_id"):
            raise SlackError("missing_recipient_team_id")
    if recipient is not None:
        services.workspace.person(recipient)
    display = text(args, "task_display_mode", "timeline")
    if display not in {"timeline", "plan"}:
        raise SlackError("invalid_arguments")
    mode, chunks = streams.chunks_of(args)
    stream = streams.Stream(channel.id, "", mode or "chunks", display, services.clock.now(), recipient)
    streams.add(stream, chunks)
    message = services.streaming.starts(channel, text(args, "thread_ts") or None, stream)
    thread_ts = str(message.get("thread_ts", message["ts"]))
    services.sessions.set(channel, thread_ts, "processing", initiator=recipient)
    return {"channel": channel.id, "ts": message["ts"]}


async def append_stream(services: Services, args: Json) -> Json:
    """Add to a streamed message."""
    channel = channel_of(services.workspace, args)
    ts = _own(services, channel.id, args)
    stream = services.streams.open(channel.id, ts)
    mode, chunks = streams.chunks_of(args)
    if mode is None:
        raise SlackError("no_text")
    _same_mode(stream, mode)
    streams.add(stream, chunks)
    services.streaming.grows(channel, stream)
    return {"channel": channel.id, "ts": ts}


async def stop_stream(services: Services, args: Json) -> Json:
    """End a streamed message, with blocks below it; its session leaves processing."""
    channel = channel_of(services.workspace, args)
    ts = _own(services, channel.id, args)
    stream = services.streams.open(channel.id, ts, ending=True)
    status = text(args, "session_status", "active")
    if status not in SESSION_STATUS:
        raise SlackError("invalid_arguments")
    mode, chunks = streams.chunks_of(args)
    if mode is not None and chunks:
        _same_mode(stream, mode)
    check_message({"text": "stream", "blocks": args.get("blocks"), "metadata": args.get("metadata")})
    streams.add(stream, chunks)
    message = services.streaming.stops(channel, stream, args)
    services.sessions.set(channel, str(message.get("thread_ts", ts)), status)
    return {"channel": channel.id, "ts": ts, "message": message}


def _own(services: Services, channel: str, args: Json) -> str:
    ts = text(args, "ts")
    message = services.workspace.message(services.workspace.channel(channel), ts)
    if message.get("bot_id") != services.workspace.app.bot_id:
        raise SlackError("message_not_owned_by_app")
    return ts


def _same_mode(stream: streams.Stream, mode: streams.Mode) -> None:
    # The official client opens with empty text when it is stopped before it was flushed, and then sends chunks.
    if stream.chunks and stream.mode != mode:
        raise SlackError("streaming_mode_mismatch")
    stream.mode = mode


METHODS = {
    "chat.startStream": start_stream,
    "chat.appendStream": append_stream,
    "chat.stopStream": stop_stream,
}

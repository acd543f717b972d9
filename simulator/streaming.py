"""Streamed messages where people see them: begun, grown, ended or broken off in their channel."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from simulator.blocks import with_ids

if TYPE_CHECKING:
    from simulator.clock import Ids
    from simulator.events import Events
    from simulator.people import Json
    from simulator.posting import Posting
    from simulator.streams import Stream, Streams
    from simulator.workspace import Channel, Workspace


class Streaming:
    """Keeps messages in step with their streams."""

    def __init__(self, *, workspace: Workspace, posting: Posting, streams: Streams, events: Events, ids: Ids) -> None:
        self._workspace = workspace
        self._posting = posting
        self._streams = streams
        self._events = events
        self._ids = ids

    def starts(self, channel: Channel, thread_ts: str | None, stream: Stream) -> Json:
        """Post what a stream begins with. Raises SlackError as posting does."""
        stream.parts = with_ids(stream.parts, self._ids)
        args: Json = {"text": stream.text, "blocks": stream.blocks(), "thread_ts": thread_ts}
        message = self._posting.bot_posts(channel, args, {"streaming_state": stream.state})
        stream.ts = message["ts"]
        self._streams.keep(stream)
        return message

    def grows(self, channel: Channel, stream: Stream) -> None:
        """Show what a stream has come to; the app itself hears nothing of it."""
        self._redraw(channel, stream)

    def stops(self, channel: Channel, stream: Stream, args: Json) -> Json:
        """End a stream; the given blocks stand below what was streamed."""
        message = self._workspace.message(channel, stream.ts)
        before = copy.deepcopy(message)
        stream.state = "completed"
        below = with_ids(args.get("blocks") or [], self._ids)
        if args.get("metadata") is not None:
            message["metadata"] = args["metadata"]
        self._redraw(channel, stream, below)
        self._events.changed(channel, message, before)
        return message

    def broken_off(self, channel: Channel, thread_ts: str) -> list[str]:
        """Stop the streams of a thread because a person asked, and return their messages' ts."""
        mine = [
            stream
            for stream in self._streams.held.values()
            if stream.channel == channel.id
            and self._streams.is_open(channel.id, stream.ts)
            and thread_ts in {channel.messages[stream.ts].get("thread_ts"), stream.ts}
        ]
        for stream in mine:
            stream.state = "stopped"
            self._redraw(channel, stream)
        return [stream.ts for stream in mine]

    def expire(self) -> list[str]:
        """End every running stream as if its five minutes were over, and return the messages' ts."""
        running = [stream for stream in self._streams.held.values() if stream.state == "in_progress"]
        for stream in running:
            stream.state = "expired"
            self._redraw(self._workspace.channel(stream.channel), stream)
        return [stream.ts for stream in running]

    def sweep(self) -> None:
        """Show as broken off the streams whose time ran out."""
        for stream in self._streams.expired():
            self._redraw(self._workspace.channel(stream.channel), stream)

    def _redraw(self, channel: Channel, stream: Stream, below: list[Json] | None = None) -> None:
        message = channel.messages.get(stream.ts)
        if message is None:
            return
        stream.parts = with_ids(stream.parts, self._ids)
        message |= {"text": stream.text, "blocks": stream.blocks() + (below or []), "streaming_state": stream.state}
        if not message["blocks"]:
            del message["blocks"]
        self._posting.redraw(channel, message)

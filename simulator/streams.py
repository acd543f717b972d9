"""Streamed messages: text, tasks and a plan that grow in place until they are stopped or their time is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from simulator.blocks import dicts
from simulator.errors import SlackError
from simulator.limits import MARKDOWN_TEXT, MESSAGE_BLOCKS, block_problems

if TYPE_CHECKING:
    from simulator.clock import Clock, Timing
    from simulator.people import Json

Mode = Literal["text", "chunks"]
#: how a stream ended, or that it has not: Slack's client draws the last two as broken off
State = Literal["in_progress", "completed", "stopped", "expired"]
TASK_STATUS: Final = frozenset({"pending", "in_progress", "complete", "error"})
#: characters of a task's and a plan's fields
TASK_TEXT: Final = 256
TASKS: Final = 50
#: bytes of everything in one streamed message; details and output count twice, as they stand in it twice
WHOLE: Final = 12_000


@dataclass(slots=True)
class Stream:
    """One streamed message, by what was said so far."""

    channel: str
    ts: str
    mode: Mode
    display: str
    began: float
    recipient: str | None = None
    state: State = "in_progress"
    #: markdown, tasks and blocks in the order in which they came
    parts: list[Json] = field(default_factory=list["Json"])
    plan_title: str | None = None
    #: every chunk as it came
    chunks: list[Json] = field(default_factory=list["Json"])

    @property
    def text(self) -> str:
        """Return the markdown so far."""
        return "".join(part["text"] for part in self.parts if part["type"] == "markdown")

    @property
    def tasks(self) -> list[Json]:
        """Return the tasks so far, in the order in which they came."""
        return [part for part in self.parts if part["type"] == "task_card"]

    def blocks(self) -> list[Json]:
        """Return the message's blocks: tasks where they came, or in plan mode all in one plan."""
        if self.display != "plan" or not (self.tasks or self.plan_title):
            return list(self.parts)
        plan: Json = {"type": "plan", "title": self.plan_title or "Thinking…", "tasks": self.tasks}
        return [plan, *(part for part in self.parts if part["type"] != "task_card")]

    def seen(self) -> Json:
        """Return the stream as the driver sees it."""
        return {
            "channel": self.channel,
            "ts": self.ts,
            "state": self.state,
            "text": self.text,
            "tasks": self.tasks,
            "plan_title": self.plan_title,
            "chunks": self.chunks,
            "recipient": self.recipient,
        }


class Streams:
    """All streamed messages by channel and ts."""

    def __init__(self, *, clock: Clock, timing: Timing) -> None:
        self._clock = clock
        self._timing = timing
        self.held: dict[tuple[str, str], Stream] = {}

    def keep(self, stream: Stream) -> None:
        """Take up a stream that stands in its channel now."""
        self.held[stream.channel, stream.ts] = stream

    def open(self, channel: str, ts: str, *, ending: bool = False) -> Stream:
        """Return a stream that takes more. Raises SlackError `message_not_in_streaming_state` or `stopped_by_user`."""
        stream = self.held.get((channel, ts))
        if stream is None:
            raise SlackError("message_not_in_streaming_state")
        self._age(stream)
        if stream.state == "stopped":
            if not ending:
                raise SlackError("stopped_by_user")
        elif stream.state != "in_progress":
            raise SlackError("message_not_in_streaming_state")
        return stream

    def is_open(self, channel: str, ts: str) -> bool:
        """Say whether a message is still being streamed."""
        stream = self.held.get((channel, ts))
        if stream is not None:
            self._age(stream)
        return stream is not None and stream.state == "in_progress"

    def expired(self) -> list[Stream]:
        """Return the streams whose time ran out since this was asked last."""
        running = [stream for stream in self.held.values() if stream.state == "in_progress"]
        for stream in running:
            self._age(stream)
        return [stream for stream in running if stream.state == "expired"]

    def _age(self, stream: Stream) -> None:
        if stream.state == "in_progress" and self._clock.now() - stream.began >= self._timing.stream:
            stream.state = "expired"


def chunks_of(args: Json) -> tuple[Mode | None, list[Json]]:
    """Return a call's chunks and their kind. Raises SlackError for what Slack refuses."""
    markdown, given = args.get("markdown_text"), args.get("chunks")
    if markdown is not None and given is not None:
        raise SlackError("cannot_provide_both_markdown_text_and_chunks")
    if markdown is not None:
        return "text", [_checked({"type": "markdown_text", "text": markdown})] if markdown else []
    if given is None:
        return None, []
    chunks = dicts(given)
    if not isinstance(given, list) or len(chunks) != len(given):  # pyright: ignore[reportUnknownArgumentType]  any JSON
        raise SlackError("invalid_arguments")
    return "chunks", [_checked(chunk) for chunk in chunks]


def add(stream: Stream, chunks: list[Json]) -> None:
    """Take chunks into a stream, all or none. Raises SlackError `msg_too_long`."""
    parts, title = [dict(part) for part in stream.parts], stream.plan_title
    for chunk in chunks:
        if chunk["type"] == "markdown_text":
            if parts and parts[-1]["type"] == "markdown":
                parts[-1]["text"] += chunk["text"]
            elif chunk["text"]:
                parts.append({"type": "markdown", "text": chunk["text"]})
        elif chunk["type"] == "plan_update":
            title = chunk["title"]
        elif chunk["type"] == "blocks":
            parts += dicts(chunk["blocks"])
        else:
            _take_task(parts, chunk)
    if _weight(parts, title) > WHOLE or sum(part["type"] == "task_card" for part in parts) > TASKS:
        raise SlackError("msg_too_long")
    stream.parts, stream.plan_title = parts, title
    stream.chunks += chunks


def _take_task(parts: list[Json], chunk: Json) -> None:
    task: Json | None = next((p for p in parts if p["type"] == "task_card" and p["task_id"] == chunk["id"]), None)
    if task is None:
        task = {"type": "task_card", "task_id": chunk["id"]}
        parts.append(task)
    task |= {"title": chunk["title"], "status": chunk["status"]}
    for key in ("details", "output"):
        if chunk.get(key):
            task[key] = _rich(_plain(task.get(key)) + str(chunk[key]))
    if chunk.get("sources"):
        task["sources"] = [*task.get("sources", []), *dicts(chunk["sources"])]


def _rich(text: str) -> Json:
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [section]}


def _plain(rich: Json | None) -> str:
    return str(rich["elements"][0]["elements"][0]["text"]) if rich else ""


def _weight(parts: list[Json], title: str | None) -> int:
    weight = len((title or "").encode())
    for part in parts:
        if part["type"] == "markdown":
            weight += len(part["text"].encode())
        elif part["type"] == "task_card":
            inside = _plain(part.get("details")) + _plain(part.get("output"))
            weight += len(part["title"].encode()) + 2 * len(inside.encode())
    return weight


def _checked(chunk: Json) -> Json:
    kind = chunk.get("type")
    if kind == "markdown_text":
        _text(chunk.get("text"), MARKDOWN_TEXT, "msg_too_long")
    elif kind == "plan_update":
        _text(chunk.get("title"), TASK_TEXT)
    elif kind == "task_update":
        _text(chunk.get("id"), TASK_TEXT)
        _text(chunk.get("title"), TASK_TEXT)
        for key in ("details", "output"):
            _text(chunk.get(key) or "", TASK_TEXT)
        if chunk.get("status") not in TASK_STATUS:
            raise SlackError("invalid_arguments")
    elif kind == "blocks":
        problems = block_problems(chunk.get("blocks"), most=MESSAGE_BLOCKS)
        if problems:
            raise SlackError("invalid_blocks", errors=problems, response_metadata={"messages": problems})
    else:
        raise SlackError("invalid_arguments")
    return chunk


def _text(value: Any, most: int, code: str = "invalid_arguments") -> None:  # noqa: ANN401  whatever a caller sent
    if not isinstance(value, str):
        raise SlackError("invalid_arguments")
    if len(value) > most:
        raise SlackError(code)

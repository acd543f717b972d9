"""Arguments of Web API calls: JSON body, form and query merged into one, read with Slack's errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from simulator.errors import SlackError

if TYPE_CHECKING:
    from aiohttp import web

    from simulator.people import Json
    from simulator.workspace import Channel, Workspace

#: arguments that arrive as JSON text in a form or query
_JSON: Final = frozenset(
    {
        "blocks",
        "attachments",
        "metadata",
        "view",
        "prompts",
        "message",
        "loading_messages",
        "chunks",
        "files",
        "outputs",
    }
)


async def merged(request: web.Request) -> Json:
    """Return the call's arguments, whichever way they came. Raises SlackError for malformed JSON."""
    args: Json = dict(request.query)
    kind = request.content_type
    if kind == "application/json":
        raw = await request.text()
        try:
            body: Any = json.loads(raw) if raw.strip() else {}
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        args |= cast("Json", body)
    elif kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        form = await request.post()
        args |= {key: value for key, value in form.items() if isinstance(value, str)}
    for key in _JSON & args.keys():
        if isinstance(args[key], str):
            try:
                args[key] = json.loads(args[key])
            except ValueError:
                raise SlackError("invalid_blocks_format" if key == "blocks" else "invalid_arguments") from None
    return args


def text(args: Json, key: str, default: str = "") -> str:
    """Return an argument as text."""
    value = args.get(key)
    return default if value is None else str(value)


def flag(args: Json, key: str) -> bool:
    """Return a yes/no argument."""
    return str(args.get(key, "")).lower() in {"1", "true"}


def number(args: Json, key: str, default: int) -> int:
    """Return a whole number. Raises SlackError `invalid_arguments`."""
    try:
        return int(text(args, key) or default)
    except ValueError:
        raise SlackError("invalid_arguments") from None


def channel_of(workspace: Workspace, args: Json, key: str = "channel", *, member: bool = True) -> Channel:
    """Return the channel meant, if the bot may see it. Raises SlackError `channel_not_found`, `not_in_channel`."""
    ref = text(args, key)
    channel = workspace.im(ref) if ref in workspace.people else workspace.channel(ref)
    if workspace.app.user_id not in channel.members:
        if channel.kind != "channel":
            raise SlackError("channel_not_found")
        if member:
            raise SlackError("not_in_channel")
    return channel


def page(items: list[Json], args: Json, *, default: int) -> tuple[list[Json], str]:
    """Return one page of a list and the cursor of the next one. Raises SlackError `invalid_cursor`."""
    size = max(1, min(number(args, "limit", default), 1000))
    cursor = text(args, "cursor")
    if cursor and not cursor.removeprefix("at:").isdigit():
        raise SlackError("invalid_cursor")
    start = int(cursor.removeprefix("at:")) if cursor else 0
    end = start + size
    return items[start:end], f"at:{end}" if end < len(items) else ""

"""What stands in the simulated workspace, as plain text: for the tour's transcript and for its checks."""

from __future__ import annotations

import re
from typing import Any

ASKED, ACTIONS = "C0DATA", "C0ACTIONS"
BOT = "U0SECONDKEY"
NAMES = {"U0MAYA": "Maya", "U0OMAR": "Omar", "U0INES": "Ines", BOT: "Second Key"}
CHANNELS = {ASKED: "#data-team", ACTIONS: "#ai-actions"}

Json = dict[str, Any]
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def key_of(message: Json) -> str:
    """What the bot's message is about, such as `card:p4x…`; empty for others."""
    metadata: Json = message.get("metadata") or {}
    payload: Json = metadata.get("event_payload") or {}
    return str(payload.get("key", ""))


def buttons(message: Json) -> list[Json]:
    """The buttons under a message."""
    rows = [block["elements"] for block in message.get("blocks") or () if block["type"] == "actions"]
    return [item for row in rows for item in row if item["type"] == "button"]


def told(message: Json) -> str:
    """A message's blocks as plain lines, the way a person reads them."""
    return "\n".join(_block(block) for block in message.get("blocks") or ()) or str(message.get("text", ""))


def _block(block: Json) -> str:
    match block["type"]:
        case "header" | "section":
            return _text(block["text"]["text"])
        case "context":
            return " ".join(_text(item.get("text", "")) for item in block["elements"])
        case "actions":
            return "  ".join(f"[{item['text']['text']}]" for item in block["elements"])
        case "table":
            return "\n".join(" | ".join(str(cell.get("text", "")).strip() for cell in row) for row in block["rows"])
        case _:
            return ""


def _text(text: str) -> str:
    """Formatting taken off, but for code blocks, which stand as they are."""
    parts = text.split("```")
    parts[::2] = [_unformatted(part) for part in parts[::2]]
    text = "".join(parts).replace("\u2060", "")
    for coded, plain in _ENTITIES:
        text = text.replace(coded, plain)
    return text


def _unformatted(text: str) -> str:
    text = re.sub(r"<@(\w+)>", lambda match: f"@{NAMES.get(match[1], match[1])}", text)
    text = re.sub(r"<#(\w+)(?:\|[^>]*)?>", lambda match: CHANNELS.get(match[1], match[1]), text)
    text = re.sub(r"<!date\^[^|>]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<[^|<>\s]+\|([^<>]*)>", r"\1", text)
    text = re.sub(r":[a-z_]+: ?", "", text)
    return re.sub(r"(?<![\w*])([*_`])([^*`\n]+?)\1(?![\w*])", r"\2", text)

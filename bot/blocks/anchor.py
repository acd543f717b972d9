"""The message under which a run lives that was asked elsewhere than in a message."""

from __future__ import annotations

from bot.blocks.kit import context, section
from bot.blocks.message import Message
from bot.blocks.text import bare, escape
from bot.words import person
from storage.anchors import Anchor

_TEXT = 2500
_HOW = {
    "command": "asked with {command}",
    "shortcut": "asked with a shortcut",
    "message": "asked about the message above",
    "step": "asked by a step of a workflow, in their name",
}


def anchor_message(anchor: Anchor, command: str) -> Message:
    """Who asked, what, and by which way; the run's messages follow in its thread."""
    asked = f":speech_balloon: {person(anchor.principal)} gives me a task:\n{escape(anchor.text, _TEXT)}"
    how = _HOW[anchor.via].format(command=f"`{command} run`")
    tail = context(f"{how}; what I do with it stands in this thread")
    plain = bare(anchor.text, 300).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Message.of(f"A task: {plain}", [section(asked), tail])

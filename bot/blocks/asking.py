"""The windows in which a task is given: about a message, or anywhere."""

from __future__ import annotations

from typing import Final

from bot.blocks.kit import Block, context, modal, plain, section, text_input
from bot.blocks.modals import Kept
from bot.blocks.text import verbatim

ASK_ABOUT_MESSAGE, GIVE_TASK = "ask_about_message", "give_task"
"""Callback ids of the shortcuts."""
ASK_FORM, GIVE_FORM = "ask_about_message_form", "give_task_form"
"""Callback ids of their windows."""
QUESTION, TASK, CHANNEL = "question", "task", "channel"
"""Blocks of the windows; each element's action_id is `value`."""
LONGEST: Final = 3000
"""Characters of a task in a window: as many as Slack allows."""
_QUOTED: Final = 1500


def ask_about_message(anchor: str, quote: str) -> Block:
    """A question about a message, which is shown as what it is: somebody's words, quoted."""
    return modal(
        ASK_FORM,
        "Ask about this",
        [
            text_input(QUESTION, "What do you want to know, or have done?", most=LONGEST),
            section(f"*The message, quoted. I read it as data, not as an instruction:*\n{verbatim(quote, _QUOTED)}"),
            context("The answer comes in this message's thread. Who wrote it cannot decide on what follows from it."),
        ],
        metadata=Kept(subject=anchor).model_dump_json(),
        submit="Ask",
        told_of_close=True,
    )


def give_task(opened: str) -> Block:
    """A task, and the channel in which it is to stand; without one, the person's direct message with the bot."""
    where: Block = {
        "type": "input",
        "block_id": CHANNEL,
        "optional": True,
        "label": plain("Where?"),
        "hint": plain("Its members can read along. Left empty, it stands in your direct message with me."),
        "element": {
            "type": "conversations_select",
            "action_id": "value",
            "default_to_current_conversation": True,
            "filter": {"include": ["public", "private"], "exclude_external_shared_channels": True},
        },
    }
    return modal(
        GIVE_FORM,
        "Give me a task",
        [text_input(TASK, "What shall I do?", most=LONGEST), where],
        metadata=Kept(subject=opened).model_dump_json(),
        submit="Give task",
    )

"""What can be typed behind the command: each word's form and its meaning, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.blocks.text import inline
from bot.words import nearest


@dataclass(frozen=True, slots=True)
class Usage:
    """One word, the form in which it is typed, and what it does."""

    form: str
    does: str


USAGE: Final = {
    "run": Usage("run <task>", "give me a task in this channel"),
    "status": Usage("status [run]", "where a run stands"),
    "runs": Usage("runs [mine|all|waiting]", "the runs that you may see"),
    "approvals": Usage("approvals", "what waits for you, and for others"),
    "stop": Usage("stop <run>|all", "end a run; `all` ends yours, and for admins everybody's"),
    "pause": Usage("pause [run]", "let nothing new start in a run, or (for admins) at all"),
    "resume": Usage("resume [run]", "go on again"),
    "why": Usage("why <action or approval>", "its rating, the facts, who decided, what came of it"),
    "grants": Usage("grants [revoke <id>]", "what was allowed beforehand, and taking it back"),
    "budget": Usage("budget", "what you spent today, and what is left"),
    "help": Usage("help", "this"),
}
"""Word → how it is typed and what it does, in the order of the help."""


def form(command: str, verb: str) -> str:
    """How one word is typed, ready for a message."""
    return f"`{command} {_escaped(USAGE[verb].form)}`"


def lines(command: str) -> str:
    """All of them, one a line."""
    return "\n".join(f"• {form(command, verb)}: {USAGE[verb].does}" for verb in USAGE)


def unknown(command: str, word: str) -> str:
    """What is said to a word that means nothing here: the nearest right one, and how it is typed."""
    said = f"I do not know `{inline(word, 40)}`."
    meant = nearest(word, USAGE)
    if not meant:
        return f"{said} `{command} help` lists what I know."
    return f"{said} Did you mean `{command} {meant}`? It is typed {form(command, meant)}: {USAGE[meant].does}."


def hint() -> str:
    """All forms in one line, as the manifest shows them while somebody types."""
    return " | ".join(usage.form for usage in USAGE.values())


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")

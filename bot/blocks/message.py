"""What a message is made of, before anybody posts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.domain import BUDGET_MICRO_USD
from bot.blocks.kit import FALLBACK, Block, fit
from bot.blocks.text import cut
from bot.words import person

Names = Callable[[str], str]
"""A principal's key as it stands in a text: a mention, or a name that notifies nobody."""


@dataclass(frozen=True, slots=True)
class Message:
    """Text for notifications and screen readers, blocks for eyes, and a shorter form should Slack refuse those."""

    text: str
    blocks: list[Block]
    shorter: list[Block]

    @classmethod
    def of(cls, text: str, blocks: list[Block], shorter: list[Block] | None = None) -> Message:
        """A message within Slack's limits."""
        return cls(cut(text, FALLBACK), fit(blocks), shorter if shorter is not None else [])


@dataclass(frozen=True, slots=True)
class Look:
    """How people are named in one rendering. Only the first post of a message may notify."""

    who: Names = person
    """People who are listed: who asked, who may decide."""
    actor: Names = person
    """Who did something. A mention in an update notifies nobody."""
    is_first: bool = True
    command: str = "/agent"
    on_call: str = ""
    """Who is called when a takeover opens and when nobody takes it: a mention of a person or a group."""
    budget_micro_usd: int = BUDGET_MICRO_USD
    """What one run may spend."""
    rate: float = 1.0
    """Business seconds in a real second, for spans that people wait for."""

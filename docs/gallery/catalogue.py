"""All examples by name; the gallery draws them, tests hold each to Slack's limits, whatever stands in them."""

from __future__ import annotations

from docs.gallery.cards import card_examples, reply_examples
from docs.gallery.pages import command_examples, home_examples, word_examples
from docs.gallery.runs import answer_examples, progress_examples
from docs.gallery.takeovers import takeover_examples
from docs.gallery.values import Cards, Shown, Texts
from docs.gallery.windows import window_examples


def catalogue(texts: Texts | None = None) -> dict[str, Shown]:
    """Name → message, modal or Home, in the order in which people meet them."""
    cards = Cards(texts or Texts())
    parts = (
        card_examples, reply_examples, takeover_examples, progress_examples, answer_examples, window_examples,
        home_examples, command_examples, word_examples,
    )  # fmt: skip
    return {name: shown for part in parts for name, shown in part(cards).items()}

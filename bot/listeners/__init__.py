"""What Slack delivers: validated field by field, written in one transaction, acked; the work happens elsewhere."""

from __future__ import annotations

from slack_bolt.async_app import AsyncApp

from bot.listeners import (
    cards,
    commands,
    decisions,
    edits,
    fallback,
    forms,
    granting,
    groups,
    home,
    home_team,
    reasons,
    shortcuts,
    steps,
    tasks,
    thread,
    together,
)
from bot.listeners.services import Bolt, Services


def register(app: AsyncApp, services: Services) -> None:
    """Put every listener on the app, the catch-all last; the app must be made with `process_before_response=True`."""
    bolt: Bolt = app
    fallback.guard(bolt, services)
    home_team.guard(bolt, services)
    cards_and_forms = (decisions, cards, forms, granting, edits, together, reasons)
    before = (tasks, *cards_and_forms, commands, home, shortcuts, steps, thread, groups)
    for part in (*before, fallback):
        part.register(bolt, services)

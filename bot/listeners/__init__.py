"""What Slack delivers: validated field by field, written in one transaction, acked; the work happens elsewhere."""

from __future__ import annotations

from slack_bolt.async_app import AsyncApp

from bot.listeners import commands, decisions, fallback, forms, groups, home, tasks
from bot.listeners.services import Bolt, Services


def register(app: AsyncApp, services: Services) -> None:
    """Put every listener on the app, the catch-all last; the app must be made with `process_before_response=True`."""
    bolt: Bolt = app
    fallback.guard(bolt, services)
    for part in (tasks, decisions, forms, commands, home, groups, fallback):
        part.register(bolt, services)

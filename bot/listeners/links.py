"""Addresses of what stands in Slack."""

from __future__ import annotations

from bot.listeners.services import Services


def link(services: Services, channel: str, ts: str) -> str:
    """The address of a message; empty when it is not known. Of several copies, the first one's."""
    place, first = channel.partition(",")[0], ts.partition(",")[0]
    if not services.workspace_url or not place or not first:
        return ""
    return f"{services.workspace_url.rstrip('/')}/archives/{place}/p{first.replace('.', '')}"


def card_link(services: Services, key: str) -> str:
    """The address of the message of an outbox key, such as `card:a1`; empty until it stands."""
    row = services.outbox.get(key)
    return link(services, row.channel, row.ts) if row is not None else ""

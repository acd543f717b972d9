"""User groups that change: what was known of them is forgotten at once."""

from __future__ import annotations

from bot.listeners.services import Bolt, Services


def register(app: Bolt, services: Services) -> None:
    """Listen to what Slack says of user groups."""

    async def changed() -> None:
        services.groups_changed()

    app.event("subteam_created")(changed)
    app.event("subteam_updated")(changed)
    app.event("subteam_members_changed")(changed)

"""What a terminal works through, in the place of Slack."""

from __future__ import annotations

import os

from agent.domain import Principal
from bot.composition.ground import Ground
from bot.local import LocalDoor, TerminalEntitlement
from storage.inbox import Inbox
from storage.queries import Queries
from storage.terminal_decisions import TerminalDecisions


def local_door(ground: Ground) -> LocalDoor:
    """The door for the person at this terminal, who may decide what the policy leaves to them."""
    materials, db = ground.materials, ground.db
    settings, who = materials.settings, Principal(kind="local", user=str(os.getuid()))
    entitlement = TerminalEntitlement(ground.policies, who)
    ground.deciding.known(entitlement)
    return LocalDoor(
        db=db,
        inbox=Inbox(db, materials.ids),
        decisions=TerminalDecisions(db, materials.clock, materials.ids, entitlement),
        queries=Queries(db),
        control=ground.control,
        clock=materials.clock,
        ids=materials.ids,
        quota=materials.quotas(),
        who=who,
        redact=materials.redact,
        data=settings.data,
        project=settings.project.resolve(),
        task_characters=settings.task_characters,
        budget_micro_usd=materials.budget_micro_usd,
    )

"""The door for people's decisions: approvals and takeovers behind one object."""

from __future__ import annotations

from agent.ports import Clock, Ids
from storage.approvals import ApprovalDecisions, Entitlement, Named
from storage.database import Database
from storage.revisions import Revisions
from storage.takeovers import TakeoverDecisions


class Decisions(Revisions, TakeoverDecisions):
    """Every decision that people and time take, each a compare-and-swap in its own transaction (invariant 3).

    Losers get AlreadyDecided with state, winner and time; refused attempts leave an audit row and change nothing.
    """

    def __init__(
        self, db: Database, clock: Clock, ids: Ids, entitlement: Entitlement, *, named: Named | None = None
    ) -> None:  # fmt: skip
        ApprovalDecisions.__init__(self, db, clock, ids, entitlement, named=named)
        TakeoverDecisions.__init__(self, db, ids, entitlement)

    async def sweep(self, now: float, limit: int = 500) -> int:
        """One batch of everything that is due at `now` (business time); call again while it returns more than 0."""
        return await self.expire_due(now, limit) + await self.sweep_takeovers(now, limit)

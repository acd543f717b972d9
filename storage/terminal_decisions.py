"""Decisions where the person who asked is the only one there is: in a terminal, without Slack."""

from __future__ import annotations

from agent.domain import Principal, TakeoverState
from agent.errors import AlreadyDecided, DecisionError
from storage.database import Tx
from storage.decisions import Decisions
from storage.rows import TakeoverRow


class TerminalDecisions(Decisions):
    """As Decisions, but that a person at a terminal may take over what the agent must not do of their own task.

    That is no yes to it: a high action never starts, whoever says what (invariant 5). They do it by their own hand, or
    hand it back and it is rated anew. The entitlement says whether they may.
    """

    def _asked_for_it(self, tx: Tx, row: TakeoverRow, principal: Principal) -> bool:
        return not _is_own(row, principal) and super()._asked_for_it(tx, row, principal)

    def _may_not(self, tx: Tx, row: TakeoverRow, principal: Principal) -> DecisionError | None:
        if not _is_own(row, principal) or not self._entitlement.may_decide(principal, row):
            return super()._may_not(tx, row, principal)
        if TakeoverState(row.state).is_final:
            return AlreadyDecided(state=row.state, by=row.closed_by, at=row.closed_at)
        return None


def _is_own(row: TakeoverRow, principal: Principal) -> bool:
    return principal.kind == "local" and principal.key == row.requester

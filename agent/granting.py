"""Grants at work: whether one covers a call when it is rated, and the yes that it gives when the call starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent import events as ev
from agent.domain import ApprovalState, Reason
from agent.equipment import Equipment
from agent.facts.model import Facts
from agent.gate import Verdict
from agent.grants import Grant, Standing, Use
from agent.state import ActionState, RunState


@dataclass(frozen=True, slots=True)
class Yes:
    """What a use of a grant writes before the start: an approval on exactly this digest, decided by who gave it."""

    grant: Grant
    asked: ev.ApprovalRequested
    decided: ev.ApprovalDecided
    spends: int


class Granter:
    """Looks for grants. Wherever anything is unclear there is none, and people are asked."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment

    def find(
        self, state: RunState, item: ActionState, verdict: Verdict, facts: Facts, asked: ev.ApprovalRequested
    ) -> Grant | None:
        """The first grant that covers the call; `asked` says whom the policy would ask, and how many."""
        use = Use(item.action, verdict.risk.tier, facts)
        return next(
            (one.grant for one in self._standing(state, item, asked) if not self._refusal(one, use, state)), None
        )  # fmt: skip

    async def yes(
        self,
        state: RunState,
        item: ActionState,
        verdict: Verdict,
        facts: Facts,
        ask: Callable[[], ev.ApprovalRequested],
    ) -> Yes | None:
        """The yes of the grant under which the call was rated, if it still holds and its giver is still entitled.

        `ask` says whom the policy would ask for exactly this call. It is called once the giver was looked up, which
        has groups and registry read anew: a grant has no votes that would be looked at again.
        """
        use = Use(item.action, verdict.risk.tier, facts)
        givers = {one.grant.by for one in self._of(state, item) if one.grant.id == item.grant}
        if verdict.door != "ask" or not givers or not await self._kit.may_still(givers.pop()):
            return None
        asked = ask()
        for one in self._standing(state, item, asked):
            grant = one.grant
            if grant.id != item.grant or self._refusal(one, use, state):
                continue
            now = self._kit.clock.now()
            decided = ev.ApprovalDecided(
                approval=asked.approval,
                state=ApprovalState.APPROVED,
                at=now,
                by=grant.by,
                reason=f"grant:{grant.id}",
                start_before=now + asked.timeout_s,
            )
            return Yes(grant, asked, decided, use.spends or 0)
        return None

    def _standing(
        self, state: RunState, item: ActionState, asked: ev.ApprovalRequested
    ) -> tuple[Standing, ...]:  # fmt: skip
        """Those whose giver alone could approve this call, and whose words are not part of the run."""
        if self._kit.policy().mode == "observe" or asked.quorum > 1 or "approve" in asked.reason_for:
            return ()  # what needs a reason with each yes is not allowed beforehand
        return tuple(
            one
            for one in self._of(state, item)
            if one.grant.by in asked.deciders and one.grant.by not in state.co_requesters
        )

    def _of(self, state: RunState, item: ActionState) -> Sequence[Standing]:
        assert state.task is not None  # noqa: S101  # a run without a task is no state
        return self._kit.grants(item.action.tool, state.task.principal.key)

    def _refusal(self, one: Standing, use: Use, state: RunState) -> str:
        assert state.task is not None  # noqa: S101  # as above
        requester = state.task.principal.key
        return one.refusal(use, run=state.run, requester=requester, now=self._kit.clock.now())


def reason_of(grant: Grant) -> Reason:
    """What a rating says of the grant that covers it."""
    return Reason(rule=f"grant:{grant.id}", text="A person allowed exactly this beforehand.")

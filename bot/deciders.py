"""Who may decide on something at this moment: the policy, user groups, the registry, and what Slack says of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.domain import Principal, Tier
from agent.policy import Policy
from agent.ports import Clock
from agent.terms import Scope
from bot.groups import UserGroups
from bot.identity import DECIDING_FRESH_S, Identity
from storage.approvers import Approver, covering, standing
from storage.database import Database
from storage.queries import Queries
from storage.rows import ApprovalRow, TakeoverRow


class Roster:
    """User groups and the registry of approvers behind one door, as snapshots that any thread may read."""

    def __init__(self, groups: UserGroups, clock: Clock) -> None:
        self._groups, self._clock = groups, clock
        self._entries: tuple[Approver, ...] = ()

    def look(self, db: Database) -> None:
        """Read the registry anew; only in the loop's thread. Raises StorageUnavailable."""
        self._entries = standing(db.fetch)

    def members(self, group: str) -> frozenset[str]:
        """As agent.terms.Directory."""
        return self._groups.members(group)

    def registered(self, scope: Scope) -> tuple[str, ...]:
        """As agent.terms.Directory."""
        now = self._clock.now()
        return covering(self._entries, tool=scope.tool, channel=scope.channel, tier=scope.tier, now=now)


@dataclass(frozen=True, slots=True)
class PolicyEntitlement:
    """Who may decide, by the policy as it is now and by what Slack says of the person now."""

    policy: Callable[[], Policy]
    identity: Identity

    def may_decide(self, principal: Principal, subject: ApprovalRow | TakeoverRow) -> bool:
        """Whether the policy names this person for it now, and Slack knows them as a full member."""
        return principal.key in self.named(subject) and self.identity.may_decide(principal)

    def named(self, subject: ApprovalRow | TakeoverRow) -> tuple[str, ...]:
        """Principal keys of whom the policy names for it now; after the escalation the next ones too."""
        policy = self.policy()
        if isinstance(subject, TakeoverRow):
            scope = Scope(tool=subject.tool, channel=subject.channel, tier=Tier.HIGH.value)
            return policy.deciders(subject.team, policy.terms_named(subject.rules), scope)
        escalated = subject.escalated_at > 0
        return self.named_at(subject, escalated=escalated)

    def named_at(self, approval: ApprovalRow, *, escalated: bool) -> tuple[str, ...]:
        """The same for an approval that is or will be escalated."""
        policy = self.policy()
        terms = policy.terms_named(approval.rules)
        scope = Scope(tool=approval.tool, channel=approval.channel, tier=approval.tier.value)
        found = policy.deciders(approval.team, terms, scope)
        return (*found, *policy.next_deciders(approval.team, terms, scope)) if escalated else found

    def self_approval_allowed(
        self, principal: Principal, tool: str, tier: Tier, rules: Sequence[str] = ()
    ) -> bool:  # fmt: skip
        """Whom the policy names, by default a terminal; only medium actions (invariant 5)."""
        del tool
        return tier is Tier.MEDIUM and self.policy().may_approve_own(principal, rules)


@dataclass(frozen=True, slots=True)
class Voters:
    """Looks at those who said yes once more, just before the start."""

    queries: Queries
    entitlement: PolicyEntitlement
    look: Callable[[], None]

    async def still_entitled(self, approval: str, voters: Sequence[str]) -> frozenset[str]:
        """Of these principal keys, those who may decide on it now."""
        row = self.queries.approval(approval)
        if row is None:
            return frozenset()
        self.look()
        await self.entitlement.identity.learn(voters, fresh_s=DECIDING_FRESH_S)
        found: set[str] = set()
        for key in voters:
            try:
                who = Principal.parse(key)
            except ValueError:
                continue
            if self.entitlement.may_decide(who, row):
                found.add(key)
        return frozenset(found)

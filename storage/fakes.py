"""A whole store for tests and benchmarks: the real database with clocks and ids that tests tell beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent import events as ev
from agent.domain import (
    APPROVAL_TIMEOUT_S,
    TAKEOVER_LIMIT_S,
    Action,
    Outcome,
    Place,
    Plan,
    PlannedStep,
    Principal,
    Task,
    Tier,
    Worker,
    content_hash,
)
from agent.fakes import CountingIds, ManualClock
from agent.ports import Fact, Intention
from storage.control import Control
from storage.database import Database
from storage.decisions import Decisions
from storage.inbox import Accepted, Inbox
from storage.journal import SqliteJournal
from storage.lease import Lease
from storage.outbox import Outbox
from storage.queries import Queries
from storage.rows import ApprovalRow, TakeoverRow

REQUESTER = Principal(team="T1", user="U1")
DECIDERS = (Principal(team="T1", user="U2"), Principal(team="T1", user="U3"))


@dataclass(slots=True)
class ListedEntitlement:
    """Everybody may decide but those who are named; nobody on their own request but those who are named."""

    barred: set[str] = field(default_factory=set[str])
    self_approvers: set[str] = field(default_factory=set[str])

    def may_decide(self, principal: Principal, subject: ApprovalRow | TakeoverRow) -> bool:
        """Whether the person is not barred."""
        del subject
        return principal.key not in self.barred

    def self_approval_allowed(
        self, principal: Principal, tool: str, tier: Tier, rules: Sequence[str] = (), /
    ) -> bool:  # fmt: skip
        """Whether the person is named."""
        del tool, tier, rules
        return principal.key in self.self_approvers


@dataclass(slots=True)
class Store:
    """The parts of one process's storage, and ways to bring a run to a certain point."""

    db: Database
    clock: ManualClock
    ids: CountingIds
    entitlement: ListedEntitlement
    lease: Lease
    journal: SqliteJournal
    inbox: Inbox
    outbox: Outbox
    decisions: Decisions
    control: Control
    queries: Queries

    @classmethod
    async def open(
        cls, path: Path, *, clock: ManualClock | None = None, ids: CountingIds | None = None, holder: str = "test"
    ) -> Store:
        """Open it and take the lease; a second process on the same file finds it taken."""
        clock, ids, entitlement = clock or ManualClock(), ids or CountingIds(), ListedEntitlement()
        db = await Database.open(path, clock=clock)
        lease = Lease(db, ids, holder=holder)
        await lease.acquire()
        kill_file = path.with_suffix(".kill")
        return cls(
            db=db,
            clock=clock,
            ids=ids,
            entitlement=entitlement,
            lease=lease,
            journal=SqliteJournal(db, lease, kill_file=kill_file),
            inbox=Inbox(db, ids),
            outbox=Outbox(db),
            decisions=Decisions(db, clock, ids, entitlement),
            control=Control(db, kill_file=kill_file),
            queries=Queries(db),
        )

    async def run(self, text: str = "put order 7 right", requester: Principal = REQUESTER) -> str:
        """A run with one open step; returns its id."""
        ts = self.ids.new("message") if requester.kind == "slack" else ""
        place = Place(team=requester.team, channel="C1" if ts else "", message_ts=ts)
        task = Task(id=self.ids.new("task"), text=text, principal=requester, place=place)
        accepted = await self.inbox.accept("", task)
        if not isinstance(accepted, Accepted):
            raise TypeError("a new message is never a duplicate")
        plan = Plan(planner="runbook", steps=(PlannedStep(worker=Worker.CODE, instruction=text),))
        begun = (ev.RunStarted(policy_version="p1"), ev.PlanMade(plan=plan), ev.StepStarted(step=0, planned=0))
        await self.journal.commit(accepted.run, begun, Fact())
        return accepted.run

    async def propose(self, run: str, tier: Tier = Tier.LOW, *, idempotent: bool = False) -> Action:
        """A proposed and rated action of the run."""
        name = self.ids.new("action")
        digest = content_hash(f"{run} {name}")
        action = Action(
            id=name,
            step=0,
            turn=0,
            tool="query_sql",
            arguments={"sql": "UPDATE orders SET paid = 1 WHERE id = 7"},
            digest=digest,
            schema_hash="s1",
            idempotent=idempotent,
        )
        preview = "1 row"
        rated = ev.ActionRated(
            action=name, tier=tier, headline="Would mark order 7 as paid", preview_blob=content_hash(preview)
        )
        blobs = {content_hash(preview): preview}
        await self.journal.commit(run, (ev.ActionProposed(action=action), rated), Fact(), blobs=blobs)
        return action

    async def ask(
        self, run: str, *, quorum: int = 1, timeout_s: float = APPROVAL_TIMEOUT_S, floor_s: float = 0.0
    ) -> ApprovalRow:
        """A pending approval for a new medium action of the run."""
        action = await self.propose(run, Tier.MEDIUM)
        approval, now = self.ids.new("ok"), self.clock.now()
        line = self.queries.run(run)
        asked = ev.ApprovalRequested(
            approval=approval,
            action=action.id,
            digest=action.digest,
            epoch=line.epoch if line else 0,
            created_at=now,
            expires_at=now + timeout_s,
            timeout_s=timeout_s,
            deciders=tuple(person.key for person in DECIDERS),
            quorum=quorum,
            floor_s=floor_s,
        )
        await self.journal.commit(run, (asked,), Fact())
        return self.approval(approval)

    async def take_over(self, run: str) -> TakeoverRow:
        """An open takeover for a new high action of the run."""
        action = await self.propose(run, Tier.HIGH)
        takeover, now = self.ids.new("takeover"), self.clock.now()
        opened = ev.TakeoverOpened(
            takeover=takeover,
            action=action.id,
            epoch=0,
            cause="high",
            opened_at=now,
            give_up_at=now + TAKEOVER_LIMIT_S,
            deciders=tuple(person.key for person in DECIDERS),
        )
        await self.journal.commit(run, (opened,), Fact())
        return self.takeover(takeover)

    async def lose(self, run: str) -> TakeoverRow:
        """A started medium action whose result was lost, and the takeover that asks whether it happened."""
        asked = await self.ask(run)
        await self.decisions.vote(asked.id, DECIDERS[0], "approve")
        await self.start(run, self.approval(asked.id))
        takeover, now = self.ids.new("takeover"), self.clock.now()
        lost = ev.ActionFinished(action=asked.action, outcome=Outcome.UNKNOWN)
        opened = ev.TakeoverOpened(
            takeover=takeover,
            action=asked.action,
            epoch=0,
            cause="unknown",
            opened_at=now,
            give_up_at=now + TAKEOVER_LIMIT_S,
            deciders=tuple(person.key for person in DECIDERS),
        )
        await self.journal.commit(run, (lost, opened), Fact())
        return self.takeover(takeover)

    async def start(self, run: str, approval: ApprovalRow) -> None:
        """Start an approved action as the runtime does; raises JournalError."""
        started = ev.ActionStarted(
            action=approval.action,
            digest=approval.digest,
            lease_token=self.journal.lease_token,
            approval=approval.id,
        )
        line = self.queries.run(run)
        condition = Intention(
            epoch=line.epoch if line else 0,
            starts=approval.action,
            digest=approval.digest,
            consumes=approval.id,
            effect_s=30.0,
        )
        await self.journal.commit(run, (started,), condition)

    def approval(self, approval: str) -> ApprovalRow:
        """The approval as it stands; raises LookupError."""
        view = self.queries.approval_view(approval)
        if view is None:
            raise LookupError(approval)
        return view.approval

    def takeover(self, takeover: str) -> TakeoverRow:
        """The takeover as it stands; raises LookupError."""
        view = self.queries.takeover_view(takeover)
        if view is None:
            raise LookupError(takeover)
        return view.takeover

    async def close(self) -> None:
        """Close the database."""
        await self.db.close()

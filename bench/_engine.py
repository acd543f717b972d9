"""The real engine over a file, without Slack: driver, policy, gate, journal, lease, decisions and deadlines.

The tasks come from a channel, so the rows that are owed to Slack are written as in life; nothing delivers them.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.broker import Broker
from agent.clock import RandomIds, SystemClock
from agent.domain import Place, Principal, Task, Tier
from agent.equipment import Equipment
from agent.events import ActionFinished, ApprovalRequested, Event, RunFinished
from agent.facts.model import Facts
from agent.policy import Policy, load_policy
from agent.ports import ChatModel, Clock, Committed, Condition, ModelReply, ModelRequest, SandboxCall, SandboxResult
from agent.runbooks import Runbooks
from agent.runtime import Runtime
from agent.secrets import find_secret, redact
from agent.supervisor import Limits
from agent.telemetry import Telemetry
from agent.tools.base import Arguments, Preview, Tool, ToolContext, ToolResult
from agent.tools.egress import Egress
from agent.tools.registry import Registry, default_tools
from bot.deadlines import Deadlines
from bot.keeper import Keeper
from bot.memory import settle
from storage.control import Control
from storage.database import Database
from storage.decisions import Decisions
from storage.inbox import Accepted, Inbox
from storage.journal import SqliteJournal
from storage.lease import Lease
from storage.queries import Queries
from storage.rows import ApprovalRow, TakeoverRow

TEAM, CHANNEL = "T0BENCH", "C0BENCH"
MAYA, OMAR = Principal(team=TEAM, user="U0MAYA"), Principal(team=TEAM, user="U0OMAR")
_PEOPLE = 'version = 1\n[people]\napprovers = ["U0OMAR", "U0INES"]\n'
_RULE = '[[rule]]\nname = "touch"\nwhen = "tool == \'touch\'"\ntier = "medium"\nsay = "It touches something."\n'
_BOOK = """
[[runbook]]
name = "touch"
title = "Touch"
example = "touch 1"
pattern = 'touch (?P<number>[0-9]+)'
answer = "{{ out.touch.text }}"
[[runbook.step]]
worker = "code"
instruction = "Touch it."
[[runbook.step.call]]
id = "touch"
tool = "touch"
arguments = { number = "= match.number | int" }
"""


class TouchArguments(Arguments):
    """What is touched."""

    number: int


class Touch(Tool[TouchArguments]):
    """An instant effect, counted."""

    name = "touch"
    description = "Touch a number."
    arguments = TouchArguments

    def __init__(self) -> None:
        self.effects: Counter[int] = Counter()

    async def facts(self, arguments: TouchArguments, context: ToolContext) -> Facts:
        """It stays on this machine."""
        del arguments, context
        return Facts(where="workspace", verbs=("touch",))

    def headline(self, arguments: TouchArguments, preview: Preview) -> str:
        """What a card would say."""
        del preview
        return f"Touch {arguments.number}"

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        """Count it."""
        del context, preview
        self.effects[arguments.number] += 1
        return ToolResult(text=f"touched {arguments.number}", summary=f"Touched {arguments.number}.")


class NoSandbox:
    """Nothing here runs code."""

    name = "none"

    async def self_test(self) -> str:
        """There is nothing to test."""
        return "there is none"

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Nobody asks for it."""
        raise NotImplementedError(call)


class NoModel:
    """No model is configured: runbooks plan."""

    chain = ()

    def highest_cost(self, request: ModelRequest) -> int:
        """Nobody asks."""
        raise NotImplementedError(request)

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Nobody asks."""
        raise NotImplementedError(request)


class Anybody:
    """Whom the policy names may decide; nobody decides on their own request."""

    def may_decide(self, principal: Principal, subject: ApprovalRow | TakeoverRow) -> bool:
        """Whether the policy still names this person."""
        return principal.key in subject.deciders

    def self_approval_allowed(self, principal: Principal, tool: str, tier: Tier) -> bool:
        """Never."""
        del principal, tool, tier
        return False


class JumpClock(SystemClock):
    """Real time, with a business clock that can be put forward."""

    ahead = 0.0
    """Seconds."""

    def now(self) -> float:
        """Business time, seconds since the epoch."""
        return self.transport() + self.ahead


@dataclass(slots=True)
class Milestones:
    """Futures for what a benchmark waits for, by run; resolved when the event is durable."""

    asked: dict[str, asyncio.Future[str]] = field(default_factory=dict[str, "asyncio.Future[str]"])
    result: dict[str, asyncio.Future[float]] = field(default_factory=dict[str, "asyncio.Future[float]"])
    over: dict[str, asyncio.Future[float]] = field(default_factory=dict[str, "asyncio.Future[float]"])
    clock: Callable[[], float] = field(default=lambda: asyncio.get_running_loop().time())

    def saw(self, run: str, events: Sequence[Event]) -> None:
        """Resolve what these events mean."""
        for event in events:
            match event:
                case ApprovalRequested() if (asked := self.asked.pop(run, None)) is not None:
                    asked.set_result(event.approval)
                case ActionFinished() if (result := self.result.pop(run, None)) is not None:
                    result.set_result(self.clock())
                case RunFinished() if (over := self.over.pop(run, None)) is not None:
                    over.set_result(self.clock())
                case _:
                    pass


class WatchedJournal(SqliteJournal):
    """The journal, telling a benchmark what has become durable."""

    milestones: Milestones

    async def commit(
        self, run: str, events: Sequence[Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """Commit, then tell."""
        committed = await super().commit(run, events, condition, blobs=blobs)
        self.milestones.saw(run, events)
        return committed


@dataclass(slots=True)
class Engine:
    """Everything that drives runs, as `bot/app.py` builds it."""

    db: Database
    clock: Clock
    runtime: Runtime
    inbox: Inbox
    decisions: Decisions
    deadlines: Deadlines
    keeper: Keeper
    queries: Queries
    touch: Touch
    milestones: Milestones
    policy: Policy

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        model: ChatModel | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock | None = None,
        sweep: Callable[[Callable[[int], Awaitable[int]]], Callable[[int], Awaitable[int]]] | None = None,
        tier: str = "medium",
    ) -> Engine:
        """Open the file, wait for the lease, recover, arm the deadlines. `tier` is how touching is rated."""
        clock, ids, touch, sandbox = clock or SystemClock(), RandomIds(), Touch(), NoSandbox()
        db = await Database.open(path, clock=clock)
        lease = Lease(db, ids, holder=f"bench:{os.getpid()}")
        control = Control(db)
        keeper = Keeper(lease, control, clock, resumed=lambda: None)
        await keeper.acquire(asyncio.Event())
        policy = touching_policy(tier)
        journal = WatchedJournal(db, lease)
        journal.milestones = milestones = Milestones()
        model, broker, egress, folder = model or NoModel(), Broker(), Egress(), path.parent
        equipment = Equipment(
            journal=journal,
            clock=clock,
            ids=ids,
            registry=Registry((*default_tools(), touch)),
            policy=lambda: policy,
            runbooks=Runbooks.parse(_BOOK),
            context=lambda state: ToolContext(
                run=state.run,
                workspace=folder / state.run,
                project=folder,
                sandbox=sandbox,
                egress=egress,
                broker=broker,
            ),
            find_secret=find_secret,
            redact=redact,
            telemetry=telemetry or Telemetry(),
        )
        runtime = Runtime(equipment, model, Limits(chain=model.chain))
        db.subscribe("run", runtime.wake)
        db.subscribe("control", keeper.look)
        keeper.start()
        await control.take()
        queries = Queries(db)
        await runtime.recover(queries.to_drive())
        decisions = Decisions(db, clock, ids, Anybody())

        async def one_batch(limit: int) -> int:
            return await decisions.sweep(clock.now(), limit)

        deadlines = Deadlines(sweep(one_batch) if sweep else one_batch, decisions.next_deadline, clock)
        db.subscribe("deadline", deadlines.arm)
        deadlines.start()
        settle()
        return cls(db, clock, runtime, Inbox(db, ids), decisions, deadlines, keeper, queries, touch, milestones, policy)

    async def close(self) -> None:
        """Stop everything, and let a successor in."""
        self.deadlines.stop()
        await self.runtime.close()
        await self.keeper.stop()
        await self.db.close()

    async def start(self, number: int) -> tuple[str, str]:
        """Accept a task as the listener does; the run and its approval, once it waits for a yes."""
        accepted = await self.inbox.accept(f"Ev{number}", task(number))
        assert isinstance(accepted, Accepted)  # noqa: S101  # every number is a new task
        asked = self.milestones.asked[accepted.run] = asyncio.get_running_loop().create_future()
        return accepted.run, await asked

    async def decide(self, run: str, approval: str) -> float:
        """Say yes; returns when the run is over and durable: when its tool's result was durable."""
        loop = asyncio.get_running_loop()
        result = self.milestones.result[run] = loop.create_future()
        over = self.milestones.over[run] = loop.create_future()
        await self.decisions.vote(approval, OMAR, "approve", via="bench")
        await over
        return await result


def task(number: int) -> Task:
    """A task from a channel."""
    place = Place(team=TEAM, channel=CHANNEL, message_ts=f"1700000000.{number:06d}")
    return Task(id=f"t{number}", text=f"touch {number}", principal=MAYA, place=place)


def touching_policy(tier: str = "medium") -> Policy:
    """The shipped rules, and one that knows the benchmark's tool."""
    own = load_policy(_PEOPLE + _RULE.replace("medium", tier))
    return replace(own, shipped=(*own.shipped, *own.own), own=())

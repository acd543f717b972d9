"""Runs whose models, tools and budgets fail: the real driver, gate, breakers and journal over SQLite, without Slack.

What the thread shows is rendered from the state. Time stands still, so that nothing waits: naps are only noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent import events as ev
from agent.domain import Place, Principal, Task
from agent.equipment import Equipment
from agent.errors import ModelError, ModelReplyInvalid, ModelUnavailable, UnknownPrice
from agent.model import WireModel
from agent.moves import Limits
from agent.policy import load_policy
from agent.ports import ChatModel, Clock, Committed, Condition, ModelReply, ModelRequest
from agent.resilience import Breakers
from agent.runbooks import Runbooks
from agent.runtime import Runtime
from agent.sandbox.fake import FakeSandbox
from agent.secrets import find_secret, redact
from agent.state import RunState
from agent.telemetry import Telemetry
from agent.tools.base import ToolContext
from agent.tools.registry import Registry, default_tools
from bot.blocks.answer import answer_messages
from bot.blocks.message import Look
from bot.blocks.progress import progress_message
from bot.turns import Turns
from storage.breakers import KeptBreakers
from storage.fakes import Store
from storage.inbox import Accepted
from storage.journal import SqliteJournal, read_events
from storage.ledger import Booked, Budgets
from storage.queries import Queries
from storage.quotas import Quotas
from storage.spending import Spending
from storage.turns import Room
from tests.scenario.books import SUM
from tests.scenario.touch import Touch
from tests.scenario.world import rules_of, words

A, B = Principal(team="T1", user="UA"), Principal(team="T1", user="UB")
ONE, TWO = "scripted:one", "scripted:two"
PEOPLE = 'version = 1\n[people]\napprovers = ["U2", "U3"]\n'
PATIENCE_S = 60
FREE = Quotas(per_person=0, everybody=0, at_once=0)
ModelOf = Callable[[Breakers, Clock], ChatModel]


@dataclass
class Scripted:
    """Models that answer from a script each, behind breakers as the real ones are."""

    says: Mapping[str, Sequence[ModelReply | ModelError]]
    breakers: Breakers
    price: int = 1_000
    """What a call may cost at most."""
    dear: Mapping[str, int] = field(default_factory=dict[str, int])
    """What a call of these models may cost instead."""
    unpriced: frozenset[str] = frozenset()
    counted: int | None = None
    """What a call may cost by the service's own count, if it counts."""
    requests: list[ModelRequest] = field(default_factory=list[ModelRequest])
    gate: asyncio.Event | None = None
    """Calls wait here, once they are on the wire."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._left = {model: list(replies) for model, replies in self.says.items()}

    @property
    def chain(self) -> tuple[str, ...]:
        return tuple(self.says)

    def highest_cost(self, request: ModelRequest) -> int:
        if request.model in self.unpriced:
            raise UnknownPrice(f"Nobody knows what {request.model} costs; set a price for it in the configuration.")
        return self.dear.get(request.model, self.price)

    async def counted_cost(self, request: ModelRequest) -> int:
        del request
        if self.counted is None:
            raise ModelUnavailable
        return self.counted

    async def complete(self, request: ModelRequest) -> ModelReply:
        with self.breakers.of(request.model).guard(counts=(ModelUnavailable, ModelReplyInvalid)):
            self.requests.append(request)
            self.asked.set()
            if self.gate is not None:
                await self.gate.wait()
            left = self._left[request.model]
            reply = left.pop(0) if left else ModelUnavailable(f"{request.model} is down.", may_be_charged=False)
            if isinstance(reply, ModelError):
                raise reply
            return reply


class Noting(SqliteJournal):
    """Notes which runs begin, and in which order."""

    def __init__(self, desk: Desk, *, budgets: Budgets, room: Room) -> None:
        super().__init__(desk.store.db, desk.store.lease, budgets=budgets, room=room)
        self._desk = desk

    async def commit(
        self, run: str, events: Sequence[ev.Event], condition: Condition, *, blobs: Mapping[str, str] | None = None
    ) -> Committed:
        """As its parent's."""
        committed = await super().commit(run, events, condition, blobs=blobs)
        if any(isinstance(event, ev.RunStarted) for event in events):
            self._desk.began.append(run)
        return committed


@dataclass
class Desk:
    """A process with its store, and what people and time do to it."""

    folder: Path
    store: Store
    model_of: ModelOf
    limits: Limits
    budgets: Budgets
    room: Room
    tools: Sequence[Touch]
    runtime: Runtime = field(init=False)
    model: ChatModel = field(init=False)
    kept: KeptBreakers = field(init=False)
    breakers: Breakers = field(init=False)
    turns: Turns = field(init=False)
    naps: list[float] = field(default_factory=list[float])
    roll: float = 0.0
    """What is drawn for backoff."""
    drawn: list[str] = field(default_factory=list[str])
    began: list[str] = field(default_factory=list[str])
    """Runs in the order in which they began."""

    @classmethod
    async def open(
        cls,
        folder: Path,
        model_of: ModelOf,
        *,
        limits: Limits | None = None,
        budgets: Budgets | None = None,
        room: Room | None = None,
        tools: Sequence[Touch] = (),
    ) -> Desk:
        """A fresh store, and a process on it."""
        store = await Store.open(folder / "desk.db")
        desk = cls(folder, store, model_of, limits or Limits(), budgets or Budgets(), room or Room(), tools)
        desk.start()
        return desk

    def start(self) -> None:
        """Start the process; what former ones left is in the store."""
        store = self.store
        self.kept = KeptBreakers(store.db)
        self.breakers = Breakers(store.clock, kept=self.kept.load(), changed=self.kept.keep)
        self.model = self.model_of(self.breakers, store.clock)
        policy, touching = load_policy(PEOPLE), load_policy(PEOPLE + rules_of(self.tools).partition("\n")[2])
        policy = replace(policy, shipped=(*policy.shipped, *touching.own), own=())

        async def nap(seconds: float) -> None:
            self.naps.append(seconds)
            store.clock.advance(seconds)
            assert await store.lease.regain()

        kit = Equipment(
            journal=Noting(self, budgets=self.budgets, room=self.room),
            clock=store.clock,
            ids=store.ids,
            registry=Registry((*default_tools(), *self.tools)),
            policy=lambda: policy,
            runbooks=Runbooks.parse(SUM),
            context=lambda state: ToolContext(
                run=state.run, workspace=self.folder / "runs" / state.run, project=self.folder, sandbox=FakeSandbox()
            ),
            find_secret=find_secret,
            redact=redact,
            telemetry=Telemetry(),
            sleep=nap,
            roll=lambda: self.roll,
            breakers=self.breakers,
        )
        self.runtime = Runtime(kit, self.model, replace(self.limits, chain=self.model.chain))

        async def draw(run: str) -> None:
            self.drawn.append(run)

        self.turns = Turns(store.db, self.room, wake=self.runtime.wake, draw=draw)
        self._ends = [
            store.db.subscribe("run", self.runtime.wake),
            store.db.subscribe("queue", self.turns.look),
        ]

    async def stop(self) -> None:
        """End the process as a crash would: nothing that is under way is finished."""
        for end in self._ends:
            end()
        await self.runtime.close(0)
        if isinstance(self.model, WireModel):
            await self.model.aclose()
        await self.kept.aclose()

    async def restart(self) -> None:
        """Another process takes over."""
        await self.stop()
        self.start()
        await self.runtime.recover(Queries(self.store.db).to_drive())

    async def close(self) -> None:
        """Close everything."""
        for tool in self.tools:
            tool.release()
        await self.stop()
        await self.store.close()

    async def later(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.store.clock.advance(seconds)
        assert await self.store.lease.regain()

    # -- people --------------------------------------------------------------------------------------------------

    async def ask(self, text: str = "put it right", who: Principal = A, quota: Quotas = FREE) -> str:
        """Ask for something; the run's id. Raises QuotaExceeded."""
        self.store.clock.advance(0.01)
        ts = self.store.ids.new("message")
        place = Place(team="T1", channel="C1", message_ts=ts)
        task = Task(id=self.store.ids.new("task"), text=text, principal=who, place=place)
        accepted = await self.store.inbox.accept(f"event:{ts}", task, quota=quota)
        assert isinstance(accepted, Accepted)
        return accepted.run

    async def settled(self, run: str) -> RunState:
        """The run once its driver has returned."""
        self.runtime.wake(run)
        return await asyncio.wait_for(self.runtime.settled(run), PATIENCE_S)

    async def over(self, run: str) -> None:
        """Wait until a run has ended, whoever wakes it."""
        moved = asyncio.Event()
        end = self.store.db.subscribe("queue", lambda _: moved.set())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (line := self.store.queries.run(run)) is None or not line.status.is_final:
                    await moved.wait()
                    moved.clear()
        finally:
            end()

    async def done(self, text: str = "put it right", who: Principal = A) -> str:
        """Ask for something and see it ended; the run's id."""
        run = await self.ask(text, who)
        assert (await self.settled(run)).status.is_final
        return run

    # -- looking -------------------------------------------------------------------------------------------------

    def events(self, run: str) -> list[ev.Event]:
        return [item.event for item in self.store.db.read(lambda conn: read_events(conn, run))]

    def story(self, run: str) -> str:
        """The whole journal, a word an event."""
        numbers = {name: str(number) for number, name in enumerate(self.model.chain, 1)}
        return " ".join(_word(event, numbers) for event in self.events(run))

    def cost(self, run: str) -> tuple[int, int]:
        """Spent and reserved, micro-USD, as the run's row has it."""
        line = self.store.queries.run(run)
        assert line is not None
        return line.spent_micro_usd, line.reserved_micro_usd

    def day(self, who: Principal = A) -> Booked:
        """What is booked for a person today."""
        return Spending(self.store.db).days(who.key, self.store.clock.now(), self.budgets).person

    def thread(self, run: str) -> str:
        """Every word of the progress, and of the answer when there is one."""
        view = self.store.queries.run_view(run)
        assert view is not None
        messages = [progress_message(view, Look(), place=self.turns.place(run))]
        if view.run.status.is_final:
            messages += answer_messages(view, Look())
        return "\n".join(words({"text": message.text, "blocks": list(message.blocks)}) for message in messages)


def _word(event: ev.Event, numbers: Mapping[str, str]) -> str:  # noqa: C901, PLR0911, PLR0912  # one line an event
    match event:
        case ev.RunCreated():
            return "task"
        case ev.RunStarted():
            return "begin"
        case ev.ModelCallStarted():
            return f"{event.purpose}?{numbers[event.model]}"
        case ev.ModelCallFinished():
            return "ok"
        case ev.ModelCallFailed():
            return event.code.lower()
        case ev.PlanMade():
            return f"plan:{event.plan.planner}"
        case ev.StepStarted():
            return f"step{event.planned + 1}"
        case ev.StepFinished():
            return event.status
        case ev.ActionProposed():
            return event.action.tool
        case ev.ActionRated():
            return event.tier.value
        case ev.ActionStarted():
            return "start"
        case ev.ActionFinished():
            return f"{event.outcome.value}{f':{event.code.lower()}' if event.code else ''}"
        case ev.RunFinished():
            return event.status.value.upper()
        case ev.StepEvaluated():
            return f"{event.decision}/{event.by}"
        case _:
            return event.type

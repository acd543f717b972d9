"""A table of runs: what a scripted model says and people do, then the whole journal, the cost and the thread.

The real driver, policy, gate, journal and projections over SQLite; no Slack. What the thread shows is rendered from the
state. A case takes a few hundredths of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent import events as ev
from agent.domain import Place, Principal, RunStatus, Task
from agent.equipment import Equipment
from agent.errors import ModelError, ModelUnavailable
from agent.evaluation import used_steps
from agent.fakes import CountingIds, ManualClock
from agent.moves import Limits
from agent.policy import load_policy
from agent.ports import ModelReply, ModelRequest
from agent.prompting import Prompts
from agent.runbooks import Runbooks
from agent.runtime import Runtime
from agent.sandbox.fake import FakeSandbox
from agent.sealing import mark_of
from agent.secrets import find_secret, redact
from agent.state import RunState, fold
from agent.telemetry import Telemetry
from agent.tools.base import ToolContext
from agent.tools.registry import Registry, default_tools
from bot.blocks.answer import answer_messages
from bot.blocks.message import Look
from bot.blocks.progress import progress_message
from bot.words import money
from storage.fakes import Store
from storage.inbox import Accepted
from tests.scenario.books import SUM
from tests.scenario.touch import Touch
from tests.scenario.world import rules_of, words

ASKS, DECIDES = Principal(team="T1", user="U1"), Principal(team="T1", user="U2")
PEOPLE = 'version = 1\n[people]\napprovers = ["U2", "U3"]\n'
Says = ModelReply | ModelError
Speaks = Callable[[ModelRequest, RunState], Says]


@dataclass(frozen=True)
class Case:
    """One run. `journal` names every event in order, as `short` writes them."""

    name: str
    says: Sequence[Says | Speaks]
    """What the model answers, call by call; a function is asked with the request and the state."""
    journal: str
    cost: int
    """Settled micro-USD."""
    thread: Sequence[str] = ()
    """What the progress and the answer show."""
    hides: Sequence[str] = ()
    """What they must not show."""
    people: Sequence[str] = ()
    """What people do each time the run waits: yes, no, no: WHY, expire, done: WHAT, back: HOW, abort, stop."""
    hears: Mapping[int, str] = field(default_factory=dict[int, str])
    """Words that the model is told at its n-th call (from 0)."""
    tools: Sequence[Touch] = ()
    task: str = "put it right"
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: Limits = field(default_factory=Limits)
    chain: tuple[str, ...] = ("scripted:one",)
    price: int = 1_000
    """The most that a call may cost, which is what is reserved."""
    effects: int = -1
    """How many effects the tools had in all."""
    together: bool = False
    """Steps are open at the same time, so that what happens in one of them may come before or after the other's."""
    meanwhile: Callable[[World], Awaitable[None]] | None = None
    """Done while the first tool is held in its first effect."""

    def __str__(self) -> str:
        return self.name


@dataclass
class TwoClocks(ManualClock):
    """Business time can be put forward alone, so that the lease lives on."""

    ahead: float = 0.0

    def now(self) -> float:
        return self.at + self.ahead


@dataclass
class Model:
    """A scripted model that knows the state of its run."""

    case: Case
    state: Callable[[], RunState]
    chain: tuple[str, ...]
    requests: list[ModelRequest] = field(default_factory=list[ModelRequest])

    def highest_cost(self, request: ModelRequest) -> int:
        del request
        return self.case.price

    async def complete(self, request: ModelRequest) -> ModelReply:
        number = len(self.requests)
        self.requests.append(request)
        await asyncio.sleep(0)
        if number >= len(self.case.says):
            raise ModelUnavailable("The script has no further reply.")
        says = self.case.says[number]
        reply = says if isinstance(says, ModelReply | ModelError) else says(request, self.state())
        if isinstance(reply, ModelError):
            raise reply
        return reply


@dataclass
class World:
    """A run with everything around it."""

    case: Case
    store: Store
    clock: TwoClocks
    runtime: Runtime
    model: Model
    run: str = ""
    naps: list[float] = field(default_factory=list[float])
    """How long backoff waited, seconds."""
    told: Sequence[ev.Event] = ()
    """The journal once the case was played."""

    @classmethod
    async def open(cls, folder: Path, case: Case) -> World:
        clock = TwoClocks()
        store = await Store.open(folder / "w.db", ids=CountingIds(), clock=clock)
        project = folder / "project"
        project.mkdir()
        for name, text in case.files.items():
            (project / name).write_text(text)
        policy = load_policy(PEOPLE)
        touching = load_policy(PEOPLE + rules_of(case.tools).partition("\n")[2])
        policy = replace(policy, shipped=(*policy.shipped, *touching.own), own=())
        world: World

        def state() -> RunState:
            return fold(world.run, world.stored())

        async def nap(seconds: float) -> None:
            world.naps.append(seconds)
            await asyncio.sleep(0)

        model = Model(case, state, case.chain)
        kit = Equipment(
            journal=store.journal,
            clock=store.clock,
            ids=store.ids,
            registry=Registry((*default_tools(), *case.tools)),
            policy=lambda: policy,
            runbooks=Runbooks.parse(SUM),
            context=lambda state: ToolContext(
                run=state.run, workspace=folder / "runs" / state.run, project=project, sandbox=FakeSandbox()
            ),
            find_secret=find_secret,
            redact=redact,
            telemetry=Telemetry(),
            sleep=nap,
            prompts=Prompts(),
        )
        runtime = Runtime(kit, model, replace(case.limits, chain=case.chain))
        store.db.subscribe("run", runtime.wake)
        world = cls(case, store, clock, runtime, model)
        return world

    async def begin(self) -> None:
        place = Place(team="T1", channel="C1", message_ts="1.1")
        accepted = await self.store.inbox.accept("E1", Task(id="t1", text=self.case.task, principal=ASKS, place=place))
        assert isinstance(accepted, Accepted)
        self.run = accepted.run
        self.runtime.wake(self.run)

    async def play(self) -> RunState:
        """Drive the run to its end; people act whenever it waits for them."""
        if self.case.meanwhile is not None:
            self.case.tools[0].hold()
        await self.begin()
        if self.case.meanwhile is not None:
            await asyncio.wait_for(self.case.tools[0].running.wait(), 30)
            await self.case.meanwhile(self)
        state = await asyncio.wait_for(self.runtime.settled(self.run), 30)
        for deed in self.case.people:
            assert not state.status.is_final, f"it is over before {deed!r}"
            await self._do(deed, state)
            self.runtime.wake(self.run)
            state = await asyncio.wait_for(self.runtime.settled(self.run), 30)
        return state

    async def _do(self, deed: str, state: RunState) -> None:
        what, _, said = deed.partition(": ")
        pending = next((item for item in state.approvals.values() if item.state == "pending"), None)
        store = self.store
        match what:
            case "yes" | "no" if pending is not None:
                await store.decisions.vote(
                    pending.id, DECIDES, "approve" if what == "yes" else "deny", via="test", reason=said
                )
                self.clock.ahead += 1 if what == "yes" else 600
                await store.decisions.sweep(store.clock.now())
            case "expire":
                self.clock.ahead += 3_600
                await store.decisions.sweep(store.clock.now())
            case "done" | "back" | "abort" if state.open_takeover is not None:
                claim = await store.decisions.claim(state.open_takeover.id, DECIDES)
                ending = {"done": "done", "back": "handed_back", "abort": "aborted"}[what]
                await store.decisions.close_takeover(
                    claim.id, DECIDES, ending, token=claim.claim_token, what=said, reference="", evidence=""
                )
            case "stop":
                await store.control.stop(self.run, by=ASKS.key)
                await store.control.take()
            case _:
                raise AssertionError(f"nobody can {deed!r} now")

    def stored(self) -> Sequence[Any]:
        from storage.journal import read_events  # noqa: PLC0415  # of this one place

        return self.store.db.read(lambda conn: read_events(conn, self.run))

    def shown(self) -> str:
        """Every word of the progress and the answer."""
        view = self.store.queries.run_view(self.run)
        assert view is not None
        messages = [progress_message(view, Look()), *answer_messages(view, Look())]
        return "\n".join(words({"text": message.text, "blocks": list(message.blocks)}) for message in messages)

    async def close(self) -> None:
        for tool in self.case.tools:
            tool.release()
        await self.runtime.close(0.2)
        await self.store.db.close()


def at(**replies: ModelReply) -> Speaks:
    """What the worker of each step says, by the first word of its instruction, in whatever order they are asked."""

    def speak(request: ModelRequest, state: RunState) -> Says:
        del state
        told = request.messages[1].text.partition("Your step:\n")[2]
        return replies[told.split()[0].strip(".")]

    return speak


def short(events: Iterable[ev.Event]) -> str:
    """A journal in one line, a word an event."""
    return " ".join(_word(event) for event in events)


def _word(event: ev.Event) -> str:  # noqa: C901, PLR0911, PLR0912  # one line an event
    match event:
        case ev.RunCreated():
            return "task"
        case ev.RunStarted():
            return "begin"
        case ev.ModelCallStarted():
            return f"{event.purpose}?"
        case ev.ModelCallFinished():
            return "ok"
        case ev.ModelCallFailed():
            return event.code.lower()
        case ev.PlanMade():
            return "plan"
        case ev.StepStarted():
            return f"step{event.planned + 1}"
        case ev.StepFinished():
            return event.status
        case ev.StepEvaluated():
            return f"{event.decision}/{event.by}"
        case ev.HistoryTrimmed():
            return "trimmed"
        case ev.ActionProposed():
            return event.action.tool
        case ev.ActionRated():
            return event.tier.value
        case ev.ActionStarted():
            return "start"
        case ev.ActionFinished():
            return event.outcome.value
        case ev.ApprovalRequested():
            return "asked"
        case ev.VoteCast():
            return event.vote
        case ev.ApprovalDecided():
            return event.state.value
        case ev.TakeoverOpened():
            return "takeover"
        case ev.TakeoverClosed():
            return event.state
        case ev.RunFinished():
            return event.status.value.upper()
        case _:
            return event.type


def _most_open(events: Iterable[ev.Event]) -> int:
    """How many steps were open at the same time."""
    open_ = most = 0
    for event in events:
        open_ += isinstance(event, ev.StepStarted) - isinstance(event, ev.StepFinished)
        most = max(most, open_)
    return most


VERDICTS = {
    RunStatus.COMPLETED: ("Status: *completed*", "*Done.*"),
    RunStatus.PARTIAL: ("Status: *ended, partly done*", "*Only a part is done.*"),
    RunStatus.CANCELLED: ("Status: *stopped*", "*It was stopped.*"),
}
MARKS = {"done": ":white_check_mark: done · ", "blocked": ":no_entry_sign: blocked · ", "failed": ":x: failed · "}
STEPS_SHOWN = 12


def always_shown(state: RunState) -> list[str]:
    """What the thread of every run tells: how it ended, what it cost, its steps with what became of each."""
    verdict = VERDICTS.get(state.status, ("Status: *failed*", "*I cannot do this.*"))
    planned = state.plan.steps if state.plan is not None else ()
    steps = [
        MARKS[step.status] + planned[step.planned].instruction[:40]
        for step in state.steps[-STEPS_SHOWN:]
        if step.status in MARKS and planned[step.planned].instruction.isascii()
    ]
    return [*verdict, f"{money(state.spent)} · {used_steps(state)} of 10 step", *steps]


async def check(folder: Path, case: Case) -> World:
    """Play a case and look at all of it."""
    world = await World.open(folder, case)
    try:
        state = await world.play()
        world.told = [item.event for item in world.stored()]
        told = short(world.told)
        wanted = " ".join(case.journal.split())
        if case.together:
            assert sorted(told.split()) == sorted(wanted.split()), f"\n{told}"
            assert _most_open(world.told) > 1
        else:
            assert told == wanted, f"\n{told}"
        assert (state.spent, state.reserved) == (case.cost, 0)
        assert state.spent <= case.limits.micro_usd
        shown = world.shown()
        missing = [text for text in (*always_shown(state), *case.thread) if text not in shown]
        assert not missing, f"{missing} in {shown}"
        assert not [text for text in (*case.hides, mark_of(state)) if text in shown]
        for number, text in case.hears.items():
            heard = "\n".join(message.text for message in world.model.requests[number].messages)
            assert text in heard, f"{text!r} in call {number}: {heard}"
        if case.effects >= 0:
            assert sum(sum(tool.done.values()) for tool in case.tools) == case.effects
    finally:
        await world.close()
    return world

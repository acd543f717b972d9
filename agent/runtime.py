"""The driver of a run: fold, ask the supervisor, perform its moves, commit; until done or waiting (DESIGN.md §3.2).

One driver a run and process. A click, a deadline or a stop only wakes it. It returns when nothing is in flight and no
move is possible: a run that waits for people is a row, not a task.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from agent import events as ev
from agent.domain import RunStatus
from agent.draft import MOVES_A_DRAFT, Draft, asks_model, follows_at_once, is_inner
from agent.equipment import Box, Equipment
from agent.errors import (
    AlreadyDecided,
    AlreadyStarted,
    ApprovalNotValid,
    EpochMoved,
    LeaseLost,
    Overtaken,
    RunPaused,
    RunQueued,
    RunStopped,
    StorageUnavailable,
)
from agent.execution import Executor
from agent.history import trim
from agent.planner import Planner
from agent.ports import ChatModel, Fact, Intention
from agent.proposing import Proposer
from agent.questions import Explainer
from agent.rating import Rater
from agent.recording import Ended, record
from agent.recovery import settle
from agent.runbox import RunBox
from agent.rush import Rush
from agent.state import RunState, fold
from agent.supervisor import (
    AskWorker,
    Begin,
    BeginStep,
    CloseStep,
    EvaluateStep,
    Finish,
    Limits,
    MakePlan,
    Move,
    NoteTimeOut,
    ProposeAgain,
    ProposeScripted,
    RateAction,
    StartAction,
    TrimHistory,
    WriteAnswer,
    next_moves,
)
from agent.telemetry import ids_of

T = TypeVar("T")
RETRY_AFTER_STORAGE_S = 1.0
FAILURES_A_MOVE = 3
DRIVERS_AT_WORK = 32
"""Drivers that may want the event loop at once; more would keep a click waiting for too long. Those that wait for a
model or a tool do not count."""
BEGUN_A_TURN = 4
"""Drivers that begin at one turn of the event loop: each reads and thinks there, and whatever came in has to wait."""
RUSH_DRIVERS, RUSH_GAP_S = 2, 0.02
"""While people wait for an answer to a click, a further driver begins only when fewer than so many want the event loop,
and at most this often, seconds: their clicks go first."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Driver:
    """A run that is driven now."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something may be done: a wake, or a move that has ended."""
    woken: bool = False
    """Somebody else wrote into the run."""
    at_work: bool = True
    """Wants the event loop, in contrast to one that waits for a model or a tool."""
    task: asyncio.Task[None] | None = None
    box: RunBox | None = None


class Runtime:
    """Drives all runs of this process."""

    def __init__(self, equipment: Equipment, model: ChatModel, limits: Limits, *, rush: Rush | None = None) -> None:
        self._kit = equipment
        self._limits = limits
        self._rush = rush or Rush()
        self._gap: asyncio.Handle | None = None
        self._proposer = Proposer(equipment)
        self._rater = Rater(equipment)
        self._executor = Executor(equipment, self._proposer, self._rater)
        self._planner = Planner(equipment, model, limits, self._proposer, self._rater)
        self._explainer = Explainer(equipment, model, limits)
        self._drivers: dict[str, _Driver] = {}
        self._queue: OrderedDict[str, None] = OrderedDict()  # a plain one is slow to take the first of many from
        """Runs that were woken and have no driver yet, in their order."""
        self._at_work = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._closing = False

    # -- from outside --------------------------------------------------------------------------------------------

    def wake(self, run: str) -> None:
        """Mark a run dirty; starts its driver when there is none."""
        if self._closing:
            return
        if (driver := self._drivers.get(run)) is not None:
            driver.woken = True
            driver.news.set()
            return
        self._queue[run] = None
        self._admit()

    @property
    def active(self) -> frozenset[str]:
        """Runs that have a driver now, or wait for one."""
        return frozenset(self._drivers) | frozenset(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether no run has a driver or waits for one."""
        return not self._drivers and not self._queue

    @property
    def at_work(self) -> int:
        """Drivers that want the event loop now."""
        return self._at_work

    async def settled(self, run: str) -> RunState:
        """Wait until the run's driver has returned, and fold the run; for tests and the terminal."""
        while run in self._queue or run in self._drivers:
            driver = self._drivers.get(run)
            await (asyncio.sleep(0) if driver is None or driver.task is None else asyncio.wait({driver.task}))
        return fold(run, await self._kit.journal.read(run))

    async def explain(self, run: str, question: str) -> str:
        """Answer a question about a run that waits for a takeover, from its record alone."""

        async def box_of() -> RunBox:
            driver = self._drivers.get(run)
            # A driver's own box knows what it has reserved, so that both together keep within the budget.
            box = driver.box if driver is not None and driver.box is not None else RunBox(run, self._kit.journal)
            await box.catch_up()
            return box

        return await self._explainer.answer(run, box_of, question)

    async def recover(self, runs: Iterable[str]) -> None:
        """Once after gaining the lease: settle what a dead process left in flight, then wake (DESIGN.md §3.8)."""
        for run in runs:
            box = RunBox(run, self._kit.journal)
            await box.catch_up()
            if box.state.status.is_final:
                continue
            await settle(box, self._rater, foreign_to=self._kit.journal.lease_token)
            self.wake(run)

    async def close(self, grace_s: float = 5.0) -> None:
        """Start nothing new, let what runs end for `grace_s` real seconds, then cancel the rest."""
        self._closing = True
        self._queue.clear()
        for timer in (*self._timers, *([self._gap] if self._gap else [])):
            timer.cancel()
        tasks = {driver.task for driver in self._drivers.values() if driver.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the loop ------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Start drivers for those who wait, as long as the event loop can take them."""
        if self._gap is not None or not self._queue:
            return
        loop = asyncio.get_running_loop()
        is_rush = self._rush.is_on
        most = RUSH_DRIVERS if is_rush else DRIVERS_AT_WORK
        begun = 0
        while self._queue and self._at_work < most and begun < (1 if is_rush else BEGUN_A_TURN):
            begun += 1
            run, _ = self._queue.popitem(last=False)
            driver = self._drivers[run] = _Driver()
            self._at_work += 1
            driver.task = loop.create_task(self._drive(run, driver), name=f"run {run}")
        if is_rush:
            self._gap = loop.call_later(RUSH_GAP_S, self._gap_over)
        elif begun:
            self._gap = loop.call_soon(self._gap_over)

    def _gap_over(self) -> None:
        self._gap = None
        self._admit()

    def _count_at_work(self, driver: _Driver, *, at_work: bool) -> None:
        self._at_work += at_work - driver.at_work
        driver.at_work = at_work

    async def _drive(self, run: str, driver: _Driver) -> None:
        structlog.contextvars.bind_contextvars(**ids_of(run))  # in this task and those that it starts
        box = driver.box = RunBox(run, self._kit.journal)
        flying: dict[Move, asyncio.Task[None]] = {}
        try:
            await self._loop(box, driver, flying)
        except StorageUnavailable:
            _log.warning("storage is unavailable; the run is tried again shortly", run_id=run)
            self._later(run, RETRY_AFTER_STORAGE_S)
        except LeaseLost:
            _log.warning("another process drives the runs now", run_id=run)
        except asyncio.CancelledError:
            _log.info("the driver was cancelled", run_id=run)
        except Exception:  # noqa: BLE001  # logged with its trace; the other runs go on
            _log.exception("the driver failed", run_id=run)
        finally:
            if flying:
                await _cancel(flying.values())
            del self._drivers[run]
            self._count_at_work(driver, at_work=False)
            if driver.woken and not self._closing:
                self.wake(run)
            self._admit()

    def _later(self, run: str, seconds: float) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            self.wake(run)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)

    async def _loop(self, box: RunBox, driver: _Driver, flying: dict[Move, asyncio.Task[None]]) -> None:
        failures: dict[Move, int] = {}
        paused: set[Move] = set()
        driver.woken = False
        await box.catch_up()
        while True:
            if driver.woken:
                driver.woken = False
                paused.clear()
                await box.catch_up()
            if box.state.stop_by:
                _cancel_now(flying)
            if not self._closing:
                moves = next_moves(box.state, self._limits)
                if len(moves) == 1 and not flying and moves[0] not in paused and is_inner(moves[0]):
                    await self._think_through(box, driver, moves[0], flying, failures, paused)
                    continue
                for move in moves:
                    if move not in flying and move not in paused:
                        flying[move] = self._start(driver, self._perform_outer(box, box, driver, move, flying))
            if not flying:
                if driver.woken:
                    continue
                return
            await self._wait(driver, flying)
            for move in [move for move, task in flying.items() if task.done()]:
                await self._landed(box, move, flying.pop(move), failures, paused)

    def _start(self, driver: _Driver, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: driver.news.set())
        return task

    async def _think_through(  # noqa: PLR0917  # the loop's own state
        self,
        box: RunBox,
        driver: _Driver,
        move: Move,
        flying: dict[Move, asyncio.Task[None]],
        failures: dict[Move, int],
        paused: set[Move],
    ) -> None:
        """Do a move that needs nothing from outside, and all that follow from it; one that needs a model then flies."""
        draft = Draft(box, self._kit.clock)
        last = await self._landed(box, move, self._draft(box, draft, driver, move), failures, paused)
        if last is not None:
            # Under the name of the first move: until what was drafted is written, the run's state asks for that one.
            flying[move] = self._start(driver, self._perform_outer(box, draft, driver, last, flying))
            self._count_at_work(driver, at_work=False)
            self._admit()

    async def _wait(self, driver: _Driver, flying: Mapping[Move, object]) -> None:
        """Until there is news; whoever waits for something outside makes room for another driver meanwhile."""
        if any(not is_inner(move) for move in flying):
            self._count_at_work(driver, at_work=False)
            self._admit()
        await driver.news.wait()
        driver.news.clear()
        self._count_at_work(driver, at_work=True)

    async def _draft(self, box: RunBox, draft: Draft, driver: _Driver, move: Move) -> Move | None:
        """Do a move and all that follow from it alone, and write them together.

        A move that begins with a reservation is handed back: its first commit takes along what was drafted.
        """
        async with box.door:
            last = await self._think(draft, driver, move)
            if last is None:
                await draft.write()
            else:
                draft.leave()
        return last

    async def _perform_outer(
        self, box: RunBox, via: Box, driver: _Driver, move: Move, flying: Mapping[Move, object]
    ) -> None:  # fmt: skip
        """Do a move and write what came of it, together with what follows at once when nothing else goes on."""
        ended = await self._perform(via, move)
        while ended is not None:
            draft = Draft(box, self._kit.clock)
            quiet = len(flying) == 1 and not driver.woken and not self._closing
            following: Ended | None = None
            try:
                last = await self._follow(box, draft, ended) if quiet else None
                if last is not None:
                    following = await self._perform(draft, last)
            except BaseException:
                if draft.holds:
                    await record(self._kit, box, ended)
                raise
            if not quiet or draft.holds:
                await record(self._kit, box, ended)
            ended = following

    async def _follow(self, box: RunBox, draft: Draft, ended: Ended) -> Move | None:
        """Draft what came of a move with the rating of a call or the end of its step or run, and write it.

        A model that is to be asked next is handed back: its reservation takes along what was drafted. What could not
        be written is still held by the draft.
        """
        try:
            async with box.door:
                await draft.commit([*ended.facts, *ended.then], Fact(), ended.blobs)
                moves = next_moves(draft.state, self._limits)
                while len(moves) == 1 and follows_at_once(moves[0]):
                    await self._perform(draft, moves[0])
                    moves = next_moves(draft.state, self._limits)
                if len(moves) == 1 and asks_model(moves[0]):
                    draft.leave()
                    return moves[0]
                await draft.write()
        except Exception as error:  # noqa: BLE001  # what happened is written alone then, and the rest thought through anew
            _log.info("a result is written alone", run_id=box.run, error=type(error).__name__)
        return None

    async def _think(self, draft: Draft, driver: _Driver, move: Move) -> Move | None:
        """Draft until something from outside is needed; a move that begins with a reservation is handed back."""
        for _ in range(MOVES_A_DRAFT):
            await self._perform(draft, move)
            moves = next_moves(draft.state, self._limits)
            if len(moves) != 1 or driver.woken or self._closing:
                return None
            (move,) = moves
            if not is_inner(move):
                return move if asks_model(move) else None
        return None

    async def _landed(
        self, box: RunBox, move: Move, work: Awaitable[T], failures: dict[Move, int], paused: set[Move]
    ) -> T | None:  # fmt: skip
        """What became of a move; an error is dealt with here, so that the run goes on."""
        try:
            return await work
        except (RunPaused, RunStopped, RunQueued):
            paused.add(move)
            await box.catch_up()
        except Overtaken:
            await box.catch_up()  # the same end is thought through again, with the new words
        except (EpochMoved, AlreadyStarted, ApprovalNotValid, AlreadyDecided):
            await box.catch_up()
            await self._count(box, move, failures)
        except StorageUnavailable:
            # What flies goes on and keeps its result until it can be written; this move is tried again then.
            paused.add(move)
            self._later(box.run, RETRY_AFTER_STORAGE_S)
        except LeaseLost:
            raise
        except asyncio.CancelledError:
            if (own := asyncio.current_task()) is not None and own.cancelling():
                raise  # it is the driver that is to end
            await box.catch_up()
        except Exception:  # noqa: BLE001  # logged with its trace; the run ends partial instead of the process
            _log.exception("a move failed", run_id=box.run, move=type(move).__name__)
            await box.catch_up()
            if isinstance(move, StartAction):
                await settle(box, self._rater, only=move.action)
            await self._count(box, move, failures)
        return None

    async def _count(self, box: RunBox, move: Move, failures: dict[Move, int]) -> None:
        failures[move] = failures.get(move, 0) + 1
        if failures[move] >= FAILURES_A_MOVE and not box.state.status.is_final:
            await self._planner.finish(box, Finish(RunStatus.PARTIAL, "INTERNAL"))

    async def _perform(self, box: Box, move: Move) -> Ended | None:  # noqa: C901, PLR0912  # one arm a move
        """Do a move; what came of a tool or a model is handed back to be written, everything else is written."""
        match move:
            case Begin():
                version = self._kit.policy().version
                await box.commit([ev.RunStarted(policy_version=version)], Intention(epoch=box.state.epoch))
            case BeginStep():
                begun = ev.StepStarted(step=move.number, planned=move.planned, feedback=move.feedback)
                await box.commit([begun], Intention(epoch=box.state.epoch))
            case CloseStep():
                await self._planner.close_step(box, move)
            case NoteTimeOut():
                used = ev.TimeRanOut(active_s=box.state.active_ms / 1000)
                await box.commit([used], Intention(epoch=box.state.epoch))
            case RateAction():
                await self._rater.rate(box, move)
            case ProposeScripted():
                await self._proposer.propose_scripted(box, move)
            case ProposeAgain():
                await self._proposer.propose_again(box, move)
            case MakePlan():
                return await self._planner.make_plan(box, move)
            case TrimHistory():
                await trim(box, move)
            case EvaluateStep():
                return await self._planner.evaluate(box, move)
            case AskWorker():
                return await self._planner.ask_worker(box, move)
            case WriteAnswer():
                return await self._planner.write_answer(box, move)
            case Finish():
                await self._planner.finish(box, move)
            case StartAction():
                return await self._executor.start(box, move)
        return None


def _cancel_now(flying: Mapping[Move, asyncio.Task[None]]) -> None:
    for move, task in flying.items():
        if not isinstance(move, Finish) and not task.cancelling():
            task.cancel()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)

"""The driver of a run: fold, ask the supervisor, perform its moves, commit; until done or waiting (DESIGN.md §3.2).

One driver a run and process. A click, a deadline or a stop only wakes it. It returns when nothing is in flight and no
move is possible: a run that waits for people is a row, not a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from agent import events as ev
from agent.domain import RunStatus
from agent.equipment import Equipment
from agent.errors import (
    AlreadyDecided,
    AlreadyStarted,
    ApprovalNotValid,
    EpochMoved,
    LeaseLost,
    RunPaused,
    RunStopped,
    StorageUnavailable,
)
from agent.execution import Executor
from agent.planner import Planner
from agent.ports import ChatModel, Intention
from agent.proposing import Proposer
from agent.rating import Rater
from agent.recovery import settle
from agent.runbox import RunBox
from agent.state import RunState, fold
from agent.supervisor import (
    AskWorker,
    Begin,
    BeginStep,
    CloseStep,
    Finish,
    Limits,
    MakePlan,
    Move,
    NoteTimeOut,
    ProposeAgain,
    ProposeScripted,
    RateAction,
    StartAction,
    WriteAnswer,
    next_moves,
)

RETRY_AFTER_STORAGE_S = 1.0
FAILURES_A_MOVE = 3

_log = structlog.get_logger(__name__)


class Runtime:
    """Drives all runs of this process."""

    def __init__(self, equipment: Equipment, model: ChatModel, limits: Limits) -> None:
        self._kit = equipment
        self._limits = limits
        self._proposer = Proposer(equipment)
        self._rater = Rater(equipment)
        self._executor = Executor(equipment, self._proposer, self._rater)
        self._planner = Planner(equipment, model, limits, self._proposer, self._rater)
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._dirty: dict[str, asyncio.Event] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._closing = False

    # -- from outside --------------------------------------------------------------------------------------------

    def wake(self, run: str) -> None:
        """Mark a run dirty; starts its driver when there is none."""
        if self._closing:
            return
        if run in self._drivers:
            self._dirty[run].set()
            return
        self._dirty[run] = asyncio.Event()
        self._drivers[run] = asyncio.get_running_loop().create_task(self._drive(run), name=f"run {run}")

    @property
    def active(self) -> frozenset[str]:
        """Runs that have a driver now."""
        return frozenset(self._drivers)

    async def settled(self, run: str) -> RunState:
        """Wait until the run's driver has returned, and fold the run; for tests and the terminal."""
        while (task := self._drivers.get(run)) is not None:
            await asyncio.wait({task})
        return fold(run, await self._kit.journal.read(run))

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
        for timer in self._timers:
            timer.cancel()
        tasks = set(self._drivers.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _drive(self, run: str) -> None:
        log = _log.bind(run_id=run)
        dirty = self._dirty[run]
        box = RunBox(run, self._kit.journal)
        flying: dict[Move, asyncio.Task[None]] = {}
        try:
            await self._loop(box, dirty, flying)
        except StorageUnavailable:
            log.warning("storage is unavailable; the run is tried again shortly")
            self._later(run, RETRY_AFTER_STORAGE_S)
        except LeaseLost:
            log.warning("another process drives the runs now")
        except asyncio.CancelledError:
            log.info("the driver was cancelled")
        except Exception:
            log.exception("the driver failed")
        finally:
            await _cancel(flying.values())
            del self._drivers[run], self._dirty[run]
            if dirty.is_set() and not self._closing:
                self.wake(run)

    def _later(self, run: str, seconds: float) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            self.wake(run)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)

    async def _loop(self, box: RunBox, dirty: asyncio.Event, flying: dict[Move, asyncio.Task[None]]) -> None:
        failures: dict[Move, int] = {}
        paused: set[Move] = set()
        await box.catch_up()
        while True:
            if dirty.is_set():
                dirty.clear()
                paused.clear()
                await box.catch_up()
            if box.state.stop_by:
                _cancel_now(flying)
            if not self._closing:
                for move in next_moves(box.state, self._limits):
                    if move not in flying and move not in paused:
                        flying[move] = asyncio.get_running_loop().create_task(self._perform(box, move))
            if not flying:
                if dirty.is_set():
                    continue
                return
            await _any_of(dirty, flying.values())
            for move in [move for move, task in flying.items() if task.done()]:
                await self._landed(box, move, flying.pop(move), failures, paused)

    async def _landed(
        self, box: RunBox, move: Move, task: asyncio.Task[None], failures: dict[Move, int], paused: set[Move]
    ) -> None:
        try:
            task.result()
        except (RunPaused, RunStopped):
            paused.add(move)
            await box.catch_up()
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
            await box.catch_up()
        except Exception:  # noqa: BLE001  # logged with its trace; the run ends partial instead of the process
            _log.exception("a move failed", run_id=box.run, move=type(move).__name__)
            await box.catch_up()
            if isinstance(move, StartAction):
                await settle(box, self._rater, only=move.action)
            await self._count(box, move, failures)

    async def _count(self, box: RunBox, move: Move, failures: dict[Move, int]) -> None:
        failures[move] = failures.get(move, 0) + 1
        if failures[move] >= FAILURES_A_MOVE and not box.state.status.is_final:
            await self._planner.finish(box, Finish(RunStatus.PARTIAL, "INTERNAL"))

    async def _perform(self, box: RunBox, move: Move) -> None:  # noqa: C901  # one arm a move
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
            case StartAction():
                await self._executor.start(box, move)
            case ProposeScripted():
                await self._proposer.propose_scripted(box, move)
            case ProposeAgain():
                await self._proposer.propose_again(box, move)
            case MakePlan():
                await self._planner.make_plan(box, move)
            case AskWorker():
                await self._planner.ask_worker(box, move)
            case WriteAnswer():
                await self._planner.write_answer(box, move)
            case Finish():
                await self._planner.finish(box, move)


async def _any_of(dirty: asyncio.Event, tasks: Iterable[asyncio.Task[None]]) -> None:
    waiter = asyncio.get_running_loop().create_task(dirty.wait())
    try:
        await asyncio.wait({waiter, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


def _cancel_now(flying: Mapping[Move, asyncio.Task[None]]) -> None:
    for move, task in flying.items():
        if not isinstance(move, Finish) and not task.cancelling():
            task.cancel()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)

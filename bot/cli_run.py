"""`secondkey run "task"`: the same house without Slack, in a terminal or for a script."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console

from agent.domain import ApprovalState, RunStatus, TakeoverState
from agent.errors import ConfigurationError, LeaseLost
from agent.ports import ChatModel, Clock
from bot.app import App
from bot.config import Settings
from bot.observability import configure_logging
from bot.terminal_prompt import Keyboard, Prompter
from bot.terminal_screen import Ended, JsonLines, Lines, Screen
from bot.terminal_session import AUTO, NOBODY, Driving, Session
from storage.views import RunView

DONE, FAILED, DENIED, STOPPED = 0, 1, 3, 130
LOG: Final = "terminal.log"
_REFUSED: Final = frozenset({ApprovalState.DENIED.value, ApprovalState.EXPIRED.value, ApprovalState.WITHDRAWN.value})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    task: str
    as_json: bool = False
    auto_deny: bool = False
    workspace: Path | None = None
    project: Path | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands in for the machine's own in tests: clock, model, and whoever types."""

    clock: Clock | None = None
    model: ChatModel | None = None
    prompter: Prompter | None = None
    out: TextIO | None = None


def run(settings: Settings, environment: Mapping[str, str], wanted: Wanted, parts: Parts | None = None) -> int:
    """Do one task; 0 completed, 1 partly or not, 3 for want of a yes, 130 stopped. Raises ConfigurationError."""
    changed = {"project": wanted.project, "data": wanted.data}
    given = {key: path.resolve() for key, path in changed.items() if path is not None}
    settings = settings.model_copy(update=given)
    task = sys.stdin.read(settings.task_characters + 1) if wanted.task == "-" else wanted.task
    if wanted.workspace is not None:
        wanted = replace(wanted, workspace=wanted.workspace.resolve())
    return asyncio.run(_run(settings, environment, wanted, task, parts or Parts()))


async def _run(settings: Settings, environment: Mapping[str, str], wanted: Wanted, task: str, parts: Parts) -> int:
    stop = asyncio.Event()
    _obey_signals(stop)
    app = await App.start_local(settings, environment=environment, clock=parts.clock, model=parts.model)
    try:
        door = app.local
        if door is None or app.runtime is None:
            raise TypeError("a terminal's house has a door and a driver")
        if parts.out is None:
            configure_logging(door.redact, file=settings.data / LOG)
        out = parts.out or sys.stdout
        screen: Screen = (
            JsonLines(out, door.redact)
            if wanted.as_json
            else Lines(Console(file=out, highlight=False, emoji=False), door.redact)
        )
        began = time.monotonic()
        run = await door.ask(task, wanted.workspace)
        driving = Driving(app.runtime.wake, lambda: app.runtime.active if app.runtime else frozenset(), app.keeper.lost)
        session = Session(
            door, driving, screen, _prompter(wanted, parts, out), no_prompt=AUTO if wanted.auto_deny else NOBODY
        )
        try:
            await session.play(run, stop)
        except LeaseLost:
            raise ConfigurationError(
                "Another process drives the runs now; this run is its own.", fix="See: secondkey status"
            ) from None
        view = door.queries.run_view(run)
        if view is None:
            raise TypeError("a run that was asked for is there")
        code = exit_code(view)
        screen.ended(Ended(view, code, time.monotonic() - began))
        return code
    finally:
        await app.stop()


def exit_code(view: RunView) -> int:
    """What a run's end means to a shell."""
    match view.run.status:
        case RunStatus.COMPLETED:
            return DONE
        case RunStatus.CANCELLED:
            return STOPPED
        case _:
            refused = any(row.state in _REFUSED for row in view.approvals)
            aborted = any(row.state == TakeoverState.ABORTED for row in view.takeovers)
            return DENIED if refused or aborted else FAILED


def _prompter(wanted: Wanted, parts: Parts, out: TextIO) -> Prompter | None:
    """Whoever may be asked: only a person at a terminal who sees what they decide on."""
    if wanted.auto_deny or wanted.as_json:
        return None
    if parts.prompter is not None:
        return parts.prompter
    return Keyboard(sys.stdin.fileno(), out) if sys.stdin.isatty() and out.isatty() and wanted.task != "-" else None


def _obey_signals(stop: asyncio.Event) -> None:
    """The first Ctrl-C ends the run cleanly; the second one kills the process, and whatever it was doing."""

    def obey() -> None:
        if stop.is_set():
            os._exit(STOPPED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, obey)

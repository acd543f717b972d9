"""The bot as the crash harness runs it: the real app with traps around what it writes and what it does.

Nothing in the product knows of this. The traps are put up in the forked process, around the journal's `append`, the
writer's COMMIT, the tools, the calls to Slack and the acknowledgements; the n-th of a kind ends the process there.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import mmap
import os
import random
import signal
import sqlite3
import struct
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.web.async_client import AsyncWebClient

import bot.composition.deciding
import bot.composition.driving
import bot.composition.materials
import bot.deadlines
import bot.delivery
import bot.pace
import bot.posting
import storage.database
import storage.journal
from agent.clock import SystemClock
from agent.policy import Policy
from agent.sandbox.none import NoSandbox
from agent.tools.base import Tool
from agent.tools.registry import default_tools
from bench._crash_plants import PLANTS
from bench._crash_tools import effect_tools, with_rules
from bot.app import App
from bot.config import Settings

Json = dict[str, Any]
DOWN_S = 60.0
"""How much later each successor starts, transport seconds: longer than the lease and the longest effect."""
POSTS = {"chat.postMessage": "post", "chat.update": "update"} | dict.fromkeys(
    ("chat.startStream", "chat.appendStream", "chat.stopStream"), "stream"
)
OTHERS = ("chat.postEphemeral", "views.open", "views.push", "views.update", "views.publish", "conversations.open")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Place:
    """One instant in the life of the process: the n-th of a kind, just before or just after it."""

    kind: str
    moment: str
    number: int
    label: str = ""


@dataclass(slots=True)
class Trap:
    """Counts what the process does, and ends it at one place; told by its pipe what happened."""

    pipe: int
    kill: Place | None
    records: bool
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, **what: object) -> None:
        """Write one line to the harness; short enough to be written whole."""
        os.write(self.pipe, json.dumps(what).encode() + b"\n")

    def passes(self, kind: str, moment: str, label: str) -> None:
        """Count one instant, and die when it is the one."""
        with self.lock:
            self.counts[kind, moment] += 1
            here = Place(kind, moment, self.counts[kind, moment], label[:200])
        if self.records:
            self.tell(point=[here.kind, here.moment, here.number, here.label])
        kill = self.kill
        if kill and (here.kind, here.moment, here.number) == (kill.kind, kill.moment, kill.number):
            self.tell(killed=here.label)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(
        self, call: Callable[..., Awaitable[Any]], kind: str, label: str
    ) -> Callable[..., Awaitable[Any]]:  # fmt: skip
        """The same call between two traps."""

        async def trapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever the call takes
            self.passes(kind, "before", label)
            result = await call(*args, **kwargs)
            self.passes(kind, "after", label)
            return result

        return trapped


class SteeredClock(SystemClock):
    """Business time is moved by the harness, through a shared page; each successor lives a minute later."""

    def __init__(self, page: Path, generation: int) -> None:
        self._late = generation * DOWN_S
        with page.open("rb") as file:
            self._page = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        super().__init__()

    def transport(self) -> float:
        """Real time, later by the outages before this process."""
        return super().transport() + self._late

    def now(self) -> float:
        """Business time."""
        (ahead,) = struct.unpack("d", self._page[:8])
        return self.transport() + ahead


def live(order: Json, pipe: int) -> None:
    """Be the bot until killed; never returns."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    random.seed()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    trap = Trap(pipe, Place(*order["kill"]) if order["kill"] else None, bool(order["records"]))
    clock = SteeredClock(Path(order["page"]), order["generation"])
    _put_up(trap, order)
    if order["plant"]:
        PLANTS[order["plant"]]()
    try:
        asyncio.run(_serve(trap, clock, Settings(**order["settings"])))
    except BaseException as error:  # whatever it is, the harness must hear it
        trap.tell(failed=f"{type(error).__name__}: {error}"[:300])
        raise
    finally:
        os._exit(1)


async def _serve(trap: Trap, clock: SteeredClock, settings: Settings) -> None:
    app = await App.start(settings, environment={}, clock=clock)
    trap.tell(ready=app is not None)
    await asyncio.Event().wait()


def _put_up(trap: Trap, order: Json) -> None:
    _hasten()
    _around_appends(trap)
    _around_commits(trap)
    _around_slack(trap)
    tools = (*default_tools(), *effect_tools(Path(order["effects"])))
    _around_tools(trap, tools)
    real = bot.composition.deciding.load_policy

    def policy(source: Path | None = None) -> Policy:
        return with_rules(real(source))

    async def no_sandbox() -> NoSandbox:
        return NoSandbox("Nothing here runs code.")

    _replace(bot.composition.materials, default_tools=lambda *_: tools)
    _replace(bot.composition.driving, choose=no_sandbox)
    _replace(bot.composition.deciding, load_policy=policy)


def _replace(target: Any, **new: object) -> None:  # noqa: ANN401  # a module or a class
    """Put other things in the place of what a module or class has."""
    for name, value in new.items():
        setattr(target, name, value)


def _hasten() -> None:
    """Slack's rates are proven elsewhere; here each point would wait for them."""
    _replace(bot.deadlines, SWEEP_EVERY_S=0.1)
    # The scheduler reads the machine's own clock, which does not jump at a restart as the harness's does.
    real = SystemClock()

    def at(_: object, delay: float) -> datetime:
        return datetime.fromtimestamp(real.transport() + delay, tz=UTC)

    _replace(bot.deadlines.Deadlines, _at=at)
    _replace(bot.pace, PROGRESS_EVERY_S=0.02)
    _replace(bot.delivery, SOON_S=0.02)
    _replace(bot.posting, POST_BURST=1000, UPDATES_A_MINUTE=10_000)


def _around_appends(trap: Trap) -> None:
    real = storage.journal.append

    def append(tx: Any, run: str, events: Any, **more: Any) -> Any:  # noqa: ANN401  # as the real one
        label = "+".join(event.type for event in events)
        trap.passes("append", "before", label)
        result = real(tx, run, events, **more)
        trap.passes("append", "after", label)
        return result

    for name, module in tuple(sys.modules.items()):
        if name.startswith("storage.") and vars(module).get("append") is real:
            _replace(module, append=append)


def _around_commits(trap: Trap) -> None:
    class Watched(sqlite3.Connection):
        """A connection whose COMMIT in the writer's thread is counted."""

        wrote = ""

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401  # as the real one
            if sql != "COMMIT" or threading.current_thread().name != "sqlite-writer":
                verb, *rest = sql.split(maxsplit=3)
                if verb in {"INSERT", "UPDATE", "DELETE"}:
                    self.wrote = " ".join((verb, *rest[: 2 if verb == "INSERT" else 1]))
                return super().execute(sql, parameters)
            label, self.wrote = self.wrote, ""
            trap.passes("commit", "before", label)
            result = super().execute(sql, parameters)
            trap.passes("commit", "after", label)
            return result

    class Sqlite:
        """The module sqlite3 with another kind of connection."""

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the module has
            return getattr(sqlite3, name)

        def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:  # noqa: ANN401  # as the real one
            return sqlite3.connect(*args, factory=Watched, **kwargs)

    _replace(storage.database, sqlite3=Sqlite())


def _around_slack(trap: Trap) -> None:
    slack: Any = AsyncWebClient  # the SDK types its methods only in part
    real = slack.api_call

    async def api_call(self: Any, api_method: str, **kwargs: Any) -> Any:  # noqa: ANN401  # as the real one
        kind = POSTS.get(api_method) or ("other" if api_method in OTHERS else "")
        if not kind:
            return await real(self, api_method, **kwargs)
        body: Any = kwargs.get("json") or kwargs.get("params") or {}
        metadata: Any = body.get("metadata")
        label = f"{api_method} {_key_of(metadata)}".strip()
        return await trap.around(real, kind, label)(self, api_method, **kwargs)

    _replace(AsyncWebClient, api_call=api_call)
    acknowledge = AsyncBaseSocketModeClient.send_socket_mode_response
    _replace(AsyncBaseSocketModeClient, send_socket_mode_response=trap.around(acknowledge, "ack", "ack"))


def _key_of(metadata: Any) -> str:  # noqa: ANN401  # JSON, or its text
    found: Any = json.loads(metadata) if isinstance(metadata, str) else metadata or {}
    return str(found.get("event_payload", {}).get("key", "")).partition(":")[0]


def _around_tools(trap: Trap, tools: tuple[Tool[Any], ...]) -> None:
    for tool in tools:
        _replace(tool, run=trap.around(tool.run, "tool", tool.name))

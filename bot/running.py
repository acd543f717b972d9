"""Second Key as it runs: its parts, what is wrong with them, and the order in which they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from agent.revising import Reviser
from agent.runtime import Runtime
from agent.rush import Rush
from bot.config import Settings
from bot.deadlines import Deadlines
from bot.delivery import Delivery
from bot.fetching import Fetching
from bot.groups import UserGroups
from bot.keeper import Keeper
from bot.link import SocketLink
from bot.listeners.services import Services
from bot.local import LocalDoor
from bot.mcp_servers import McpServers
from bot.memory import take_turns
from bot.policies import Policies
from bot.sessions import Sessions
from bot.streams import Streams
from bot.tracing import Traces
from bot.turns import Turns
from bot.web import WebServer
from storage.database import Database

GRACE_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Running:
    """A running Second Key: its parts, how they are, and how they end."""

    settings: Settings
    db: Database
    keeper: Keeper
    web: WebServer | None
    """None in a terminal's house."""
    traces: Traces
    runtime: Runtime | None = None
    deadlines: Deadlines | None = None
    delivery: Delivery | None = None
    link: SocketLink | None = None
    sessions: Sessions | None = None
    fetching: Fetching | None = None
    streams: Streams | None = None
    services: Services | None = None
    reviser: Reviser | None = None
    policies: Policies | None = None
    mcp: McpServers | None = None
    groups: UserGroups | None = None
    sandbox: str | None = None
    """Why no sandbox holds, empty when one does; None until that was tried."""
    local: LocalDoor | None = None
    """What a terminal works through; None in a house with Slack."""
    turns: Turns | None = None
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list[Callable[[], Awaitable[None]]])
    """What is closed when no run is driven any more."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    looks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    """Tasks that only look something up now and then: nothing is lost when they are cut off."""
    rush: Rush = field(default_factory=lambda: Rush(take_turns))

    @property
    def url(self) -> str:
        """Address of the web server."""
        return self.web.url if self.web is not None else ""

    async def until(self, stop: asyncio.Event) -> bool:
        """Wait for `stop` or the loss of the lease; True when this process must be started anew."""
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self.keeper.lost.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self.keeper.lost.is_set()

    async def stop(self) -> None:
        """Take no more in, let what runs end, deliver what is due, let a successor in; within ten seconds."""
        if self.link is not None:
            await self.link.close()
        if self.deadlines is not None:
            self.deadlines.stop()
        if self.services is not None:
            await self.services.tasks.drain(1.0)
            self.services.homes.close()
            if self.services.anchoring is not None:
                self.services.anchoring.stop()
        if self.runtime is not None:
            await self.runtime.close(GRACE_S)
        for part in (self.delivery, self.sessions, self.fetching, self.mcp):
            if part is not None:
                part.stop()
        if self.streams is not None:
            await self.streams.close()
        await self._end_tasks()
        for close in self.closing:
            await close()
        await self.traces.stop()
        await self.keeper.stop()
        await asyncio.gather(*(web.stop() for web in (self.web,) if web is not None))
        await self.db.close()

    async def _end_tasks(self) -> None:
        for task in self.looks:
            task.cancel()
        late = (await asyncio.wait(self.tasks, timeout=2.0))[1] if self.tasks else set[asyncio.Task[None]]()
        if late:
            _log.warning("cut_off", tasks=sorted(task.get_name() for task in late))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, *self.looks, return_exceptions=True)

    def reload_policy(self) -> None:
        """Read the policy again; a broken one changes nothing but what `warnings` say."""
        if self.policies is not None and self.policies.reload() and self.groups is not None:
            self.groups.changed()

    def warnings(self) -> dict[str, str]:
        """What an operator should mend although everything works."""
        return {
            "policy": self.policies.problem if self.policies is not None else "",
            "user_groups": self.groups.problem if self.groups is not None else "",
            "sandbox": f"none, so no code runs: {self.sandbox}" if self.sandbox else "",
        }

    def problems(self) -> dict[str, str]:
        """Each part and what is wrong with it; empty texts when all is well."""
        return {
            "database": self.db.problem,
            "stand_by": "another process drives the runs" if self.keeper.standing_by else "",
            "slack": self.link.problem if self.link is not None else "",
            "delivery": self.delivery.problem if self.delivery is not None else "not started",
            "deadlines": "" if self.deadlines is not None and self.deadlines.last_sweep else "no sweep yet",
            "sandbox": "not tried yet" if self.sandbox is None else "",
        }

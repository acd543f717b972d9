"""The status of a task's thread as Slack itself shows it: working, waiting for people, or at rest.

Now or never: a call is tried once within two seconds, carries no state and never keeps delivery waiting. What a thread
should show is read off its newest run at the moment of the call, so that many changes cost one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError

from agent.domain import Principal, RunStatus
from agent.errors import SecondKeyError
from agent.ports import Clock
from bot.blocks.text import bare
from bot.listeners.payload import mapping
from bot.posting import Kind, PostFault, SlackClient, fault_of
from storage.queries import Queries
from storage.views import RunLine

CALL_S: Final = 2.0
GATHER_S: Final = 0.05
"""Changes within this time cost one call."""
AT_ONCE: Final = 4
AGAIN_S: Final = 5.0
"""A thread that still shows "working" although nothing is worked on is set right once more after this."""
REFRESH_S: Final = 100.0
"""The older status vanishes after two minutes by itself."""
RECENT_S: Final = 600.0
"""After a start, runs that ended this short a time ago are shown once more."""
MOST_KEPT: Final = 2000
_STATUS: Final = {
    RunStatus.QUEUED: "processing",
    RunStatus.RUNNING: "processing",
    RunStatus.WAITING: "suspended",
}
_OLDER: Final = {"processing": "is working on it…", "suspended": "is waiting for people"}
#: The workspace or the app's settings do not know agent sessions.
_NO_SESSIONS: Final = frozenset(
    {"unknown_method", "method_deprecated", "method_not_supported_for_channel_type", "missing_scope", "not_allowed"}
    | {"not_allowed_token_type", "no_permission", "access_denied", "feature_not_enabled", "not_an_agent"}
)
_log = structlog.get_logger("sessions")


class Sessions:
    """Shows where runs stand. `moved` is to be subscribed to the "head" signal."""

    def __init__(self, client: SlackClient, queries: Queries, clock: Clock) -> None:
        self._client, self._queries, self._clock = client, queries, clock
        self._due: dict[str, None] = {}
        self._shown: dict[tuple[str, str], str] = {}
        self._again: set[str] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._has_sessions = True
        self._held_until = 0.0
        self._titled: dict[tuple[str, str], None] = {}

    def moved(self, run: str) -> None:
        """Something happened in a run."""
        self._due[run] = None
        self._wake.set()

    def asked(self, run: str) -> None:
        """Slack waits to be told, whatever it was told before: somebody pressed its own stop button."""
        line = self._queries.run(run)
        if line is not None:
            self._shown.pop((line.channel, line.thread_ts), None)
            self.moved(run)

    async def run(self) -> None:
        """Show until `stop`; whatever goes wrong here concerns nobody else."""
        self._catch_up()
        while not self._is_stopping:
            await self._wake.wait()
            await asyncio.sleep(max(GATHER_S, self._held_until - self._clock.monotonic()))
            self._wake.clear()
            due = [*self._due]
            self._due.clear()
            for at in range(0, len(due), AT_ONCE):
                if self._held_until > self._clock.monotonic():  # Slack said when to come back; it meant the others too
                    self._due |= dict.fromkeys(due[at:])
                    self._wake.set()
                    break
                await asyncio.gather(*(self._show(run) for run in due[at : at + AT_ONCE]))

    def stop(self) -> None:
        """End after what is on its way."""
        self._is_stopping = True
        for timer in self._timers:
            timer.cancel()
        self._held_until = 0.0
        self._wake.set()

    def _catch_up(self) -> None:
        """What changed while nobody was here."""
        try:
            for line in self._queries.runs(limit=50):
                if not line.status.is_final or line.ended_at > self._clock.now() - RECENT_S:
                    self.moved(line.id)
        except SecondKeyError as error:
            _log.info("sessions_not_read", error=str(error))

    async def _show(self, run: str) -> None:
        try:
            line = self._queries.run(run)
            if line is None or not line.channel or not line.thread_ts:
                return
            newest = self._queries.find_run_by_thread(line.team, line.channel, line.thread_ts) or line
        except SecondKeyError as error:
            _log.info("session_not_read", error=str(error))
            return
        place, wanted = (line.channel, line.thread_ts), _STATUS.get(newest.status, "active")
        if self._shown.get(place) == wanted:
            return
        try:
            await self._call(newest, wanted)
        except PostFault as fault:
            self._failed(newest, fault, is_rest=wanted != "processing")
            return
        self._again.discard(run)
        self._shown.pop(place, None)
        self._shown[place] = wanted
        while len(self._shown) > MOST_KEPT:
            self._shown.pop(next(iter(self._shown)))
        if not self._has_sessions and wanted in _OLDER:
            self._later(newest.id, REFRESH_S, place)

    def _failed(self, line: RunLine, fault: PostFault, *, is_rest: bool) -> None:
        _log.info("session_not_shown", run_id=line.id, fault=str(fault))
        self._shown.pop((line.channel, line.thread_ts), None)
        if fault.kind is Kind.LIMITED:  # nothing happened, and what is shown then is read anew
            self._held_until = self._clock.monotonic() + fault.retry_after_s
            self.moved(line.id)
        elif is_rest and fault.kind is not Kind.UNREACHABLE and line.id not in self._again:
            self._again.add(line.id)
            self._later(line.id, AGAIN_S)
        else:
            self._again.discard(line.id)

    def _later(self, run: str, seconds: float, forget: tuple[str, str] | None = None) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            if forget is not None:
                self._shown.pop(forget, None)
            self.moved(run)

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)

    async def _call(self, line: RunLine, status: str) -> None:
        """Set the status, by the older method where there are no sessions; raises PostFault."""
        if self._has_sessions:
            try:
                await self._session(line, status)
            except PostFault as fault:
                if fault.error not in _NO_SESSIONS:
                    raise
                self._has_sessions = False
                _log.info("no_agent_sessions", error=fault.error)
            else:
                return
        await self._once(
            self._client.assistant_threads_setStatus(
                channel_id=line.channel, thread_ts=line.thread_ts, status=_OLDER.get(status, "")
            )
        )

    async def _session(self, line: RunLine, status: str) -> None:
        who = Principal.parse(line.requester)
        title = bare(line.title, 200) or "A task"
        answer = await self._once(
            self._client.agents_sessions_setStatus(
                channel_id=line.channel,
                thread_ts=line.thread_ts,
                status=status,
                title=title,
                initiator_user_id=who.user if who.kind == "slack" else None,
            )
        )
        await self._name(line, title, answer)

    async def _name(self, line: RunLine, title: str, answer: Mapping[str, Any]) -> None:
        """Slack takes a title only for a new session, and a stream may have begun it before: then it has none."""
        place = (line.channel, line.thread_ts)
        if place in self._titled:
            return
        self._titled[place] = None
        while len(self._titled) > MOST_KEPT:
            self._titled.pop(next(iter(self._titled)))
        if answer.get("title") or mapping(answer.get("session")).get("title"):
            return
        try:
            await self._once(
                self._client.agents_sessions_rename(channel_id=line.channel, thread_ts=line.thread_ts, title=title)
            )
        except PostFault as fault:
            _log.info("session_not_named", run_id=line.id, fault=str(fault))

    async def _once(self, call: Awaitable[Any]) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(CALL_S):
                answer = await call
                return mapping(answer.data)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise fault_of(error) from error

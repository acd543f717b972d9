"""The status of threads when Slack says slower."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from slack_sdk.errors import SlackApiError

from agent.clock import SystemClock
from agent.domain import RunStatus
from bot.sessions import AT_ONCE, Sessions


class Busy:
    """Slack that takes no status before a quarter of a second has passed, and counts what it is asked meanwhile."""

    def __init__(self) -> None:
        self.refused = 0
        self.shown: set[str] = set()
        self.until: float | None = None
        self.all_shown = asyncio.Event()

    async def agents_sessions_setStatus(self, *, thread_ts: str, **_: object) -> Any:  # noqa: N802  # Slack's name
        now = asyncio.get_running_loop().time()
        if self.until is None:
            self.until = now + 0.25
        if now < self.until:
            self.refused += 1
            answer = SimpleNamespace(data={"error": "ratelimited"}, status_code=429, headers={"Retry-After": "0.3"})
            raise SlackApiError("no", answer)
        self.shown.add(thread_ts)
        if len(self.shown) == 20:
            self.all_shown.set()
        return SimpleNamespace(data={"ok": True, "title": "t"})


class Runs:
    """Twenty runs that work, each in a thread of its own."""

    def run(self, run: str) -> Any:
        return SimpleNamespace(
            id=run, team="T1", channel="C1", thread_ts=run, status=RunStatus.RUNNING, title="t",
            requester="slack:T1:U1", ended_at=0.0,
        )  # fmt: skip

    def find_run_by_thread(self, *_: str) -> None:
        return None

    def runs(self, **_: object) -> tuple[()]:
        return ()


async def test_when_slack_says_slower_the_other_threads_wait_as_well_and_none_is_forgotten() -> None:
    slack, queries = Busy(), Runs()
    sessions = Sessions(slack, queries, SystemClock())  # type: ignore[arg-type]  # the part of it that is used
    for number in range(20):
        sessions.moved(str(number))
    task = asyncio.create_task(sessions.run())
    await asyncio.wait_for(slack.all_shown.wait(), 30)
    assert slack.refused == AT_ONCE
    sessions.stop()
    await task

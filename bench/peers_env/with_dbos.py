"""DBOS on SQLite: a workflow that waits in recv, a message from outside, polled as often as pays off."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, SetWorkflowID
from harness import main, tune

EFFECTS: Counter[int] = Counter()
WAITS: dict[int, asyncio.Event] = {}
POLL_S = 0.005


@DBOS.step()
async def model(task: str) -> dict[str, Any]:
    """Ask for the tool."""
    return {"tool": "touch", "number": int(task.rpartition(" ")[2])}


@DBOS.step()
async def touch(number: int) -> str:
    """Have the effect."""
    EFFECTS[number] += 1
    return f"touched {number}"


@DBOS.workflow()
async def work(task: str) -> str:
    """Plan, wait for a yes, do it."""
    call = await model(task)
    WAITS.pop(call["number"]).set()
    if not await DBOS.recv_async("decision", timeout_seconds=3600):
        return "denied"
    return await touch(call["number"])


class Dbos:
    """A workflow a run; the handle is kept, so that nobody polls for the result."""

    width = 32

    def __init__(self) -> None:
        self.effects = EFFECTS
        self._handles: dict[str, Any] = {}

    async def open(self, path: Path) -> None:
        """Launch."""
        # SQLite's settings go with every connection of whatever engine DBOS makes.
        sa.event.listens_for(sa.engine.Engine, "connect")(lambda connection, _record: tune(connection))
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{path}",
                "notification_listener_polling_interval_sec": POLL_S,
                "log_level": "ERROR",
                "enable_otlp": False,
            }
        )
        DBOS.launch()

    async def start(self, number: int) -> str:
        """Start the workflow and wait until it is about to wait."""
        key = f"run-{number}"
        waits = WAITS[number] = asyncio.Event()
        with SetWorkflowID(key):
            self._handles[key] = await DBOS.start_workflow_async(work, f"touch {number}")
        await waits.wait()
        return key

    async def decide(self, key: str) -> float:
        """Send the yes and wait for the workflow's result."""
        await DBOS.send_async(key, "yes", "decision")
        result = await self._handles.pop(key).get_result()
        assert result.startswith("touched")
        return time.perf_counter()

    async def close(self) -> None:
        """Nothing waits any more."""
        DBOS.destroy()


if __name__ == "__main__":
    main(Dbos)

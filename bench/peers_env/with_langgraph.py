"""LangGraph: interrupt() before the effect, Command(resume=…) from outside, AsyncSqliteSaver.

`--exit` saves only when the graph leaves: faster, but a crash after the yes runs the tool again on the next resume.
Without it each step is on the disk before the next one begins.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Literal, TypedDict

import aiosqlite
from harness import main
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    """What a checkpoint holds."""

    task: str
    tool: str
    number: int
    result: str


class LangGraph:
    """A model node that asks for a tool, and a tool node that waits for a yes."""

    def __init__(self, durability: Literal["sync", "exit"]) -> None:
        self.effects: Counter[int] = Counter()
        self.width = 8
        self._durability = durability

    async def open(self, path: Path) -> None:
        """Compile the graph over the saver."""
        self._conn = await aiosqlite.connect(path)
        await self._conn.execute("PRAGMA journal_mode=WAL")
        await self._conn.execute("PRAGMA synchronous=FULL")
        saver = AsyncSqliteSaver(self._conn)
        await saver.setup()

        async def model(state: State) -> State:
            return {"tool": "touch", "number": int(state["task"].split()[-1])}

        async def tool(state: State) -> State:
            if not interrupt({"tool": state["tool"], "number": state["number"]}):
                return {"result": "denied"}
            self.effects[state["number"]] += 1
            return {"result": f"touched {state['number']}"}

        graph = StateGraph(State)
        graph.add_node("model", model)
        graph.add_node("tool", tool)
        graph.add_edge(START, "model")
        graph.add_edge("model", "tool")
        graph.add_edge("tool", END)
        self._graph = graph.compile(checkpointer=saver)

    async def start(self, number: int) -> str:
        """Run up to the interrupt."""
        key = f"run-{number}"
        paused = await self._graph.ainvoke({"task": f"touch {number}"}, _config(key), durability=self._durability)
        assert "__interrupt__" in paused
        return key

    async def decide(self, key: str) -> float:
        """Resume with a yes, to the end."""
        ended = await self._graph.ainvoke(Command(resume=True), _config(key), durability=self._durability)
        assert ended["result"].startswith("touched")
        return time.perf_counter()

    async def close(self) -> None:
        """Close the file."""
        await self._conn.close()


def _config(key: str) -> dict[str, dict[str, str]]:
    return {"configurable": {"thread_id": key}}


if __name__ == "__main__":
    leaving = "--exit" in sys.argv
    sys.argv = [item for item in sys.argv if item != "--exit"]
    main(lambda: LangGraph("exit" if leaving else "sync"))

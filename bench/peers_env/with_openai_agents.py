"""OpenAI Agents SDK: a tool that needs approval, its RunState kept in SQLite, tracing off.

The agent stops on the tool's result, which saves it the second model call.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

from agents import Agent, ModelResponse, Runner, RunState, Usage, function_tool, set_tracing_disabled
from agents.models.interface import Model
from harness import main, tune
from openai.types.responses import ResponseFunctionToolCall

_TABLE = "CREATE TABLE runs (id INTEGER PRIMARY KEY, state TEXT NOT NULL, saved TEXT NOT NULL, result TEXT)"


class Scripted(Model):
    """Asks for the tool."""

    async def get_response(self, system_instructions: str | None, input: Any, *args: Any, **more: Any) -> ModelResponse:  # noqa: A002, ANN401  # the SDK's signature
        """Reply from the script."""
        del system_instructions, args, more
        text = input if isinstance(input, str) else input[-1]["content"]
        number = int(text.split()[-1])
        call = ResponseFunctionToolCall(
            id=f"f{number}",
            call_id=f"c{number}",
            name="touch",
            arguments=json.dumps({"number": number}),
            type="function_call",
        )
        return ModelResponse(output=[call], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401  # the SDK's signature
        """Nobody streams here."""
        raise NotImplementedError


class OpenAIAgents:
    """One row a run; the decision is a compare-and-swap before the runner goes on."""

    width = 1

    def __init__(self) -> None:
        self.effects: Counter[int] = Counter()

    async def open(self, path: Path) -> None:
        """Make the table and the agent."""
        set_tracing_disabled(True)
        self._conn = sqlite3.connect(path, isolation_level=None)
        tune(self._conn)
        self._conn.execute(_TABLE)

        @function_tool(needs_approval=True)
        async def touch(number: int) -> str:
            """Touch."""
            self.effects[number] += 1
            return f"touched {number}"

        self._agent = Agent(
            name="worker",
            instructions="Touch.",
            model=Scripted(),
            tools=[touch],
            tool_use_behavior="stop_on_first_tool",
        )

    async def start(self, number: int) -> str:
        """Run until the interruption, and keep the state."""
        result = await Runner.run(self._agent, f"touch {number}")
        assert result.interruptions
        saved = result.to_state().to_string()
        cursor = self._conn.execute("INSERT INTO runs(state, saved) VALUES ('pending', ?)", (saved,))
        return str(cursor.lastrowid)

    async def decide(self, key: str) -> float:
        """Take the decision, go on from the state, keep the result."""
        row = self._conn.execute(
            "UPDATE runs SET state = 'started' WHERE id = ? AND state = 'pending' RETURNING saved", (key,)
        ).fetchall()
        state = await RunState.from_string(self._agent, row[0][0])
        for waiting in state.get_interruptions():
            state.approve(waiting)
        result = await Runner.run(self._agent, state)
        assert str(result.final_output).startswith("touched")
        self._conn.execute("UPDATE runs SET state = 'done', result = ? WHERE id = ?", (result.final_output, key))
        return time.perf_counter()

    async def close(self) -> None:
        """Close the file."""
        self._conn.close()


if __name__ == "__main__":
    main(OpenAIAgents)

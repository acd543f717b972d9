"""pydantic-ai: a tool that requires approval, deferred requests as output, the messages kept in SQLite.

The model is a direct implementation of its Model class, which costs less than its FunctionModel.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from pathlib import Path

from harness import main, tune
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

_TABLE = "CREATE TABLE runs (id INTEGER PRIMARY KEY, state TEXT NOT NULL, messages BLOB NOT NULL, call TEXT)"


class Scripted(Model):
    """Asks for the tool, and is content with what it gave."""

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Reply from the script."""
        del model_settings, parameters
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart):
            return ModelResponse(parts=[TextPart("Done.")], model_name="scripted")
        assert isinstance(last, UserPromptPart)
        number = int(str(last.content).split()[-1])
        return ModelResponse(parts=[ToolCallPart("touch", {"number": number}, f"c{number}")], model_name="scripted")

    @property
    def model_name(self) -> str:
        """Its name."""
        return "scripted"

    @property
    def system(self) -> str:
        """Its provider."""
        return "scripted"


class PydanticAI:
    """One row a run; the decision is a compare-and-swap before the agent goes on."""

    width = 1

    def __init__(self) -> None:
        self.effects: Counter[int] = Counter()

    async def open(self, path: Path) -> None:
        """Make the table and the agent."""
        self._conn = sqlite3.connect(path, isolation_level=None)
        tune(self._conn)
        self._conn.execute(_TABLE)
        self._agent = Agent(Scripted(), output_type=[str, DeferredToolRequests])

        @self._agent.tool_plain(requires_approval=True)
        def touch(number: int) -> str:
            self.effects[number] += 1
            return f"touched {number}"

    async def start(self, number: int) -> str:
        """Run until the tool is deferred, and keep the messages."""
        result = await self._agent.run(f"touch {number}")
        assert isinstance(result.output, DeferredToolRequests)
        kept = (result.all_messages_json(), result.output.approvals[0].tool_call_id)
        cursor = self._conn.execute("INSERT INTO runs(state, messages, call) VALUES ('pending', ?, ?)", kept)
        return str(cursor.lastrowid)

    async def decide(self, key: str) -> float:
        """Take the decision, go on from the messages, keep the result."""
        row = self._conn.execute(
            "UPDATE runs SET state = 'started' WHERE id = ? AND state = 'pending' RETURNING messages, call", (key,)
        ).fetchall()
        history = ModelMessagesTypeAdapter.validate_json(row[0][0])
        approved = DeferredToolResults(approvals={row[0][1]: True})
        result = await self._agent.run(message_history=history, deferred_tool_results=approved)
        assert result.output == "Done."
        self._conn.execute(
            "UPDATE runs SET state = 'done', messages = ? WHERE id = ?", (result.all_messages_json(), key)
        )
        return time.perf_counter()

    async def close(self) -> None:
        """Close the file."""
        self._conn.close()


if __name__ == "__main__":
    main(PydanticAI)

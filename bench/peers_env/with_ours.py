"""Second Key: the real engine with its loop, policy, gate and journal.

`--planner` says who plans: `runbook` (no model), `scripted` (a model that implements our ChatModel port: plan, work,
hand back, answer) or `function` (the same through pydantic-ai's FunctionModel). `--telemetry` records spans.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness import main

from bench._engine import Engine
from bench._models import FunctionChat, ScriptedChat

if TYPE_CHECKING:
    from agent.ports import ChatModel
    from agent.telemetry import Telemetry


class Ours:
    """A run is a row; a driver stands only while there is something to do."""

    width = 512

    def __init__(self, planner: str, *, telemetry: bool) -> None:
        self._planner, self._telemetry = planner, telemetry
        self.effects: Counter[int] = Counter()

    async def open(self, path: Path) -> None:
        """Start the engine."""
        model: ChatModel | None = None
        if self._planner == "scripted":
            model = ScriptedChat()
        elif self._planner == "function":
            model = FunctionChat()
        self._engine = await Engine.open(path, model=model, telemetry=recording() if self._telemetry else None)
        self._engine.milestones.clock = time.perf_counter
        self.effects = self._engine.touch.effects

    async def start(self, number: int) -> str:
        """Accept the task; the run drives itself to the approval."""
        return " ".join(await self._engine.start(number))

    async def decide(self, key: str) -> float:
        """Vote as a click does; the run drives itself to its end."""
        run, approval = key.split()
        return await self._engine.decide(run, approval)

    async def close(self) -> None:
        """Stop the engine."""
        await self._engine.close()


def recording() -> Telemetry:
    """Spans that are recorded, batched and then dropped: what tracing costs here, without a collector."""
    from collections.abc import Sequence  # noqa: PLC0415  # only with --telemetry, as the rest

    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult  # noqa: PLC0415  # as above

    from agent.telemetry import Telemetry  # noqa: PLC0415  # as above

    class Drop(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            del spans
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Drop()))
    return Telemetry(provider.get_tracer("bench"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--planner", choices=("runbook", "scripted", "function"), default="runbook")
    parser.add_argument("--telemetry", action="store_true")
    chosen, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    main(lambda: Ours(chosen.planner, telemetry=chosen.telemetry))

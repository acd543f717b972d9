"""A process that starts a run, has it wait for people, says so, and then waits to be killed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from bench._engine import Engine
from tests.scenario.traced import traces_of


async def main(path: Path) -> None:
    """Say `run approval` once the run waits, and that what was journalled until then has been handed over."""
    engine = await Engine.open(path)
    traces = traces_of(engine.db, os.environ)
    run, approval = await engine.start(1)
    while not traces.is_idle:  # noqa: ASYNC110  # a thread's work has no event in the loop
        await asyncio.sleep(0.02)
    run2, approval2 = await engine.start(2)  # its spans are mostly still in this process's memory
    sys.stdout.write(f"{run} {approval} {run2} {approval2}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

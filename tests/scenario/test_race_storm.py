"""A small race storm on real processes, killed in turn, while everybody clicks and the time runs out."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_everybody_clicks_while_time_passes_and_bots_are_killed_and_each_approval_has_one_decision() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.crash", "--storm", "--approvals", "16", "--people", "10"),
        cwd=ROOT,
        stdout=-1,
        stderr=-1,
    )
    out, err = await process.communicate()
    figures = json.loads(out.decode().splitlines()[-1])
    assert (process.returncode, figures["violations"], err.decode()) == (0, 0, "")
    assert figures["bots_killed"] == 2
    assert figures["clicks"] >= 160

"""The crash harness finds nothing in the product, and finds the bugs that are put in to be found."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


async def crash(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run the harness; returns its exit code, the figures of its last line, and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.crash", *arguments, cwd=ROOT, stdout=-1, stderr=-1
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out.decode().splitlines()[-1]), err.decode()


async def test_a_bot_killed_around_every_tool_call_does_nothing_twice_and_loses_nothing() -> None:
    code, figures, complaints = await crash("--only", "tool")
    assert (code, figures["violations"], complaints) == (0, 0, "")
    assert figures["points"] >= 6


async def test_a_bot_killed_at_some_appends_posts_and_acks_goes_on_where_it_was() -> None:
    code, figures, complaints = await crash("--only", "append,post,ack", "--points", "8")
    assert (code, figures["violations"], complaints) == (0, 0, "")
    assert figures["points"] >= 5


async def test_a_bot_killed_around_calls_that_stream_leaves_no_second_stream_and_none_open() -> None:
    code, figures, complaints = await crash("--only", "stream", "--points", "4")
    assert (code, figures["violations"], complaints) == (0, 0, "")
    assert figures["points"] >= 2


@pytest.mark.parametrize(
    ("plant", "at", "complaint"),
    [
        ("consume-after-effect", "tool:after:3", "happened 2 times"),
        ("post-again", "post:after:3", "was posted 2 times"),
        ("stream-again", "stream:after:1", "was never ended"),
    ],
)
async def test_a_planted_bug_makes_the_harness_fail(plant: str, at: str, complaint: str) -> None:
    code, figures, complaints = await crash("--plant", plant, "--at", at)
    assert (code, figures["points"], figures["violations"]) == (1, 1, 1)
    assert complaint in complaints

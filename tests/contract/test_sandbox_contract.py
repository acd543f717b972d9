"""What every sandbox keeps to: the real one and the fake against the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.ports import Sandbox, SandboxCall, SandboxResult
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.fake import FakeSandbox
from agent.sandbox.interpreter import interpreter
from agent.sandbox.landlock import Landlock

Make = Callable[..., Sandbox]


def real(_: SandboxResult | None = None, *, hold: bool = False) -> Sandbox:
    del hold
    return Bubblewrap()


def fallback(_: SandboxResult | None = None, *, hold: bool = False) -> Sandbox:
    del hold
    return Landlock()


def fake(result: SandboxResult | None = None, *, hold: bool = False) -> Sandbox:
    sandbox = FakeSandbox([result] if result else [])
    if hold:
        sandbox.hold = asyncio.Event()
    return sandbox


@pytest.fixture(
    params=[pytest.param(real, marks=pytest.mark.needs("bwrap")), fallback, fake],
    ids=["bubblewrap", "landlock", "fake"],
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def python(code: str, workspace: Path, **more: object) -> SandboxCall:
    # What the fallback can reach, every sandbox can.
    inside = interpreter("landlock")
    return SandboxCall((*inside.command, "-c", code), workspace, read_only=inside.read_only, **more)  # type: ignore[arg-type]  # passed on as given


async def test_the_walls_hold(make: Make) -> None:
    assert await make().self_test() == ""


async def test_it_is_not_called_none(make: Make) -> None:
    assert make().name not in {"", "none"}


async def test_both_streams_and_the_exit_code_come_back(make: Make, tmp_path: Path) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    result = await make(SandboxResult(3, b"out\n", b"err\n")).run(python(code, tmp_path))
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert not result.timed_out
    assert not result.truncated


async def test_a_command_that_does_not_end_is_ended(make: Make, tmp_path: Path) -> None:
    result = await make(hold=True).run(python("import time; time.sleep(60)", tmp_path, timeout_s=0.5))
    assert result.timed_out
    assert result.exit_code != 0


async def test_output_beyond_the_cap_is_cut(make: Make, tmp_path: Path) -> None:
    sandbox = make(SandboxResult(0, b"x" * 5_000, b""))
    result = await sandbox.run(python("while True: print('x' * 1000)", tmp_path, output_bytes=2_000))
    assert result.truncated
    assert len(result.stdout) == 2_000


async def test_a_cancelled_call_ends(make: Make, tmp_path: Path) -> None:
    task = asyncio.create_task(make(hold=True).run(python("import time; time.sleep(60)", tmp_path)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

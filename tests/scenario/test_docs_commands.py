"""The shell blocks of the documentation are typed, page by page, in an empty folder, against a simulated Slack."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulator.server import Simulator

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a page says that its commands print.
PRINTED = {"start.md": ("42", "high, by the policy", "Not asked, as you wished"), "tools.md": ("Oat flat 4.00",)}
PAGE_S, READY_S, END_S = 60.0, 30.0, 10.0


@dataclass(frozen=True)
class Typed:
    """What a page has a reader type: commands, and servers that go on until they are ended."""

    page: Path
    blocks: tuple[tuple[str, str], ...]

    @property
    def commands(self) -> str:
        return "".join(text for note, text in self.blocks if not note)

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(text for note, text in self.blocks if note == "run until ready")


def typed(path: Path) -> Typed:
    text = path.read_text(encoding="utf-8")
    return Typed(path, tuple((found["note"] or "", found["text"]) for found in FENCE.finditer(text)))


#: Commands that a page may need besides bash and git.
NEEDED = ("promtool",)
PAGES = [page for path in sorted((ROOT / "docs").glob("*.md")) if (page := typed(path)).blocks]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with await Simulator.start(rates=False) as simulator:
        yield simulator


def environment(sim: Simulator, folder: Path) -> dict[str, str]:
    """A shell in which `secondkey` is this checkout's, and Slack the simulator."""
    shim = folder.parent / "bin" / "secondkey"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bot "$@"\n')
    shim.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if key in {"HOME", "LANG", "TMPDIR"}}
    return kept | {
        "PATH": f"{shim.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SECONDKEY_SLACK_API_URL": sim.api_url,
        "SLACK_BOT_TOKEN": "xoxb-simulator",
        "SLACK_APP_TOKEN": "xapp-simulator",
    }


def test_what_is_not_run_says_why() -> None:
    notes = {note for page in PAGES for note, _ in page.blocks if note}
    assert all(note == "run until ready" or re.match(r"not run: \w+ \w+", note) for note in notes)
    assert len(PAGES) >= 4


def with_what_it_needs(page: Typed) -> Any:
    marks = [pytest.mark.needs(command) for command in ("git", *NEEDED) if command == "git" or command in page.commands]
    return pytest.param(page, marks=marks, id=page.page.name)


@pytest.mark.parametrize("page", [with_what_it_needs(page) for page in PAGES])
async def test_what_a_page_has_you_type_works(page: Typed, sim: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "deploy").symlink_to(ROOT / "deploy")
    bash = shutil.which("bash")
    assert bash
    variables = environment(sim, folder)
    if page.commands:
        child = await asyncio.create_subprocess_exec(
            bash, "-euo", "pipefail", "-c", page.commands, cwd=folder, env=variables,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(child.communicate(), PAGE_S)
        assert child.returncode == 0, out.decode()
        assert [said for said in PRINTED.get(page.page.name, ()) if said not in out.decode()] == []
    for server in page.servers:
        await serves(bash, server, folder, variables | {"SECONDKEY_PORT": "0"})


async def serves(bash: str, command: str, folder: Path, variables: dict[str, str]) -> None:
    """It says that it is ready, and ends well when it is told to."""
    child = await asyncio.create_subprocess_exec(
        bash, "-euo", "pipefail", "-c", f"exec env {command}", cwd=folder, env=variables,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = b""
    try:
        async with asyncio.timeout(READY_S):
            assert child.stdout is not None
            while b"ready" not in said:
                line = await child.stdout.readline()
                assert line, said.decode()
                said += line
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(END_S):
            await child.communicate()
        assert child.returncode == 0, said.decode()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()

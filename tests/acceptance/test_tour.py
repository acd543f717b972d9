"""`secondkey demo` as a real process: the tour plays by itself, the demo prints one link and ends when told to."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.tools.listing import list_project
from bot.demo_place import alone, prepare
from bot.shop import make_shop
from bot.tour import Tour

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "bot", "demo")
TITLES = (
    "Phase 1 of 5. Low risk",
    "Phase 2 of 5. Medium risk, files",
    "Phase 3 of 5. Medium risk, database: denied",
    "Phase 4 of 5. Medium risk, database: nobody answers",
    "Phase 5 of 5. High risk",
)


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("SECONDKEY_") and "_API_KEY" not in key
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project, so that copying it takes no time."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text("# Small\n\nA project.\n", encoding="utf-8")
    (folder / "one.py").write_text("print(1)\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)  # noqa: S603, S607  # fixed words
    return folder


def demo_to_the_end(cwd: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own command
        (*COMMAND, *options), cwd=cwd, env=environment, capture_output=True, text=True, timeout=90, check=False
    )


@pytest.mark.needs("bwrap", "git")
def test_the_tour_plays_five_phases_and_ends_well_within_a_minute(tmp_path: Path, environment: dict[str, str]) -> None:
    began = time.perf_counter()
    ended = demo_to_the_end(tmp_path, environment, "--tour")
    took = time.perf_counter() - began
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert took < 60
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout, "plain text when nobody looks at a terminal"
    places = [ended.stdout.index(title) for title in TITLES]
    assert places == sorted(places)
    said = [
        "Maya #data-team  @Second Key How many lines of Python",
        "Omar #ai-actions  [presses Approve]",
        "Approved by @Omar",
        "Denied by @Omar",
        "Reason: Customer 42 called",
        "nobody answers; 30 minutes pass",
        "Expired, nobody answered: not run",
        "Omar #ai-actions  [presses Claim]",
        "a person took it over",
    ]
    places = [ended.stdout.index(words) for words in said]
    assert places == sorted(places)
    assert re.search(r"\n5 of 5 phases as expected in \d+ s\n\Z", ended.stdout)


@contextmanager
def demo(cwd: Path, environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603  # our own command
        (*COMMAND, *options), cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def welcome(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    return "".join(lines)


@pytest.mark.needs("git")
def test_the_demo_prints_one_link_that_works_and_ends_cleanly(
    tmp_path: Path, project: Path, environment: dict[str, str]
) -> None:
    with demo(tmp_path, environment, "--project", str(project), "--port", "0") as process:
        said = welcome(process)
        links = re.findall(r"http://\S+", said)
        assert len(links) == 1, said
        with urllib.request.urlopen(links[0], timeout=5) as page:  # noqa: S310  # the link that was printed
            assert page.status == 200
        for task in (
            "How many lines of Python",
            "Add a getting-help section",
            "Cancel the pending",
            "Empty the abandoned",
        ):
            assert task in said
        assert "model     none" in said

        second = demo_to_the_end(tmp_path, environment)
        assert second.returncode == 2
        assert "A demo works in" in second.stderr

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    copy = tmp_path / ".secondkey" / "demo" / "project"
    assert sorted(path.name for path in copy.iterdir()) == [".git", "README.md", "one.py"]
    assert (tmp_path / ".secondkey" / "demo" / "secondkey.log").stat().st_size > 0


@pytest.mark.needs("git")
def test_what_cannot_be_used_ends_with_two_and_says_how_to_mend_it(
    tmp_path: Path, project: Path, environment: dict[str, str]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "project").write_text("somebody's own", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = (
            (("--port", port), f"Port {port} cannot be listened on"),
            (("--project", str(tmp_path / "nowhere")), "is not a folder"),
            (("--data", str(foreign)), "no demo made it"),
            (("--clock-rate", "0"), "'clock_rate' is not usable"),
        )
        for options, wrong in cases:
            ended = demo_to_the_end(tmp_path, environment, "--project", str(project), *options)
            assert ended.returncode == 2, ended.stderr
            assert wrong in ended.stderr
            assert "Fix:" in ended.stderr
            assert "Traceback" not in ended.stderr
    assert (foreign / "project").read_text(encoding="utf-8") == "somebody's own"
    assert [path.name for path in foreign.iterdir()] == ["project"]


def test_a_demo_begins_afresh_unless_its_data_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    for fresh, is_left in ((True, False), (False, True), (True, False)):
        with alone(data, fresh=fresh, tour=False):
            assert (data / "old" / "file").exists() is is_left
            (data / "old").mkdir(exist_ok=True)
            (data / "old" / "file").write_text("what was done", encoding="utf-8")


@pytest.mark.needs("git")
def test_the_copy_holds_what_git_lists_and_is_a_work_tree_of_its_own(tmp_path: Path, project: Path) -> None:
    (project / ".gitignore").write_text(".secondkey/\nbuild/\n", encoding="utf-8")
    (project / "build").mkdir()
    (project / "build" / "out.py").write_text("", encoding="utf-8")
    (project / "link").symlink_to(tmp_path)
    data = project / ".secondkey" / "demo"
    with alone(data, fresh=True, tour=False):
        place = prepare(project, data, in_place=False)
        assert place.project == data / "project"
        assert list_project(place.project) == (".gitignore", "README.md", "one.py")
        (place.project / "one.py").write_text("print(2)\n", encoding="utf-8")
        changed = ["git", "-C", str(place.project), "diff", "--name-only"]
        said = subprocess.run(changed, check=True, capture_output=True, text=True)  # noqa: S603  # fixed words
        assert said.stdout == "one.py\n"
        assert prepare(project, data, in_place=True).project == project
    assert (project / "one.py").read_text(encoding="utf-8") == "print(1)\n"


class Liars:
    """People in a workspace whose bot says that all is done, and does nothing."""

    async def post(self, user: str, channel: str, text: str) -> str:
        return "1.0" if user and channel and text else ""

    async def click(self, user: str, channel: str, ts: str, action_id: str) -> dict[str, Any]:
        return {"ok": bool(user and channel and ts and action_id)}

    async def submit(self, user: str, view_id: str, values: dict[str, Any]) -> dict[str, Any]:
        return {"ok": bool(user and view_id and values)}

    async def wait_for_message(
        self,
        channel: str,
        predicate: Callable[[dict[str, Any]], bool],
        *,
        thread_ts: str | None,
        timeout: float,  # noqa: ASYNC109  # as the driver has it
    ) -> dict[str, Any]:
        del thread_ts, timeout
        button = {"type": "button", "action_id": "approve", "text": {"text": "Approve"}}
        blocks = [{"type": "section", "text": {"text": "+## Getting help"}}, {"type": "actions", "elements": [button]}]
        for key, text in (("answer:r1", "Completed: all done"), ("card:p1", "Approved, done: all done")):
            metadata = {"event_type": "secondkey", "event_payload": {"key": key}}
            message = {"ts": key, "channel": channel, "text": text, "blocks": blocks, "metadata": metadata}
            if predicate(message):
                return message
        raise TimeoutError("it never comes")

    async def wait_for_view(self, user: str, predicate: object, *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109  # as above
        raise TimeoutError(f"{user} sees no form {predicate} within {timeout}")


async def test_a_bot_that_only_says_so_does_not_pass_the_tour(project: Path, tmp_path: Path) -> None:
    page = io.StringIO()
    tour = Tour(Liars(), project, make_shop(tmp_path / "shop.db"), rate=120, console=Console(file=page, soft_wrap=True))
    assert await tour.play() is False
    text = page.getvalue()
    assert "0 of 5 phases as expected" in text
    assert "differs: phase 1: this does not hold: “1 lines of Python in 1 files”" in text
    assert "differs: phase 2: this does not hold: the README has the section now" in text

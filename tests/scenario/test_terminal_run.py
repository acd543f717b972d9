"""`secondkey run`: the house without Slack, what it asks at the prompt, what it never does, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.errors import ConfigurationError, QuotaExceeded
from agent.fakes import ManualClock
from agent.sandbox.none import NoSandbox
from bot import cli_run
from bot.composition import driving
from storage.audit import verify_file
from storage.database import read_only
from storage.fakes import REQUESTER, Store
from storage.journal import read_events
from tests.scenario.script import end, plan, say, sql, use
from tests.scenario.terminal import ME, RAISE, Terminal, Typist
from tests.scenario.world import make_project, make_shop

pytestmark = pytest.mark.needs("git")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    async def none() -> NoSandbox:
        return NoSandbox()

    monkeypatch.setattr(driving, "choose", none)
    make_project(tmp_path / "project")
    make_shop(tmp_path / "shop.db")
    return Terminal(tmp_path)


def test_a_yes_at_the_prompt_is_labelled_and_the_evidence_stands_before_the_claim(terminal: Terminal) -> None:
    typist = Typist("", "what?", "d", "y")
    replies = [plan(), sql(RAISE, why="Trust me, it is nothing."), end(), say("It costs 410 now.")]
    assert terminal.run(replies, typist) == 0
    assert terminal.price() == 410
    assert terminal.rows("SELECT state, decided_by, self_approved FROM approvals") == [("approved", ME, 1)]
    said = terminal.said
    assert (
        said.index("400 → 410") < said.index("The exact call") < said.index("The agent's claim (not checked): Trust me")
    )
    assert "approved (self_approved)" in said
    assert "It costs 410 now." in said
    assert len(typist.asked) == 4  # an empty line is no answer
    verdict = verify_file(terminal.folder / "data" / "secondkey.db")
    assert verdict.ok


def test_a_no_is_heard_by_the_agent_with_its_reason_and_ends_with_3(terminal: Terminal) -> None:
    replies = [plan(), sql(RAISE), end("They said no.", "blocked"), say("Not done.")]
    assert terminal.run(replies, Typist("n", "Prices stand until May.")) == 3
    assert terminal.price() == 400
    assert "Prices stand until May." in terminal.heard
    assert terminal.rows("SELECT state, reason FROM approvals") == [("denied", "Prices stand until May.")]


def test_a_no_without_a_reason_does_not_wait_for_one(terminal: Terminal) -> None:
    assert terminal.run([plan(), sql(RAISE), end("No.", "blocked"), say("No.")], Typist("n", "")) == 3


@pytest.mark.parametrize(("wanted", "why"), [
    ({"auto_deny": True}, "Denied by --auto-deny."),
    ({"as_json": True}, "Nobody is at a terminal to ask."),
    ({}, "Nobody is at a terminal to ask."),
])  # fmt: skip
def test_where_nobody_can_be_asked_everything_that_needs_a_yes_is_denied(
    terminal: Terminal, wanted: dict[str, Any], why: str
) -> None:
    typist = Typist("y") if wanted else None  # neither flag listens to a keyboard
    replies = [plan(), sql(RAISE), end("No.", "blocked"), say("Not done.")]
    assert terminal.run(replies, typist, **wanted) == 3
    assert terminal.price() == 400
    assert terminal.rows("SELECT state, reason FROM approvals") == [("denied", why)]


def test_a_terminal_that_closes_in_the_middle_of_a_question_says_no(terminal: Terminal) -> None:
    assert terminal.run([plan(), sql(RAISE), end("No.", "blocked"), say("Not done.")], Typist()) == 3
    assert terminal.price() == 400


def test_json_lines_hold_the_whole_journal_and_the_result_as_the_last_object(terminal: Terminal) -> None:
    assert terminal.run([plan(), end(), say("Two.")], as_json=True) == 0
    *events, result = terminal.lines
    assert [line["seq"] for line in events] == list(range(1, len(events) + 1))
    assert [line["type"] for line in events][:3] == ["run_created", "run_started", "model_call_started"]
    assert events[-1]["type"] == "run_finished"
    assert (result["type"], result["status"], result["exit_code"], result["answer"]) == (
        "result",
        "completed",
        0,
        "Two.",
    )
    assert result["cost_micro_usd"] == 3_000


def test_what_is_high_is_never_run_and_the_agent_hears_what_the_person_did(terminal: Terminal) -> None:
    typist = Typist("y", "d", "", "d", "I emptied it by hand.", "T-7", "SELECT count(*) says 0")
    replies = [plan(), sql("DELETE FROM drinks"), end(), say("A person did it.")]
    assert terminal.run(replies, typist) == 0
    assert terminal.price() == 400  # nobody did anything but say so
    assert "I emptied it by hand.; T-7; SELECT count(*) says 0" in terminal.heard
    assert terminal.rows("SELECT state, closed_by, what FROM takeovers") == [("done", ME, "I emptied it by hand.")]
    assert terminal.rows("SELECT count(*) FROM actions WHERE started_at IS NOT NULL") == [(0,)]
    assert "The agent never runs this." in terminal.said


def test_a_takeover_handed_back_goes_on_with_the_persons_words(terminal: Terminal) -> None:
    replies = [plan(), sql("DELETE FROM drinks"), end(), say("Left alone.")]
    assert terminal.run(replies, Typist("h", "Leave the drinks alone.")) == 0
    assert "Leave the drinks alone." in terminal.heard
    assert terminal.rows("SELECT state FROM takeovers") == [("handed_back",)]


@pytest.mark.parametrize("typist", [Typist("a", "Not today."), None])
def test_a_takeover_given_up_or_asked_of_nobody_ends_the_run(terminal: Terminal, typist: Typist | None) -> None:
    assert terminal.run([plan(), sql("DELETE FROM drinks"), end(), say("No.")], typist) == 3
    assert terminal.price() == 400
    assert terminal.rows("SELECT state FROM takeovers") == [("aborted",)]


def test_where_the_policy_names_no_terminal_nobody_says_yes_to_themselves(terminal: Terminal) -> None:
    terminal.policy = "[people]\nself_approve = []\n"
    replies = [plan(), sql(RAISE), end("No.", "blocked"), say("Not done.")]
    assert terminal.run(replies, Typist("y")) == 3
    assert terminal.price() == 400
    assert terminal.rows("SELECT state FROM approvals") == [("withdrawn",)]
    assert terminal.rows("SELECT kind FROM audit") == [("own_request",)]
    assert terminal.run([plan(), sql("DELETE FROM drinks"), end(), say("No.")], Typist("d", "Done.")) == 130
    assert terminal.rows("SELECT state FROM takeovers") == [("aborted",)]
    assert terminal.rows("SELECT count(*) FROM events WHERE type = 'takeover_claimed'") == [(0,)]


def test_one_yes_is_not_two(terminal: Terminal) -> None:
    terminal.policy = "[limits]\nquorum = 2\n"
    assert terminal.run([plan(), sql(RAISE), end("No.", "blocked"), say("No.")], Typist("y")) == 3
    assert terminal.price() == 400


def test_a_stop_at_the_prompt_ends_the_run_and_with_130(terminal: Terminal) -> None:
    assert terminal.run([plan(), sql(RAISE), end(), say("Done.")], Typist("s")) == 130
    assert terminal.price() == 400
    assert terminal.rows("SELECT status FROM runs") == [("cancelled",)]


def test_ctrl_c_at_the_prompt_takes_the_question_back_and_ends_the_run(terminal: Terminal) -> None:
    typist = Typist(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert terminal.run([plan(), sql(RAISE), end(), say("Done.")], typist) == 130
    assert terminal.rows("SELECT status FROM runs") == [("cancelled",)]
    assert terminal.rows("SELECT state FROM approvals") == [("withdrawn",)]


async def test_a_second_ctrl_c_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "_exit", killed.append)
    stop = asyncio.Event()
    cli_run._obey_signals(stop)
    loop = asyncio.get_running_loop()
    try:
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(stop.wait(), 30)
        assert killed == []
        signal.raise_signal(signal.SIGINT)
        for _ in range(3):
            await asyncio.sleep(0.01)  # the handler is called by the loop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
    assert killed == [130]


def test_beside_whoever_drives_the_runs_it_is_refused_and_says_what_to_do(terminal: Terminal) -> None:
    folder = terminal.folder / "data"
    folder.mkdir()

    async def beside() -> None:
        clock = ManualClock(at=SystemClock().transport())  # its lease goes on for ten seconds
        await (await Store.open(folder / "secondkey.db", clock=clock, holder="ship:1")).close()

    asyncio.run(beside())
    with pytest.raises(ConfigurationError, match="ship:1 drives the runs") as refused:
        terminal.run([plan(), end(), say()])
    assert "--data" in refused.value.fix
    assert terminal.rows("SELECT count(*) FROM runs") == [(0,)]


def test_what_was_asked_in_slack_is_left_alone_and_what_a_dead_terminal_left_is_ended(terminal: Terminal) -> None:
    folder = terminal.folder / "data"
    folder.mkdir()

    async def before() -> tuple[str, str]:
        store = await Store.open(folder / "secondkey.db")
        theirs, mine = await store.run(), await store.run(requester=REQUESTER.model_copy(
            update={"kind": "local", "team": "", "user": str(os.getuid())}))  # fmt: skip
        await store.lease.release()
        await store.close()
        return theirs, mine

    theirs, mine = asyncio.run(before())
    assert terminal.run([plan(), end(), say("Done.")]) == 0
    statuses = dict(terminal.rows("SELECT id, status FROM runs"))
    assert (statuses[theirs], statuses[mine]) == ("running", "cancelled")


def test_a_change_is_put_into_the_project_after_a_yes_and_the_workspace_stays_where_it_was_wanted(
    terminal: Terminal,
) -> None:
    write = use(("write_file", {"path": "README.md", "content": "# New\n"}))
    replies = [plan(), write, use(("apply_changes", {})), end(), say("Applied.")]
    workspace = terminal.folder / "kept"
    assert terminal.run(replies, Typist("y"), workspace=workspace) == 0
    assert (terminal.folder / "project" / "README.md").read_text() == "# New\n"
    assert (workspace / "files" / "README.md").read_text() == "# New\n"
    assert "+# New" in terminal.said
    ((run,),) = terminal.rows("SELECT id FROM runs")
    assert (terminal.folder / "data" / "workspaces" / run).resolve() == workspace


@pytest.mark.parametrize("where", ["project/inside", "data/../project", "shop.db"])
def test_a_workspace_that_cannot_be_one_is_refused(terminal: Terminal, where: str) -> None:
    with pytest.raises(ConfigurationError):
        terminal.run([plan(), end(), say()], workspace=terminal.folder / where)


@pytest.mark.parametrize("task", ["", "   ", "x" * 9_000])
def test_a_task_that_is_none_is_refused(terminal: Terminal, task: str) -> None:
    with pytest.raises(ConfigurationError):
        terminal.run([plan(), end(), say()], task=task)


def test_a_kill_file_and_a_quota_hold_here_too(terminal: Terminal) -> None:
    terminal.settings = {"runs_an_hour": 1}
    assert terminal.run([plan(), end(), say()]) == 0
    with pytest.raises(QuotaExceeded):
        terminal.run([plan(), end(), say()])
    (terminal.folder / "data" / "KILL").touch()
    with pytest.raises(ConfigurationError, match="kill file"):
        terminal.run([plan(), end(), say()])


def test_nothing_that_a_model_or_a_file_says_moves_the_cursor(terminal: Terminal) -> None:
    hostile = "\x1b[2J\x1b]8;;http://evil\x07\u202eevil [bold]x[/bold]\r"
    statement = "UPDATE drinks SET name = 'a' WHERE name = 'Oat flat' -- " + hostile  # noqa: S608  # it is what a model says
    replies = [plan("Do it." + hostile), sql(statement, why=hostile), end(hostile, "blocked"), say(hostile)]
    terminal.run(replies, Typist("d", "n", ""), task="Go on." + hostile)
    assert "\x1b" not in terminal.said
    assert "\u202e" not in terminal.said
    assert "[bold]x[/bold]" in terminal.said


def test_a_secret_in_the_task_is_not_kept(terminal: Terminal) -> None:
    secret = "ghp_" + "a1B2" * 9
    assert terminal.run([plan(), end(), say("Done.")], task=f"Use {secret}", as_json=True) == 0
    assert secret not in terminal.said
    run = terminal.lines[-1]["run"]
    conn = read_only(terminal.folder / "data" / "secondkey.db")
    assert secret not in str(read_events(conn, run))
    conn.close()

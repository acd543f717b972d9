"""Long answers in pages: nothing is lost, nothing is cut, every message is one that Slack takes, whatever the text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain import (
    Action,
    Effect,
    Intent,
    Outcome,
    Place,
    Plan,
    PlannedStep,
    Principal,
    RunStatus,
    Task,
    Tier,
    Worker,
)
from agent.events import ActionRated
from bot.blocks.answer import answer_messages
from bot.blocks.live import live_of
from bot.blocks.message import Look
from bot.blocks.parts import PAGES, ROOM, SECTIONS, pages_of
from bot.blocks.text import width
from simulator.limits import check_message
from simulator.streams import Stream, add, chunks_of
from storage.views import ActionView, RunLine, RunView, StepView

MAYA = "slack:T1:U0MAYA"
PIECES = ["word", "```", "```py\n", "\n", "\n\n", "`code`", "**bold**", "<!channel>", "&", "א", "😀"]
LONG = [
    "x" * 100_000,
    "א" * 100_000,
    "\x00\u202e" * 5_000,
    "<!channel> " * 9_000,
    "```\n" * 5_000,
    "&" * 90_000,
    "```\n" + "line of code\n" * 9_000,
    "😀" * 50_000,
    "a\n\n" * 30_000,
    "`" * 60_000,
]
HARD = st.one_of(
    st.text(max_size=3000), st.lists(st.sampled_from(PIECES)).map(" ".join), st.sampled_from(LONG)
)  # fmt: skip


def view(answer: str, status: RunStatus = RunStatus.COMPLETED, *items: ActionView, plan: str = "model") -> RunView:
    line = RunLine(
        id="r1", task="t1", team="T1", channel="C1", thread_ts="1.1", requester=MAYA, status=status, epoch=0,
        parent_run="", title="A task", created_at=100.0, started_at=101.0, ended_at=102.0, steps=1,
        spent_micro_usd=12_000, reserved_micro_usd=0, waiting_on=0, in_flight=0, seq=9, trace_id="", span_id="",
        answer_blob="", summary="",
    )  # fmt: skip
    task = Task(id="t1", text="A task", principal=Principal(team="T1", user="U0MAYA"), place=Place(channel="C1"))
    steps = (PlannedStep(worker=Worker.RESEARCH, instruction="Look."),)
    return RunView(
        run=line, task=task, plan=Plan(planner=plan, steps=steps), plan_failed="", stop=None,
        steps=(StepView(0, 0, "", "done"),), actions=items, approvals=(), takeovers=(), co_requesters=(MAYA,),
        answer=answer,
    )  # fmt: skip


def item(
    headline: str = "Read a",
    *,
    tool: str = "read_file",
    outcome: Outcome = Outcome.SUCCEEDED,
    **arguments: Any,  # of the call
) -> ActionView:
    action = Action(id="a1", step=0, turn=0, tool=tool, arguments=arguments, digest="d", schema_hash="s")
    rating = ActionRated(
        action="a1", tier=Tier.LOW, headline=headline, intents=(Intent(effect=Effect.READ, target="file:a"),)
    )
    return ActionView("a1", "finished", outcome, "", "", 0.0, 0.0, action, rating, None)


@given(text=HARD, status=st.sampled_from([RunStatus.COMPLETED, RunStatus.PARTIAL, RunStatus.FAILED]))
@settings(max_examples=40, deadline=None)
def test_every_message_of_an_answer_is_one_that_slack_takes(text: str, status: RunStatus) -> None:
    items = [item(text[:500], path=text[:300]), item(text[:500], outcome=Outcome.DENIED)]
    messages = answer_messages(view(text, status, *items * 15), Look())
    assert 1 <= len(messages) <= PAGES + 1
    for message in messages:
        for blocks in (message.blocks, message.shorter):
            check_message({"text": message.text, "blocks": blocks})
        assert "<!channel" not in str([b["text"]["text"] for b in message.blocks if b["type"] == "section"])


@given(text=HARD)
@settings(max_examples=40, deadline=None)
def test_no_section_is_cut_and_code_blocks_are_closed(text: str) -> None:
    for page in pages_of(text).pages:
        assert len(page) <= SECTIONS
        for section in page:
            assert width(section) <= ROOM + 2 * len(section.split("\n\n"))
            assert section.count("```") % 2 == 0
            assert not re.search(r"… cut; \d+ characters", section)


@given(words=st.lists(st.text("abcdefgh ,.\n", min_size=1, max_size=400), max_size=150))
@settings(max_examples=40, deadline=None)
def test_every_letter_of_a_text_that_fits_is_there_in_its_order(words: list[str]) -> None:
    text = "\n\n".join(words)
    found = pages_of(text)
    assert found.missing == 0
    shown = "".join("".join(page) for page in found.pages)
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", text)


def test_every_line_of_long_code_is_there_with_its_indentation() -> None:
    code = "\n".join(f"{' ' * (number % 8)}line {number}" for number in range(3000))
    found = pages_of(f"Before.\n```py\n{code}\n```\nAfter.")
    shown = "\n".join("\n".join(page) for page in found.pages)
    assert [line for line in shown.splitlines() if "line " in line] == code.splitlines()
    assert found.missing == 0
    assert shown.startswith("Before.")
    assert shown.endswith("After.")


def test_what_has_no_place_is_counted() -> None:
    text = "word " * 40_000
    found = pages_of(text)
    kept = sum(section.count("word") for page in found.pages for section in page)
    assert len(found.pages) == PAGES
    assert abs(kept * 5 + found.missing - len(text)) < 200


def test_sources_are_named_once_and_only_what_was_read() -> None:
    items = (
        item(path="README.md"),
        item(path="README.md"),
        item("Run it", tool="run_python", outcome=Outcome.FAILED),
        *(item(path=f"f{number}.txt") for number in range(12)),
    )
    text = str(answer_messages(view("Done.", RunStatus.COMPLETED, *items), Look())[-1].blocks)
    assert text.count("README.md") == 1
    assert "Run it" not in text
    assert "and 5 more" in text


@given(text=HARD)
@settings(max_examples=30, deadline=None)
def test_a_stream_takes_whatever_a_plan_says(text: str) -> None:
    steps = tuple(PlannedStep(worker=Worker.CODE, instruction=text[:5000] or "x") for _ in range(10))
    running = view("", RunStatus.RUNNING)
    full = replace(running, plan=Plan(planner="model", steps=steps))
    first, then = live_of(running), live_of(full, "C0ACTIONS")
    assert first is not None
    assert then is not None
    stream = Stream("C1", "1.2", "chunks", "plan", 0.0)
    for chunks in ([*first.opening(), *first.since(None)], then.since(first)):
        add(stream, chunks_of({"chunks": chunks})[1])
    assert len(stream.tasks) == 11
    assert not re.search(r"[<>`*]", "".join(task["title"] for task in stream.tasks))
    assert then.since(then) == []


@pytest.mark.parametrize(
    ("status", "session"),
    [(RunStatus.QUEUED, "processing"), (RunStatus.WAITING, "suspended"), (RunStatus.CANCELLED, "active")],
)
def test_a_stream_knows_the_status_that_goes_with_it(status: RunStatus, session: str) -> None:
    live = live_of(view("", status))
    assert live is not None
    assert live.session == session

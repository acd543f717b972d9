"""What models and services give goes into spans and logs covered and bounded, and nothing of it ends the telling."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agent import events as ev
from agent import telemetry as t
from agent.domain import Action, Outcome, Plan, PlannedStep, Principal, RunStatus, Task, Tier, Worker
from agent.ports import Stored
from agent.secrets import _SHAPES, redact
from agent.span import Span
from agent.spans import RunSpans
from bench._engine import Engine
from bot import tracing
from bot.exporting import exporter_from
from bot.observability import configure_logging
from bot.tracing import Traces

#: One of each kind, put together here; none opens anything.
PLANTED = {
    "private key": "-----BEGIN EC PRIVATE " + "KEY-----\nplanted\n-----END EC PRIVATE KEY-----",
    "Slack token": "xoxb-" + "1234567890-planted",
    "Slack webhook": "https://hooks.slack.com" + "/services/T1234567890/B1234567890/planted",
    "GitHub token": "ghp_" + "planted1" * 5,
    "GitLab token": "glpat-" + "planted-1234567890-x",
    "model key": "sk-ant-" + "planted-1234567890-planted",
    "AWS key": "AKIA" + "PLANTEDPLANTEDAB",
    "Google key": "AIza" + "planted" * 5,
    "payment key": "sk_live_" + "planted1234567890",
    "package token": "npm_" + "planted12" * 4,
    "signed token": "eyJplanted12." + "eyJplanted12.planted12",
    "password in an address": "postgres://planted:" + "hunter-1234567890@db.example/x",
}
LONG = "n" * 100_000


def secret_of(kind: str) -> str:
    """The part that nobody may see."""
    return PLANTED[kind].split(":")[-1].split("@")[0] if kind == "password in an address" else PLANTED[kind]


def told(text: str) -> list[Span]:
    """The spans of a run in which everything that comes from outside is this text, with content."""
    fold = RunSpans("r1", redact=redact, content=lambda _: redact(text)[: t.CONTENT_CHARACTERS])
    plan = Plan(planner="model", steps=(PlannedStep(worker=Worker.CODE, instruction=text),))
    call = Action.model_construct(
        id="a1", step=0, turn=0, tool=text, arguments={"k": text}, digest="d", schema_hash="s", rationale=text
    )
    events: tuple[ev.Event, ...] = (
        ev.RunCreated(task=Task(id="t1", text=text, principal=Principal(team="T1", user="U0MAYA"))),
        ev.RunStarted(policy_version="1"),
        ev.PlanMade(plan=plan),
        ev.StepStarted(step=0, planned=0),
        ev.ModelCallStarted(
            call="m1", purpose="work", model="scripted:one", request_blob="b", step=0, reserved_micro_usd=0
        ),
        ev.ModelCallFinished(
            call="m1", reply_blob="b", response_model=text, response_id=text, finish_reason=text, cache_read_tokens=3
        ),
        ev.ActionProposed.model_construct(action=call),
        ev.ActionRated(action="a1", tier=Tier.LOW),
        ev.ActionStarted(action="a1", digest="d", lease_token="l"),
        ev.ActionFinished(action="a1", outcome=Outcome.SUCCEEDED, summary=text, output_blob="b"),
        ev.StepFinished(step=0, status="done", summary=text),
        ev.RunFinished(status=RunStatus.COMPLETED, answer_blob="b"),
    )
    return [span for n, event in enumerate(events, 1) for span in fold.feed(Stored(n, 1000.0 + n, event))]


def test_there_is_one_planted_secret_of_every_shape() -> None:
    assert set(PLANTED) == {kind for kind, _, _ in _SHAPES}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_secret_of_this_shape_is_in_no_span(kind: str) -> None:
    shown = repr(told(f"Use {PLANTED[kind]} now"))
    assert f"[redacted: {kind}]" in shown
    assert secret_of(kind) not in shown
    assert repr(secret_of(kind))[1:-1] not in shown


@pytest.mark.parametrize("kind", PLANTED)
def test_a_secret_that_a_cut_goes_through_is_covered_whole(kind: str) -> None:
    secret = secret_of(kind)
    for before in (t.NAME_CHARACTERS - 8, t.CONTENT_CHARACTERS - 8):
        shown = repr(told(f"{'.' * (before - 1)} {PLANTED[kind]}"))
        assert repr(secret[:12])[1:-1] not in shown.replace(PLANTED[kind].split(secret)[0] or "\0", "")


def test_whatever_comes_from_outside_is_bounded() -> None:
    spans = told(LONG)
    assert {span.name.split(" ")[0] for span in spans} >= {"execute_tool", "chat", "invoke_workflow"}
    for span in spans:
        assert len(span.name) <= t.NAME_CHARACTERS + len("execute_tool ")
        assert all(len(str(value)) <= t.CONTENT_CHARACTERS for value in span.attributes.values()), span.name
        assert len(span.attributes) < 30


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root, other = logging.getLogger(), logging.getLogger("opentelemetry")
    before = root.handlers, root.level, other.level
    stream = io.StringIO()
    configure_logging(redact, stream=stream)
    yield stream
    root.handlers, level, others = before
    root.setLevel(level)
    other.setLevel(others)
    structlog.reset_defaults()


def broken(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_secret_of_this_shape_is_in_no_line_of_the_log(kind: str, log: io.StringIO) -> None:
    logging.getLogger("library").warning("with %s", PLANTED[kind])
    structlog.get_logger("ours").warning("with", deep={"list": [PLANTED[kind]]})
    try:
        broken(PLANTED[kind])
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 3
    assert log.getvalue().count(f"[redacted: {kind}]") >= 3
    assert secret_of(kind) not in log.getvalue()


# -- nothing of it ends the telling ----------------------------------------------------------------------------------


class Picky(SpanExporter):
    """Cannot write down the first batch that it is given, nor ever could."""

    def __init__(self) -> None:
        self.refused, self.spans = 0, list[ReadableSpan]()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.refused:
            self.refused = len(spans)
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        self.spans += spans
        return SpanExportResult.SUCCESS


async def idle(traces: Traces) -> None:
    async with asyncio.timeout(10):
        while not traces.is_idle:  # noqa: ASYNC110  # a thread's work has no event in the loop
            await asyncio.sleep(0.02)


async def test_spans_that_cannot_be_written_down_are_let_go_and_those_behind_them_are_told(tmp_path: Path) -> None:
    engine = await Engine.open(tmp_path / "secondkey.db")
    picky = Picky()
    traces = Traces(engine.db, engine.clock, redact, exporter=picky)
    traces.start()
    await engine.decide(*await engine.start(1))
    await idle(traces)
    await engine.decide(*await engine.start(2))
    await idle(traces)
    await traces.stop()
    await engine.close()
    assert traces.dropped == picky.refused > 0
    assert traces.exported == len(picky.spans) > 0


async def test_a_run_that_cannot_be_told_leaves_the_others_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad: list[str] = []

    class Fragile(RunSpans):
        def __init__(self, run: str, **more: Any) -> None:
            super().__init__(run, **more)
            self.run = run

        def feed(self, stored: Stored) -> list[Span]:
            if not bad:
                bad.append(self.run)
            if self.run in bad:
                raise RecursionError
            return super().feed(stored)

    monkeypatch.setattr(tracing, "RunSpans", Fragile)
    engine = await Engine.open(tmp_path / "secondkey.db")
    heard: list[Span] = []
    traces = Traces(engine.db, engine.clock, redact, told=heard.append)
    traces.start()
    first, approval = await engine.start(1)
    await idle(traces)
    other = await engine.start(2)
    await engine.decide(first, approval)
    await engine.decide(*other)
    await idle(traces)
    await traces.stop()
    await engine.close()
    assert {span.run for span in heard} == {other[0]}
    assert any(span.name.startswith("invoke_workflow") for span in heard)


def test_a_file_that_cannot_hold_half_a_character_says_so_to_the_thread(tmp_path: Path) -> None:
    exporter = exporter_from({}, tmp_path / "spans.jsonl", redact)
    assert exporter is not None
    span = ReadableSpan("half \ud800", attributes={"text": "\ud800"}, start_time=1, end_time=2)
    assert exporter.export([span]) in set(SpanExportResult)  # `to_json` escapes it

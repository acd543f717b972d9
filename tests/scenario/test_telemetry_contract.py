"""What a backend gets of a day's runs is whole and true; and each assertion that says so can fail."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from agent.domain import RunStatus
from agent.errors import ModelRateLimited
from agent.fakes import ScriptedModel
from agent.ports import Sandbox
from agent.tools.base import Preview, ToolContext, ToolResult
from bot.observability import configure_logging
from tests.scenario import script, telemetry_contract
from tests.scenario.collector import ERROR, Collector, WireSpan
from tests.scenario.house import House
from tests.scenario.telemetry_contract import Capture, violations
from tests.scenario.touch import Touch, TouchArguments
from tests.scenario.world import DATA, MAYA, OMAR, Plan

CANARY = "canary-7f3a-never-to-be-seen"
SHAPED = "xoxb-1111111111-2222222222-canary"


class Chatty(Touch):
    """A tool that logs, through us and through a library, and gives away what it should not."""

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        structlog.get_logger("tool").info("touching", value=CANARY)
        logging.getLogger("library").warning("touching %s", SHAPED)
        result = await super().run(arguments, context, preview)
        return result.model_copy(update={"text": f"{CANARY} {SHAPED}", "data": {"key": CANARY}})


REPLIES = [
    # approved, over a restart
    replace(script.plan(), cache_read_tokens=4, cache_write_tokens=3),
    script.use(("calculate", {"expression": "6 * 7"}), ("chatty", {"name": "one"})),
    script.sql("UPDATE drinks SET price = 410 WHERE id = 1"),
    script.end(),
    script.say(f"Done with {SHAPED}."),
    # a model that is too busy, a refused argument, a denial
    ModelRateLimited("Too many.", retry_after_s=0.01),
    script.plan(),
    script.use(("chatty", {"name": CANARY}), ("no_such_tool", {"a": 1})),
    script.sql("UPDATE drinks SET price = 1 WHERE id = 2"),
    script.end(status="blocked"),
    script.say("Not done."),
    # nobody answers
    script.plan(),
    script.sql("UPDATE drinks SET price = 2 WHERE id = 3"),
    script.end(status="blocked"),
    script.say("Nobody said yes."),
    # for a person
    script.plan(),
    script.sql("DELETE FROM drinks"),
    script.end(),
    script.say("Somebody did it."),
]


async def handed_over(house: House) -> None:
    """Wait for the thread that makes the spans; its work has no event in the loop."""
    async with asyncio.timeout(30):
        while not house.app.traces.is_idle:  # noqa: ASYNC110  # as the sentence above says
            await asyncio.sleep(0.02)


def _shown(house: House) -> str:
    """Everything in Slack but what people themselves wrote."""
    asked = {str(m.get("text")) for (place, _), m in house.slack.messages.items() if (place, m["user"]) == (DATA, MAYA)}
    return json.dumps([m for m in house.slack.messages.values() if str(m.get("text")) not in asked])


async def _record(folder: Path, template: Path, sandbox: Sandbox, patch: pytest.MonkeyPatch) -> Capture:
    log = io.StringIO()
    plan = Plan(
        model=ScriptedModel(list(REPLIES), cost=2_000),
        tools=(Chatty("chatty", "low"),),
        settings={"trace_content": True},
    )
    with Collector() as collector:
        plan.environment = {**collector.environment, "CANARY_TOKEN": CANARY}
        house = House(folder, plan, patch)
        await house.open(template, sandbox)
        assert house.app.services is not None
        configure_logging(house.app.services.redact, stream=log)
        try:
            approved = await house.ask(f"six times seven, then a price, with {CANARY}")
            card = await house.card("price = 410")
            await house.restart()
            await house.click(MAYA, card, "approve")
            await house.click(OMAR, card, "approve")
            await house.answer(approved)
            denied = await house.ask("make it cheap")
            card = await house.card("price = 1 ")
            await house.click(OMAR, card, "deny")
            view = await house.slack.wait_for_view(OMAR)
            await house.slack.submit(OMAR, view["id"], {"reason": {"value": f"It says {SHAPED}."}})
            await house.answer(denied)
            expired = await house.ask("make tea cheap")
            await house.card("price = 2 ")
            await house.run_at(expired, RunStatus.WAITING)
            await house.advance(1801)
            await house.answer(expired)
            person = await house.ask("clear it")
            packet = await house.card("A person has to do this")
            await house.click(OMAR, packet, "takeover_claim")
            await house.shows(packet, f"<@{OMAR}> has it")
            await house.click(OMAR, packet, "takeover_done")
            view = await house.slack.wait_for_view(OMAR)
            filled = {name: {"value": f"archived {SHAPED}"} for name in ("what", "reference", "evidence")}
            await house.slack.submit(OMAR, view["id"], filled)
            await house.answer(person)
            for ts in (approved, denied, expired, person):
                await house.run_at(ts, RunStatus.COMPLETED, RunStatus.PARTIAL)
            assert house.app.delivery is not None
            await house.app.delivery.drained()
            await handed_over(house)
            async with aiohttp.ClientSession() as session, session.get(f"{house.app.url}/metrics") as answer:
                metrics = await answer.text()
            slack = _shown(house)
        finally:
            await house.close()
        database = folder / "data" / "secondkey.db"
        with closing(sqlite3.connect(database)) as conn:
            assert conn.execute("SELECT count(*) FROM runs").fetchone() == (4,)
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        return Capture.of(
            database, collector.spans(), bodies=collector.bodies, logs=lines, metrics=metrics, slack=slack,
            canaries=(CANARY, SHAPED),
        )  # fmt: skip


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory, project_template: Path, sandbox: Sandbox) -> Iterator[Capture]:
    """Four runs, told once: approved over a restart, denied, expired, and done by a person."""
    root, other = logging.getLogger(), logging.getLogger("opentelemetry")
    before = root.handlers, root.level, other.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", _uncached(structlog.configure))
        yield asyncio.run(_record(tmp_path_factory.mktemp("told"), project_template, sandbox, patch))
    structlog.reset_defaults()
    root.handlers, level, others = before
    root.setLevel(level)
    other.setLevel(others)


def _uncached(configure: Callable[..., None]) -> Callable[..., None]:
    """Loggers of modules outlive this test, so they must not keep its configuration."""
    return lambda **given: configure(**(given | {"cache_logger_on_first_use": False}))


def test_what_was_seen_of_the_runs_agrees_with_the_database(capture: Capture) -> None:
    assert violations(capture) == {}


def test_the_capture_holds_every_kind_of_thing(capture: Capture) -> None:
    words = {span.name for span in capture.spans}
    assert {
        "invoke_workflow secondkey", "run.started", "plan supervisor", "chat one", "invoke_agent code",
        "execute_tool calculate", "execute_tool chatty", "execute_tool query_sql", "execute_tool no_such_tool",
        "approval.requested", "approval query_sql", "takeover.requested", "takeover query_sql", "deliver approval",
        "deliver answer", "deliver takeover", "evaluate supervisor",
    } <= words  # fmt: skip
    decisions = {span.attributes["agent.approval.decision"] for span in capture.named("approval")}
    assert decisions == {"approved", "denied", "expired"}
    errors = {span.attributes.get("error.type") for span in capture.spans} - {None}
    assert {"approval_denied", "approval_expired", "MODEL_RATE_LIMITED", "TOOL_NOT_ALLOWED"} <= errors
    assert {line["event"] for line in capture.logs} >= {"touching", "touching [redacted: Slack token]"}
    told = [span for span in capture.spans if "gen_ai.tool.call.result" in span.attributes]
    assert told
    assert all(len(str(value)) <= 500 for span in capture.spans for value in span.attributes.values())
    assert 'agent_approval_rejected_clicks_total{reason="self_approval"} 1.0' in capture.metrics
    assert any(
        name == "gen_ai.evaluation.result" and given["gen_ai.evaluation.score.label"] == "continue"
        for span in capture.spans
        for name, given in span.events
    )


def test_a_wait_is_as_long_as_people_took(capture: Capture) -> None:
    (expired,) = [s for s in capture.named("approval") if s.attributes["agent.approval.decision"] == "expired"]
    assert 1800e9 <= expired.end - expired.start <= 1900e9
    assert 1800 <= float(expired.attributes["agent.approval.wait.duration"]) <= 1900


# -- each assertion fails on a capture that is not as it should be ----------------------------------------------------


def first(capture: Capture, word: str, **given: Any) -> WireSpan:
    """The first span of this name, in which these attributes are so."""
    wanted = {name.replace("__", "."): value for name, value in given.items()}
    return next(s for s in capture.named(word) if wanted.items() <= s.attributes.items())


def but(capture: Capture, span: WireSpan, *others: WireSpan, **changes: Any) -> Capture:
    """The capture with this span changed, or (no changes) replaced by others."""
    kept = [one for one in capture.spans if one is not span]
    return replace(capture, spans=[*kept, *others, *([replace(span, **changes)] if changes else [])])


def attributes(span: WireSpan, **given: Any) -> dict[str, Any]:
    wanted = {name.replace("__", "."): value for name, value in given.items()}
    return {name: value for name, value in (span.attributes | wanted).items() if value is not None}


def _without(word: str) -> Callable[[Capture], Capture]:
    return lambda seen: but(seen, first(seen, word))


def _twice(word: str) -> Callable[[Capture], Capture]:
    return lambda seen: replace(seen, spans=[*seen.spans, replace(first(seen, word), id="f" * 16)])


def _lacking(word: str, name: str) -> Callable[[Capture], Capture]:
    def change(seen: Capture) -> Capture:
        span = first(seen, word)
        return but(seen, span, attributes=attributes(span, **{name.replace(".", "__"): None}))

    return change


def _early(seen: Capture) -> Capture:
    span = first(seen, "execute_tool", agent__approval__decision="approved")
    decision = first(seen, "approval", gen_ai__tool__call__id=span.attributes["gen_ai.tool.call.id"])
    return but(seen, span, start=decision.end - 1)


def _before_its_parent(seen: Capture) -> Capture:
    span = first(seen, "chat", agent__model__purpose="work")
    return but(seen, span, start=span.start - 3_600_000_000_000)


def _undecided(seen: Capture) -> Capture:
    span = first(seen, "approval", agent__approval__decision="approved")
    return but(seen, span, attributes=attributes(span, agent__approval__decision="denied"))


def _dearer(seen: Capture) -> Capture:
    span = first(seen, "chat")
    return but(seen, span, attributes=attributes(span, gen_ai__usage__cost__amount=1.0))


def _more_tokens(seen: Capture) -> Capture:
    span = first(seen, "chat", agent__model__purpose="answer")
    return but(seen, span, attributes=attributes(span, gen_ai__usage__output_tokens=11))


def _cached_less(seen: Capture) -> Capture:
    span = next(s for s in seen.named("chat") if "gen_ai.usage.cache_read.input_tokens" in s.attributes)
    return but(seen, span, attributes=attributes(span, gen_ai__usage__cache_read__input_tokens=None))


def _counted_once_more(seen: Capture) -> Capture:
    line = 'agent_approval_decisions_total{decision="denied",source="slack",tool="query_sql"} '
    assert f"{line}1.0" in seen.metrics
    return replace(seen, metrics=seen.metrics.replace(f"{line}1.0", f"{line}2.0"))


def _one_row_more(seen: Capture) -> Capture:
    return replace(seen, approvals=[*seen.approvals, ("p0", "approved")])


def _log(**changes: Any) -> Callable[[Capture], Capture]:
    def change(seen: Capture) -> Capture:
        at = next(n for n, line in enumerate(seen.logs) if line["event"] == "touching")
        return replace(seen, logs=[*seen.logs[:at], seen.logs[at] | changes, *seen.logs[at + 1 :]])

    return change


MUTATIONS: list[tuple[str, Callable[[Capture], Capture], Callable[..., object]]] = [
    *((f"no {word}", _without(word), telemetry_contract.every_ledger_entry_has_one_span)
      for word in telemetry_contract.LEDGER),
    *((f"{word} twice", _twice(word), telemetry_contract.every_ledger_entry_has_one_span)
      for word in ("chat", "execute_tool", "approval")),
    ("no model", _lacking("chat", "gen_ai.request.model"), telemetry_contract.required_attributes_and_kinds_are_there),
    ("no tool", _lacking("execute_tool", "gen_ai.tool.name"),
     telemetry_contract.required_attributes_and_kinds_are_there),
    ("no source", _lacking("approval", "agent.approval.source"),
     telemetry_contract.required_attributes_and_kinds_are_there),
    ("no kind", _lacking("deliver", "openinference.span.kind"),
     telemetry_contract.required_attributes_and_kinds_are_there),
    ("not a client", lambda seen: but(seen, first(seen, "chat"), kind=1),
     telemetry_contract.required_attributes_and_kinds_are_there),
    ("two roots", lambda seen: but(seen, first(seen, "plan"), parent=""),
     telemetry_contract.one_root_and_one_trace_a_run),
    ("two traces", lambda seen: but(seen, first(seen, "deliver"), trace="e" * 32),
     telemetry_contract.one_root_and_one_trace_a_run),
    ("an orphan", lambda seen: but(seen, first(seen, "chat"), parent="e" * 16),
     telemetry_contract.no_orphans_and_no_child_before_its_parent),
    ("a child before its parent", _before_its_parent, telemetry_contract.no_orphans_and_no_child_before_its_parent),
    ("an error without a type", lambda seen: but(seen, first(seen, "plan"), status=ERROR),
     telemetry_contract.error_status_means_error_type),
    ("a type without an error",
     lambda seen: but(seen, (s := first(seen, "plan")), attributes=attributes(s, error__type="x")),
     telemetry_contract.error_status_means_error_type),
    ("a start before the yes", _early, telemetry_contract.every_gated_call_has_one_decision_and_starts_after_it),
    ("a start without a yes", _undecided, telemetry_contract.every_gated_call_has_one_decision_and_starts_after_it),
    ("another cost", _dearer, telemetry_contract.cost_and_tokens_equal_the_ledger),
    ("more tokens", _more_tokens, telemetry_contract.cost_and_tokens_equal_the_ledger),
    ("other cached tokens", _cached_less, telemetry_contract.cost_and_tokens_equal_the_ledger),
    ("a canary on the wire", lambda seen: replace(seen, bodies=[*seen.bodies, CANARY.encode()]),
     telemetry_contract.no_canary_anywhere),
    ("a canary in base64", lambda seen: replace(seen, bodies=[base64.b64encode(SHAPED.encode())]),
     telemetry_contract.no_canary_anywhere),
    ("a canary in the logs", _log(value=SHAPED), telemetry_contract.no_canary_anywhere),
    ("a canary in the metrics", lambda seen: replace(seen, metrics=f'{seen.metrics}x{{y="{CANARY}"}} 1\n'),
     telemetry_contract.no_canary_anywhere),
    ("a canary in Slack", lambda seen: replace(seen, slack=f"{seen.slack}{CANARY}"),
     telemetry_contract.no_canary_anywhere),
    ("one decision too many counted", _counted_once_more, telemetry_contract.decision_counter_spans_and_rows_agree),
    ("one decided row too many", _one_row_more, telemetry_contract.decision_counter_spans_and_rows_agree),
    ("a line without its trace", _log(trace_id=""), telemetry_contract.every_log_line_of_a_run_has_its_trace),
    ("a line within an unknown span", _log(span_id="e" * 16), telemetry_contract.every_log_line_of_a_run_has_its_trace),
]  # fmt: skip


@pytest.mark.parametrize(("change", "assertion"), [pytest.param(m[1], m[2], id=m[0]) for m in MUTATIONS])
def test_each_assertion_fails_on_a_capture_with(
    change: Callable[[Capture], Capture], assertion: Callable[..., object], capture: Capture
) -> None:
    assert assertion.__name__ in violations(change(capture))


def test_no_assertion_is_without_a_capture_that_fails_it() -> None:
    assert {check.__name__ for check in telemetry_contract.CHECKS} == {check.__name__ for _, _, check in MUTATIONS}

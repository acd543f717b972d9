"""From events to spans: whatever a run went through, each entry makes one span, and the tree stays whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agent import events as ev
from agent import telemetry as t
from agent.domain import (
    Action,
    ApprovalState,
    Outcome,
    Plan,
    PlannedStep,
    Principal,
    Revision,
    RunStatus,
    Task,
    Tier,
    Worker,
)
from agent.ports import Stored
from agent.span import Span, hashed
from agent.spans import RunSpans

OMAR = Principal(team="T1", user="U0OMAR")
PLAN = Plan(planner="model", steps=(PlannedStep(worker=Worker.CODE, instruction="Do it with hush-hush."),))
BEGIN = (
    ev.RunCreated(task=Task(id="t1", text="Do hush-hush", principal=Principal(team="T1", user="U0MAYA"))),
    ev.RunStarted(policy_version="1"),
    ev.PlanMade(plan=PLAN),
    ev.StepStarted(step=0, planned=0),
)


def covered(text: str) -> str:
    return text.replace("hush-hush", "[redacted]")


def spans_of(*events: ev.Event, content: bool = False, begin: Sequence[ev.Event] = BEGIN) -> list[Span]:
    """One event a second."""
    fold = RunSpans("r1", redact=covered, content=(lambda digest: f"body {digest}") if content else None)
    stored = [Stored(n, 1000.0 + n, event) for n, event in enumerate((*begin, *events), 1)]
    return [span for item in stored for span in fold.feed(item)]


def proposed(action: str = "a1", **more: Any) -> ev.ActionProposed:
    made = Action(id=action, step=0, turn=0, tool="touch", arguments={"key": "hush-hush"}, digest="d", schema_hash="s")
    return ev.ActionProposed(action=made.model_copy(update=more))


def asked(approval: str, action: str = "a1") -> ev.ApprovalRequested:
    return ev.ApprovalRequested(
        approval=approval, action=action, digest="d", epoch=0, created_at=1, expires_at=9, timeout_s=8, deciders=()
    )


def decided(approval: str, state: ApprovalState, by: str = "") -> ev.ApprovalDecided:
    return ev.ApprovalDecided(approval=approval, state=state, at=1, by=by)


RATED = ev.ActionRated(action="a1", tier=Tier.MEDIUM)
ENDED = ev.RunFinished(status=RunStatus.PARTIAL)


def tools(spans: Sequence[Span]) -> list[tuple[str, str, str]]:
    """Outcome, error and decision of each tool span."""
    return [
        (str(s.attributes[t.ACTION_OUTCOME]), s.error, str(s.attributes[t.APPROVAL_DECISION]))
        for s in spans
        if s.name.startswith("execute_tool")
    ]


def whole(spans: Sequence[Span]) -> None:
    """No span twice, none without a parent, no child before it, errors with their type."""
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans)
    for span in spans:
        assert span.parent == 0 or by_id[span.parent].start <= span.start, span
        assert bool(span.error) == (t.ERROR_TYPE in span.attributes)
        assert span.end >= span.start
    assert [span.name for span in spans if not span.parent] == ["invoke_workflow secondkey"]


def test_an_attempt_that_a_crash_ended_and_the_one_that_followed_are_two_spans() -> None:
    low = ev.ActionRated(action="a1", tier=Tier.LOW)
    spans = spans_of(
        proposed(), low,
        ev.ActionStarted(action="a1", digest="d", lease_token="l1"),
        ev.ActionResumed(action="a1"),
        ev.ActionStarted(action="a1", digest="d", lease_token="l2", attempt=1),
        ev.ActionFinished(action="a1", outcome=Outcome.SUCCEEDED),
        ev.StepFinished(step=0, status="done", summary=""), ENDED,
    )  # fmt: skip
    whole(spans)
    assert tools(spans) == [("process_died", "process_died", "auto_approved"), ("succeeded", "", "auto_approved")]


def test_an_unknown_outcome_has_the_span_of_its_start_and_the_takeover_adds_none() -> None:
    spans = spans_of(
        proposed(), RATED, asked("p1"), decided("p1", ApprovalState.APPROVED, OMAR.key),
        ev.ActionStarted(action="a1", digest="d", lease_token="l1", approval="p1"),
        ev.ActionFinished(action="a1", outcome=Outcome.UNKNOWN, code="PROCESS_DIED"),
        ev.TakeoverOpened(
            takeover="o1", action="a1", epoch=0, cause="unknown", opened_at=1, give_up_at=9, deciders=()
        ),
        ev.TakeoverClaimed(takeover="o1", by=OMAR, claim_token="c", at=1, until=9),
        ev.TakeoverClosed(takeover="o1", state="done", at=1, by=OMAR.key, what="It did."), ENDED,
    )  # fmt: skip
    whole(spans)
    assert tools(spans) == [("unknown", "PROCESS_DIED", "approved")]
    (takeover,) = [span for span in spans if span.name == "takeover touch"]
    assert (takeover.end - takeover.start, takeover.events[0].name) == (2.0, "claimed")


def test_an_approval_that_is_asked_again_for_the_same_action_makes_two_decisions_and_one_call() -> None:
    spans = spans_of(
        proposed(), RATED, asked("p1"), decided("p1", ApprovalState.WITHDRAWN), RATED, asked("p2"),
        decided("p2", ApprovalState.APPROVED, "local:1000"),
        ev.ActionStarted(action="a1", digest="d", lease_token="l", approval="p2"),
        ev.ActionFinished(action="a1", outcome=Outcome.SUCCEEDED), ENDED,
    )  # fmt: skip
    whole(spans)
    sources = [
        (s.attributes[t.APPROVAL_DECISION], s.attributes[t.APPROVAL_SOURCE]) for s in spans if "approval t" in s.name
    ]
    assert sources == [("withdrawn", "system"), ("approved", "terminal")]
    assert tools(spans) == [("succeeded", "", "approved")]


def test_a_yes_that_is_taken_back_is_one_decision_and_what_it_was_for_ends_with_the_run() -> None:
    spans = spans_of(
        proposed(), RATED, asked("p1"), decided("p1", ApprovalState.APPROVED, OMAR.key),
        decided("p1", ApprovalState.WITHDRAWN), ENDED,
    )  # fmt: skip
    whole(spans)
    assert [s.name for s in spans if "approval" in s.name] == [
        "approval.requested",
        "approval touch",
        "approval.lapsed",
    ]
    assert tools(spans) == [("approval_withdrawn", "approval_withdrawn", "withdrawn")]


def test_an_edited_call_leaves_a_span_for_what_was_not_run_and_one_for_what_was() -> None:
    spans = spans_of(
        proposed(), RATED, asked("p1"), decided("p1", ApprovalState.SUPERSEDED, OMAR.key),
        proposed("a2", revision=Revision(of="a1", cause="edit", by=OMAR.key)),
        ev.ActionRated(action="a2", tier=Tier.LOW),
        ev.ActionStarted(action="a2", digest="d", lease_token="l"),
        ev.ActionFinished(action="a2", outcome=Outcome.FAILED, code="TOOL_FAILED"), ENDED,
    )  # fmt: skip
    whole(spans)
    assert [error for _, error, _ in tools(spans)] == ["TOOL_FAILED", "approval_superseded"]


def test_a_refused_start_that_is_rated_anew_and_runs_makes_two_spans_with_two_ids() -> None:
    low = ev.ActionRated(action="a1", tier=Tier.LOW)
    start = ev.ActionStarted(action="a1", digest="d", lease_token="l")
    spans = spans_of(
        proposed(), low, start, ev.ActionFinished(action="a1", outcome=Outcome.REFUSED, code="PREVIEW_MISMATCH"), low,
        start, ev.ActionFinished(action="a1", outcome=Outcome.SUCCEEDED), ENDED,
    )  # fmt: skip
    whole(spans)
    assert [outcome for outcome, _, _ in tools(spans)] == ["refused", "succeeded"]


def test_a_run_that_was_stopped_while_it_was_planned_keeps_its_call_in_the_tree() -> None:
    call = ev.ModelCallStarted(call="c1", purpose="plan", model="anthropic:claude", reserved_micro_usd=5)
    spans = spans_of(
        BEGIN[0], BEGIN[1], call, ev.ModelCallFailed(call="c1", code="CANCELLED", cost_micro_usd=5),
        ev.RunFinished(status=RunStatus.CANCELLED), begin=(),
    )  # fmt: skip
    whole(spans)
    assert {span.name: span.error for span in spans} == {
        "run.started": "", "chat claude": "CANCELLED", "plan supervisor": "not_planned",
        "invoke_workflow secondkey": "",
    }  # fmt: skip


def test_a_failed_run_has_an_error_and_a_follow_up_points_at_the_run_before() -> None:
    first = ev.RunCreated(task=Task(id="t", text="x", principal=OMAR), parent_run="r0")
    spans = spans_of(
        first, BEGIN[1], ev.PlanFailed(reason="No idea."), ev.RunFinished(status=RunStatus.FAILED), begin=()
    )
    whole(spans)
    assert [(span.name, span.error, span.link) for span in spans[1:]] == [
        ("plan supervisor", "plan_failed", ""), ("invoke_workflow secondkey", "run_failed", "r0"),
    ]  # fmt: skip


def test_nobody_is_named_and_content_is_left_out_unless_it_is_asked_for() -> None:
    story = (
        proposed(), RATED, asked("p1"),
        ev.VoteCast(approval="p1", principal=OMAR, vote="approve", at=1, reason="hush-hush"),
        decided("p1", ApprovalState.APPROVED, OMAR.key),
        ev.ActionStarted(action="a1", digest="d", lease_token="l", approval="p1"),
        ev.ActionFinished(action="a1", outcome=Outcome.SUCCEEDED, output_blob="b1", summary="hush-hush"), ENDED,
    )  # fmt: skip
    for content in (False, True):
        spans = spans_of(*story, content=content)
        assert "U0OMAR" not in repr(spans)
        assert "hush-hush" not in repr(spans)
        assert hashed(OMAR.key) in repr(spans)
        (call,) = [span for span in spans if span.name == "execute_tool touch"]
        assert (call.attributes.get(t.TOOL_ARGUMENTS), call.attributes.get(t.TOOL_RESULT)) == (
            ('{"key": "[redacted]"}', "body b1") if content else (None, None)
        )


@pytest.mark.parametrize("length", [499, 100_000])
def test_content_is_cut(length: int) -> None:
    task = Task(id="t", text="x" * length, principal=OMAR)
    spans = spans_of(ev.RunCreated(task=task), BEGIN[1], ENDED, content=True, begin=())
    assert len(str(spans[-1].attributes["input.value"])) == min(length, t.CONTENT_CHARACTERS)


def test_feeding_the_same_journal_again_makes_the_same_spans() -> None:
    story = (proposed(), RATED, asked("p1"), decided("p1", ApprovalState.DENIED, OMAR.key), ENDED)
    assert spans_of(*story) == spans_of(*story)


def test_a_clock_that_is_set_back_makes_no_span_end_before_it_begins() -> None:
    fold = RunSpans("r1", redact=covered)
    fold.feed(Stored(1, 1000.0, BEGIN[0]))
    (root,) = [span for span in fold.feed(Stored(2, 900.0, ENDED)) if not span.parent]
    assert (root.start, root.end) == (1000.0, 1000.0)

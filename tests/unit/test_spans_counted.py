"""What is only counted is counted from fewer events, and comes to the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import events as ev
from agent.domain import Action, ApprovalState, Outcome, Plan, PlannedStep, Principal, RunStatus, Task, Tier, Worker
from agent.ports import Fact, Stored
from agent.secrets import redact
from agent.spans import COUNTED, RunSpans
from bot.metrics import Metrics
from bot.tracing import Traces
from storage.fakes import DECIDERS, Store

OMAR = Principal(team="T1", user="U2")
PLAN = Plan(planner="model", steps=(PlannedStep(worker=Worker.CODE, instruction="Touch it."),))


def _action(key: str) -> ev.ActionProposed:
    return ev.ActionProposed(
        action=Action(id=key, step=0, turn=0, tool="touch", arguments={}, digest="d", schema_hash="s")
    )


def _asked(key: str) -> ev.ApprovalRequested:
    return ev.ApprovalRequested(
        approval=f"o{key}", action=key, digest="d", epoch=0, created_at=1, expires_at=9, timeout_s=8, deciders=()
    )


def _decided(key: str, state: ApprovalState, by: str = "") -> ev.ApprovalDecided:
    return ev.ApprovalDecided(approval=f"o{key}", state=state, at=1, by=by)


def _started(key: str) -> ev.ActionStarted:
    return ev.ActionStarted(action=key, digest="d", lease_token="l1")


WHOLE: tuple[ev.Event, ...] = (
    ev.RunCreated(task=Task(id="t1", text="Touch", principal=Principal(team="T1", user="U1"))),
    ev.RunStarted(policy_version="1"),
    ev.ModelCallStarted(call="m1", model="anthropic:one", purpose="plan", reserved_micro_usd=5),
    ev.ModelCallFinished(call="m1", reply_blob="", cost_micro_usd=3, input_tokens=7, output_tokens=2),
    ev.PlanMade(plan=PLAN),
    ev.StepStarted(step=0, planned=0),
    ev.ModelCallStarted(call="m2", model="anthropic:one", purpose="work", step=0, reserved_micro_usd=5),
    ev.ModelCallFailed(call="m2", code="MODEL_UNAVAILABLE", cost_micro_usd=1),
    _action("c1"), ev.ActionRated(action="c1", tier=Tier.LOW), _started("c1"), ev.ActionResumed(action="c1"),
    _started("c1"), ev.ActionFinished(action="c1", outcome=Outcome.SUCCEEDED),
    _action("c2"), ev.ActionRated(action="c2", tier=Tier.MEDIUM), _asked("c2"),
    ev.VoteCast(approval="oc2", principal=OMAR, vote="approve", at=2), _decided("c2", ApprovalState.APPROVED, OMAR.key),
    _started("c2"), ev.ActionFinished(action="c2", outcome=Outcome.FAILED, code="TIMED_OUT"),
    _action("c3"), ev.ActionRated(action="c3", tier=Tier.MEDIUM), _asked("c3"), _decided("c3", ApprovalState.EXPIRED),
    _action("c4"), ev.ActionRated(action="c4", tier=Tier.MEDIUM, grant="g1"), _asked("c4"),
    _decided("c4", ApprovalState.APPROVED, OMAR.key), _started("c4"),
    ev.ActionFinished(action="c4", outcome=Outcome.SUCCEEDED),
    _action("c5"), ev.ActionRated(action="c5", tier=Tier.HIGH),
    ev.TakeoverOpened(
        takeover="k1", action="c5", epoch=0, cause="high", opened_at=1, give_up_at=9, deciders=(OMAR.key,)
    ),
    ev.TakeoverClaimed(takeover="k1", by=OMAR, claim_token="x", at=2, until=5),
    ev.TakeoverClosed(takeover="k1", state="done", at=3, by=OMAR.key),
    _action("c6"), ev.ActionRated(action="c6", tier=Tier.MEDIUM), _asked("c6"),
    _decided("c6", ApprovalState.WITHDRAWN),
    ev.StepFinished(step=0, status="done", summary="Touched."),
    ev.StepEvaluated(step=0, decision="continue", by="rule"),
    ev.RunFinished(status=RunStatus.COMPLETED),
)  # fmt: skip


def page_of(events: Sequence[ev.Event], *, counted: bool) -> list[str]:
    """What Prometheus is told of a run's events, one each second."""
    metrics = Metrics(tools=("touch",), models=("anthropic:one",))
    fold = RunSpans("r1", redact=redact, counted=counted)
    for number, event in enumerate(events, 1):
        if not counted or isinstance(event, COUNTED):
            for span in fold.feed(Stored(number, 1000.0 + number, event)):
                metrics.told(span)
    return [line for line in metrics.page().decode().splitlines() if "_created{" not in line]


def test_what_is_counted_from_fewer_events_is_the_same() -> None:
    assert page_of(WHOLE, counted=True) == page_of(WHOLE, counted=False)


@pytest.mark.parametrize("kind", [kind for kind in COUNTED if any(isinstance(event, kind) for event in WHOLE)])
def test_each_event_that_is_fed_to_counters_counts(kind: type[ev.Event]) -> None:
    fewer = [event for event in WHOLE if not isinstance(event, kind)]
    assert page_of(fewer, counted=True) != page_of(WHOLE, counted=True)


async def test_without_an_exporter_a_run_in_the_journal_is_counted_as_it_ends(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store.db")
    metrics = Metrics(tools=("query_sql",))
    traces = Traces(store.db, store.clock, redact, told=metrics.told)
    traces.start()
    run = await store.run()
    asked = await store.ask(run)
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.start(run, asked)
    await store.journal.commit(run, (ev.ActionFinished(action=asked.action, outcome=Outcome.SUCCEEDED),), Fact())
    await store.journal.commit(run, (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())
    await traces.stop()  # reads to the end
    page = metrics.page().decode()
    assert 'agent_runs_total{status="completed"} 1.0' in page
    assert 'agent_approval_decisions_total{decision="approved",source="slack",tool="query_sql"} 1.0' in page
    assert 'agent_tool_duration_seconds_count{outcome="succeeded",tool="query_sql"} 1.0' in page
    await store.close()

"""The supervisor is pure: a state in, moves out."""

from __future__ import annotations

from agent import events as ev
from agent.domain import (
    Action,
    ApprovalState,
    Outcome,
    Plan,
    PlannedStep,
    Principal,
    RunStatus,
    ScriptedCall,
    Task,
    Tier,
    Worker,
)
from agent.ports import Stored
from agent.state import RunState, fold
from agent.supervisor import (
    AskWorker,
    Begin,
    BeginStep,
    CloseStep,
    Finish,
    Limits,
    MakePlan,
    NoteTimeOut,
    ProposeScripted,
    RateAction,
    StartAction,
    WriteAnswer,
    next_moves,
)

MAYA = Principal(team="T1", user="U1")
NO_MODEL = Limits()
WITH_MODEL = Limits(chain=("a:one", "b:two"))


def state_after(*events: ev.Event) -> RunState:
    return fold("r1", [Stored(seq, 100.0, event) for seq, event in enumerate(events, 1)])


def created() -> ev.RunCreated:
    return ev.RunCreated(task=Task(id="t1", text="count", principal=MAYA))


def begun() -> tuple[ev.Event, ...]:
    return created(), ev.RunStarted(policy_version="p")


def planned(*calls: str, together: bool = False, scripted: bool = True) -> tuple[ev.Event, ...]:
    script = tuple(ScriptedCall(id=name, tool="t") for name in calls) if scripted else ()
    step = PlannedStep(worker=Worker.RESEARCH, instruction="do", script=script, together=together)
    planner = "runbook:x" if scripted else "model"
    return (
        *begun(),
        ev.PlanMade(plan=Plan(planner=planner, steps=(step,), answer="a")),
        ev.StepStarted(step=0, planned=0),
    )


def proposed(name: str, *, exclusive: bool = True, turn: int = 0) -> ev.ActionProposed:
    action = Action(
        id=name,
        step=0,
        turn=turn,
        tool="t",
        arguments={},
        digest=f"d-{name}",
        schema_hash="",
        call_id=name,
        exclusive=exclusive,
    )
    return ev.ActionProposed(action=action)


def rated(name: str, tier: Tier = Tier.LOW) -> ev.ActionRated:
    return ev.ActionRated(action=name, tier=tier)


def started(name: str) -> ev.ActionStarted:
    return ev.ActionStarted(action=name, digest=f"d-{name}", lease_token="l1")


def finished(name: str, outcome: Outcome = Outcome.SUCCEEDED) -> ev.ActionFinished:
    return ev.ActionFinished(action=name, outcome=outcome)


def asked(name: str) -> ev.ApprovalRequested:
    return ev.ApprovalRequested(
        approval=f"p-{name}",
        action=name,
        digest=f"d-{name}",
        epoch=0,
        created_at=100.0,
        expires_at=1900.0,
        timeout_s=1800.0,
        deciders=("slack:T1:U2",),
    )


def decided(name: str, state: ApprovalState, **more: object) -> ev.ApprovalDecided:
    return ev.ApprovalDecided.model_validate({"approval": f"p-{name}", "state": state, "at": 100.0, **more})


def test_a_new_run_is_begun_first() -> None:
    assert next_moves(state_after(created()), NO_MODEL) == (Begin(),)


def test_without_a_model_the_runbooks_are_asked_for_a_plan() -> None:
    assert next_moves(state_after(*begun()), NO_MODEL) == (MakePlan("", 0),)


def test_a_failed_plan_call_that_may_be_tried_again_goes_to_the_same_model_once() -> None:
    def failed(call: str, *, retryable: bool) -> tuple[ev.Event, ...]:
        return (
            ev.ModelCallStarted(call=call, purpose="plan", model="a:one", reserved_micro_usd=5),
            ev.ModelCallFailed(call=call, code="X", retryable=retryable),
        )

    once = state_after(*begun(), *failed("c1", retryable=True))
    assert next_moves(once, WITH_MODEL) == (MakePlan("a:one", 1),)
    twice = state_after(*begun(), *failed("c1", retryable=True), *failed("c2", retryable=True))
    assert next_moves(twice, WITH_MODEL) == (MakePlan("b:two", 2),)
    broken = state_after(*begun(), *failed("c1", retryable=False))
    assert next_moves(broken, WITH_MODEL) == (MakePlan("b:two", 1),)


def test_when_all_models_failed_the_runbooks_plan() -> None:
    events = [
        event
        for index, model in enumerate(("a:one", "b:two"))
        for event in (
            ev.ModelCallStarted(call=f"c{index}", purpose="plan", model=model, reserved_micro_usd=5),
            ev.ModelCallFailed(call=f"c{index}", code="X"),
        )
    ]
    assert next_moves(state_after(*begun(), *events), WITH_MODEL) == (MakePlan("", 2),)


def test_a_run_without_a_plan_fails_with_a_sentence() -> None:
    assert next_moves(state_after(*begun(), ev.PlanFailed(reason="no")), NO_MODEL) == (
        Finish(RunStatus.FAILED, "NO_PLAN"),
    )


def test_scripted_calls_are_proposed_one_after_the_other() -> None:
    first = state_after(*planned("a", "b"))
    assert next_moves(first, NO_MODEL) == (ProposeScripted(0, 0, 1),)
    after = state_after(*planned("a", "b"), proposed("a"), rated("a"), started("a"), finished("a"))
    assert next_moves(after, NO_MODEL) == (ProposeScripted(0, 1, 2),)


def test_calls_of_a_step_together_are_proposed_at_once() -> None:
    assert next_moves(state_after(*planned("a", "b", together=True)), NO_MODEL) == (ProposeScripted(0, 0, 2),)


def test_a_proposal_is_rated_before_anything_else() -> None:
    assert next_moves(state_after(*planned("a"), proposed("a")), NO_MODEL) == (RateAction("a"),)


def test_a_started_action_gets_no_move() -> None:
    assert next_moves(state_after(*planned("a"), proposed("a"), rated("a"), started("a")), NO_MODEL) == ()


def test_a_pending_approval_gets_no_move() -> None:
    assert next_moves(state_after(*planned("a"), proposed("a"), rated("a", Tier.MEDIUM), asked("a")), NO_MODEL) == ()


def test_b_approved_while_a_runs_starts_when_both_may_run_at_once() -> None:
    events = (
        *planned("a", "b", together=True),
        proposed("a", exclusive=False),
        proposed("b", exclusive=False),
        rated("a"),
        rated("b", Tier.MEDIUM),
        asked("b"),
        started("a"),
        decided("b", ApprovalState.APPROVED, start_before=9e9),
    )
    assert next_moves(state_after(*events), NO_MODEL) == (StartAction("b"),)


def test_b_approved_while_an_exclusive_a_runs_waits_for_it() -> None:
    events = (
        *planned("a", "b", together=True),
        proposed("a"),
        proposed("b"),
        rated("a"),
        rated("b", Tier.MEDIUM),
        asked("b"),
        started("a"),
        decided("b", ApprovalState.APPROVED, start_before=9e9),
    )
    assert next_moves(state_after(*events), NO_MODEL) == ()
    assert next_moves(state_after(*events, finished("a")), NO_MODEL) == (StartAction("b"),)


def test_a_denial_holds_the_step_until_its_reason_is_in() -> None:
    events = (*planned("a"), proposed("a"), rated("a", Tier.MEDIUM), asked("a"))
    denied = (*events, decided("a", ApprovalState.DENIED, by="slack:T1:U2", reason_until=160.0))
    assert next_moves(state_after(*denied), NO_MODEL) == ()
    explained = (*denied, ev.DenialExplained(approval="p-a", reason="too many"))
    assert next_moves(state_after(*explained), NO_MODEL) == (CloseStep(0, "blocked", "t: denied"),)
    assert state_after(*explained).actions["a"].feedback == "too many"


def test_nothing_starts_while_a_takeover_is_open() -> None:
    opened = ev.TakeoverOpened(
        takeover="k1", action="b", epoch=0, cause="high", opened_at=100.0, give_up_at=9e9, deciders=()
    )
    events = (
        *planned("a", "b", together=True),
        proposed("a"),
        proposed("b"),
        rated("a"),
        rated("b", Tier.HIGH),
        opened,
    )
    assert next_moves(state_after(*events), NO_MODEL) == ()


def test_what_a_person_did_counts_as_done() -> None:
    opened = ev.TakeoverOpened(
        takeover="k1", action="a", epoch=0, cause="high", opened_at=100.0, give_up_at=9e9, deciders=()
    )
    closed = ev.TakeoverClosed(takeover="k1", state="done", at=100.0, by="slack:T1:U2", what="did it")
    state = state_after(*planned("a"), proposed("a"), rated("a", Tier.HIGH), opened, closed)
    assert state.actions["a"].outcome is Outcome.DONE_BY_HUMAN
    assert next_moves(state, NO_MODEL) == (CloseStep(0, "done", "do"),)


def test_an_aborted_takeover_ends_the_run_partial() -> None:
    opened = ev.TakeoverOpened(
        takeover="k1", action="a", epoch=0, cause="high", opened_at=100.0, give_up_at=9e9, deciders=()
    )
    closed = ev.TakeoverClosed(takeover="k1", state="aborted", at=100.0)
    state = state_after(*planned("a"), proposed("a"), rated("a", Tier.HIGH), opened, closed)
    assert next_moves(state, NO_MODEL) == (Finish(RunStatus.PARTIAL, "ABORTED"),)


def test_a_stop_ends_the_run_once_nothing_is_in_flight() -> None:
    stop = ev.StopRequested(by="slack:T1:U1")
    running = (*planned("a"), proposed("a"), rated("a"), started("a"), stop)
    assert next_moves(state_after(*running), NO_MODEL) == ()
    assert next_moves(state_after(*running, finished("a", Outcome.CANCELLED)), NO_MODEL) == (
        Finish(RunStatus.CANCELLED, "STOPPED"),
    )


def test_a_worker_is_asked_turn_by_turn_and_ends_at_its_limit() -> None:
    events = list(planned(scripted=False))
    for turn in range(WITH_MODEL.turns_a_step):
        assert next_moves(state_after(*events), WITH_MODEL) == (AskWorker(0, turn, "a:one", 0),)
        call = f"c{turn}"
        events += [
            ev.ModelCallStarted(call=call, purpose="work", step=0, turn=turn, model="a:one", reserved_micro_usd=1),
            ev.ModelCallFinished(call=call, reply_blob="x"),
        ]
    (move,) = next_moves(state_after(*events), WITH_MODEL)
    assert isinstance(move, CloseStep)
    assert move.status == "failed"


def test_a_blocked_step_is_tried_once_more_with_feedback() -> None:
    blocked = ev.StepFinished(step=0, status="blocked", summary="no such file")
    state = state_after(*planned(scripted=False), blocked)
    assert next_moves(state, WITH_MODEL) == (BeginStep(1, 0, "no such file"),)
    again = state_after(
        *planned(scripted=False),
        blocked,
        ev.StepStarted(step=1, planned=0),
        ev.StepFinished(step=1, status="blocked", summary="still"),
    )
    assert next_moves(again, WITH_MODEL) == (WriteAnswer("a:one", 0),)


def test_what_people_denied_is_not_tried_again() -> None:
    events = (
        *planned(scripted=False),
        proposed("a"),
        rated("a", Tier.MEDIUM),
        asked("a"),
        decided("a", ApprovalState.EXPIRED),
        ev.StepFinished(step=0, status="blocked", summary="nobody answered"),
    )
    assert next_moves(state_after(*events), WITH_MODEL) == (WriteAnswer("a:one", 0),)


def test_the_eleventh_step_is_never_begun() -> None:
    step = PlannedStep(worker=Worker.RESEARCH, instruction="do")
    events: list[ev.Event] = [*begun(), ev.PlanMade(plan=Plan(planner="model", steps=(step,) * 12))]
    for number in range(10):
        assert next_moves(state_after(*events), WITH_MODEL) == (BeginStep(number, number),)
        events += [
            ev.StepStarted(step=number, planned=number),
            ev.StepFinished(step=number, status="done", summary="ok"),
        ]
    assert next_moves(state_after(*events), WITH_MODEL) == (WriteAnswer("a:one", 0),)


def test_active_time_ends_the_run_but_waiting_does_not_count() -> None:
    slow = ev.ActionFinished(action="a", outcome=Outcome.SUCCEEDED, duration_ms=900_001)
    events = (*planned("a", "b"), proposed("a"), rated("a"), started("a"), slow)
    assert next_moves(state_after(*events), NO_MODEL) == (NoteTimeOut(),)
    out = state_after(*events, ev.TimeRanOut(active_s=900.0))
    assert next_moves(out, NO_MODEL) == (CloseStep(0, "failed", "The run's time was used up."),)


def test_an_asked_again_call_counts_as_its_newest_action() -> None:
    again = Action(id="a2", step=0, turn=0, tool="t", arguments={}, digest="d2", schema_hash="", call_id="a")
    events = (
        *planned("a", "b"),
        proposed("a"),
        rated("a"),
        started("a"),
        finished("a", Outcome.REFUSED),
        ev.ActionProposed(action=again),
    )
    assert next_moves(state_after(*events), NO_MODEL) == (RateAction("a2"),)

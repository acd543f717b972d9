"""Reports from the state alone: each thing under the heading that is true of it."""

from __future__ import annotations

import pytest

from agent import events as ev
from agent.answers import report
from agent.domain import (
    Action,
    ApprovalState,
    Effect,
    Intent,
    Outcome,
    Plan,
    PlannedStep,
    Principal,
    Task,
    Tier,
    Worker,
)
from agent.ports import Stored
from agent.state import RunState, fold

MAYA = Principal(team="T1", user="U1")
OMAR = "slack:T1:U2"


def state_after(*events: ev.Event, planner: str = "model") -> RunState:
    steps = tuple(PlannedStep(worker=Worker.CODE, instruction=text) for text in ("Change it", "Check it"))
    begun = (
        ev.RunCreated(task=Task(id="t1", text="change it", principal=MAYA)),
        ev.RunStarted(policy_version="p"),
        ev.PlanMade(plan=Plan(planner=planner, steps=steps)),
        ev.StepStarted(step=0, planned=0),
    )
    return fold("r1", [Stored(seq, 100.0, event) for seq, event in enumerate((*begun, *events), 1)])


def rated(name: str, *effects: Effect, tier: Tier = Tier.LOW) -> list[ev.Event]:
    action = Action(id=name, step=0, turn=0, tool="t", arguments={}, digest=f"d-{name}", schema_hash="")
    intents = tuple(Intent(effect=effect, target="db:shop/orders") for effect in effects)
    return [
        ev.ActionProposed(action=action),
        ev.ActionRated(action=name, tier=tier, headline=f"Do {name}", intents=intents),
    ]


def succeeded(name: str, *effects: Effect) -> list[ev.Event]:
    return [
        *rated(name, *effects),
        ev.ActionStarted(action=name, digest=f"d-{name}", lease_token="l1"),
        ev.ActionFinished(action=name, outcome=Outcome.SUCCEEDED, summary=f"{name} happened"),
    ]


def denied(name: str) -> list[ev.Event]:
    return [
        *rated(name, Effect.MODIFY, tier=Tier.MEDIUM),
        ev.ApprovalRequested(
            approval="p1", action=name, digest=f"d-{name}", epoch=0, created_at=1.0, expires_at=9.0, timeout_s=8.0,
            deciders=(OMAR,),
        ),
        ev.ApprovalDecided(approval="p1", state=ApprovalState.DENIED, at=2.0, by=OMAR, reason="Frozen."),
    ]  # fmt: skip


def handed_back(name: str, instruction: str) -> list[ev.Event]:
    return [
        *rated(name, Effect.DELETE, tier=Tier.HIGH),
        ev.TakeoverOpened(
            takeover="k1", action=name, epoch=0, cause="high", opened_at=1.0, give_up_at=9.0, deciders=(OMAR,)
        ),
        ev.TakeoverClosed(takeover="k1", state="handed_back", at=2.0, by=OMAR, what=instruction),
    ]


def test_what_was_only_read_is_not_sold_as_done() -> None:
    text = report(state_after(*succeeded("look", Effect.READ), *denied("change")))
    assert "**Looked up**\n- look happened" in text
    assert "**Done**" not in text
    assert "**Denied**\n- Do change" in text


@pytest.mark.parametrize("effects", [(Effect.MODIFY,), (Effect.READ, Effect.MODIFY), ()])
def test_what_changed_something_or_may_have_is_done(effects: tuple[Effect, ...]) -> None:
    text = report(state_after(*succeeded("change", *effects)))
    assert "**Done**\n- change happened" in text
    assert "Looked up" not in text


def test_a_hand_back_is_named_so_with_its_instruction_in_quotes() -> None:
    text = report(state_after(*handed_back("wipe", "Archive it first.")))
    assert '**Handed back**\n- Do wipe: "Archive it first."' in text
    assert "Withdrawn" not in text
    assert "not followed" not in text


def test_a_runbook_says_that_it_did_not_follow_the_instruction() -> None:
    text = report(state_after(*handed_back("wipe", "Archive it first."), planner="runbook:x"))
    assert '"Archive it first." (not followed: a runbook cannot take instructions)' in text


def test_lists_need_no_opening_and_an_empty_report_has_one() -> None:
    assert report(state_after()).startswith("**Not begun**")
    assert report(state_after(), "A person ended it.").startswith("A person ended it.\n\n**Not begun**")
    assert report(RunState(run="r1")) == "Not everything could be done."

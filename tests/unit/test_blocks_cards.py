"""The cards in every state, within Slack's limits for any text, and what each of them must say."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from agent import events as ev
from agent.domain import (
    Action,
    ApprovalState,
    Outcome,
    Place,
    Plan,
    PlannedStep,
    Principal,
    Reason,
    RunStatus,
    TakeoverState,
    Task,
    Tier,
    Worker,
)
from agent.tools.base import Preview
from bot.blocks import modals
from bot.blocks.answer import answer_message
from bot.blocks.approval import approval_card
from bot.blocks.details import details
from bot.blocks.home import HomeView, home
from bot.blocks.kit import Block as Json
from bot.blocks.message import Look, Message
from bot.blocks.progress import progress_message
from bot.blocks.status import run_list, run_status
from bot.blocks.takeover import takeover_packet
from simulator.limits import ALL_BLOCKS_TEXT, block_problems, characters, check_view
from storage.rows import ApprovalRow, TakeoverRow
from storage.views import ActionView, ApprovalView, RunLine, RunView, StepView, TakeoverView

MAYA, OMAR = "slack:T1:U0MAYA", "slack:T1:U0OMAR"
LOOK = Look()


def line(**more: Any) -> RunLine:  # fields of a row
    values: dict[str, Any] = {
        "id": "r1", "task": "t1", "team": "T1", "channel": "C1", "thread_ts": "1.1", "requester": MAYA,
        "status": RunStatus.WAITING, "epoch": 0, "parent_run": "", "title": "Set the price", "created_at": 100.0,
        "started_at": 101.0, "ended_at": 0.0, "steps": 1, "spent_micro_usd": 12_000, "reserved_micro_usd": 0,
        "waiting_on": 1, "in_flight": 0, "seq": 9, "trace_id": "", "span_id": "", "answer_blob": "", "summary": "",
    }  # fmt: skip
    return RunLine(**(values | more))


def action_view(
    arguments: dict[str, Any] | None = None,
    *,
    headline: str = "Set the price of 1 drink to 4",
    rationale: str = "The task says so.",
    reasons: tuple[Reason, ...] = (Reason(rule="sql_update", text="It changes rows."),),
    **more: Any,  # fields of a view
) -> ActionView:
    action = Action(
        id="a1", step=0, turn=0, tool="query_sql", arguments=arguments or {"statement": "UPDATE"},
        digest="abcdef0123456789", schema_hash="s", rationale=rationale,
    )  # fmt: skip
    rating = ev.ActionRated(action="a1", tier=Tier.MEDIUM, reasons=reasons, headline=headline)
    view = ActionView("a1", "asked", None, "p1", "", 0.0, 0.0, action, rating, None)
    return replace(view, **more)


def approval_view(
    state: ApprovalState = ApprovalState.PENDING,
    item: ActionView | None = None,
    **more: Any,
) -> ApprovalView:
    values: dict[str, Any] = {
        "id": "p1", "run": "r1", "action": "a1", "tool": "query_sql", "tier": Tier.MEDIUM, "digest": "abcdef0123456789",
        "epoch": 0, "state": state, "created_at": 100.0, "expires_at": 1900.0, "timeout_s": 1800.0, "delivered_at": 0.0,
        "decided_at": 0.0 if state == "pending" else 500.0, "decided_by": "", "reason": "", "start_before": 0.0,
        "reason_until": 0.0, "consumed_at": 0.0, "quorum": 1, "self_approved": False, "because": "", "reminded_at": 0.0,
        "escalated_at": 0.0, "requester": MAYA,
        "team": "T1", "deciders": (OMAR, "slack:T1:U0INES"),
    }  # fmt: skip
    return ApprovalView(ApprovalRow(**(values | more)), line(), item or action_view(), (), "", (MAYA,))


def run_view(status: RunStatus = RunStatus.WAITING, *items: ActionView, **more: Any) -> RunView:
    task = Task(id="t1", text="Set the price", principal=Principal(team="T1", user="U0MAYA"), place=Place(channel="C1"))
    steps = tuple(PlannedStep(worker=Worker.CODE, instruction=text) for text in ("Look it up", "Change it"))
    view = RunView(
        line(status=status), task, Plan(planner="runbook", steps=steps), "", None, (StepView(0, 0, "", "done"),),
        items or (action_view(),), (), (), (MAYA,), "",
    )  # fmt: skip
    return replace(view, **more)


def takeover_view(state: TakeoverState = TakeoverState.OPEN, **more: Any) -> TakeoverView:
    values: dict[str, Any] = {
        "id": "t1", "run": "r1", "action": "a1", "tool": "query_sql", "state": state, "cause": "high",
        "opened_at": 100.0, "give_up_at": 9000.0, "claimed_by": OMAR if state == "claimed" else "",
        "claim_token": "c1", "claimed_at": 0.0,
        "claim_until": 1900.0, "reminded_at": 0.0, "escalated_at": 0.0, "closed_at": 0.0, "closed_by": "", "what": "",
        "reference": "", "evidence": "", "epoch": 0, "requester": MAYA, "team": "T1", "deciders": (OMAR,),
    }  # fmt: skip
    return TakeoverView(TakeoverRow(**(values | more)), action_view(), "", run_view())


def seen(blocks: list[Json], kind: str = "") -> str:
    """All that a person reads, in order; or only what stands in texts of one kind."""
    words = list[str]()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("text"), str) and kind in {"", value.get("type")}:
                words.append(value["text"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(blocks)
    return "\n".join(words)


def buttons(message: Message) -> list[str]:
    return [
        element["action_id"] for block in message.blocks if block["type"] == "actions" for element in block["elements"]
    ]


def holds(message: Message) -> None:
    """Slack would take it, in full and in its shorter form."""
    for blocks in (message.blocks, message.shorter):
        assert block_problems(blocks, most=50) == []
        assert characters(blocks) <= ALL_BLOCKS_TEXT
        for block in Block.parse_all(copy.deepcopy(blocks)):
            block.validate_json()
    assert 0 < len(message.text) <= 600
    assert "<" not in message.text


def test_a_pending_card_says_first_what_would_happen_and_last_what_the_agent_claims() -> None:
    text = seen(approval_card(approval_view(), LOOK).blocks)
    order = ["Set the price of 1 drink", "Needs a yes", "Exact call", "statement", "Why it asks", "The agent's claim"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


def test_a_pending_card_has_six_buttons_and_none_looks_like_the_default() -> None:
    message = approval_card(approval_view(), LOOK)
    assert buttons(message) == ["approve", "deny", "edit", "details", "withdraw", "allow"]
    assert "primary" not in str(message.blocks)
    assert "'p1|abcdef012345'" in str(message.blocks)


def test_deciders_are_mentioned_in_the_first_post_and_named_afterwards() -> None:
    assert "<@U0OMAR>" in seen(approval_card(approval_view(), LOOK).blocks)
    later = seen(approval_card(approval_view(), Look(who=lambda _: "omar", is_first=False)).blocks)
    assert "<@U0OMAR>" not in later
    assert "May decide: omar" in later


def test_a_card_says_at_once_when_nobody_but_the_requester_could_decide() -> None:
    text = seen(approval_card(approval_view(deciders=(MAYA,)), LOOK).blocks)
    assert "Nobody but the people whose request this is" in text


@pytest.mark.parametrize(
    ("state", "more", "words"),
    [
        (ApprovalState.DENIED, {"decided_by": OMAR, "reason": "Frozen"}, ["Denied by <@U0OMAR>", "not run", "Frozen"]),
        (ApprovalState.EXPIRED, {}, ["Expired, nobody answered: not run"]),
        (ApprovalState.WITHDRAWN, {"decided_by": MAYA}, ["Withdrawn by <@U0MAYA>", "not run"]),
        (ApprovalState.WITHDRAWN, {"reason": "A takeover opened."}, ["A takeover opened."]),
        (ApprovalState.SUPERSEDED, {}, ["Replaced by a newer request"]),
        (ApprovalState.APPROVED, {"decided_by": OMAR}, ["Approved by <@U0OMAR>", "About to start"]),
        (ApprovalState.APPROVED, {"decided_by": MAYA, "self_approved": True}, ["self_approved"]),
    ],
)
def test_an_outcome_replaces_the_buttons(state: ApprovalState, more: dict[str, Any], words: list[str]) -> None:
    message = approval_card(approval_view(state, **more), LOOK)
    undecided = state in {ApprovalState.EXPIRED, ApprovalState.WITHDRAWN}
    assert buttons(message) == (["ask_again"] if undecided else [])
    assert all(word in seen(message.blocks) for word in words)
    holds(message)


def test_an_expired_card_does_not_say_that_anybody_denied_it() -> None:
    message = approval_card(approval_view(ApprovalState.EXPIRED), LOOK)
    assert "denied" not in (seen(message.blocks) + message.text).lower()


def test_an_expired_card_promises_nothing_that_a_channel_does_not_do() -> None:
    assert "write in the thread" not in seen(approval_card(approval_view(ApprovalState.EXPIRED), LOOK).blocks)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_of_an_approved_action_is_said(outcome: Outcome) -> None:
    ended = ev.ActionFinished(action="a1", outcome=outcome, summary="1 row", code="X")
    item = action_view(phase="finished", outcome=outcome, started_at=10.0, ended_at=12.0, ended=ended)
    message = approval_card(approval_view(ApprovalState.APPROVED, item, decided_by=OMAR), LOOK)
    assert "About to start" not in seen(message.blocks)
    holds(message)


def test_a_running_action_is_said_to_run() -> None:
    card = approval_card(approval_view(ApprovalState.APPROVED, action_view(phase="started"), decided_by=OMAR), LOOK)
    assert "Running" in seen(card.blocks)


def test_a_card_for_two_counts_who_said_yes() -> None:
    view = replace(approval_view(quorum=2), votes=((OMAR, "approve", 1.0),))
    assert "Needs 2 yeses, has 1" in seen(approval_card(view, LOOK).blocks)


def test_a_long_argument_cannot_hide_a_later_one() -> None:
    item = action_view({"a": "x" * 100_000, "b": "y" * 100_000, "target": "production"})
    message = approval_card(approval_view(item=item), LOOK)
    assert "production" in seen(message.blocks)
    assert buttons(message)
    holds(message)


def test_rows_are_shown_before_and_after_in_one_table() -> None:
    preview = Preview(kind="rows", columns=("id", "price"), before=((1, 3), (2, 3)), after=((1, 4), (2, 3)), count=40)
    message = approval_card(replace(approval_view(), preview=preview.model_dump_json()), LOOK)
    (table,) = [block for block in message.blocks if block["type"] == "table"]
    assert [cell["text"] for cell in table["rows"][1]] == ["1", "3 → 4"]
    assert "38 more rows are not shown" in seen(message.blocks)
    holds(message)


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ({"before": ((1, 3),)}, "Rows that would be deleted: 1"),
        ({"after": ((1, 3),)}, "Rows that would be added: 1"),
        ({"before": ((1, 3),), "after": ((1, 4),)}, "Rows that would change: 1"),
    ],
)
def test_what_becomes_of_rows_is_said_above_the_table_and_the_cells_hold_values_only(
    sides: dict[str, Any], words: str
) -> None:
    preview = Preview(kind="rows", columns=("id", "price"), count=1, **sides)
    message = approval_card(replace(approval_view(), preview=preview.model_dump_json()), LOOK)
    (table,) = [block for block in message.blocks if block["type"] == "table"]
    assert words in seen(message.blocks)
    assert table["rows"][1][0]["text"] == "1"


def test_a_preview_that_cannot_be_read_is_shown_as_it_is() -> None:
    assert "not json" in seen(approval_card(replace(approval_view(), preview="not json"), LOOK).blocks)


@pytest.mark.parametrize("state", list(TakeoverState))
def test_a_takeover_offers_what_fits_its_state(state: TakeoverState) -> None:
    message = takeover_packet(takeover_view(state, what="By hand", reference="OPS-1", closed_by=OMAR), LOOK)
    expected = {
        TakeoverState.OPEN: ["takeover_claim", "details"],
        TakeoverState.CLAIMED: [
            "takeover_done",
            "takeover_hand_back",
            "takeover_abort",
            "takeover_reassign",
            "takeover_release",
            "details",
        ],
    }
    assert buttons(message) == expected.get(state, [])
    for word in ("Goal", "Plan", "Done so far", "exact call", "Why a person has to do it", "money left"):
        assert word in seen(message.blocks)
    holds(message)


@pytest.mark.parametrize("state", [TakeoverState.DONE, TakeoverState.HANDED_BACK, TakeoverState.ABORTED])
def test_a_closed_takeover_does_not_say_for_ever_that_the_agent_is_working(state: TakeoverState) -> None:
    going_on = run_view(RunStatus.RUNNING, steps=(StepView(0, 0, "", "done"), StepView(1, 1, "", "open")))
    text = seen(takeover_packet(replace(takeover_view(state), view=going_on), LOOK).blocks)
    assert "Plan at that time" in text
    assert "working" not in text


def test_an_unknown_action_is_asked_about() -> None:
    assert "Did this happen?" in seen(takeover_packet(takeover_view(cause="unknown"), LOOK).blocks)


@pytest.mark.parametrize("status", list(RunStatus))
def test_progress_says_that_an_ai_works_here_and_where_it_stands(status: RunStatus) -> None:
    message = progress_message(run_view(status), LOOK, ("https://x.slack.com/archives/C1/p1",), "C2")
    text = seen(message.blocks)
    assert "An AI works here" in text
    assert ("/agent stop r1" in text) is not status.is_final
    assert ("question 1" in text) is (status is RunStatus.WAITING)
    holds(message)


@pytest.mark.parametrize("status", [status for status in RunStatus if status.is_final])
def test_nothing_is_being_worked_on_in_a_run_that_is_over(status: RunStatus) -> None:
    text = seen(progress_message(run_view(status, steps=(StepView(0, 0, "", "open"),)), LOOK).blocks)
    assert "not finished" in text
    assert "working" not in text


def test_a_task_that_could_not_be_planned_is_explained_once() -> None:
    why = "No model is configured.\n- Do this\n- Or that"
    run = run_view(RunStatus.FAILED, plan=None, steps=(), plan_failed=why, answer=why)
    assert "Do this" not in seen(progress_message(run, LOOK).blocks)
    assert "I cannot do this" in seen(answer_message(run, LOOK).blocks)
    assert "Or that" in seen(answer_message(run, LOOK).blocks)


def test_progress_without_a_plan_says_so() -> None:
    assert "making a plan" in seen(progress_message(run_view(RunStatus.RUNNING, plan=None, steps=()), LOOK).blocks)


def test_a_partial_answer_lists_what_was_done_denied_expired_and_not_begun() -> None:
    items = [
        action_view(phase="finished", outcome=outcome, headline=f"Do {outcome}")
        for outcome in (Outcome.SUCCEEDED, Outcome.DENIED, Outcome.EXPIRED)
    ]
    plan = run_view().plan
    by_model = run_view(
        RunStatus.PARTIAL, *items, answer="- Half of it.", plan=plan.model_copy(update={"planner": "model"})
    )
    message = answer_message(by_model, LOOK)
    text = seen(message.blocks)
    assert "What became of it" not in seen(answer_message(replace(by_model, plan=plan), LOOK).blocks)
    for words in ("<@U0MAYA>", "Half of it.", "denied, not run", "expired, nobody answered", "not begun", "Change it"):
        assert words in text
    holds(message)


@pytest.mark.parametrize(
    ("planner", "author"),
    [("runbook:x", "Written from a runbook, without a model"), ("model", "Written by an AI; it can be wrong")],
)
def test_an_answer_says_what_wrote_it(planner: str, author: str) -> None:
    run = run_view(RunStatus.COMPLETED, answer="Done.")
    assert run.plan is not None
    text = seen(answer_message(replace(run, plan=run.plan.model_copy(update={"planner": planner})), LOOK).blocks)
    assert author in text
    assert text.count("Written ") == 1


def test_an_answer_without_a_plan_was_written_by_no_model() -> None:
    text = seen(answer_message(run_view(RunStatus.FAILED, plan=None, answer="No."), LOOK).blocks)
    assert "Written without a model" in text


@pytest.mark.parametrize(
    ("place", "is_told"),
    [(Place(channel="C1"), True), (Place(channel="D1", is_dm=True), False), (Place(), False)],
)
def test_an_answer_in_a_channel_says_that_going_on_takes_a_mention(place: Place, *, is_told: bool) -> None:
    run = run_view(RunStatus.COMPLETED, answer="Done.")
    message = answer_message(replace(run, task=run.task.model_copy(update={"place": place})), LOOK)
    assert ("mention me to go on" in seen(message.blocks)) is is_told


def test_a_very_long_answer_says_how_much_is_missing() -> None:
    message = answer_message(run_view(RunStatus.COMPLETED, answer="line\n" * 20_000), LOOK)
    assert "more characters" in seen(message.blocks)
    holds(message)


HARD = st.one_of(
    st.text(max_size=200),
    st.sampled_from(
        ["x" * 100_000, "א" * 100_000, "\x00\u202e" * 5_000, "<!channel>" * 2_000, "```\n" * 5_000, "&" * 9_000]
    ),
)


@given(text=HARD, key=HARD, state=st.sampled_from(list(ApprovalState)))
@settings(max_examples=30, deadline=None)
def test_no_text_makes_a_card_that_slack_refuses_or_that_mentions_somebody(
    text: str, key: str, state: ApprovalState
) -> None:
    reasons = tuple(Reason(rule=text, text=text) for _ in range(12))
    arguments = {key: text, **{f"k{number}": [text] for number in range(45)}}
    item = action_view(arguments, headline=text, rationale=text, reasons=reasons)
    preview = Preview(
        kind="rows",
        columns=(text[:900],) * 12,
        before=((text[:900],) * 12,) * 50,
        after=((key[:900],) * 12,) * 50,
        count=50,
    )
    view = replace(
        approval_view(state, item, reason=text, because=text, decided_by=OMAR), preview=preview.model_dump_json()
    )
    message = approval_card(view, LOOK)
    holds(message)
    assert "<!channel" not in seen(message.blocks, "mrkdwn")
    assert ("approve" in buttons(message)) is (state is ApprovalState.PENDING)
    packet = takeover_packet(replace(takeover_view(what=text, evidence=text), action=item, preview=text), LOOK)
    holds(packet)
    run = run_view(RunStatus.PARTIAL, item, answer=text, plan_failed=text)
    holds(answer_message(run, LOOK))
    holds(progress_message(run, LOOK))
    check_view(details(item, "r1", preview.model_dump_json()))
    assert block_problems(run_status(run, LOOK), most=50) == []
    assert block_problems(run_list([line(title=text, id="r1")] * 20, LOOK, "mine"), most=50) == []
    runs = [(line(title=text), "")] * 20
    check_view(home(HomeView(waiting=runs, mine=runs, note="A word."), LOOK), home=True)


@pytest.mark.parametrize(
    "view",
    [
        modals.deny_reason("p1", "x" * 9_000),
        modals.takeover_done("t1", "c1", "<!here>", "unknown"),
        modals.takeover_hand_back("t1", "c1", "x"),
        modals.takeover_abort("t1", "c1", "x"),
        modals.takeover_reassign("t1", "c1", "x" * 9_000),
    ],
    ids=lambda view: view["callback_id"],
)
def test_a_modal_is_what_slack_takes_and_carries_only_ids(view: Json) -> None:
    check_view(view)
    View(**{key: value for key, value in copy.deepcopy(view).items() if key != "type"}, type="modal").validate_json()
    kept = modals.Kept.read(view["private_metadata"])
    assert kept is not None
    assert kept.subject in {"p1", "t1"}


@pytest.mark.parametrize("metadata", [None, "", "{}", "[]", '{"subject": 1}', '{"subject": "p", "more": 1}'])
def test_metadata_that_is_not_ours_is_not_read(metadata: object) -> None:
    assert modals.Kept.read(metadata) is None

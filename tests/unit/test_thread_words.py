"""The windows of a permission and the words in a takeover's thread hold within Slack's limits for any text."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.views import View

from agent import events as ev
from agent.domain import Action, Effect, Intent, Principal, TakeoverState
from agent.grants import Grant
from bot.blocks import grants as windows
from bot.blocks.message import Look
from bot.blocks.takeover_notes import said, takeover_note
from simulator.limits import check_view
from storage.grants import GrantRow
from storage.questions import Question
from tests.unit.test_blocks_cards import LOOK, MAYA, OMAR, approval_view, holds, seen, takeover_view

ODD = st.one_of(
    st.text(max_size=200),
    st.sampled_from(
        ["x" * 100_000, "<!channel> <@U1> *b* `c` ```", "\u202eabc\u202c", "😀" * 5_000, "\x00\x1b[31m", "&" * 9_000]
    ),
)


def holds_view(view: dict[str, Any]) -> None:
    check_view(copy.deepcopy(view))
    View(**{key: value for key, value in copy.deepcopy(view).items() if key != "type"}, type="modal").validate_json()


def grant(arguments: dict[str, Any], targets: list[str], **more: Any) -> Grant:
    values: dict[str, Any] = {
        "id": "g1", "by": OMAR, "requester": MAYA, "tool": "query_sql", "schema_hash": "s", "arguments": arguments,
        "intents": tuple(Intent(effect=Effect.MODIFY, target=target) for target in targets), "caps": {"rows": 3},
        "expires_at": 5000.0, "max_uses": 5, "max_spend_micro_usd": 2_500_000,
    }  # fmt: skip
    return Grant(**(values | more))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ODD, ODD, max_size=12), st.lists(ODD, max_size=30), ODD)
def test_the_windows_hold_any_arguments_and_targets(arguments: dict[str, str], targets: list[str], text: str) -> None:
    view = approval_view()
    action = Action(id="a1", step=0, turn=0, tool=text, arguments=arguments, digest="d" * 64, schema_hash="s")
    intents = tuple(Intent(effect=Effect.MODIFY, target=target) for target in targets)
    rating = ev.ActionRated(action="a1", tier="medium", headline=text, intents=intents)
    item = replace(view.action, action=action, rating=rating)
    holds_view(windows.form(replace(view, action=item), LOOK, "{}", spends=True))
    one = grant(arguments, targets, tool=text, free=tuple(targets[:3]))
    shown = windows.confirm(one, text, LOOK, "{}")
    holds_view(shown)
    for word in ("<!channel>", "<@U1>"):
        assert word not in seen(shown["blocks"])
    row = GrantRow("g1", "r1", OMAR, 1.0, 5000.0, 2, 0, 0.0, "", one)
    windows.listed([row] * 20, LOOK, 100.0)


def test_the_scope_says_every_limit() -> None:
    text = seen(windows.scope(grant({"database": "shop"}, ["db:shop/drinks"], run="r1", free=("sql",)), LOOK))
    for part in ("query_sql", "run `r1`", "modify `db:shop/drinks`", "at most 3 rows", "5 times at most", "$2.50"):
        assert part in text
    assert "*database*" in text
    assert "*Any value:* `sql`" in text


@settings(max_examples=40, deadline=None)
@given(ODD)
def test_words_in_a_takeovers_thread_hold_any_text(text: str) -> None:
    question = Question("r1", 7, "t1", OMAR, quiet=False, text=text, answer=text)
    answer = said(question, LOOK)
    holds(answer)
    assert "<!channel>" not in seen(answer.blocks)
    view = takeover_view()
    rating = ev.ActionRated(action="a1", tier="high", headline=text)
    view = replace(view, action=replace(view.action, rating=rating))
    note = takeover_note(view, ev.TakeoverReminded(takeover="t1", at=1.0), LOOK)
    assert note is not None
    holds(note)


@pytest.mark.parametrize(
    ("state", "event", "parts"),
    [
        (TakeoverState.OPEN, ev.TakeoverReminded(takeover="t1", at=1.0), ["On call: <@U9>", "the run ends on"]),
        (TakeoverState.OPEN, ev.TakeoverReminded(takeover="t1", at=1.0, escalated=True), ["Nobody takes this"]),
        (TakeoverState.OPEN, ev.TakeoverReleased(takeover="t1", at=1.0, by=OMAR, why="lapsed"), ["On call", "U0OMAR"]),
        (TakeoverState.CLAIMED, ev.TakeoverReleased(takeover="t1", at=1.0, by=OMAR, why="released"), ["released this"]),
        (TakeoverState.CLAIMED, ev.TakeoverReminded(takeover="t1", at=1.0), None),
        (TakeoverState.OPEN, ev.TakeoverReleased(takeover="t1", at=1.0, by=OMAR, why="reassigned"), None),
        (TakeoverState.CLAIMED, ev.StopRequested(by="x"), None),
    ],
)
def test_a_word_is_said_of_what_still_holds_and_nobody_is_called_in_vain(
    state: TakeoverState, event: ev.Event, parts: list[str] | None
) -> None:
    note = takeover_note(takeover_view(state), event, Look(on_call="<@U9>"))
    if parts is None:
        assert note is None
        return
    assert note is not None
    text = seen(note.blocks)
    assert all(part in text for part in parts)
    assert ("On call" in text) is (state is TakeoverState.OPEN)


def test_a_claim_that_was_handed_on_again_is_not_announced_late() -> None:
    claimed = ev.TakeoverClaimed(
        takeover="t1", by=Principal(team="T1", user="U0OMAR"), claim_token="c0", at=1.0, until=9.0, given_by=MAYA
    )
    assert takeover_note(takeover_view(TakeoverState.CLAIMED), claimed, LOOK) is None
    current = claimed.model_copy(update={"claim_token": "c1"})
    note = takeover_note(takeover_view(TakeoverState.CLAIMED), current, LOOK)
    assert note is not None
    assert "gave you this" in seen(note.blocks)

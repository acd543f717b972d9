"""How clicks on cards are read off the simulator's log; that they are measured is seen by running the benchmark."""

from __future__ import annotations

from typing import Any

import pytest

from bench._clicks_on_cards import CARDS, Clicked, Found, Waiting, clicked_of, refused

CARD = Waiting("p1", "100.1")


def entry(at: float, method: str, args: dict[str, Any], *, direction: str = "api", status: int = 200) -> dict[str, Any]:
    return {
        "at": at, "direction": direction, "method": method, "args": args, "ok": status == 200, "status": status,
    }  # fmt: skip


def update(at: float, text: str, *, ts: str = CARD.ts, status: int = 200) -> dict[str, Any]:
    return entry(at, "chat.update", {"channel": CARDS, "ts": ts, "text": text}, status=status)


LOG = [
    entry(1.0, "block_actions", {"message": {"ts": "100.2"}}, direction="event"),
    entry(2.0, "block_actions", {"message": {"ts": CARD.ts}}, direction="event"),
    update(2.1, "Approved, about to start: another card", ts="100.2"),
    update(2.2, "Needs a yes: one yes so far"),
    update(2.3, "Approved, about to start: x", status=429),
    update(2.4, "Approved, about to start: x"),
    update(2.5, "Approved, running: x"),
    update(2.9, "Approved, succeeded: x"),
]


def test_a_click_ends_with_the_first_update_of_its_own_card_that_slack_took_and_that_shows_the_decision() -> None:
    found = clicked_of(LOG, CARD, decided=2.05, acked=2.08)
    assert (found.sent, found.shown, found.over) == (2.0, 2.4, 2.9)
    assert found.stages() == pytest.approx((50, 80, 400, 900))
    assert found.ms == pytest.approx(400)


def test_a_decision_that_was_first_shown_with_its_outcome_is_both_at_once() -> None:
    found = clicked_of([*LOG[:4], LOG[-1]], CARD, decided=2.05, acked=2.08)
    assert (found.shown, found.over) == (2.9, 2.9)


@pytest.mark.parametrize("log", [LOG[:4], LOG[2:], LOG[:7]])
def test_a_click_whose_story_is_not_whole_is_no_figure(log: list[dict[str, Any]]) -> None:
    with pytest.raises(RuntimeError, match="whole story"):
        clicked_of(log, CARD, decided=2.05, acked=2.08)


def test_calls_for_which_slack_was_too_busy_are_counted_by_method() -> None:
    assert refused(LOG) == {"chat.update": 1}


def test_clicks_at_once_are_over_when_the_last_card_shows_its_decision() -> None:
    one = Clicked(sent=10.0, decided=10.1, acked=10.2, shown=10.3, over=19.0)
    two = Clicked(sent=10.1, decided=10.1, acked=10.2, shown=17.0, over=18.0)
    found = Found(clicks=[one, two], late=[0.0, 0.0], burst=[one, two])
    assert found.figures() == {"click_to_card_p50_ms": 300.0, "click_to_card_p95_ms": 6900.0, "burst_drain_s": 7.0}
    assert len(found.tables(2, judged=True)) == 4

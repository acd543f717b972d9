"""Which planned step is begun next: the first that is due, whose needs worked out, and that writes beside no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.domain import Plan, PlannedStep, Worker
from agent.moves import BeginStep, Limits
from agent.schedule import Board, Standing
from agent.state import RunState

_PLACES = st.sampled_from(["to_do", "open", "unjudged", "settled", "settled", "again", "waits", "stuck", "replan"])


@st.composite
def _boards(draw: st.DrawFn) -> Board:
    count = draw(st.integers(1, 6))
    indices = st.integers(0, count - 1)
    steps = tuple(
        PlannedStep(
            worker=draw(st.sampled_from(Worker)),
            instruction="Do it.",
            needs=draw(st.none() | st.lists(indices, max_size=3, unique=True).map(tuple)),
        )
        for _ in range(count)
    )
    plan = Plan(planner="model", steps=steps, dropped=tuple(draw(st.lists(indices, max_size=2, unique=True))))
    return Board(plan, {index: Standing(draw(_PLACES), None, str(index)) for index in plan.wanted})


def _by_the_words(board: Board, limits: Limits) -> BeginStep | None:
    plan, places = board.plan, {index: item.place for index, item in board.standings.items()}
    open_ = [index for index, place in places.items() if place == "open"]
    if len(open_) >= limits.steps_at_once:
        return None
    for index, place in places.items():
        is_due = place in {"to_do", "again"}
        worked_out = all(places[need] == "settled" for need in plan.needs_of(index))
        alone = not (plan.steps[index].writes and any(plan.steps[other].writes for other in open_))
        if is_due and worked_out and alone:
            return BeginStep(0, index, str(index))
    return None


@given(_boards())
def test_a_step_is_begun_exactly_when_it_is_due_what_it_needs_worked_out_and_it_writes_alone(board: Board) -> None:
    assert board.next_step(RunState(), Limits()) == _by_the_words(board, Limits())

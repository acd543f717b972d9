"""What delivery remembers of what it wrote stays small, however long the process lives."""

from __future__ import annotations

from agent.fakes import ManualClock
from bot.pace import PROGRESS_EVERY_S, Pace
from storage.outbox import OutboxRow


class Ready:
    """A poster to which Slack always leaves room."""

    def is_ready(self, *_: object, **__: object) -> bool:
        return True


def progress(run: str) -> OutboxRow:
    return OutboxRow(f"progress:{run}", run, 3, 1, 0, "T", "C1", "", "", 0, 0.0, "", 0.0, 0.0)


def test_progress_of_one_run_waits_a_second_and_that_of_another_does_not() -> None:
    clock = ManualClock()
    pace = Pace(Ready(), clock)
    pace.wrote(progress("a"))
    assert (pace.may_go(progress("a"), "C1", 0), pace.may_go(progress("b"), "C1", 0)) == (False, True)
    clock.advance(PROGRESS_EVERY_S)
    assert pace.may_go(progress("a"), "C1", 0)


def test_runs_of_long_ago_are_forgotten() -> None:
    clock = ManualClock()
    pace = Pace(Ready(), clock)
    for number in range(1_000):
        pace.wrote(progress(str(number)))
        clock.advance(PROGRESS_EVERY_S / 2)
        pace.may_go(progress(str(number)), "C1", 0)
    assert len(pace._written) <= 2

"""How long a wait before another try is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.resilience import JITTER, TOOL_RETRIES, jittered, tool_delay


@given(delay=st.floats(0, 60), roll=st.floats(0, 1, exclude_max=True))
def test_a_spread_wait_is_never_shorter_and_at_most_half_as_long_again(delay: float, roll: float) -> None:
    assert delay <= jittered(delay, roll) <= delay * (1 + JITTER)


def test_a_tools_call_is_tried_again_twice() -> None:
    assert [tool_delay(attempt) for attempt in range(TOOL_RETRIES + 2)] == [0.5, 1.0, None, None]

"""How the interpreter is set up for a server: its collector of cyclic garbage, and how its threads take turns."""

from __future__ import annotations

import gc
import sys

YOUNG = 20_000
"""New objects until a look at the young ones; the default of 700 comes several times for every run."""

TURN_S, RUSH_TURN_S = 0.005, 0.0005
"""How long a thread may keep the interpreter from another. The writer lets go of it at every SQL statement, and with a
busy event loop waits so long for getting it back each time: too long for what a person waits for. But each turn costs
both threads something, so runs get more done by long ones."""


def settle() -> None:
    """Take everything loaded so far for permanent: a full collection would stop the event loop for 100 ms over it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


def take_turns(*, is_rush: bool) -> None:
    """Have the threads take turns ten times as often while people wait for what they clicked."""
    sys.setswitchinterval(RUSH_TURN_S if is_rush else TURN_S)

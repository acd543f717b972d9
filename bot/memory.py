"""How the interpreter is set up for a server: its collector of cyclic garbage, and how its threads take turns."""

from __future__ import annotations

import gc
import sys

YOUNG = 20_000
"""New objects until a look at the young ones; the default of 700 comes several times for every run."""

TURN_S = 0.0005
"""How long a thread may keep the interpreter from another; by default 5 ms. The writer lets go of it at every SQL
statement, and with a busy event loop would wait so long for getting it back each time."""


def settle() -> None:
    """Take everything loaded so far for permanent: a full collection would stop the event loop for 100 ms over it.

    Besides, have threads take turns more often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
    sys.setswitchinterval(TURN_S)

"""How the collector of cyclic garbage is set up for a server."""

from __future__ import annotations

import gc

YOUNG = 20_000
"""New objects until a look at the young ones; the default of 700 comes several times for every run."""


def settle() -> None:
    """Take everything loaded so far for permanent: a full collection would stop the event loop for 100 ms over it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)

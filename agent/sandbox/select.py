"""Which sandbox this machine has, decided by trying, never by version."""

from __future__ import annotations

from collections.abc import Sequence

from agent.ports import Sandbox
from agent.sandbox.bubblewrap import Bubblewrap
from agent.sandbox.landlock import Landlock
from agent.sandbox.none import NoSandbox


async def choose(candidates: Sequence[Sandbox] | None = None) -> Sandbox:
    """The first candidate whose walls hold, else one that refuses and says why. Takes under a second."""
    failures: list[str] = []
    for sandbox in candidates if candidates is not None else (Bubblewrap(), Bubblewrap(masked_proc=True), Landlock()):
        failure = await sandbox.self_test()
        if not failure:
            return sandbox
        failures.append(f"{sandbox.name}: {failure}")
    return NoSandbox("; ".join(dict.fromkeys(failures)))

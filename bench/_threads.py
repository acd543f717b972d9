"""What this process's threads used of the cores, and how long each was ready to go on and had none."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Used:
    """One thread's account, seconds."""

    cpu_s: float = 0.0
    waited_s: float = 0.0
    """Ready to run while others had the cores: what no change of ours can mend."""

    def since(self, before: Used) -> Used:
        """What was added."""
        return Used(self.cpu_s - before.cpu_s, self.waited_s - before.waited_s)


def threads() -> dict[str, Used]:
    """Account of every Python thread by its name; empty where the kernel keeps none."""
    found: dict[str, Used] = {}
    for thread in threading.enumerate():
        account = Path(f"/proc/self/task/{thread.native_id}/schedstat")
        try:
            cpu, waited, _ = account.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            continue
        found[thread.name] = Used(int(cpu) * _NS, int(waited) * _NS)
    return found


def waited_s() -> float:
    """How long this thread has been ready while others had the cores, seconds."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) * _NS
    except (OSError, ValueError, IndexError):
        return 0.0


def between(before: Mapping[str, Used], after: Mapping[str, Used], name: str) -> Used:
    """What one thread used from one account to a later one."""
    return after.get(name, Used()).since(before.get(name, Used()))

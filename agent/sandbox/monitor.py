"""A thread that looks after everything that runs in sandboxes, and ends what takes more than it may.

Limits that the kernel keeps by user do not hold for root, and none bounds a disk: this holds whoever we are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.sandbox.census import Process, Usage, processes, usage
from agent.sandbox.quota import Quota

Excess = Literal["", "processes", "memory", "disk"]
_TICK_S = 0.05
#: A walk over the workspace is followed by a pause this many times as long.
_PAUSE_SHARE = 4.0
_LOOK_FOR_DELETED_EVERY = 5


@dataclass(slots=True)
class Watched:
    """One running sandbox: its outermost process, its limits, and what it was ended for."""

    pid: int
    tasks: int
    memory: int
    quotas: tuple[Quota, ...]
    pidfd: int
    excess: Excess = ""
    looks: int = field(default=0, init=False)
    next_walk: float = field(default=0.0, init=False)

    def end(self) -> None:
        """Kill the outermost process, and its group."""
        with contextlib.suppress(OSError):
            # By descriptor: the number of a process that has ended may be another's by now.
            signal.pidfd_send_signal(self.pidfd, 0)
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Monitor:
    """Watches sandboxes while there are any; its thread ends with the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: list[Watched] = []
        self._running = False
        self._changed = threading.Event()

    def watch(self, pid: int, *, tasks: int, memory: int, quotas: tuple[Quota, ...]) -> Watched:
        """Look after a process that was just started by this one and not yet waited for."""
        one = Watched(pid, tasks, memory, quotas, os.pidfd_open(pid))
        with self._lock:
            self._watched.append(one)
            if not self._running:
                self._running = True
                self._changed.clear()
                threading.Thread(target=self._look, name="sandbox-monitor", daemon=True).start()
        return one

    def release(self, one: Watched) -> Excess:
        """Stop looking after it; returns what it was ended for."""
        with self._lock:
            self._watched.remove(one)
            if not self._watched:
                self._changed.set()
            os.close(one.pidfd)
        return one.excess

    def _look(self) -> None:
        while True:
            self._changed.wait(_TICK_S)
            if self._is_done():
                return
            seen = _seen()
            with self._lock:
                now = tuple(self._watched)
            for one in now:
                found = _found(one, seen)
                if not found:
                    continue
                with self._lock:
                    # Released meanwhile: then its descriptor is closed, and it has ended.
                    if one in self._watched:
                        one.excess = one.excess or found
                        one.end()

    def _is_done(self) -> bool:
        """Whether there is nothing to look after; asked before the look, which takes longer than a short program."""
        with self._lock:
            if not self._watched:
                self._running = False
                return True
            self._changed.clear()
            return False


def _seen() -> Mapping[int, Process] | None:
    try:
        return processes()
    except OSError:
        return None


def _found(one: Watched, seen: Mapping[int, Process] | None) -> Excess:
    """What it takes too much of; what cannot be looked at counts as too much, for this thread must never end by that.

    A folder that is gone is mostly that of a program that has ended meanwhile.
    """
    if seen is None:
        return "processes"
    try:
        return _over(one, usage(one.pid, seen))
    except OSError:
        return "disk"


def _over(one: Watched, use: Usage) -> Excess:
    if use.tasks > one.tasks:
        return "processes"
    if use.memory > one.memory:
        return "memory"
    if any(quota.fills_disk() for quota in one.quotas):
        return "disk"
    began = time.perf_counter()
    if began < one.next_walk:
        return ""
    one.looks += 1
    pids = use.pids if one.looks % _LOOK_FOR_DELETED_EVERY == 0 else ()
    over = any(quota.is_over(pids) for quota in one.quotas)
    ended = time.perf_counter()
    one.next_walk = ended + (ended - began) * _PAUSE_SHARE
    return "disk" if over else ""

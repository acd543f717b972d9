"""What to do about services that fail: how long to wait before a retry, and a circuit breaker with one probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from agent.errors import CircuitOpen, ModelError, ModelRateLimited
from agent.ports import Clock

BreakerState = Literal["closed", "open", "half_open"]
RETRIES = 2
FIRST_DELAY_S = 1.0
LONGEST_BACKOFF_S = 8.0
LONGEST_WAIT_S = 30.0
JITTER = 0.5
"""How much longer than it must a wait may be, so that many who failed together do not come back together."""
TOOL_RETRIES = 2
FIRST_TOOL_DELAY_S = 0.5


def retry_delay(attempt: int, error: Exception) -> float | None:
    """Seconds to wait before trying the same service again, or None when that is no use.

    `attempt` counts the failures before this one, from 0. None means: not retryable, retried often enough, or asked to
    wait for longer than a run should; the caller then goes on to the next model of its chain.
    """
    if not isinstance(error, ModelError) or not error.retryable or attempt >= RETRIES:
        return None
    delay = min(FIRST_DELAY_S * 2.0**attempt, LONGEST_BACKOFF_S)
    if isinstance(error, ModelRateLimited) and error.retry_after_s is not None:
        if not math.isfinite(error.retry_after_s) or error.retry_after_s > LONGEST_WAIT_S:
            return None
        delay = max(delay, error.retry_after_s)
    return delay


def tool_delay(attempt: int) -> float | None:
    """Seconds to wait before a tool's call is tried again after a passing fault; None when it was often enough.

    `attempt` counts its former starts, from 0.
    """
    return FIRST_TOOL_DELAY_S * 2.0**attempt if attempt < TOOL_RETRIES else None


def jittered(delay: float, roll: float) -> float:
    """The wait made longer by a part of it; `roll` is drawn evenly from 0 to 1. Never shorter: it may be an order."""
    return delay * (1 + JITTER * roll)


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a breaker outlives its process."""

    failures: int
    opened_at: float | None = None
    """Transport time; None while calls go through."""


class Breaker:
    """Leaves a service alone for `open_s` real seconds after `failures` failures in a row, then lets ONE probe through.

    The probe's success closes it, its failure opens it again; while the probe is under way everybody else is refused.
    """

    def __init__(  # two limits, and what outlives the process
        self,
        clock: Clock,
        *,
        name: str = "service",
        failures: int = 5,
        open_s: float = 30.0,
        kept: Kept | None = None,
        changed: Callable[[str, Kept], None] | None = None,
    ) -> None:
        self._clock = clock
        self._name = name
        self._limit = failures
        self._open_s = open_s
        self._changed = changed
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False
        if kept is not None:
            self._failures = kept.failures
            if kept.opened_at is not None:
                # A clock that was put back since then must not leave the service alone for ever.
                passed = max(0.0, clock.transport() - kept.opened_at)
                self._opened_at = clock.monotonic() - passed
        # Moves with every change of state, so that a call begun before it has no say after it.
        self._era: int = 0

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._wait() <= 0 else "open"

    def check(self) -> None:
        """Raise CircuitOpen when a call could not begin now; takes no probe."""
        if self._opened_at is not None:
            if (wait := self._wait()) > 0:
                raise CircuitOpen(f"{self._name} failed too often lately; it is left alone for {wait:.0f} s more.")
            if self._probing:
                raise CircuitOpen(f"{self._name} failed too often lately; one call is trying it now.")

    @contextmanager
    def guard(self, *, counts: tuple[type[Exception], ...], insists: bool = False) -> Generator[None]:
        """Wrap one call: errors in `counts` are failures of the service, any other error is an answer from it.

        Raises CircuitOpen instead of letting the call begin, unless a person `insists` on it. A cancelled call says
        nothing either way.
        """
        era = self._era if insists else self._enter()
        try:
            yield
        except counts:
            self._failed(era)
            raise
        except Exception:
            self._succeeded(era)
            raise
        except BaseException:
            self._abandoned(era)
            raise
        self._succeeded(era)

    def _wait(self) -> float:
        return 0.0 if self._opened_at is None else self._opened_at + self._open_s - self._clock.monotonic()

    def _enter(self) -> int:
        self.check()
        if self._opened_at is not None:
            self._probing = True
            self._era += 1
        return self._era

    def _failed(self, era: int) -> None:
        if era != self._era:
            return
        self._failures += 1
        if self._probing or self._failures >= self._limit:
            self._opened_at, self._probing = self._clock.monotonic(), False
            self._era += 1
        self._tell()

    def _succeeded(self, era: int) -> None:
        if era != self._era:
            return
        failed, self._failures = self._failures, 0
        if self._opened_at is not None:
            self._opened_at, self._probing = None, False
            self._era += 1
        if failed:
            self._tell()

    def _abandoned(self, era: int) -> None:
        if era == self._era:
            self._probing = False

    def _tell(self) -> None:
        if self._changed is not None:
            open_for = None if self._opened_at is None else self._clock.monotonic() - self._opened_at
            opened_at = None if open_for is None else self._clock.transport() - open_for
            self._changed(self._name, Kept(self._failures, opened_at))


class Breakers:
    """One breaker a name, made when it is first asked for; `kept` is what a former process left of them."""

    def __init__(
        self,
        clock: Clock,
        *,
        failures: int = 5,
        open_s: float = 30.0,
        kept: Mapping[str, Kept] = MappingProxyType({}),
        changed: Callable[[str, Kept], None] | None = None,
    ) -> None:
        self._clock = clock
        self._failures = failures
        self._open_s = open_s
        self._changed = changed
        self._by_name = {name: self._made(name, item) for name, item in kept.items()}

    def of(self, name: str) -> Breaker:
        """The breaker of this name."""
        if name not in self._by_name:
            self._by_name[name] = self._made(name)
        return self._by_name[name]

    def _made(self, name: str, kept: Kept | None = None) -> Breaker:
        return Breaker(
            self._clock,
            name=name,
            failures=self._failures,
            open_s=self._open_s,
            kept=kept,
            changed=self._changed,
        )

    def states(self) -> dict[str, BreakerState]:
        """Every breaker that was asked for and where it stands, for metrics and the readiness page."""
        return {name: breaker.state for name, breaker in self._by_name.items()}

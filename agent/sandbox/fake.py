"""A sandbox for tests: it runs nothing, records what it was asked and answers as told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from agent.ports import SandboxCall, SandboxResult


class FakeSandbox:
    """Answers with the given results in turn, then with an empty success; an exception among them is raised."""

    def __init__(self, results: Iterable[SandboxResult | Exception] = (), *, leak: str = "") -> None:
        self._results = list(results)
        self._leak = leak
        self.calls: list[SandboxCall] = []
        self.hold: asyncio.Event | None = None
        """When set, a call waits for this event, its own limit or its cancellation."""
        self.cancelled = 0

    @property
    def name(self) -> str:
        """`bubblewrap`, as which it poses."""
        return "bubblewrap"

    async def self_test(self) -> str:
        """What it was told to leak."""
        return self._leak

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Record the call and give the next answer."""
        self.calls.append(call)
        if self.hold is not None:
            try:
                async with asyncio.timeout(call.timeout_s):
                    await self.hold.wait()
            except TimeoutError:
                return SandboxResult(exit_code=-9, stdout=b"", stderr=b"", timed_out=True, duration_s=call.timeout_s)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        answer = self._results.pop(0) if self._results else SandboxResult(exit_code=0, stdout=b"", stderr=b"")
        if isinstance(answer, Exception):
            raise answer
        cap = call.output_bytes
        long = len(answer.stdout) > cap or len(answer.stderr) > cap
        return SandboxResult(
            exit_code=answer.exit_code,
            stdout=answer.stdout[:cap],
            stderr=answer.stderr[:cap],
            timed_out=answer.timed_out,
            truncated=answer.truncated or long,
            duration_s=answer.duration_s,
            excess=answer.excess,
            removed=answer.removed,
        )

"""No sandbox: what needs one is refused, everything else keeps working."""

from __future__ import annotations

from agent.errors import SandboxUnavailable
from agent.ports import SandboxCall, SandboxResult


class NoSandbox:
    """Stands in where the self-test of every sandbox failed; `why` is told to whoever asks for one."""

    def __init__(self, why: str = "") -> None:
        self.why = why

    @property
    def name(self) -> str:
        """`none`."""
        return "none"

    async def self_test(self) -> str:
        """Say why there is no sandbox; never empty."""
        return self.why or "There is no sandbox on this machine."

    async def run(self, call: SandboxCall) -> SandboxResult:
        """Refuse; raises SandboxUnavailable."""
        del call
        raise SandboxUnavailable

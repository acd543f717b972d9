"""What a look at one part found, and what to do about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

from pydantic import Field

from agent.domain import Value

LONGEST = 600
"""Characters of a finding's text that are told; what others say of themselves can be longer."""
Level = Literal["ok", "unknown", "mend", "broken"]
"""`mend`: it serves, and something should be mended. `broken`: it does not serve, or not as it should. `unknown`: it
could not be looked at."""


class Finding(Value):
    """What stands about one part."""

    part: str
    """What was looked at, such as `sandbox`."""
    level: Level
    text: str = Field(max_length=LONGEST)
    """One or two sentences."""
    fix: str = ""
    """What to do, for all but `ok`."""


Look = Callable[[], Awaitable[Iterable[Finding]]]
"""A look at some parts; it reads, and changes nothing."""


def well(part: str, text: str) -> Finding:
    """All is well with this part."""
    return Finding(part=part, level="ok", text=text[:LONGEST])


def mend(part: str, text: str, fix: str) -> Finding:
    """It serves, and this should be mended."""
    return Finding(part=part, level="mend", text=text[:LONGEST], fix=fix)


def broken(part: str, text: str, fix: str) -> Finding:
    """It does not serve, or not as it should."""
    return Finding(part=part, level="broken", text=text[:LONGEST], fix=fix)


def unknown(part: str, text: str, fix: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(part=part, level="unknown", text=text[:LONGEST], fix=fix)


def exit_code(findings: Iterable[Finding]) -> int:
    """2 when something is broken, 1 when something is to be mended, else 0."""
    levels = {finding.level for finding in findings}
    return 2 if "broken" in levels else 1 if "mend" in levels else 0

"""What a verification found, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Why = Literal["edited", "removed", "reordered", "added", "tail missing", "run deleted", "not signed"]

MOST_FINDINGS = 100
"""Findings that are kept; a file that is bad all over needs no longer list."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bad row of one run, or of the chain over the heads (then `run` can be empty)."""

    run: str
    seq: int
    why: Why
    problem: str
    """One sentence for people."""


@dataclass(frozen=True, slots=True)
class SignedHeads:
    """What the file of signed heads holds. Transport seconds."""

    lines: int
    n: int
    """The newest row of the chain over the heads that was signed."""
    at: float
    key: str
    """Fingerprint of the public key that it was checked with."""
    unreadable: int = 0
    """Lines that are no JSON, as a crash in the middle of writing leaves one."""


@dataclass(frozen=True, slots=True)
class CheckedReceipts:
    """How many receipts of decisions and votes hold."""

    decisions: int
    votes: int
    unsigned: int
    """Of a release that gave none, or with payloads that retention dropped before there were any."""
    key: str
    """Fingerprint of the public key that they were checked with."""
    takeovers: int = 0
    """Endings of takeovers whose receipts hold."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found; `run`, `seq` and `why` name the first bad row, `problem` says what is wrong with it."""

    ok: bool
    runs: int
    events: int
    run: str = ""
    seq: int = 0
    problem: str = ""
    why: str = ""
    dropped: int = 0
    """Runs whose payloads retention dropped."""
    heads: int = 0
    """Rows of the chain over the heads."""
    signed: SignedHeads | None = None
    receipts: CheckedReceipts | None = None
    findings: tuple[Finding, ...] = ()
    cannot_find: tuple[str, ...] = ()
    """What could have been done to the file without being found, one sentence each."""

"""The receipts of all votes and decisions against the journal, the rows of approvals and votes, and the public key."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import events as ev
from storage.keys import fingerprint, load_public
from storage.receipts import is_receipt, receipt_of, receipt_of_row
from storage.takeover_receipts import check_endings
from storage.verdict import CheckedReceipts
from storage.verification import Walk

_EVENTS = """SELECT run, seq, at, payload FROM events
  WHERE type IN ('approval_requested', 'vote_cast', 'approval_decided') ORDER BY run, seq"""
_DECISIONS = """SELECT a.id, '', a.run, a.action, a.digest, a.epoch, a.state, a.decided_by,
  coalesce(a.decided_at, 0.0), coalesce(a.start_before, 0.0), r.policy_version, r.voters_json, r.signature
  FROM approvals a LEFT JOIN receipts r ON r.approval = a.id AND r.voter = '' WHERE a.state <> 'pending'"""
_VOTES = """SELECT a.id, v.principal, a.run, a.action, a.digest, a.epoch, v.vote, v.principal, v.at, 0.0,
  r.policy_version, r.voters_json, r.signature FROM votes v JOIN approvals a ON a.id = v.approval
  LEFT JOIN receipts r ON r.approval = v.approval AND r.voter = v.principal"""
_SINCE = "SELECT applied_at FROM _sqlite_migrations WHERE migration_set = 'secondkey' AND name = 'm013_receipts'"


def receipts_of(public_key: Path) -> Callable[[Walk], CheckedReceipts | None]:
    """How to check them with this key; raises ConfigurationError when it cannot be read.

    What is checked gives None for a file of a release that signed no decisions.
    """
    key = load_public(public_key)

    def check(walk: Walk) -> CheckedReceipts | None:
        if walk.conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'receipts'").fetchone() is None:
            return None
        return _Check(walk, key).done()

    return check


@dataclass(slots=True)
class _Check:
    """One check under way."""

    walk: Walk
    key: Ed25519PublicKey
    decisions: int = 0
    votes: int = 0
    unsigned: int = 0
    _journal: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict[tuple[str, str], tuple[int, str]])
    """Approval and voter → seq and receipt of the newest event of the journal."""
    _dropped: set[str] = field(default_factory=set[str])

    def done(self) -> CheckedReceipts:
        self._walk_journal()
        for query in (_DECISIONS, _VOTES):
            for row in self.walk.conn.execute(query):
                self._check_row(row[0], row[1], row[2:])
        takeovers, unsigned = check_endings(self.walk, self.key)
        return CheckedReceipts(self.decisions, self.votes, self.unsigned + unsigned, fingerprint(self.key), takeovers)

    def _walk_journal(self) -> None:
        since = _since(self.walk.conn)
        asked: dict[str, ev.ApprovalRequested] = {}
        for run, seq, at, payload in self.walk.conn.execute(_EVENTS):
            if payload is None:
                self._dropped.add(run)
                continue
            try:
                event = ev.decode(payload)
            except ValueError:
                self.walk.found(run, seq, "edited", "the row is no event that was ever written")
                continue
            if isinstance(event, ev.ApprovalRequested):
                asked[event.approval] = event
            elif isinstance(event, ev.VoteCast | ev.ApprovalDecided):
                self._check_event(run, seq, event, asked.get(event.approval), is_old=at < since)

    def _check_event(
        self,
        run: str,
        seq: int,
        event: ev.VoteCast | ev.ApprovalDecided,
        asked: ev.ApprovalRequested | None,
        *,
        is_old: bool,
    ) -> None:
        is_vote = isinstance(event, ev.VoteCast)
        what = f"the {'vote' if is_vote else 'decision'} on {event.approval}"
        self._journal[event.approval, event.principal.key if isinstance(event, ev.VoteCast) else ""] = (
            seq, event.receipt
        )  # fmt: skip
        if not event.receipt and is_old:
            self.unsigned += 1
        elif not event.receipt:
            self.walk.found(run, seq, "not signed", f"{what} has no receipt")
        elif asked is None or not is_receipt(self.key, receipt_of(run, event, asked), event.receipt):
            self.walk.found(run, seq, "not signed", f"the receipt of {what} does not hold")
        else:
            self.votes += is_vote
            self.decisions += not is_vote

    def _check_row(self, approval: str, voter: str, columns: tuple[Any, ...]) -> None:
        """Whether a row of approvals or votes says what its receipt, and the journal's, was given for."""
        run, signature = str(columns[0]), columns[-1]
        seq, journalled = self._journal.get((approval, voter), (0, ""))
        is_dropped = run in self._dropped and not seq
        what = f"the {f'vote of {voter}' if voter else 'decision'} on {approval}"
        if not seq and not is_dropped:
            self.walk.found(run, 0, "added", f"{what} stands in its row, and nobody took it")
        elif signature is None:
            self.unsigned += is_dropped
            if journalled:
                self.walk.found(run, seq, "removed", f"the receipt of {what} is not there")
        elif (seq and signature != journalled) or not self._holds(approval, columns):
            self.walk.found(run, seq, "edited", f"{what} is not the one that its receipt was given for")
        elif is_dropped:
            self.votes += bool(voter)
            self.decisions += not voter

    def _holds(self, approval: str, columns: tuple[Any, ...]) -> bool:
        try:
            receipt, signature = receipt_of_row(approval, columns)
            return is_receipt(self.key, receipt, signature)
        except (ValueError, TypeError):
            return False  # such a row was never written by us


def _since(conn: sqlite3.Connection) -> float:
    """From when on each decision has a receipt, seconds."""
    row = conn.execute(_SINCE).fetchone()
    try:
        moment = datetime.fromisoformat(row[0])
    except (TypeError, ValueError):
        return 0.0  # somebody removed it: then nothing is excused
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()

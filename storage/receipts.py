"""Receipts: each vote and each decision is signed as it is written, and verified before what it allows may start.

A row that was edited by hand, or put there by anything but `append`, has no receipt that holds: the start is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent import events as ev
from agent.errors import ReceiptNotValid
from agent.ports import Stored
from storage.literals import number, text

if TYPE_CHECKING:  # costs 40 ms to import, and is needed at the first decision only
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from storage.asked import Asked
    from storage.working import Working

_VERSION = 1
_REMEMBERED = 1024
DECIDED = """run, action, digest, epoch, state, decided_by, coalesce(decided_at, 0.0), coalesce(start_before, 0.0),
  (SELECT policy_version FROM receipts WHERE approval = approvals.id AND voter = ''),
  (SELECT voters_json FROM receipts WHERE approval = approvals.id AND voter = ''),
  (SELECT signature FROM receipts WHERE approval = approvals.id AND voter = '')"""
"""Of a row of `approvals`: what its receipt is made from, and the receipt; for `check_decision`."""
_VOTED = """SELECT a.run, a.action, a.digest, a.epoch, v.vote, v.principal, v.at, 0.0, r.policy_version, r.voters_json,
  r.signature FROM votes v JOIN approvals a ON a.id = v.approval
  JOIN receipts r ON r.approval = v.approval AND r.voter = v.principal WHERE v.approval = ? AND v.principal = ?"""


SEALED = frozenset({ev.VoteCast, ev.ApprovalDecided})
"""Events that get a receipt."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a signature stands for. Business seconds."""

    run: str
    approval: str
    action: str
    digest: str
    epoch: int
    decision: str
    """`approve` or `deny` for a vote; the approval's state for its decision."""
    principal: str
    """Principal key; empty when time or the system decided."""
    at: float
    start_before: float = 0.0
    policy: str = ""
    """Version of the policy by which the action was rated that people were asked about."""
    voters: tuple[str, ...] = ()
    """Principal keys of all whose yes counted, when more than one was needed."""

    @property
    def message(self) -> bytes:
        """The canonical JSON that is signed; never the message of a signed head, which has no `receipt`."""
        named = ",".join(map(text, self.voters))
        return (
            f'{{"action":{text(self.action)},"approval":{text(self.approval)},"at":{number(self.at)},'
            f'"decision":{text(self.decision)},"digest":{text(self.digest)},"epoch":{self.epoch:d},'
            f'"policy":{text(self.policy)},"principal":{text(self.principal)},"receipt":{_VERSION:d},'
            f'"run":{text(self.run)},"start_before":{number(self.start_before)},"voters":[{named}]}}'
        ).encode()


class Signed(Protocol):
    """What can be signed."""

    @property
    def message(self) -> bytes:
        """The bytes that the signature is over; no two kinds share any."""
        ...


class Keyring:
    """The audit's key, read (or made) when it is first needed. Safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: OrderedDict[bytes, str] = OrderedDict()
        """What was signed here last, by the hash of its message: most yeses are used up right after they are given."""
        self._lock = threading.Lock()
        self._key: Ed25519PrivateKey | None = None
        self._public: Ed25519PublicKey | None = None

    def prepare(self) -> None:
        """Read or make the key; raises ConfigurationError."""
        self._private()

    def sign(self, receipt: Signed) -> str:
        """The signature in base64; raises ConfigurationError when the key cannot be used."""
        message = receipt.message
        signature = base64.b64encode(self._private().sign(message)).decode()
        with self._lock:
            self._made[hashlib.sha256(message).digest()] = signature
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return signature

    def holds(self, receipt: Receipt, signature: str) -> bool:
        """Whether this key signed exactly this; raises ConfigurationError when the key cannot be used."""
        if self._made.get(hashlib.sha256(receipt.message).digest()) == signature:
            return True
        self._private()
        assert self._public is not None  # noqa: S101  # set together with the private one
        return is_receipt(self._public, receipt, signature)

    def _private(self) -> Ed25519PrivateKey:
        with self._lock:
            if self._key is None:
                from storage.keys import load_or_make  # noqa: PLC0415  # as at the top

                key = load_or_make(self._folder)
                self._key, self._public = key, key.public_key()
            return self._key


def is_receipt(key: Ed25519PublicKey, receipt: Receipt, signature: str) -> bool:
    """Whether the key's owner signed exactly this."""
    from storage.keys import is_signed_by  # noqa: PLC0415  # as at the top

    try:
        return is_signed_by(key, base64.b64decode(signature, validate=True), receipt.message)
    except (binascii.Error, ValueError):
        return False


def seal(work: Working, event: ev.Event, earlier: Sequence[Stored]) -> ev.Event:
    """The event with its receipt, whose row is written with it for the start to check; any other event as it is.

    `earlier` are the events of the same append. What a caller wrote into the receipt's fields is overwritten. Raises
    ConfigurationError when the key cannot be used.
    """
    if not isinstance(event, ev.VoteCast | ev.ApprovalDecided) or work.tx.keyring is None:
        return event
    asked = work.find_approval(event.approval)
    if asked is None:
        return event  # the projection refuses it
    policy = _policy_of(work, asked, earlier)
    receipt = _receipt(work.id, event, (asked.action, asked.digest, asked.epoch), policy)
    signature = work.tx.keyring.sign(receipt)
    voter = event.principal.key if isinstance(event, ev.VoteCast) else ""
    voters = json.dumps(receipt.voters, separators=(",", ":"))
    work.receipts.append((event.approval, voter, receipt.at, policy, voters, signature))
    return event.model_copy(update={"policy_version": policy, "receipt": signature})


def receipt_of(run: str, event: ev.VoteCast | ev.ApprovalDecided, asked: ev.ApprovalRequested) -> Receipt:
    """What the receipt in an event of the journal stands for."""
    return _receipt(run, event, (asked.action, asked.digest, asked.epoch), event.policy_version)


def check_decision(keyring: Keyring | None, approval: str, row: Sequence[object]) -> None:
    """The decision must be one that was signed here, as it stands now (`DECIDED`); raises ReceiptNotValid."""
    if not _holds(keyring, approval, row):
        raise ReceiptNotValid


def is_vote_signed(conn: sqlite3.Connection, keyring: Keyring | None, approval: str, principal: str) -> bool:
    """Whether the vote, as it stands now, was cast here."""
    row = conn.execute(_VOTED, (approval, principal)).fetchone()
    return row is not None and _holds(keyring, approval, row)


def _holds(keyring: Keyring | None, approval: str, row: Sequence[object]) -> bool:
    try:
        receipt, signature = receipt_of_row(approval, row)
        return keyring is not None and keyring.holds(receipt, signature)
    except (ValueError, TypeError):
        return False  # such a row was never written by us


def receipt_of_row(approval: str, row: Sequence[object]) -> tuple[Receipt, str]:
    """A receipt and its signature from the columns of the queries above; raises ValueError or TypeError."""
    run, action, digest, epoch, decision, principal, at, start_before, policy, voters, signature = row
    named: object = json.loads(str(voters))
    if not isinstance(named, list) or not isinstance(epoch, int):
        raise TypeError("not a receipt")
    whole = tuple(str(key) for key in named)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # the types of JSON
    receipt = Receipt(
        run=str(run), approval=approval, action=str(action), digest=str(digest), epoch=epoch, decision=str(decision),
        principal=str(principal), at=_number(at), start_before=_number(start_before), policy=str(policy), voters=whole,
    )  # fmt: skip
    return receipt, str(signature)


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)


def _receipt(
    run: str, event: ev.VoteCast | ev.ApprovalDecided, subject: tuple[str, str, int], policy: str
) -> Receipt:  # fmt: skip
    action, digest, epoch = subject
    if isinstance(event, ev.VoteCast):
        return Receipt(
            run, event.approval, action, digest, epoch, event.vote, event.principal.key, event.at, policy=policy
        )
    return Receipt(
        run, event.approval, action, digest, epoch, event.state.value, event.by, event.at, event.start_before, policy,
        event.voters,
    )  # fmt: skip


def _policy_of(work: Working, asked: Asked, earlier: Sequence[Stored]) -> str:
    """The policy version of the action's newest rating."""
    item = work.find_action(asked.action)
    if item is None or not item.rated_seq:
        return ""
    for stored in reversed(earlier):
        if stored.seq == item.rated_seq:
            return stored.event.policy_version if isinstance(stored.event, ev.ActionRated) else ""
    return asked.policy

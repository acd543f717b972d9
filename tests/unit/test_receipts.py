"""Receipts: what was signed is what is started, and every other yes is found and starts nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent import events as ev
from agent.domain import ApprovalState, Outcome
from agent.errors import ApprovalNotValid, ConfigurationError, ReceiptNotValid
from agent.ports import Fact
from bot import cli_audit
from storage.audit import Verdict, verify_file
from storage.database import Tx
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.journal import append
from storage.keys import load_or_make
from storage.receipts import Keyring, Receipt
from storage.rows import ApprovalRow


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "store.db")
    store.clock.at = 1_900_000_000.0  # after the receipts came, as the machine's own clock tells
    await store.lease.regain()
    store.db.keyring.prepare()
    yield store
    await store.close()


async def approved(store: Store, *, quorum: int = 1) -> tuple[str, ApprovalRow]:
    run = await store.run()
    asked = await store.ask(run, quorum=quorum)
    for person in DECIDERS[:quorum]:
        await store.decisions.vote(asked.id, person, "approve")
    return run, store.approval(asked.id)


async def by_hand(store: Store, statement: str, *values: object) -> None:
    """Change a row as somebody with an editor for databases does."""
    await store.db.write(lambda tx: tx.conn.execute(statement, values))


async def forged(store: Store, run: str, *events: ev.Event) -> None:
    """Append as somebody does who can write the database, and compute its hashes, but has no key."""

    def write(tx: Tx) -> None:
        tx.keyring = None
        append(tx, run, events)

    await store.db.write(write)


def verdict(store: Store) -> Verdict:
    return verify_file(store.db.path, public_key=store.db.path.with_name("audit.pub"))


async def test_a_decision_carries_its_receipt_and_verifies(store: Store) -> None:
    run, row = await approved(store)
    decided = [item.event for item in await store.journal.read(run) if isinstance(item.event, ev.ApprovalDecided)]
    assert decided[0].receipt
    assert decided[0].by == DECIDERS[0].key
    await store.start(run, row)
    found = verdict(store)
    assert (found.ok, found.receipts and (found.receipts.decisions, found.receipts.votes)) == (True, (1, 1))


async def test_a_receipt_names_the_policy_by_which_the_action_was_rated(store: Store) -> None:
    run = await store.run()
    action = await store.propose(run)
    rated = ev.ActionRated(action=action.id, tier="medium", policy_version="p7")  # type: ignore[arg-type]  # parsed
    asked = ev.ApprovalRequested(
        approval="ok7", action=action.id, digest=action.digest, epoch=0, created_at=store.clock.at,
        expires_at=store.clock.at + 60, timeout_s=60, deciders=(DECIDERS[0].key,),
    )  # fmt: skip
    withdrawn = ev.ApprovalDecided(approval="ok7", state=ApprovalState.WITHDRAWN, at=store.clock.at)
    await store.journal.commit(run, (rated, asked, withdrawn), Fact())
    decided = (await store.journal.read(run))[-1].event
    assert isinstance(decided, ev.ApprovalDecided)
    assert decided.policy_version == "p7"
    assert verdict(store).ok


@pytest.mark.parametrize(
    ("column", "value"),
    [("decided_by", REQUESTER.key), ("decided_at", 5.0), ("start_before", 9e12), ("decided_by", "no principal")],
)
async def test_a_row_of_a_decision_that_was_edited_starts_nothing_and_is_found(
    store: Store, column: str, value: object
) -> None:
    run, row = await approved(store)
    await by_hand(store, f"UPDATE approvals SET {column} = ? WHERE id = ?", value, row.id)  # noqa: S608  # a constant
    with pytest.raises(ReceiptNotValid):
        await store.start(run, row)
    found = verdict(store)
    assert (found.ok, found.run, found.why) == (False, run, "edited")


@pytest.mark.parametrize("statement", [
    "DELETE FROM receipts", "UPDATE receipts SET signature = ''", "UPDATE receipts SET signature = 'no base64!'",
    "UPDATE receipts SET policy_version = 'p0'", "UPDATE receipts SET voters_json = '[[]]'",
    "UPDATE receipts SET voters_json = 'null'", "UPDATE receipts SET voters_json = '['",
])  # fmt: skip
async def test_without_its_receipt_a_yes_starts_nothing(store: Store, statement: str) -> None:
    run, row = await approved(store)
    await by_hand(store, statement)
    with pytest.raises(ReceiptNotValid):
        await store.start(run, row)
    assert not verdict(store).ok


async def test_the_receipt_of_another_approval_is_none(store: Store) -> None:
    _, first = await approved(store)
    run = await store.run()
    second = await store.ask(run)
    said = await store.decisions.vote(second.id, DECIDERS[0], "approve")
    steal = "UPDATE receipts SET signature = (SELECT signature FROM receipts WHERE approval = ? AND voter = '')"
    await by_hand(store, f"{steal} WHERE approval = ?", first.id, second.id)
    with pytest.raises(ReceiptNotValid):
        await store.start(run, said)


async def test_a_yes_that_was_written_into_the_journal_without_the_key_is_found(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    yes = ev.ApprovalDecided(
        approval=asked.id, state=ApprovalState.APPROVED, at=store.clock.at, by=DECIDERS[0].key,
        start_before=store.clock.at + 60,
    )  # fmt: skip
    await forged(store, run, yes)
    with pytest.raises(ReceiptNotValid):
        await store.start(run, store.approval(asked.id))
    found = verdict(store)
    assert (found.ok, found.why) == (False, "not signed")
    assert verify_file(store.db.path).ok  # its hashes are right: the receipt alone tells


async def test_a_receipt_that_a_caller_brings_along_is_replaced(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    gone = ev.ApprovalDecided(
        approval=asked.id, state=ApprovalState.WITHDRAWN, at=store.clock.at, receipt="mine", policy_version="mine"
    )
    await store.journal.commit(run, (gone,), Fact())
    kept = (await store.journal.read(run))[-1].event
    assert isinstance(kept, ev.ApprovalDecided)
    assert kept.receipt != "mine"
    assert kept.policy_version == ""
    assert verdict(store).ok


async def test_a_vote_that_was_put_into_its_table_by_hand_counts_for_no_quorum(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run, quorum=2)
    await by_hand(store, "INSERT INTO votes VALUES (?, ?, 'approve', 1.0)", asked.id, DECIDERS[1].key)
    row = await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    assert row.state == "pending"
    found = verdict(store)
    assert (found.ok, found.why) == (False, "added")


async def test_a_vote_of_before_the_receipts_is_cast_again_by_the_same_click(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run, quorum=2)
    await forged(store, run, ev.VoteCast(approval=asked.id, principal=DECIDERS[1], vote="approve", at=store.clock.at))
    assert (await store.decisions.vote(asked.id, DECIDERS[0], "approve")).state == "pending"
    assert (await store.decisions.vote(asked.id, DECIDERS[1], "approve")).state == "approved"
    await store.start(run, store.approval(asked.id))


async def test_a_quorum_names_everybody_whose_yes_counted(store: Store) -> None:
    run, row = await approved(store, quorum=2)
    decided = [item.event for item in await store.journal.read(run) if isinstance(item.event, ev.ApprovalDecided)]
    assert set(decided[0].voters) == {person.key for person in DECIDERS}
    await store.start(run, row)
    found = verdict(store)
    assert found.receipts
    assert (found.ok, found.receipts.decisions, found.receipts.votes) == (True, 1, 2)


async def test_decisions_of_before_the_receipts_are_counted_and_not_complained_of(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await forged(store, run, ev.ApprovalDecided(approval=asked.id, state=ApprovalState.EXPIRED, at=store.clock.at))
    await by_hand(store, "UPDATE _sqlite_migrations SET applied_at = '2100-01-01 00:00:00+00:00'")
    found = verdict(store)
    assert found.ok
    assert found.receipts
    assert found.receipts.unsigned == 1


async def test_when_the_note_of_the_migration_is_gone_nothing_is_excused(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    await forged(store, run, ev.ApprovalDecided(approval=asked.id, state=ApprovalState.EXPIRED, at=store.clock.at))
    await by_hand(store, "DELETE FROM _sqlite_migrations")
    assert verdict(store).why == "not signed"


async def test_with_another_key_no_receipt_holds(store: Store, tmp_path: Path) -> None:
    run, row = await approved(store)
    other = tmp_path / "other"
    other.mkdir()
    load_or_make(other)
    assert verify_file(store.db.path, public_key=other / "audit.pub").why == "not signed"
    await store.start(run, row)


async def test_a_key_that_others_may_read_lets_nobody_decide(store: Store, tmp_path: Path) -> None:
    (tmp_path / "audit.key").chmod(0o644)
    run = await store.run()
    asked = await store.ask(run)
    store.db.keyring = Keyring(tmp_path)  # as after a start
    with pytest.raises(ConfigurationError, match=r"audit\.key"):
        await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    assert store.approval(asked.id).state == "pending"


async def test_a_receipt_survives_retention(store: Store) -> None:
    run, row = await approved(store)
    await store.start(run, row)
    done = ev.ActionFinished(action=row.action, outcome=Outcome.SUCCEEDED)
    await store.journal.commit(run, (done,), Fact())
    hashed = "UPDATE events SET payload = NULL WHERE run = ? AND type = 'approval_decided'"
    await by_hand(store, hashed, run)
    told = verdict(store)  # the chain complains of the payload; the receipts' row still verifies beside it
    assert told.receipts
    assert told.receipts.decisions == 1
    await by_hand(store, "UPDATE approvals SET decided_by = 'slack:T1:U9' WHERE id = ?", row.id)
    again = verdict(store)
    assert again.receipts
    assert again.receipts.decisions == 0


async def test_the_agents_own_door_writes_no_yes(store: Store) -> None:
    run = await store.run()
    asked = await store.ask(run)
    yes = ev.ApprovalDecided(
        approval=asked.id, state=ApprovalState.APPROVED, at=store.clock.at, by=DECIDERS[0].key, start_before=9e12
    )
    for event in (yes, ev.VoteCast(approval=asked.id, principal=DECIDERS[0], vote="approve", at=store.clock.at)):
        with pytest.raises(ApprovalNotValid):
            await store.journal.commit(run, (event,), Fact())
    assert store.approval(asked.id).state == "pending"


async def test_the_command_tells_how_many_receipts_hold(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run, row = await approved(store)
    await store.start(run, row)
    assert cli_audit.verify(store.db.path, None, None) == 0
    assert "Receipts: 1 decision and 1 vote hold" in capsys.readouterr().out
    with closing(sqlite3.connect(store.db.path)) as conn, conn:
        conn.execute("UPDATE approvals SET decided_by = 'slack:T1:U9'")
    assert cli_audit.verify(store.db.path, None, None) == 1
    assert f"the decision on {row.id} is not the one that its receipt was given for" in capsys.readouterr().out


def test_what_is_signed_is_bound_to_each_of_its_fields() -> None:
    one = Receipt("r", "p", "a", "d", 0, "approved", "slack:T:U", 1.0, 2.0, "v", ("x",))
    others = [
        Receipt(*[value if index != changed else type(value)() for index, value in enumerate(_fields(one))])
        for changed in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10)
    ]
    assert len({one.message, *(other.message for other in others)}) == 11


def _fields(receipt: Receipt) -> tuple[Any, ...]:
    return tuple(getattr(receipt, name) for name in Receipt.__slots__)

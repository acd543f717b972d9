"""How a takeover ended is signed as it is written, and whoever changes it afterwards is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import events as ev
from agent.errors import ApprovalNotValid, ConfigurationError
from agent.ports import Fact
from bot import cli_audit
from storage.audit import Verdict, verify_file
from storage.database import Tx
from storage.fakes import DECIDERS, Store
from storage.journal import append
from storage.receipts import Keyring
from storage.takeovers import Ending

FIRST = DECIDERS[0]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "store.db")
    store.clock.at = 1_900_000_000.0  # after the receipts came, as the machine's own clock tells
    await store.lease.regain()
    store.db.keyring.prepare()
    yield store
    await store.close()


async def ended(store: Store, state: Ending = "done") -> tuple[str, str]:
    run = await store.run()
    opened = await store.take_over(run)
    claimed = await store.decisions.claim(opened.id, FIRST)
    await store.decisions.close_takeover(
        opened.id, FIRST, state, token=claimed.claim_token, what="refunded by hand", reference="R-1", evidence="a slip"
    )
    return run, opened.id


async def by_hand(store: Store, statement: str, *values: object) -> None:
    await store.db.write(lambda tx: tx.conn.execute(statement, values))


def verdict(store: Store) -> Verdict:
    return verify_file(store.db.path, public_key=store.db.path.with_name("audit.pub"))


@pytest.mark.parametrize("state", ["done", "handed_back", "aborted"])
async def test_each_ending_carries_a_receipt_that_holds(
    store: Store, state: Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = await ended(store, state)
    (closed,) = [item.event for item in await store.journal.read(run) if isinstance(item.event, ev.TakeoverClosed)]
    assert closed.receipt
    found = verdict(store)
    assert (found.ok, found.receipts and found.receipts.takeovers) == (True, 1)
    assert cli_audit.verify(store.db.path, None, None) == 0
    assert "and 1 ending of takeovers hold" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["happened", "run_again", "stop"])
async def test_the_answer_on_a_lost_action_and_giving_up_are_signed_too(store: Store, answer: str) -> None:
    lost = await store.lose(await store.run())
    store.clock.at += 3600.0
    await store.decisions.answer_unknown(lost.id, FIRST, answer)  # type: ignore[arg-type]  # one of the three
    opened = await store.take_over(await store.run())
    store.clock.at += 30 * 86400.0
    await store.decisions.sweep(store.clock.at)
    assert store.takeover(opened.id).state == "aborted"
    found = verdict(store)
    assert (found.ok, found.receipts and found.receipts.takeovers) == (True, 2)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("closed_by", "slack:T1:U9"), ("what", "nothing"), ("reference", "R-2"), ("evidence", ""), ("state", "aborted"),
        ("closed_at", 5.0), ("epoch", 9),
    ],
)  # fmt: skip
async def test_a_row_of_an_ending_that_was_edited_is_found(store: Store, column: str, value: object) -> None:
    run, takeover = await ended(store)
    await by_hand(store, f"UPDATE takeovers SET {column} = ? WHERE id = ?", value, takeover)  # noqa: S608  # a constant
    found = verdict(store)
    assert (found.ok, found.run) == (False, run)
    assert f"the ending of the takeover {takeover} is not the one" in found.problem


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM takeover_receipts", "not signed"), ("UPDATE takeover_receipts SET signature = 'AAAA'", "edited"),
        ("UPDATE takeover_receipts SET again = 1", "edited"),
        ("UPDATE takeover_receipts SET policy_version = 'x'", "edited"),
        ("DELETE FROM takeovers", "removed"), ("UPDATE takeover_receipts SET signature = 'no base64!'", "edited"),
    ],
)  # fmt: skip
async def test_a_receipt_that_was_taken_away_or_changed_is_found(store: Store, statement: str, why: str) -> None:
    await ended(store)
    await by_hand(store, statement)
    assert verdict(store).why == why


async def test_an_ending_that_was_written_without_the_key_is_found(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    closed = ev.TakeoverClosed(takeover=opened.id, state="done", at=store.clock.at, by=FIRST.key, what="trust me")

    def write(tx: Tx) -> None:
        tx.keyring = None
        append(tx, run, (closed,))

    await store.db.write(write)
    found = verdict(store)
    assert (found.ok, found.run, found.why) == (False, run, "not signed")
    await by_hand(store, "UPDATE _sqlite_migrations SET applied_at = '2100-01-01 00:00:00+00:00'")
    older = verdict(store)
    assert (older.ok, older.receipts and older.receipts.unsigned) == (True, 1)


async def test_what_a_caller_wrote_as_receipt_is_replaced(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    closed = ev.TakeoverClosed(
        takeover=opened.id, state="aborted", at=store.clock.at, receipt="mine", policy_version="mine"
    )
    await store.journal.commit(run, (closed,), Fact())
    assert verdict(store).ok


async def test_the_agents_own_door_neither_claims_nor_ends_a_takeover_as_done(store: Store) -> None:
    run = await store.run()
    opened = await store.take_over(run)
    claimed = ev.TakeoverClaimed(takeover=opened.id, by=FIRST, claim_token="c", at=1.0, until=9e12)
    done = ev.TakeoverClosed(takeover=opened.id, state="done", at=1.0, by=FIRST.key)
    for event in (claimed, done, done.model_copy(update={"state": "handed_back"})):
        with pytest.raises(ApprovalNotValid):
            await store.journal.commit(run, (event,), Fact())
    assert store.takeover(opened.id).state == "open"


async def test_a_key_that_others_may_read_lets_nobody_end_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "audit.key").chmod(0o644)
    opened = await store.take_over(await store.run())
    claimed = await store.decisions.claim(opened.id, FIRST)
    store.db.keyring = Keyring(tmp_path)  # as after a start
    with pytest.raises(ConfigurationError, match=r"audit\.key"):
        await store.decisions.close_takeover(opened.id, FIRST, "done", token=claimed.claim_token)
    assert store.takeover(opened.id).state == "claimed"


async def test_a_receipt_still_holds_when_its_payload_was_dropped(store: Store) -> None:
    await ended(store)
    await by_hand(store, "UPDATE events SET payload = NULL WHERE type = 'takeover_closed'")
    told = verdict(store)  # the chain complains of the payload; the receipt's row still verifies beside it
    assert told.receipts
    assert told.receipts.takeovers == 1

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent import events as ev
from agent.domain import Principal, RunStatus
from agent.ports import Fact
from storage.audit import refused
from storage.export import COLUMNS, Selection, export_csv, export_jsonl
from storage.fakes import DECIDERS, Store
from storage.retention import Retention

ANNA = Principal(team="T1", user="U9")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "store.db")
    yield opened
    await opened.close()


def lines(store: Store, **wanted: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    count = store.db.read(lambda conn: export_jsonl(conn, Selection(**wanted), out))
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(records) == count
    return records


def table(store: Store, **wanted: Any) -> list[list[str]]:
    out = io.StringIO(newline="")
    store.db.read(lambda conn: export_csv(conn, Selection(**wanted), out))
    return list(csv.reader(io.StringIO(out.getvalue(), newline="")))


async def test_a_payload_stands_in_its_line_byte_for_byte_as_it_was_hashed(store: Store) -> None:
    run = await store.run("pay “order 7”\nnow")
    out = io.StringIO()
    store.db.read(lambda conn: export_jsonl(conn, Selection(), out))
    for text in out.getvalue().splitlines():
        record = json.loads(text)
        assert (record["run"], list(record)[-1]) == (run, "payload")
        payload = text[text.index('"payload":') + len('"payload":') : -1]
        assert hashlib.sha256(payload.encode()).hexdigest() == record["payload_hash"]
    assert lines(store)[0]["payload"]["task"]["text"] == "pay “order 7”\nnow"


async def test_records_are_selected_by_time_the_end_not_included(store: Store) -> None:
    start = store.clock.now()
    first = await store.run()
    store.clock.advance(10)
    second = await store.run()
    assert {record["run"] for record in lines(store, until=start + 10)} == {first}
    assert {record["run"] for record in lines(store, since=start + 10)} == {second}
    assert lines(store, since=start + 11) == []
    assert lines(store)[0]["at"] == "2027-01-15T08:00:00.000000Z"


async def test_records_are_selected_by_run(store: Store) -> None:
    run, _ = await store.run(), await store.run()
    assert [record["seq"] for record in lines(store, run=run)] == [1, 2, 3, 4]


async def test_a_person_is_found_as_requester_as_decider_and_among_the_refused(store: Store) -> None:
    mine, other = await store.run(requester=ANNA), await store.run()
    asked = await store.ask(other)
    await store.decisions.vote(asked.id, DECIDERS[0], "approve")
    await store.db.write(lambda tx: refused(tx, kind="not_entitled", principal=ANNA.key, subject="a1", detail="click"))
    for name in (ANNA.key, ANNA.user):
        found = lines(store, principal=name)
        assert {record["run"] for record in found if record["record"] == "event"} == {mine}
        assert [record["type"] for record in found if record["record"] == "refusal"] == ["not_entitled"]
    decided = lines(store, principal=DECIDERS[0].key)
    assert [record["type"] for record in decided] == ["vote_cast", "approval_decided"]
    assert {record["requester"] for record in decided} == {"slack:T1:U1"}
    assert lines(store, principal="U") == []


async def test_a_run_without_payloads_is_exported_with_its_hashes(store: Store) -> None:
    run = await store.run()
    await store.journal.commit(run, (ev.RunFinished(status=RunStatus.COMPLETED),), Fact())
    before = [record["hash"] for record in lines(store)]
    store.clock.advance(2 * 86_400)
    await Retention(store.db, days=1).drop()
    after = lines(store)
    assert [record["hash"] for record in after] == before
    assert {record["payload"] for record in after} == {None}
    assert {row[-1] for row in table(store)[1:]} == {""}


FORMULAS = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n+1", "\uff1d1"]


@pytest.mark.parametrize("evil", FORMULAS)
async def test_no_cell_begins_a_formula(store: Store, evil: str) -> None:
    await store.db.write(lambda tx: refused(tx, kind=evil, principal=evil, subject=evil))
    head, row = table(store)
    assert tuple(head) == COLUMNS
    assert row[head.index("type")] == f"'{evil}"
    assert row[head.index("principal")] == f"'{evil}"
    assert not any(cell.strip()[:1] in set("=+-@\uff1d") for cell in row if cell)


async def test_a_table_says_the_same_as_the_lines(store: Store) -> None:
    await store.run("first, \"second\"\nthird; '=4'")
    head, *rows = table(store)
    for record, row in zip(lines(store), rows, strict=True):
        cells = dict(zip(head, row, strict=True))
        assert json.loads(cells.pop("payload")) == record.pop("payload")
        assert cells == {name: str(value) for name, value in record.items()}


async def test_what_somebody_made_unreadable_does_not_end_the_export(store: Store) -> None:
    run = await store.run()
    await store.db.write(lambda tx: tx.conn.execute("UPDATE events SET payload = '{x', at = 1e300 WHERE seq = 2"))
    assert [(record["at"][:4], type(record["payload"])) for record in lines(store, run=run)] == [
        ("2027", dict),
        ("1e+3", str),
        ("2027", dict),
        ("2027", dict),
    ]

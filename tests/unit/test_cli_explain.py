"""`secondkey policy explain` looks at who asks, when, where, and at what the run did so far; no server is needed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent import events as ev
from agent.domain import Action, Effect, Intent, Outcome, Principal, Tier, content_hash
from agent.facts.model import Facts
from agent.ports import Fact
from bot.__main__ import main
from storage.fakes import Store

POLICY = """
version = 1
[people]
approvers = ["U0OMAR"]
[limits]
run_rows = 1000
time_zone = "Europe/Berlin"
[[rule]]
name = "night"
when = "tool == 'query_sql' && (time.hour < 6 || time.weekday == 7)"
tier = "medium"
say = "Nobody is there at night and on Sundays."
[[rule]]
name = "juniors"
when = "tool == 'query_sql' && principal.user == 'U0NEW'"
tier = "high"
say = "Not yet."
[[rule]]
name = "here"
when = "tool == 'query_sql' && channel == 'C0OPEN'"
tier = "medium"
say = "Many look on."
"""
READ = json.dumps({"database": "shop", "sql": "SELECT 1 FROM drinks"})
UPDATE = json.dumps({"database": "shop", "sql": "UPDATE drinks SET price = 1 WHERE id = 1"})
NOON = "2026-11-23T12:00:00"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SECONDKEY_POLICY", str(tmp_path / "policy.toml"))
    (tmp_path / "policy.toml").write_text(POLICY)


def explained(capsys: pytest.CaptureFixture[str], *more: str, args: str = READ) -> dict[str, Any]:
    assert main(["policy", "explain", "--tool", "query_sql", "--args", args, "--json", *more]) == 0
    out = capsys.readouterr().out
    return dict(json.loads(out[out.index("{") :]))


def rules(body: dict[str, Any]) -> list[str]:
    return [item["rule"] for item in body["rules"]]


def test_the_time_counts_in_the_policys_zone(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "--at", NOON)["tier"] == "low"
    late = explained(capsys, "--at", "2026-11-24T04:30:00Z")
    assert (late["tier"], rules(late), late["at"]) == ("medium", ["night"], "2026-11-24T04:30:00Z")
    assert explained(capsys, "--at", "2026-11-22")["tier"] == "medium"


def test_who_asks_and_where_counts(capsys: pytest.CaptureFixture[str]) -> None:
    new = explained(capsys, "--at", NOON, "--principal", "slack:T0:U0NEW")
    assert (new["tier"], rules(new), new["principal"]) == ("high", ["juniors"], "slack:T0:U0NEW")
    open_channel = explained(capsys, "--at", NOON, "--channel", "C0OPEN")
    assert (open_channel["tier"], rules(open_channel)) == ("medium", ["here"])


def test_what_the_run_did_so_far_counts(capsys: pytest.CaptureFixture[str]) -> None:
    once = explained(capsys, "--at", NOON, "--facts", '{"counts": {"rows": 600}}', args=UPDATE)
    assert once["tier"] == "medium"
    chain = ("--facts", '{"counts": {"rows": 600}}', "--chain", '{"rows": 1200, "actions": 2}')
    again = explained(capsys, "--at", NOON, *chain, args=UPDATE)
    assert (again["tier"], "run_rows" in rules(again)) == ("high", True)
    assert again["chain"]["rows"] == 1200


async def build(folder: Path) -> tuple[str, str]:
    """A run that changed 900 rows, and is rated for 200 more."""
    store = await Store.open(folder / "secondkey.db")
    run = await store.run(requester=Principal(team="T0", user="U0MAYA"))
    names: list[str] = []
    for rows in (900, 200):
        facts = Facts(
            effects=(Intent(effect=Effect.MODIFY, target="db:shop/drinks"),), where="database", counts={"rows": rows}
        )
        body = facts.model_dump_json()
        name = store.ids.new("action")
        names.append(name)
        made = Action(
            id=name, step=0, turn=0, tool="query_sql", arguments=json.loads(UPDATE), digest=content_hash(name),
            schema_hash="s",
        )  # fmt: skip
        rated = ev.ActionRated(
            action=name, tier=Tier.LOW, intents=facts.effects, facts_blob=content_hash(body), rows=rows,
            policy_version="old",
        )  # fmt: skip
        blobs = {content_hash(body): body}
        await store.journal.commit(run, (ev.ActionProposed(action=made), rated), Fact(), blobs=blobs)
        if rows == 900:
            done = ev.ActionFinished(action=name, outcome=Outcome.SUCCEEDED)
            await store.journal.commit(run, (done,), Fact())
    await store.close()
    return run, names[1]


def test_the_chain_of_a_recorded_run_counts_for_a_call_that_nobody_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    run, _ = asyncio.run(build(tmp_path / "data"))
    more = ("--at", NOON, "--run", run, "--facts", '{"counts": {"rows": 150}}')
    body = explained(capsys, *more, args=UPDATE)
    assert body["chain"]["rows"] == 900 + 150 + 200 * 0
    assert (body["principal"], body["channel"]) == ("slack:T0:U0MAYA", "C1")
    assert body["tier"] == "high"
    assert main(["policy", "explain", "--tool", "query_sql", "--args", READ, "--run", "nothing"]) == 2


def test_a_recorded_action_is_rated_again_with_the_run_as_it_stood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    _, action = asyncio.run(build(tmp_path / "data"))
    assert main(["policy", "explain", action, "--json", "--at", NOON]) == 0
    out = capsys.readouterr().out
    body = json.loads(out[out.index("{") :])
    assert (body["tier"], body["now"], body["chain"]["rows"]) == ("low", "high", 1100)
    assert "run_rows" in [item["rule"] for item in body["now_rules"]]
    assert main(["policy", "explain", action]) == 0
    assert "would say high" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [
        ("--principal", "maya@example.com"), ("--chain", "[1]"), ("--chain", '{"rowz": 1}'),
        ("--chain", '{"rows": "x"}'),
        ("--at", "tomorrow"), ("--facts", '{"colour": 1}'), ("--facts", '{"counts": 5}'), ("--facts", '{"flags": 5}'),
        ("--run", "r1"), ("--chain", "[" * 100_000),
    ],
)  # fmt: skip
def test_what_is_typed_wrongly_is_told_with_its_fix(more: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain", "--tool", "query_sql", "--args", READ, *more]) == 2
    assert "Fix:" in capsys.readouterr().err

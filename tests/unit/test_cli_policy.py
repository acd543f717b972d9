"""`secondkey policy` and `secondkey approvers` on the command line, beside a server's database and without one."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import events as ev
from agent.clock import SystemClock
from agent.domain import Action, Effect, Intent, Outcome, Plan, PlannedStep, Tier, Worker, content_hash
from agent.facts.model import Facts
from agent.fakes import ManualClock
from agent.ports import Fact
from bot.__main__ import main
from bot.cli_approvers import Entry, add
from bot.config import Settings
from storage.approvers import standing
from storage.database import read_only
from storage.fakes import Store
from storage.policies import note_policy

OWN = """
version = 1
[people]
approvers = ["U0OMAR", "U0INES"]
[[rule]]
name = "orders"
when = "tool == 'query_sql' && facts.targets.exists(t, t == 'db:shop/orders')"
tier = "high"
say = "Orders are for people."
"""


@dataclass(frozen=True)
class Place:
    folder: Path
    run: str
    action: str

    @property
    def policy(self) -> Path:
        return self.folder / "policy.toml"

    @property
    def settings(self) -> Settings:
        return Settings(data=self.folder / "data", policy=self.policy)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDKEY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SECONDKEY_POLICY", str(tmp_path / "policy.toml"))
    (tmp_path / "policy.toml").write_text(OWN)
    (tmp_path / "data").mkdir()
    run, action = asyncio.run(build(tmp_path / "data"))
    return Place(tmp_path, run, action)


async def build(folder: Path) -> tuple[str, str]:
    store = await Store.open(folder / "secondkey.db", clock=ManualClock(at=SystemClock().now() - 60))
    run = await store.run()
    sql = {"database": "shop", "sql": "UPDATE orders SET a = 1 WHERE id = 1"}
    facts = Facts(effects=(Intent(effect=Effect.MODIFY, target="db:shop/orders"),), where="database").model_dump_json()
    plan = Plan(planner="runbook", steps=(PlannedStep(worker=Worker.CODE, instruction="x"),))
    action = Action(
        id="a-one", step=0, turn=0, tool="query_sql", arguments=sql, digest="d", schema_hash="s", call_id="c"
    )
    events = (
        ev.RunStarted(policy_version="old"),
        ev.PlanMade(plan=plan),
        ev.StepStarted(step=0, planned=0),
        ev.ActionProposed(action=action),
        ev.ActionRated(
            action=action.id,
            tier=Tier.LOW,
            headline="Change orders",
            facts_blob=content_hash(facts),
            policy_version="old",
        ),
        ev.ActionFinished(action=action.id, outcome=Outcome.CANCELLED),
    )
    await store.journal.commit(run, events, Fact(), blobs={content_hash(facts): facts})
    await store.lease.release()
    await store.close()
    return run, action.id


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_check_says_what_is_wrong_and_ends_with_1_when_it_is_unsafe(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "check"]) == 0
    assert "1 own rule" in told(capsys)
    place.policy.write_text(OWN + "[[rule]]\nname='open'\nwhen='true'\ntier='low'\nlower=true\nscope='*'\nsay='x'\n")
    assert main(["policy", "check", "--json"]) == 1
    findings = json.loads(told(capsys))["findings"]
    assert {"unsafe"} == {item["level"] for item in findings}
    place.policy.write_text(OWN.replace("query_sql", "query_sqll"))
    assert main(["policy", "check"]) == 0
    assert main(["policy", "check", "--strict"]) == 1


def test_check_says_that_a_policy_is_broken_with_its_fix(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.policy.write_text("version = 1\n[[rule]]\nname = 'x'\n")
    assert main(["policy", "check"]) == 2
    assert "Fix: Mend rule 'x'" in capsys.readouterr().err


def test_check_says_what_the_server_works_with(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    async def note() -> None:
        store = await Store.open(place.folder / "data" / "secondkey.db")
        await store.db.write(lambda tx: note_policy(tx, "0123456789ab", "The policy is not TOML."))
        await store.close()

    asyncio.run(note())
    main(["policy", "check"])
    said = told(capsys)
    assert "still works with 0123456789ab" in said
    assert "not TOML" in said


def test_the_shipped_tests_pass_without_any_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["policy", "test"]) == 0
    assert "came out as written" in told(capsys)


def test_own_tests_stand_beside_the_own_policy(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test"]) == 2
    beside = place.folder / "policy_tests.toml"
    args = "args={database='shop',sql='DELETE FROM orders WHERE id=1'}"
    row = f"[[test]]\nname='o'\ntool='query_sql'\n{args}\ntier='high'\n"
    beside.write_text(row + "rules=['orders']\n")
    assert main(["policy", "test"]) == 0
    beside.write_text(row.replace("high", "medium"))
    assert main(["policy", "test"]) == 1
    assert "FAILED o: it is high (orders), not medium" in told(capsys)


def test_explain_rates_a_call_that_nobody_made(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    del place
    arguments = json.dumps({"command": "sudo rm x"})
    for name in ("--args", "--arguments"):
        assert main(["policy", "explain", "--tool", "run_shell", name, arguments, "--json"]) == 0
    body = json.loads("{" + told(capsys).split("\n{", 1)[1])
    assert body["tier"] == "medium"
    assert "workspace_destructive" in [rule["rule"] for rule in body["rules"]]
    assert body["facts"]["flags"]
    assert main(["policy", "explain", "--tool", "send_money", "--args", "[1]"]) == 2
    assert main(["policy", "explain", "--tool", "send_money", "--args", "{"]) == 2
    assert main(["policy", "explain"]) == 2
    assert main(["policy", "explain", "--tool", "send_money"]) == 0
    assert "unknown_tool" in told(capsys)


def test_explain_tells_of_an_action_of_the_journal_then_and_now(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "explain", place.action[:3]]) == 0
    said = told(capsys)
    assert "Rated low by the policy old" in said
    assert "would say high" in said
    assert main(["policy", "explain", place.action, "--json"]) == 0
    assert json.loads(told(capsys))["now"] == "high"
    assert main(["policy", "explain", "zzz"]) == 2


@pytest.mark.usefixtures("place")
def test_replay_lists_which_ratings_another_policy_would_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "replay", "--json"]) == 0
    body = json.loads(told(capsys))
    assert body["compared"] == 1
    assert [(item["was"], item["would_be"], item["rules"]) for item in body["changes"]] == [("low", "high", ["orders"])]
    assert main(["policy", "replay"]) == 0
    assert "1 of 1 rating would change" in told(capsys)


def test_approvers_are_added_listed_tried_and_removed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approvers", "list"]) == 0
    assert "Nobody is registered" in told(capsys)
    assert (
        main(["approvers", "add", "U0THEO", "--tool", "query_*", "--until", "2099-01-01", "--note", "[on] call"]) == 0
    )
    assert main(["approvers", "add", "local:1000", "--tier", "high"]) == 0
    told(capsys)
    assert main(["approvers", "list", "--json"]) == 0
    assert [(row["principal"], row["valid"]) for row in json.loads(told(capsys))] == [
        ("U0THEO", True),
        ("local:1000", True),
    ]
    assert main(["approvers", "list"]) == 0
    for arguments, code in (
        (["U0THEO", "--tool", "query_sql"], 0),
        (["U0THEO", "--tool", "apply_changes"], 1),
        (["U0OMAR", "--tool", "apply_changes"], 0),
        (["U0EVE", "--tool", "query_sql"], 1),
        (["local:1000", "--tool", "x", "--tier", "medium"], 1),
    ):
        assert main(["approvers", "test", *arguments]) == code, arguments
    assert main(["approvers", "remove", "U0THEO"]) == 0
    assert main(["approvers", "remove", "U0THEO"]) == 1
    assert main(["approvers", "remove", "2"]) == 0
    with closing(read_only(place.settings.database)) as conn:
        assert standing(conn.execute) == ()
        kinds = [kind for (kind,) in conn.execute("SELECT kind FROM audit ORDER BY id")]
    assert kinds == ["approver_added", "approver_added", "approver_removed", "approver_removed"]


@pytest.mark.parametrize("person", ["maya@example.com", "everybody", "", "S0APPROVERS", "U0 OR 1=1"])
def test_only_a_person_can_be_registered(place: Place, person: str) -> None:
    del place
    assert main(["approvers", "add", person]) == 2


@pytest.mark.parametrize("until", ["tomorrow", "2001-01-01", "99"])
def test_a_time_that_is_none_or_is_over_is_refused(place: Place, until: str) -> None:
    del place
    assert main(["approvers", "add", "U0THEO", "--until", until]) == 2


def test_an_entry_whose_time_is_over_counts_for_nobody(place: Place) -> None:
    moment = SystemClock().now() + 3_600
    add(place.settings, Entry(person="U0THEO", until="2099-01-01"))
    with closing(read_only(place.settings.database)) as conn:
        (entry,) = standing(conn.execute)
    assert entry.covers(tool="query_sql", channel="C1", tier="medium", now=moment)
    assert not entry.covers(tool="query_sql", channel="C1", tier="medium", now=entry.valid_until)

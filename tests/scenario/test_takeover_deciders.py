"""A takeover is for whom its rule names: to claim it, to get it from another, and to say what became of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import INES, OMAR, TEAM, THEO, Json, words

GROUP = "S0APPROVERS"


def rule(tool: str, tier: str, *deciders: str) -> str:
    when = f"tool == '{tool}'"
    return f"[[rule]]\nname = 'own'\nwhen = \"{when}\"\ntier = '{tier}'\nsay = 'Ours.'\ndeciders = {list(deciders)}\n"


def key(user: str) -> str:
    return f"slack:{TEAM}:{user}"


async def wipe(open_house: Opened, *deciders: str, approvers: tuple[str, ...] = (OMAR,)) -> tuple[House, Json]:
    house = await open_house(approvers=approvers, policy=rule("query_sql", "high", *deciders))
    await house.slack.call("person", {"id": THEO, "role": "member"})
    house.forget(THEO)
    await house.ask("wipe the drinks")
    return house, await house.card("A person has to do this", "DELETE FROM drinks")


async def test_whom_the_rule_names_claims_it_and_the_policys_other_people_do_not(open_house: Opened) -> None:
    house, packet = await wipe(open_house, INES)
    assert house.takeover().deciders == (key(INES),)
    assert f"<@{INES}>" in words(packet)
    await house.click(OMAR, packet, "takeover_claim")
    await house.told(OMAR, "You are not among")
    assert house.takeover().state == "open"
    await house.click(INES, packet, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")
    assert [row.kind for row in house.audit()] == ["not_entitled"]


async def test_it_is_handed_on_only_to_whom_the_rule_names(open_house: Opened) -> None:
    house, packet = await wipe(open_house, INES, THEO)
    await house.click(INES, packet, "takeover_claim")
    packet = await house.shows(packet, f"<@{INES}> has it")
    for to in (OMAR, THEO):
        await house.click(INES, packet, "takeover_reassign")
        form = await house.slack.wait_for_view(INES, lambda view: view["callback_id"] == "takeover_reassign_form")
        assert (await house.slack.submit(INES, form["id"], {"person": {"value": {"selected_user": to}}}))["ok"]
        if to == OMAR:
            notice = await house.slack.wait_for_view(INES, lambda view: view["callback_id"] == "notice")
            assert "not among the people who may take it" in words(notice)
            assert house.takeover().claimed_by == key(INES)
            await house.slack.close_view(INES, notice["id"])
    await house.shows(packet, f"<@{THEO}> has it")


async def test_invariant_6_who_left_the_rules_group_claims_nothing_though_the_policy_names_them_elsewhere(
    open_house: Opened,
) -> None:
    house, packet = await wipe(open_house, GROUP)
    assert house.takeover().deciders == (key(INES), key(OMAR))
    house.sim.services.workspace.usergroups[GROUP]["users"] = [INES]
    assert house.app.groups is not None
    house.app.groups.changed()
    await house.app.groups.refresh([GROUP])
    await house.click(OMAR, packet, "takeover_claim")
    await house.told(OMAR, "You are not among")
    await house.click(INES, packet, "takeover_claim")
    await house.shows(packet, f"<@{INES}> has it")


def _put_back(left: Path, path: Path) -> None:
    for old in path.parent.glob("secondkey.db*"):
        old.unlink()
    left.rename(path)


async def lost(open_house: Opened, left: Path) -> tuple[House, Json]:
    """An action that the rule's decider approved and of which a crash left no result."""
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,), approvers=(OMAR,), policy=rule("touch_medium", "medium", INES))
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    touch.hold()
    await house.click(INES, card, "approve")
    await touch.running.wait()
    with sqlite3.connect(house.app.db.path) as conn, sqlite3.connect(left) as copy:
        conn.backup(copy)  # what stands on the disk when the process is killed now
        copy.execute("UPDATE lease SET expires_at = 0, effects_until = 0")
    conn.close()
    copy.close()
    touch.release()
    await house.answer(ts)
    await house.app.stop()
    _put_back(left, house.app.db.path)
    await house.start()
    return house, await house.card("Did this happen?")


@pytest.mark.parametrize(
    ("action", "state"),
    [("unknown_happened", "done"), ("unknown_run_again", "handed_back"), ("unknown_stop", "aborted")],
)
async def test_who_decides_on_the_action_says_what_became_of_it_and_nobody_else(
    open_house: Opened, tmp_path: Path, action: str, state: str
) -> None:
    house, packet = await lost(open_house, tmp_path / "left.db")
    assert house.takeover().deciders == (key(INES),)
    await house.click(OMAR, packet, action)
    await house.told(OMAR, "You are not among")
    assert house.takeover().state == "open"
    await house.click(INES, packet, action)
    await house.until(lambda: house.takeover().state == state)
    assert house.takeover().closed_by == key(INES)

"""A permission counts only while its giver is among the deciders of exactly the action that would use it."""

from __future__ import annotations

import asyncio

from bot.cli_approvers import Entry, add, remove
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.test_grants import allow
from tests.scenario.touch import Touch
from tests.scenario.world import INES, OMAR, Json

ASK = "use touch_medium on x"
RULE = "[[rule]]\nname = 'own'\nwhen = \"tool == 'touch_medium'\"\ntier = 'medium'\nsay = 'Ours.'\n"
REGISTERED = f"{RULE}deciders = ['registered', '{INES}']\n"


async def allowed(house: House, giver: str) -> Json:
    """A permission for an hour, given with the first yes."""
    ts = await house.ask(ASK)
    card = await house.card("Touch x")
    await allow(house, giver, card, span="hour", uses=10)
    await house.answer(ts)
    return card


async def test_a_giver_whom_the_rule_names_no_more_allows_nothing_though_the_policy_names_them_elsewhere(
    open_house: Opened,
) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,), policy=f"{RULE}deciders = ['{OMAR}', '{INES}']\n")
    card = await allowed(house, OMAR)
    path = house.folder / "policy.toml"
    path.write_text(path.read_text().replace(f"deciders = ['{OMAR}', '{INES}']", f"deciders = ['{INES}']"))
    house.app.reload_policy()
    await house.ask(ASK)
    second = await house.card("Touch x", f"<@{INES}>", without=[card])
    assert (touch.done["x"], house.approvals()[-1].state) == (1, "pending")
    await house.click(INES, second, "approve")
    await house.until(lambda: touch.done["x"] == 2)


async def test_a_registered_giver_allows_only_within_their_scope_as_the_registry_has_it_at_the_start(
    open_house: Opened,
) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,), approvers=(INES,), policy=REGISTERED)
    await asyncio.to_thread(add, house.settings(), Entry(person=OMAR, tool="touch_*"))
    assert house.app.services is not None
    house.app.services.identity.on_decision()  # as every click does
    card = await allowed(house, OMAR)
    # Still an approver, but of other tools: nobody clicks before the next use, which must look by itself.
    await asyncio.to_thread(remove, house.settings(), OMAR)
    await asyncio.to_thread(add, house.settings(), Entry(person=OMAR, tool="apply_*"))
    await house.ask(ASK)
    await house.card("Touch x", without=[card])
    assert (touch.done["x"], house.approvals()[-1].state) == (1, "pending")


async def test_where_each_yes_needs_a_reason_an_earlier_permission_is_not_one(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,))
    card = await allowed(house, OMAR)
    path = house.folder / "policy.toml"
    path.write_text(f"{path.read_text()}{RULE}reason = ['approve']\n")
    house.app.reload_policy()
    await house.ask(ASK)
    await house.card("Touch x", "Approve asks for a reason", without=[card])
    assert touch.done["x"] == 1

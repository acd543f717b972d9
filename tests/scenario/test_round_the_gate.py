"""Attempts to talk round the gate by way of a whole run: what was said yes to is what stood there when it was asked."""

from __future__ import annotations

import pytest

from agent.fakes import ScriptedModel
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.world import OMAR

pytestmark = pytest.mark.needs("bwrap")


async def test_a_script_that_changes_after_it_was_asked_is_asked_anew(open_house: Opened) -> None:
    swap = ("write_file", {"path": "x.sh", "content": "echo swapped > ran.txt\n"})
    model = ScriptedModel(
        [
            script.plan(),
            script.use(("write_file", {"path": "x.sh", "content": "echo harmless > ran.txt\n"})),
            script.use(("run_shell", {"command": "sh x.sh"}), swap),
            script.end(),
            script.say(),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("run the script")
    card = await house.card("echo harmless")
    await house.until(lambda: house.started() == 2)  # both writes, the second one while people read the card
    await house.click(OMAR, card, "approve")
    again = await house.card("echo swapped", "It would do something else by now", without=[card])
    assert house.started() == 2
    await house.click(OMAR, again, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    assert house.started() == 2


async def test_a_script_that_stayed_as_it_was_shown_starts_on_its_one_yes(open_house: Opened) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.use(("write_file", {"path": "x.sh", "content": "echo harmless > ran.txt\n"})),
            script.use(("run_shell", {"command": "sh x.sh"}), ("write_file", {"path": "other.txt", "content": "x"})),
            script.end(),
            script.say(),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("run the script")
    await house.click(OMAR, await house.card("echo harmless"), "approve")
    await house.answer(ts)
    assert (house.started(), len(house.approvals())) == (3, 1)


async def test_a_denied_script_is_not_run_under_another_name(open_house: Opened) -> None:
    text = "echo harmless > ran.txt\n"
    model = ScriptedModel(
        [
            script.plan(),
            script.use(("write_file", {"path": "x.sh", "content": text})),
            script.use(("run_shell", {"command": "sh x.sh"})),
            script.use(("write_file", {"path": "y.sh", "content": text})),
            script.use(("run_shell", {"command": "bash ./y.sh"})),
            script.end(),
            script.say(),
        ]
    )
    house = await open_house(model=model)
    ts = await house.ask("run the script")
    await house.click(OMAR, await house.card("echo harmless"), "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    assert (house.started(), len(house.approvals())) == (2, 1)
    assert any("was denied or expired in this run" in script.heard(request) for request in model.requests)

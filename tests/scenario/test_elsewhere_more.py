"""More of what went wrong in other projects, one test each: their failure is the name, our outcome the assertion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent import events as ev
from agent.domain import Action, ApprovalState, Tier, content_hash
from agent.facts.model import Facts
from agent.fakes import ScriptedModel
from agent.grants import Terms, Use
from agent.ports import Fact
from agent.tools.base import Preview, ToolContext, ToolResult
from storage.fakes import DECIDERS, REQUESTER, Store
from storage.grants import Grants
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.touch import Touch, TouchArguments
from tests.scenario.world import INES, MAYA, OMAR

FIRST = "UPDATE drinks SET price = 410 WHERE name = 'Oat flat'"
CHANGED = "UPDATE drinks SET price = 405 WHERE name = 'Oat flat'"


class Refund(Touch):
    """Has its effect and then loses the answer, as a payment service that times out."""

    async def run(self, arguments: TouchArguments, context: ToolContext, preview: Preview) -> ToolResult:
        await super().run(arguments, context, preview)
        raise ConnectionError("the answer was lost")


async def test_a_declined_tool_that_ran_after_all(open_house: Opened) -> None:
    touch = Touch("touch_medium")
    house = await open_house(tools=(touch,))
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    await house.click(OMAR, card, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    await house.restart()
    await house.forge(OMAR, card, "approve")
    await house.told(OMAR, "This was already denied")
    assert (touch.done["x"], house.started()) == (0, 0)


async def test_a_retry_that_refunded_twice(open_house: Opened) -> None:
    refund = Refund("touch_medium")
    call = ("touch_medium", {"name": "x"})
    model = ScriptedModel([script.plan(), script.use(call), script.use(call), script.end(), script.say()])
    house = await open_house(tools=(refund,), model=model)
    await house.ask("refund order x")
    card = await house.card("Touch x")
    await house.click(OMAR, card, "approve")
    again = await house.card("Touch x", without=(card,))  # the model tries once more: that is asked, and not just done
    assert (refund.done["x"], house.started()) == (1, 1)
    await house.click(INES, again, "deny")
    await house.until(lambda: house.approvals()[-1].state == "denied")
    assert (refund.done["x"], house.started()) == (1, 1)


async def test_after_an_edit_the_agent_did_the_original_call_again(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.sql(FIRST), script.sql(FIRST), script.end(), script.say()])
    house = await open_house(model=model)
    await house.ask("raise the price")
    card = await house.card("price = 410")
    await house.click(OMAR, card, "edit")
    view = await house.slack.wait_for_view(OMAR, lambda view: view["callback_id"] == "approval_edit_form")
    await house.slack.submit(OMAR, view["id"], {"argument.1.0": {"value": CHANGED}})
    changed = await house.card("price = 405", without=(card,))
    await house.click(INES, changed, "approve")
    await house.card("price = 410", without=(card, changed))  # proposed again all the same, it waits for people
    assert "A person changed the arguments of this call" in script.heard(model.requests[2])
    assert (house.prices()["Oat flat"], house.started()) == (405, 1)


async def test_an_email_that_was_taken_for_an_identity(open_house: Opened) -> None:
    house = await open_house(approvers=(OMAR,))
    await house.ask("price of Oat flat to 410", user=MAYA)
    card = await house.card("Oat flat")
    # Whatever Ines calls herself, and whatever address she has: the policy names an id.
    await house.slack.call("person", {"id": INES, "name": "omar", "display_name": "Omar Reyes"})
    house.forget(INES)
    await house.click(INES, card, "approve")
    await house.told(INES, "You are not among")
    assert (house.approvals()[0].state, house.started()) == ("pending", 0)


def _touch(name: str, arguments: Mapping[str, str]) -> Action:
    return Action(
        id=name, step=0, turn=0, tool="touch", arguments=dict(arguments), digest=content_hash(name), schema_hash="s"
    )


async def test_a_grant_for_exactly_these_empty_arguments_that_became_one_for_the_whole_tool(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store.db")
    run, body = await store.run(), Facts().model_dump_json()

    async def rated(name: str, arguments: Mapping[str, str]) -> Action:
        action = _touch(name, arguments)
        facts = ev.ActionRated(action=name, tier=Tier.MEDIUM, facts_blob=content_hash(body))
        events = (ev.ActionProposed(action=action), facts)
        await store.journal.commit(run, events, Fact(), blobs={content_hash(body): body})
        return action

    action = await rated("empty", {})
    asked = ev.ApprovalRequested(
        approval="p1", action=action.id, digest=action.digest, epoch=0, created_at=store.clock.at,
        expires_at=store.clock.at + 60, timeout_s=60, deciders=(DECIDERS[0].key,),
    )  # fmt: skip
    await store.journal.commit(run, (asked,), Fact())
    terms = Terms(this_run_only=True, seconds=600, uses=5)
    row = await store.decisions.vote("p1", DECIDERS[0], "approve", allow=terms)
    assert row.state == ApprovalState.APPROVED
    (one,) = Grants(store.db).standing("touch", REQUESTER.key, store.clock.now())  # as it came back from the disk
    assert (one.grant.arguments, one.grant.free) == ({}, ())

    def refusal(arguments: Mapping[str, str]) -> str:
        use = Use(_touch("other", arguments), Tier.MEDIUM, Facts())
        return one.refusal(use, run=run, requester=REQUESTER.key, now=store.clock.now())

    assert refusal({}) == ""
    assert refusal({"name": "everything"})
    await store.close()

"""DESIGN.md §5, invariants 7, 8 and 10: doubt raises the risk, limits hold, and a no stays a no."""

from __future__ import annotations

import itertools

import pytest

from agent.domain import Outcome, RunStatus, Tier
from agent.events import ModelCallFailed, ModelCallFinished, ModelCallStarted, StepStarted
from agent.fakes import ScriptedModel
from agent.ports import ModelReply, ToolCall
from storage.queries import Queries
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import OMAR

CHEAP = "UPDATE drinks SET price = 1 WHERE id = 1"


class Panic(BaseException):
    """What a crash inside a Rust extension looks like: no Exception."""


def _outcomes(house: House, run: str) -> list[tuple[str, Outcome | None, Tier | None]]:
    view = Queries(house.app.db).run_view(run)
    assert view is not None
    return [(item.action.tool, item.outcome, item.tier) for item in view.actions]


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError(), MemoryError(), TimeoutError(), Panic("panic")])
async def test_invariant_7_an_analyser_that_raises_anything_at_all_means_a_person(
    open_house: Opened, error: BaseException
) -> None:
    touch = Touch("touch_low", "low", analyser=error)
    house = await open_house(tools=(touch,))
    await house.ask("use touch_low on x")
    await house.card("A person has to do this", f"could not be analysed ({type(error).__name__})")
    assert (dict(touch.done), house.started()) == ({}, 0)


async def test_invariant_7_a_tool_that_no_rule_knows_means_a_person(open_house: Opened) -> None:
    touch = Touch("touch_unrated", "")
    house = await open_house(tools=(touch,))
    await house.ask("use touch_unrated on x")
    await house.card("A person has to do this", "No rule knows the tool")
    assert (dict(touch.done), house.started()) == ({}, 0)


async def test_invariant_7_a_tool_that_is_not_on_the_list_is_refused_and_journalled(house: House) -> None:
    ts = await house.ask("use no_such_tool on x")
    await house.answer(ts)
    run = await house.run_at(ts, RunStatus.PARTIAL)
    assert _outcomes(house, run.id) == [("no_such_tool", Outcome.REFUSED, None)]


@pytest.mark.parametrize("when", ["args.nothing == 'x'", "1 / 0 == 1", "tool", "size(args) / 0 > 1"])
async def test_invariant_7_a_policy_that_errs_means_a_person(open_house: Opened, when: str) -> None:
    rule = f'[[rule]]\nname = "broken"\nwhen = "{when}"\ntier = "low"\nsay = "It is broken."\n'
    house = await open_house(policy=rule)
    await house.ask("add 1 and 1")
    await house.card("A person has to do this", "The policy could not judge")
    assert house.started() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        "no JSON",
        "[1, 2]",
        {"database": "shop"},
        {"database": "shop", "sql": CHEAP, "force": True},
        {"sql": float("nan")},
    ],
)
async def test_invariant_7_arguments_that_do_not_fit_are_refused(open_house: Opened, arguments: object) -> None:
    call = ModelReply(text="", calls=(ToolCall("c1", "query_sql", arguments),))  # type: ignore[arg-type]  # that is it
    house = await open_house(model=ScriptedModel([script.plan(), call, script.end(), script.say()]))
    ts = await house.ask("anything")
    await house.answer(ts)
    run = await house.run_at(ts)
    assert [outcome for _, outcome, _ in _outcomes(house, run.id)] == [Outcome.REFUSED]
    assert (house.started(), house.prices()["Oat flat"]) == (0, 400)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE drinks SET price = 1",
        "DROP TABLE drinks",
        "DELETE FROM drinks WHERE id = 1; DROP TABLE drinks",
        "MERGE %%",
    ],
)
async def test_invariant_7_what_cannot_be_bounded_or_parsed_means_a_person(open_house: Opened, statement: str) -> None:
    house = await open_house(model=ScriptedModel([script.plan(), script.sql(statement)]))
    await house.ask("anything")
    await house.card("A person has to do this")
    assert (house.started(), len(house.prices())) == (0, 3)


async def test_invariant_8_a_tool_that_takes_too_long_is_ended(open_house: Opened) -> None:
    touch = Touch("touch_low", "low", timeout_s=0.2)
    touch.hold()
    house = await open_house(tools=(touch,))
    ts = await house.ask("use touch_low on x")
    assert "took longer than 0.2 s" in await house.answer(ts)
    run = await house.run_at(ts, RunStatus.PARTIAL)
    assert _outcomes(house, run.id) == [("touch_low", Outcome.TIMED_OUT, Tier.LOW)]
    assert dict(touch.done) == {}


async def test_invariant_8_a_run_makes_ten_steps_at_most_and_ends_partial(open_house: Opened) -> None:
    names = [f"Step {number}" for number in range(1, 11)]
    replies = [script.plan(*names), script.end("It does not work yet.", "blocked"), *(script.end() for _ in range(11))]
    house = await open_house(model=ScriptedModel([*replies]))
    ts = await house.ask("a long way")
    await house.answer(ts)
    run = await house.run_at(ts, RunStatus.PARTIAL)
    assert sum(isinstance(event, StepStarted) for event in house.events(run.id)) == 10


async def test_invariant_8_a_worker_takes_eight_turns_and_twenty_actions_at_most(open_house: Opened) -> None:
    sums = [("calculate", {"expression": f"{number} + 1"}) for number in range(30)]
    house = await open_house(model=ScriptedModel([script.plan(), script.use(*sums), script.say()]))
    ts = await house.ask("all at once")
    await house.answer(ts)
    assert len(_outcomes(house, (await house.run_at(ts)).id)) == 20
    one = [script.use(("calculate", {"expression": f"{number} + 1"})) for number in range(12)]  # the same is a circle
    house = await open_house(model=ScriptedModel([script.plan(), *one]))
    ts = await house.ask("for ever")
    await house.answer(ts)
    assert len(_outcomes(house, (await house.run_at(ts)).id)) == 8


async def test_invariant_8_reserved_and_settled_money_never_passes_the_budget(open_house: Opened) -> None:
    calls = [("calculate", {"expression": f"{number} + 1"}) for number in range(9)]
    replies = [script.plan(), *(script.use(call, cost=90_000) for call in calls)]
    house = await open_house(model=ScriptedModel([*replies], cost=150_000))
    ts = await house.ask("spend it all")
    await house.answer(ts)
    run = await house.run_at(ts, RunStatus.PARTIAL)
    held: dict[str, int] = {}
    for event in house.events(run.id):
        if isinstance(event, ModelCallStarted):
            held[event.call] = event.reserved_micro_usd
        elif isinstance(event, ModelCallFinished | ModelCallFailed):
            held[event.call] = event.cost_micro_usd
        assert sum(held.values()) <= 500_000
    assert sum(held.values()) > 300_000
    assert "BUDGET_EXCEEDED" in [event.code for event in house.events(run.id) if isinstance(event, ModelCallFailed)]


SPELLINGS = [
    "update DRINKS set PRICE = 2 where ID = 1",
    'UPDATE "drinks" SET price = 3 WHERE id IN (SELECT 1)',
    "UPDATE main.drinks SET price = 4 WHERE id = 1 AND 1 = 1",
    "UPDATE [drinks] /* honestly */ SET price = 5 WHERE id = 1",
]


@pytest.mark.parametrize("end", ["denied", "expired"])
async def test_invariant_10_a_refused_intent_is_refused_in_every_spelling_and_by_every_tool(
    open_house: Opened, end: str
) -> None:
    other = Touch("touch_low", "low")
    other.target = "db:shop/drinks"
    calls = itertools.chain([script.sql(CHEAP)], (script.sql(text) for text in SPELLINGS))
    by_tool = script.use(("touch_low", {"name": "drinks"}))
    model = ScriptedModel([script.plan(), *calls, by_tool, script.end(), script.say()])
    house = await open_house(model=model, tools=(other,))
    ts = await house.ask("make it cheap by whatever road")
    card = await house.card("price = 1")
    if end == "denied":
        await house.click(OMAR, card, "deny")
        await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    else:
        await house.until(lambda: house.approvals()[0].delivered_at)
        await house.advance(1801)
    await house.answer(ts)
    run = await house.run_at(ts)
    wanted = [Outcome(end), *[Outcome.REFUSED] * (len(SPELLINGS) + 1)]
    assert [outcome for _, outcome, _ in _outcomes(house, run.id)] == wanted
    assert (house.started(), dict(other.done), house.prices()["Oat flat"]) == (0, {}, 400)
    assert len(house.approvals()) == 1


async def test_invariant_10_after_a_denial_what_nobody_can_tell_is_asked_and_not_run(open_house: Opened) -> None:
    touch = Touch("touch_low", "low")
    touch.undecidable = ("Nobody can tell.",)
    denied, vague = script.sql(CHEAP), script.use(("touch_low", {"name": "something"}))
    house = await open_house(model=ScriptedModel([script.plan(), denied, vague]), tools=(touch,))
    await house.ask("make it cheap")
    card = await house.card("price = 1")
    await house.click(OMAR, card, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.card("Touch something", without=(card,))
    assert (dict(touch.done), house.started()) == ({}, 0)


async def test_invariant_10_people_may_ask_again_in_a_new_run(house: House) -> None:
    ts = await house.ask("price of Tea to 260")
    card = await house.card("Tea")
    await house.click(OMAR, card, "deny")
    await house.slack.close_view(OMAR, (await house.slack.wait_for_view(OMAR))["id"])
    await house.answer(ts)
    await house.ask("price of Tea to 260", thread_ts=ts)
    again = await house.card("Tea", without=(card,))
    await house.click(OMAR, again, "approve")
    await house.shows(again, "Approved by", "Done")
    assert house.prices()["Tea"] == 260

"""Approve and allow: the exact scope is shown before it is given, used without asking, counted, ended, taken back."""

from __future__ import annotations

from typing import Any

import pytest

from agent.domain import RunStatus
from agent.fakes import ScriptedModel
from bot.listeners import granting
from storage.grants import Grants
from tests.scenario import script
from tests.scenario.conftest import Opened
from tests.scenario.house import House
from tests.scenario.touch import Touch
from tests.scenario.world import ACTIONS, INES, MAYA, OMAR, TEAM, Json, buttons, words


def key(user: str) -> str:
    return f"slack:{TEAM}:{user}"


def touches(*names: str) -> ScriptedModel:
    """A run that touches each of these once."""
    turns = [script.use(("touch_medium", {"name": name})) for name in names]
    return ScriptedModel([script.plan(), *turns, script.end(), script.say("Touched.")])


def again_and_again(name: str, times: int) -> ScriptedModel:
    """A run that touches the same thing once a step: within one step the third time would be going in circles."""
    steps = [reply for _ in range(times) for reply in (script.use(("touch_medium", {"name": name})), script.end())]
    return ScriptedModel([script.plan(*["Touch it."] * times), *steps, script.say("Touched.")])


def choice(value: str) -> Json:
    return {"selected_option": {"text": {"type": "plain_text", "text": value}, "value": value}}


async def fill(
    house: House, user: str, card: Json, *, span: str = "run", uses: int = 3, free: tuple[str, ...] = ()
) -> Any:
    """Open the form, choose, and go on to the window with the exact scope."""
    await house.click(user, card, "allow")
    form = await house.slack.wait_for_view(user, lambda v: v["callback_id"] == "grant_form")
    options = [{"text": {"type": "plain_text", "text": name}, "value": name} for name in free]
    values: Json = {"how_long": {"value": choice(span)}, "uses": {"value": choice(str(uses))}}
    if options:
        values["free"] = {"value": {"selected_options": options}}
    answer = await house.slack.submit(user, form["id"], values)
    if not answer["ok"]:
        return answer
    return await house.slack.wait_for_view(user, lambda v: v["callback_id"] != "grant_form")


async def allow(house: House, user: str, card: Json, **chosen: Any) -> Json:
    """Give a grant; returns the window that showed its scope."""
    view = await fill(house, user, card, **chosen)
    assert (await house.slack.submit(user, view["id"]))["ok"]
    await house.until(lambda: Grants(house.app.db).rows())
    return dict(view)


async def test_what_was_allowed_runs_again_without_asking_and_the_record_says_by_which_grant(
    open_house: Opened,
) -> None:
    tool = Touch("touch_medium")
    house = await open_house(model=again_and_again("x", 3), tools=[tool])
    ts = await house.ask("touch it three times")
    card = await house.card("Touch x")
    await allow(house, OMAR, card, uses=3)
    assert "Touched." in await house.answer(ts)
    run = await house.run_at(ts, RunStatus.COMPLETED)
    assert tool.done["x"] == 3
    (row,) = Grants(house.app.db).rows()
    assert row.uses == 2
    approvals = house.approvals()
    assert [(item.state, item.decided_by) for item in approvals] == [("approved", key(OMAR))] * 3
    assert [item.reason for item in approvals[1:]] == [f"grant:{row.id}"] * 2
    assert all(item.consumed_at for item in approvals)
    rated = [item for item in house.events(run.id) if item.type == "action_rated"]
    assert [item.reasons[-1].rule for item in rated[1:]] == [f"grant:{row.id}"] * 2
    assert [item.kind for item in house.audit() if item.kind.startswith("grant")] == ["grant_used"] * 2 + [
        "grant_given"
    ]


async def test_a_use_leaves_a_card_that_names_its_grant_and_calls_nobody(open_house: Opened) -> None:
    house = await open_house(model=touches("x", "x"), tools=[Touch("touch_medium")])
    ts = await house.ask("touch it twice")
    await allow(house, OMAR, await house.card("Touch x"))
    await house.answer(ts)
    (row,) = Grants(house.app.db).rows()
    used = await house.slack.wait_for_message(ACTIONS, lambda m: f"permission `{row.id}`" in words(m))
    assert buttons(used) == []
    assert f"<@{OMAR}>" not in words(used)
    assert f"<@{INES}>" not in words(used)


async def test_the_exact_scope_is_shown_before_it_is_given(open_house: Opened) -> None:
    house = await open_house(model=touches("x"), tools=[Touch("touch_medium")])
    await house.ask("touch it")
    card = await house.card("Touch x")
    view = await fill(house, OMAR, card, span="hour", uses=5)
    shown = str(view["blocks"])
    for part in ("touch_medium", "thing:x", "modify", f"every run of <@{MAYA}>", "5 times at most", "name"):
        assert part in shown
    assert Grants(house.app.db).rows() == ()
    assert house.approvals()[0].state == "pending"
    assert house.started() == 0


async def test_what_is_not_exactly_allowed_asks_as_before(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(model=touches("x", "y"), tools=[tool])
    ts = await house.ask("touch two things")
    first = await house.card("Touch x")
    await allow(house, OMAR, first)
    second = await house.card("Touch y", without=[first])
    assert tool.done == {"x": 1}
    await house.click(INES, second, "approve")
    await house.answer(ts)
    assert tool.done == {"x": 1, "y": 1}


async def test_a_used_up_grant_asks_again(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(model=again_and_again("x", 3), tools=[tool])
    await house.ask("touch it three times")
    card = await house.card("Touch x")
    await allow(house, OMAR, card, uses=1)
    await house.card("Touch x", without=[card])
    assert tool.done["x"] == 2
    assert house.approvals()[-1].state == "pending"


async def test_an_hour_long_grant_covers_the_same_persons_next_run_until_the_hour_is_over(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(tools=[tool])
    first = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    await allow(house, OMAR, card, span="hour", uses=10)
    await house.answer(first)
    second = await house.ask("use touch_medium on x")
    await house.answer(second)
    assert tool.done["x"] == 2
    await house.advance(3601)
    await house.ask("use touch_medium on x")
    await house.card("Touch x", without=[card])
    assert tool.done["x"] == 2


async def test_a_grant_for_one_run_covers_no_other_and_one_person_s_grant_no_other_person(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(tools=[tool])
    card = await _allowed(house, span="run")
    await house.ask("use touch_medium on x")
    other = await house.card("Touch x", without=[card])
    await allow(house, OMAR, other, span="hour", uses=10)
    await house.ask("use touch_medium on x", user=INES)
    await house.card("Touch x", without=[card, other])
    assert tool.done["x"] == 2


async def _allowed(house: House, **chosen: Any) -> Json:
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    await allow(house, OMAR, card, **chosen)
    await house.answer(ts)
    return card


async def test_a_giver_who_joined_the_run_with_words_of_their_own_is_asked_round_for_somebody_else(
    open_house: Opened,
) -> None:
    tool = Touch("touch_medium")
    house = await open_house(model=touches("x", "x"), tools=[tool])
    ts = await house.ask("touch it twice")
    card = await house.card("Touch x")
    tool.hold()
    await allow(house, OMAR, card)
    await tool.running.wait()
    await house.ask("and do it quickly", user=OMAR, thread_ts=ts)
    await house.until(lambda: key(OMAR) in house.queries.co_requesters(house.approvals()[0].run))
    tool.release()
    second = await house.card("Touch x", without=[card])
    assert f"<@{INES}>" in words(second)
    assert tool.done["x"] == 1


async def test_a_revoked_grant_asks_again_and_only_the_entitled_revoke(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(tools=[tool], approvers=(OMAR,))
    card = await _allowed(house, span="hour", uses=10)
    services = house.app.services
    assert services is not None
    (row,) = Grants(house.app.db).rows()
    for user in (MAYA, INES):
        with pytest.raises(Exception, match="not among the people"):
            await granting.revoke(services, await services.identity.person(user), [row.id])
    person = await services.identity.person(OMAR)
    assert row.id in str(await granting.list_grants(services, person))
    await granting.revoke(services, person, [row.id[:4]])
    assert f"taken back by <@{OMAR}>" in str(await granting.list_grants(services, person))
    await house.ask("use touch_medium on x")
    await house.card("Touch x", without=[card])
    assert tool.done["x"] == 1


async def test_a_giver_whom_the_policy_no_longer_names_allows_nothing_any_more(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(tools=[tool])
    card = await _allowed(house, span="hour", uses=10)
    policy = house.folder / "policy.toml"
    policy.write_text(policy.read_text().replace(f"'{OMAR}', ", "").replace(f"'{OMAR}'", f"'{INES}'"))
    await house.restart()
    await house.ask("use touch_medium on x")
    await house.card("Touch x", without=[card])
    assert tool.done["x"] == 1


async def test_the_requester_cannot_allow_their_own_request(open_house: Opened) -> None:
    house = await open_house(tools=[Touch("touch_medium")], approvers=(OMAR, MAYA))
    await house.ask("use touch_medium on x")
    await house.click(MAYA, await house.card("Touch x"), "allow")
    await house.told(MAYA, "Nobody decides on their own request")
    assert house.approvals()[0].state == "pending"


async def test_freeing_every_argument_is_refused_at_the_field(open_house: Opened) -> None:
    model = ScriptedModel([script.plan(), script.sql("UPDATE drinks SET price = 410 WHERE id = 1")])
    house = await open_house(model=model)
    await house.ask("raise it")
    card = await house.card("UPDATE drinks")
    refused = await fill(house, OMAR, card, free=("database", "sql", "limit"))
    assert "At least one argument must stay" in refused["errors"]["free"]
    assert house.approvals()[0].state == "pending"


async def test_a_freed_statement_still_touches_only_what_was_allowed(open_house: Opened) -> None:
    model = ScriptedModel(
        [
            script.plan(),
            script.sql("UPDATE drinks SET price = 410 WHERE id = 1"),
            script.sql("UPDATE drinks SET price = 460 WHERE id = 2"),
            script.sql("UPDATE drinks SET price = 1 WHERE id < 3"),
        ]
    )
    house = await open_house(model=model)
    await house.ask("raise them")
    first = await house.card("UPDATE drinks")
    view = await allow(house, OMAR, first, free=("sql",))
    assert "at most 1 row" in str(view["blocks"])
    await house.card("id &lt; 3", without=[first])
    assert house.prices() == {"Oat flat": 410, "Mocha": 460, "Tea": 250}


async def test_who_approves_first_wins_and_the_form_of_the_other_gives_nothing(open_house: Opened) -> None:
    house = await open_house(tools=[Touch("touch_medium")])
    ts = await house.ask("use touch_medium on x")
    card = await house.card("Touch x")
    view = await fill(house, OMAR, card)
    await house.click(INES, card, "approve")
    await house.answer(ts)
    await house.slack.submit(OMAR, view["id"])
    notice = await house.slack.wait_for_view(OMAR, lambda v: v["callback_id"] == "notice")
    assert f"already approved by <@{INES}>" in str(notice["blocks"])
    assert Grants(house.app.db).rows() == ()


async def test_in_observe_mode_no_grant_helps(open_house: Opened) -> None:
    tool = Touch("touch_medium")
    house = await open_house(tools=[tool])
    card = await _allowed(house, span="hour", uses=10)
    policy = house.folder / "policy.toml"
    policy.write_text(policy.read_text().replace("version = 1", 'version = 1\nmode = "observe"'))
    await house.restart()
    await house.ask("use touch_medium on x")
    await house.card("Touch x", without=[card])
    assert tool.done["x"] == 1


@pytest.mark.parametrize("name", ["x" * 2_000, "`` <!here> \u202e*x*", "😀" * 400])
async def test_the_windows_take_hostile_arguments(open_house: Opened, name: str) -> None:
    house = await open_house(model=touches(name), tools=[Touch("touch_medium")])
    await house.ask("touch it")
    view = await fill(house, OMAR, await house.card("touch_medium"))
    assert view["callback_id"] == "grant_confirm"
    assert "<!here>" not in str(view["blocks"])


async def test_the_command_lists_grants_and_takes_one_back_from_whoever_may(open_house: Opened) -> None:
    house = await open_house()
    assert "It is typed" in await house.command("grants revoke", user=OMAR)
    assert "It is typed" in await house.command("grants nonsense", user=OMAR)
    listed = await house.command("grants", user=OMAR)
    assert listed
    assert "not known" in await house.command("grants revoke g0", user=OMAR)

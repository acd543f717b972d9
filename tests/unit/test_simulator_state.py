"""The simulated workspace's state: threads, unread marks, rates, rights, views, faults."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.blocks import entered, find, missing, state_of
from simulator.clock import Ids, ManualClock, Timing
from simulator.errors import RateLimited, SlackError
from simulator.faults import Fault, Faults
from simulator.people import App, Team
from simulator.rates import Rates
from simulator.triggers import Rights
from simulator.views import Views
from simulator.workspace import Workspace, escape

Json = dict[str, Any]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def here(clock: ManualClock) -> Workspace:
    return Workspace.default(clock)


def say(here: Workspace, user: str, text: str, thread_ts: str | None = None) -> Json:
    message = {"user": user, "text": text} | ({"thread_ts": thread_ts} if thread_ts else {})
    return here.add(here.channel("C0DATA"), message)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<@U0SECONDKEY> a & b", "<@U0SECONDKEY> a &amp; b"),
        ("&lt;already&gt;", "&lt;already&gt;"),
        ("<https://example.org|here> 1 < 2", "<https://example.org|here> 1 &lt; 2"),
        ("<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"),
    ],
)
def test_what_a_person_types_is_escaped_but_for_mentions_and_links(typed: str, kept: str) -> None:
    assert escape(typed) == kept


def test_two_messages_in_the_same_instant_get_different_ts(here: Workspace) -> None:
    assert say(here, "U0MAYA", "one")["ts"] < say(here, "U0MAYA", "two")["ts"]


def test_a_reply_to_a_reply_stands_under_the_root(here: Workspace) -> None:
    root = say(here, "U0MAYA", "root")
    reply = say(here, "U0OMAR", "reply", root["ts"])
    nested = say(here, "U0INES", "nested", reply["ts"])
    channel = here.channel("C0DATA")
    assert nested["thread_ts"] == root["ts"]
    assert [m["text"] for m in here.thread(channel, reply["ts"])] == ["root", "reply", "nested"]
    assert (root["reply_count"], root["latest_reply"]) == (2, nested["ts"])
    assert [m["text"] for m in here.roots(channel)] == ["root"]


def test_a_reply_to_nothing_is_refused(here: Workspace) -> None:
    with pytest.raises(SlackError, match="thread_not_found"):
        say(here, "U0MAYA", "lost", "1.000001")


def test_a_removed_reply_no_longer_counts(here: Workspace) -> None:
    root = say(here, "U0MAYA", "root")
    reply = say(here, "U0OMAR", "reply", root["ts"])
    here.remove(here.channel("C0DATA"), reply["ts"])
    assert root["reply_count"] == 0


def test_unread_counts_others_messages_and_mentions_until_read(here: Workspace) -> None:
    channel = here.channel("#data-team")
    say(here, "U0MAYA", "hello <@U0OMAR>")
    say(here, "U0INES", "hello")
    assert here.unread(channel, "U0OMAR") == (2, 1)
    assert here.unread(channel, "U0INES") == (0, 0)
    channel.read["U0OMAR"] = next(reversed(channel.messages))
    assert here.unread(channel, "U0OMAR") == (0, 0)


def test_a_channel_with_people_of_another_workspace_is_shared(here: Workspace) -> None:
    assert here.is_shared(here.channel("C0DATA"))
    assert not here.is_shared(here.channel("C0ACTIONS"))


def test_a_channel_takes_a_small_burst_and_then_one_post_a_second(clock: ManualClock) -> None:
    rates = Rates(clock, enabled=True)
    for _ in range(4):
        rates.post("C1")
    with pytest.raises(RateLimited) as limited:
        rates.post("C1")
    assert limited.value.retry_after == 1
    rates.post("C2")
    clock.advance(1)
    rates.post("C1")


def test_a_method_is_limited_by_its_tier(clock: ManualClock) -> None:
    rates = Rates(clock, enabled=True)
    for _ in range(20):
        rates.call("conversations.list")
    with pytest.raises(RateLimited) as limited:
        rates.call("conversations.list")
    assert limited.value.retry_after == 3


def test_rates_can_be_switched_off(clock: ManualClock) -> None:
    rates = Rates(clock, enabled=False)
    for _ in range(200):
        rates.call("conversations.list")
        rates.post("C1")
    assert not rates.enabled


@pytest.fixture
def rights(clock: ManualClock) -> Rights:
    return Rights(clock=clock, ids=Ids("T"), timing=Timing(), team=Team())


def test_a_trigger_id_opens_once_and_only_for_three_seconds(rights: Rights, clock: ManualClock) -> None:
    first, second = rights.trigger("U0MAYA"), rights.trigger("U0MAYA")
    clock.advance(3.0)
    assert rights.use_trigger(first).user == "U0MAYA"
    with pytest.raises(SlackError, match="exchanged_trigger_id"):
        rights.use_trigger(first)
    clock.advance(0.1)
    with pytest.raises(SlackError, match="expired_trigger_id"):
        rights.use_trigger(second)
    with pytest.raises(SlackError, match="invalid_trigger_id"):
        rights.use_trigger("made.up")


def test_a_response_url_works_five_times_in_thirty_minutes(rights: Rights, clock: ManualClock) -> None:
    often = rights.response_url("U0MAYA", "C0DATA", source_ts=None, thread_ts=None)
    late = rights.response_url("U0MAYA", "C0DATA", source_ts=None, thread_ts=None)
    for _ in range(5):
        rights.use_response_url(often)
    with pytest.raises(SlackError, match="used_url"):
        rights.use_response_url(often)
    clock.advance(1800.1)
    with pytest.raises(SlackError, match="expired_url"):
        rights.use_response_url(late)


def modal(*blocks: Json) -> Json:
    return {"type": "modal", "title": {"type": "plain_text", "text": "T"}, "blocks": list(blocks)}


def text_input(block_id: str, **more: object) -> Json:
    element = {"type": "plain_text_input", "action_id": "a"} | more
    return {"type": "input", "block_id": block_id, "element": element}


@pytest.fixture
def views(clock: ManualClock) -> Views:
    return Views(team=Team(), app=App(), ids=Ids("T"), clock=clock)


def test_a_stack_holds_three_views(views: Views) -> None:
    root = views.open("U0MAYA", modal())
    second = views.push("U0MAYA", modal())
    third = views.push("U0MAYA", modal())
    assert (third["root_view_id"], third["previous_view_id"]) == (root["id"], second["id"])
    with pytest.raises(SlackError, match="push_limit_reached"):
        views.push("U0MAYA", modal())
    assert views.close("U0MAYA", second) == [third, second]
    assert views.stacks["U0MAYA"] == [root]


def test_an_update_with_an_old_hash_is_a_conflict(views: Views) -> None:
    view = views.open("U0MAYA", modal())
    old = view["hash"]
    views.update(view, modal(), old)
    with pytest.raises(SlackError, match="hash_conflict"):
        views.update(view, modal(), old)


def test_an_update_keeps_what_was_entered_in_inputs_that_stay(views: Views) -> None:
    view = views.open("U0MAYA", modal(text_input("b")))
    view["state"]["values"] = entered(view["blocks"], {"b": {"a": "mine"}}, {})
    views.update(view, modal(text_input("b"), text_input("c", initial_value="new")))
    assert view["state"]["values"] == {
        "b": {"a": {"type": "plain_text_input", "value": "mine"}},
        "c": {"a": {"type": "plain_text_input", "value": "new"}},
    }


def test_a_required_input_left_empty_or_too_short_is_named() -> None:
    blocks = [text_input("b"), text_input("c", min_length=3), text_input("d") | {"optional": True}]
    values = entered(blocks, {"c": {"a": "ab"}}, state_of(blocks))
    assert set(missing(blocks, values)) == {"b", "c"}


def test_a_value_decides_between_buttons_of_the_same_action() -> None:
    elements = [{"type": "button", "action_id": "a", "value": value} for value in ("1", "2")]
    blocks = [{"type": "actions", "block_id": "b", "elements": elements}]
    found = find(blocks, {"action_id": "a", "value": "2"})
    assert found is not None
    assert found[1]["value"] == "2"
    assert find(blocks, {"action_id": "z"}) is None


def test_faults_are_used_up_by_what_they_are_meant_for() -> None:
    faults = Faults()
    faults.add(Fault("chat.update", "error", times=2))
    faults.add(Fault("*", "hang"))
    assert faults.take("events") is None
    kinds = [fault.kind if (fault := faults.take(name)) else None for name in ("chat.update", "auth.test", "auth.test")]
    assert kinds == ["error", "hang", None]
    assert faults.take("chat.update") is not None
    assert faults.take("chat.update") is None

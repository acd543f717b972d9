"""The listeners and the delivery together, in the simulated workspace, with the real Bolt app and the real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import BoltResponse
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from agent import events as ev
from agent.clock import RandomIds, SystemClock
from agent.domain import (
    Action,
    Outcome,
    Plan,
    PlannedStep,
    Principal,
    Reason,
    RunStatus,
    Task,
    Tier,
    Worker,
    content_hash,
    digest_of,
)
from agent.errors import StorageUnavailable
from agent.tools.base import Preview
from bot.blocks.render import Renderer
from bot.delivery import Delivery
from bot.identity import Identity
from bot.listeners import register
from bot.listeners.services import Services
from bot.posting import Poster
from simulator.clock import Timing
from simulator.driver import Driver
from simulator.server import Simulator
from storage.audit import refusals
from storage.control import Control
from storage.database import Database, Tx
from storage.decisions import Decisions
from storage.inbox import Accepted, Duplicate, Inbox
from storage.journal import append, keep_blobs
from storage.outbox import Outbox
from storage.queries import Queries

MAYA, OMAR, INES, THEO, BOT = "U0MAYA", "U0OMAR", "U0INES", "U0THEO", "U0SECONDKEY"
DATA, ACTIONS, TEAM = "C0DATA", "C0ACTIONS", "T0SECONDKEY"
DECIDERS = (f"slack:{TEAM}:{OMAR}", f"slack:{TEAM}:{INES}")


class Entitlement:
    def __init__(self, identity: Identity) -> None:
        self.may_decide = identity.may_decide

    def self_approval_allowed(self, *_: object) -> bool:
        return False


@dataclass
class World:
    slack: Driver
    db: Database
    services: Services
    delivery: Delivery
    clock: SystemClock
    bolt: AsyncApp

    async def dispatch(self, body: dict[str, Any]) -> BoltResponse:
        """Hand a payload to Bolt as the socket would."""
        return await self.bolt.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body))

    @property
    def queries(self) -> Queries:
        return self.services.queries

    async def append(self, run: str, *events: ev.Event, blobs: dict[str, str] | None = None) -> None:
        def write(tx: Tx) -> None:
            keep_blobs(tx, blobs or {})
            append(tx, run, events)

        await self.db.write(write)

    async def ask_task(self, text: str = "Set the oat price to 4", user: str = MAYA) -> tuple[str, str]:
        """Mention the bot; returns the message's ts and the run."""
        ts = await self.slack.post(user, DATA, f"<@{BOT}> {text}")
        await self.slack.wait_for_message(DATA, lambda m: m.get("user") == BOT and m.get("thread_ts") == ts)
        run = self.queries.find_run_by_thread(TEAM, DATA, ts)
        assert run is not None
        return ts, run.id

    async def propose(self, run: str, tier: Tier = Tier.MEDIUM, action: str = "a1", **arguments: object) -> str:
        given = arguments or {"database": "shop", "statement": "UPDATE drinks SET price = 4 WHERE id = 1"}
        line = self.queries.run(run)
        assert line is not None
        digest = digest_of(
            run=run,
            action=action,
            principal=self.requester(run),
            tool="query_sql",
            schema_hash="s",
            arguments=given,
        )
        preview = Preview(kind="rows", columns=("id", "price"), before=((1, 3),), after=((1, 4),), count=1)
        body = preview.model_dump_json()
        await self.append(
            run,
            ev.RunStarted(policy_version="p1"),
            ev.PlanMade(
                plan=Plan(planner="runbook", steps=(PlannedStep(worker=Worker.CODE, instruction="Change it"),))
            ),
            ev.StepStarted(step=0, planned=0),
            ev.ActionProposed(
                action=Action(
                    id=action,
                    step=0,
                    turn=0,
                    tool="query_sql",
                    arguments=given,
                    digest=digest,
                    schema_hash="s",
                    rationale="The task says so.",
                )
            ),
            ev.ActionRated(
                action=action,
                tier=tier,
                reasons=(Reason(rule="sql_update", text="It changes rows."),),
                headline="Set the price of 1 drink to 4",
                preview_blob=content_hash(body),
            ),
            blobs={content_hash(body): body},
        )
        return digest

    def requester(self, run: str) -> Principal:
        view = self.queries.run_view(run)
        assert view is not None
        return view.task.principal

    async def card(self, run: str, approval: str = "p1", **arguments: object) -> dict[str, Any]:
        """An approval that stands in #ai-actions."""
        digest = await self.propose(run, action=f"act-{approval}", **arguments)
        now = self.clock.now()
        await self.append(
            run,
            ev.ApprovalRequested(
                approval=approval,
                action=f"act-{approval}",
                digest=digest,
                epoch=0,
                created_at=now,
                expires_at=now + 1800,
                timeout_s=1800,
                deciders=DECIDERS,
            ),
        )
        return await self.slack.wait_for_message(ACTIONS, lambda m: has_button(m, "approve"))

    async def takeover(self, run: str) -> dict[str, Any]:
        await self.propose(run, Tier.HIGH)
        now = self.clock.now()
        await self.append(
            run,
            ev.TakeoverOpened(
                takeover="t1",
                action="a1",
                epoch=0,
                cause="high",
                opened_at=now,
                give_up_at=now + 86400,
                deciders=DECIDERS,
            ),
        )
        return await self.slack.wait_for_message(ACTIONS, lambda m: has_button(m, "takeover_claim"))

    async def shown(self, ts: str, text: str) -> dict[str, Any]:
        """The message once its blocks show this text."""
        return await self.slack.wait_for_message(ACTIONS, lambda m: m["ts"] == ts and text in str(m.get("blocks")))

    async def told(self, user: str, text: str) -> None:
        await self.slack.wait_for_ephemeral(user, lambda m: text in m["text"])


def has_button(message: dict[str, Any], action_id: str) -> bool:
    elements = [e for b in message.get("blocks") or [] for e in b.get("elements") or []]
    return any(e.get("action_id") == action_id for e in elements)


@asynccontextmanager
async def make_world(path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        simulator = await Simulator.start(rates=False, timing=Timing(ack=1.5, redeliver=0.1))
        stack.push_async_callback(simulator.close)
        clock, ids = SystemClock(), RandomIds()
        db = await Database.open(path / "db.sqlite", clock=clock)
        stack.push_async_callback(db.close)
        client = AsyncWebClient(token="xoxb-simulator", base_url=simulator.api_url)
        identity = Identity(client, TEAM, clock, decides=lambda who: who.key in DECIDERS)
        decisions = Decisions(db, clock, ids, Entitlement(identity))
        queries, outbox = Queries(db), Outbox(db)
        renderer = Renderer(
            queries=queries,
            outbox=outbox,
            names=identity.name,
            channels={"approval": ACTIONS, "takeover": ACTIONS},
            workspace_url=simulator.url,
        )
        delivery = Delivery(
            outbox=outbox, poster=Poster(client, clock), render=renderer, delivered=decisions.delivered, clock=clock
        )
        db.subscribe("outbox", delivery.wake)
        services = Services(
            db=db,
            inbox=Inbox(db, ids),
            outbox=outbox,
            queries=queries,
            decisions=decisions,
            control=Control(db),
            identity=identity,
            client=client,
            clock=clock,
            ids=ids,
            bot_user=BOT,
            approvals_channel=ACTIONS,
            workspace_url=simulator.url,
            links=renderer.waits_at,
            prompts=(("Hello", "What can you do?"),),
        )
        app = AsyncApp(client=client, token="xoxb-simulator", process_before_response=True)
        register(app, services)
        handler = AsyncSocketModeHandler(app, "xapp-simulator", web_client=client)
        task = asyncio.create_task(delivery.run())
        await handler.connect_async()
        stack.push_async_callback(handler.close_async)

        async def end() -> None:
            await services.tasks.drain()
            delivery.stop()
            await task

        stack.push_async_callback(end)
        slack = await stack.enter_async_context(Driver(simulator.url))
        yield World(slack, db, services, delivery, clock, app)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


async def test_a_mention_becomes_one_run_with_a_thread_that_says_that_an_ai_works_here(world: World) -> None:
    ts, run = await world.ask_task()
    message = await world.slack.wait_for_message(DATA, lambda m: m.get("user") == BOT, thread_ts=ts)
    assert "An AI works here" in str(message["blocks"])
    assert len(world.queries.runs()) == 1
    view = world.queries.run_view(run)
    assert view is not None
    assert view.task.text == "Set the oat price to 4"
    assert view.task.principal.key == f"slack:{TEAM}:{MAYA}"


async def test_one_mention_that_arrives_twice_is_one_run(world: World) -> None:
    await world.slack.fault("events", "duplicate", times=4)
    await world.ask_task()
    assert len(world.queries.runs()) == 1


async def delivered(world: World) -> None:
    """Wait until it is written that the card stands in Slack; a click may be faster."""
    told = asyncio.Event()
    ends = [world.db.subscribe(topic, lambda _: told.set()) for topic in ("run", "outbox", "deadline")]
    async with asyncio.timeout(30):
        while not ((view := world.queries.approval_view("p1")) and view.approval.delivered_at):
            told.clear()
            await told.wait()
    for end in ends:
        end()


async def test_an_approver_approves_and_the_card_says_who_and_loses_its_buttons(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    assert f"<@{OMAR}>" in str(card["blocks"])
    await delivered(world)
    assert (await world.slack.click(OMAR, ACTIONS, card["ts"], "approve"))["ok"]
    card = await world.shown(card["ts"], f"Approved by <@{OMAR}>")
    assert not has_button(card, "approve")
    view = world.queries.approval_view("p1")
    assert view is not None
    assert (view.approval.state, view.approval.decided_by) == ("approved", DECIDERS[0])
    assert view.approval.delivered_at > 0


async def test_the_second_decider_is_told_privately_who_was_first(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await asyncio.gather(
        world.slack.click(OMAR, ACTIONS, card["ts"], "approve"), world.slack.click(INES, ACTIONS, card["ts"], "deny")
    )
    view = world.queries.approval_view("p1")
    assert view is not None
    loser, winner = (INES, OMAR) if view.approval.state == "approved" else (OMAR, INES)
    await world.told(loser, f"This was already {view.approval.state} by <@{winner}>")


async def test_the_requester_who_clicks_approve_is_refused_privately_and_nothing_changes(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.call("channel", {"name": "ai-actions", "members": [MAYA, OMAR, INES, THEO, BOT]})
    assert (await world.slack.click(MAYA, ACTIONS, card["ts"], "approve"))["ok"]
    await world.told(MAYA, "Nobody decides on their own request")
    view = world.queries.approval_view("p1")
    assert view is not None
    assert view.approval.state == "pending"
    assert [item.kind for item in refusals(world.db, subject="p1")] == ["own_request"]


async def test_a_guest_who_clicks_is_refused_privately_and_leaves_an_audit_row(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.call("channel", {"name": "ai-actions", "members": [MAYA, OMAR, INES, THEO, BOT]})
    assert (await world.slack.click(THEO, ACTIONS, card["ts"], "approve"))["ok"]
    await world.told(THEO, "Guests")
    assert [item.principal for item in refusals(world.db, subject="p1")] == [f"slack:{TEAM}:{THEO}"]


async def test_a_guest_who_asks_is_refused_privately_and_no_run_starts(world: World) -> None:
    await world.slack.call("channel", {"name": "data-team", "members": [MAYA, OMAR, INES, THEO, BOT]})
    await world.slack.post(THEO, DATA, f"<@{BOT}> count the files")
    await world.told(THEO, "Guests")
    assert world.queries.runs() == ()


async def test_a_denial_holds_at_once_and_its_reason_reaches_the_card(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.click(OMAR, ACTIONS, card["ts"], "deny")
    await world.shown(card["ts"], "Denied by")
    view = await world.slack.wait_for_view(OMAR)
    assert view["callback_id"] == "deny_reason"
    answer = await world.slack.submit(OMAR, view["id"], {"reason": {"value": "Prices are frozen until May"}})
    assert answer["ok"]
    await world.shown(card["ts"], "Prices are frozen until May")


async def test_closing_the_reason_window_ends_the_waiting_for_a_reason(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.click(OMAR, ACTIONS, card["ts"], "deny")
    view = await world.slack.wait_for_view(OMAR)
    told = asyncio.Event()
    world.db.subscribe("run", lambda _: told.set())
    await world.slack.close_view(OMAR, view["id"])
    await asyncio.wait_for(told.wait(), 30)
    row = world.queries.approval_view("p1")
    assert row is not None
    assert (row.approval.state, row.approval.reason_until) == ("denied", 0.0)


async def test_a_reason_window_that_cannot_be_opened_does_not_keep_the_agent_waiting(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.fault("views.open", "error", error="expired_trigger_id", times=1)
    await world.slack.click(OMAR, ACTIONS, card["ts"], "deny")
    await world.services.tasks.drain()
    row = world.queries.approval_view("p1")
    assert row is not None
    assert (row.approval.state, row.approval.reason_until) == ("denied", 0.0)


async def test_a_click_on_a_card_that_showed_another_call_changes_nothing(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    assert (await world.dispatch(click_body(card, value="p1|000000000000"))).status == 200
    await world.told(OMAR, "older than the request")
    assert state_of(world) == "pending"


def state_of(world: World) -> str:
    view = world.queries.approval_view("p1")
    assert view is not None
    return view.approval.state


def click_body(card: dict[str, Any], value: str = "", user: str = OMAR) -> dict[str, Any]:
    """A click as Slack sends it."""
    buttons = [e for b in card["blocks"] for e in b.get("elements") or [] if e.get("action_id") == "approve"]
    return {
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "harbour"},
        "user": {"id": user, "username": "omar", "team_id": TEAM},
        "api_app_id": "A0SECONDKEY",
        "container": {"type": "message", "message_ts": card["ts"], "channel_id": ACTIONS},
        "trigger_id": "1.2.abc",
        "channel": {"id": ACTIONS, "name": "ai-actions"},
        "message": card,
        "response_url": "",
        "actions": [{"type": "button", "action_id": "approve", "block_id": "b", "value": value or buttons[0]["value"]}],
    }


@pytest.mark.parametrize("gone", ["user", "actions", "value", "action_id", "type", "team", "channel", "container"])
async def test_a_click_with_a_missing_field_changes_nothing_that_was_not_said(world: World, gone: str) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    body = click_body(card)
    del (body["actions"][0] if gone in {"value", "action_id"} else body)[gone]
    response = await world.dispatch(body)
    await world.services.tasks.drain()
    assert response.status in {200, 404}
    harmless = gone in {"team", "channel", "container"}
    assert state_of(world) == ("approved" if harmless else "pending")
    if gone in {"actions", "value", "action_id"}:
        await world.told(OMAR, "without all of its parts")
    if gone in {"user", "actions", "value", "action_id"}:
        assert [item.kind for item in refusals(world.db)] == ["bad_payload"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "event_callback"},
        {"type": "event_callback", "event": {"type": "message"}},
        {"type": "event_callback", "event": {"type": "app_mention", "user": "U1", "channel": "C1", "text": {}}},
        {"type": "event_callback", "event": {"type": "app_home_opened"}},
        {"type": "view_submission"},
        {"type": "view_submission", "user": {"id": OMAR}, "view": {"callback_id": "takeover_done_form"}},
        {"type": "view_submission", "user": {"id": OMAR}, "view": {"id": "V1", "callback_id": "deny_reason"}},
        {"type": "view_closed", "user": {"id": OMAR}, "view": {"id": "V1", "callback_id": "deny_reason"}},
        {"type": "block_actions", "user": {"id": OMAR}, "actions": []},
        {"type": "block_actions", "user": {"id": OMAR}, "actions": [{"action_id": "approve", "value": "|"}]},
        {"type": "shortcut", "user": {"id": OMAR}},
        {"command": "/agent"},
        {"command": "/agent", "user_id": OMAR, "text": None},
        {"command": "/unknown", "user_id": OMAR, "text": "x"},
    ],
)
async def test_no_payload_makes_a_listener_raise(world: World, body: dict[str, Any]) -> None:
    response = await world.dispatch(body)
    await world.services.tasks.drain()
    assert response.status in {200, 404}
    assert world.queries.runs() == ()


async def test_an_external_person_can_neither_ask_nor_decide(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    body = click_body(card, user="U0EVE")
    body["user"]["team_id"] = "T0ELSEWHERE"
    await world.dispatch(body)
    await world.services.tasks.drain()
    assert state_of(world) == "pending"
    assert [item.kind for item in refusals(world.db, subject="p1")] == ["not_entitled"]


async def test_the_requester_withdraws_their_own_request_and_others_cannot(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.click(OMAR, ACTIONS, card["ts"], "withdraw")
    await world.told(OMAR, "Only who asked for it can withdraw it")
    await world.slack.call("channel", {"name": "ai-actions", "members": [MAYA, OMAR, INES, BOT]})
    await world.slack.click(MAYA, ACTIONS, card["ts"], "withdraw")
    await world.shown(card["ts"], "Withdrawn by")


async def test_details_show_the_arguments_whole(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run, statement="SELECT 1 -- " + "x" * 4000, last="the end")
    await world.slack.click(INES, ACTIONS, card["ts"], "details")
    view = await world.slack.wait_for_view(INES)
    text = "".join(block["text"]["text"] for block in view["blocks"] if "text" in block)
    assert text.count("x") >= 4000
    assert "the end" in text


async def test_a_takeover_is_claimed_once_and_done_with_what_was_done(world: World) -> None:
    _, run = await world.ask_task()
    packet = await world.takeover(run)
    await world.slack.click(OMAR, ACTIONS, packet["ts"], "takeover_claim")
    await world.shown(packet["ts"], "has it*")
    await world.slack.click(INES, ACTIONS, packet["ts"], "takeover_done")
    await world.told(INES, "Somebody else has this takeover")
    await world.slack.click(OMAR, ACTIONS, packet["ts"], "takeover_done")
    view = await world.slack.wait_for_view(OMAR)
    fields = {"what": {"value": "Ran it by hand"}, "reference": {"value": "OPS-12"}, "evidence": {"value": "   "}}
    refused = await world.slack.submit(OMAR, view["id"], fields)
    assert "evidence" in refused["errors"]
    fields["evidence"] = {"value": "1 row"}
    assert (await world.slack.submit(OMAR, view["id"], fields))["ok"]
    await world.shown(packet["ts"], "OPS-12")
    row = world.queries.takeover_view("t1")
    assert row is not None
    assert (row.takeover.state, row.takeover.what, row.takeover.evidence) == ("done", "Ran it by hand", "1 row")


async def test_a_takeover_handed_back_makes_its_author_a_co_requester(world: World) -> None:
    _, run = await world.ask_task()
    packet = await world.takeover(run)
    await world.slack.click(OMAR, ACTIONS, packet["ts"], "takeover_claim")
    await world.shown(packet["ts"], "has it*")
    await world.slack.click(OMAR, ACTIONS, packet["ts"], "takeover_hand_back")
    view = await world.slack.wait_for_view(OMAR)
    assert (await world.slack.submit(OMAR, view["id"], {"instruction": {"value": "Only id 2"}}))["ok"]
    await world.shown(packet["ts"], "Handed back by")
    assert DECIDERS[0] in world.queries.co_requesters(run)


async def test_a_takeover_is_released_and_then_given_up_by_somebody_else(world: World) -> None:
    _, run = await world.ask_task()
    packet = await world.takeover(run)
    await world.slack.click(OMAR, ACTIONS, packet["ts"], "takeover_claim")
    await world.shown(packet["ts"], "has it*")
    await world.slack.click(OMAR, ACTIONS, packet["ts"], "takeover_release")
    await world.shown(packet["ts"], "Nothing runs until a person acts")
    await world.slack.click(INES, ACTIONS, packet["ts"], "takeover_claim")
    await world.shown(packet["ts"], f"<@{INES}> has it")
    await world.slack.click(INES, ACTIONS, packet["ts"], "takeover_abort")
    view = await world.slack.wait_for_view(INES)
    assert (await world.slack.submit(INES, view["id"], {"reason": {"value": "Not worth it"}}))["ok"]
    await world.shown(packet["ts"], "Not worth it")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("hi there!", "Hello"), ("thanks a lot :pray:", "welcome"), ("", "I am here"), ("x" * 100_000, "characters long")]
    + [
        (text, "high risk is done by a person")
        for text in ("What can you do?", "help", "what do you do", "Hi, what can you do for us?")
    ],
)
async def test_what_is_no_task_gets_a_word_and_no_run(world: World, text: str, answer: str) -> None:
    ts = await world.slack.post(MAYA, DATA, f"<@{BOT}> {text}")
    message = await world.slack.wait_for_message(DATA, lambda m: m.get("thread_ts") == ts and m.get("user") == BOT)
    assert answer in message["text"]
    assert world.queries.runs() == ()


async def test_a_task_that_begins_like_a_question_about_the_bot_is_a_task(world: World) -> None:
    await world.ask_task("What can you do about the oat price?")
    assert len(world.queries.runs()) == 1


async def test_a_guests_home_says_why_and_invites_to_nothing(world: World) -> None:
    async def home_of(user: str) -> str:
        await world.slack.call("home", {"as": user, "tab": "home"})
        push = await world.slack.wait_for_push(lambda p: p["type"] == "home_published" and p["to"] == [user])
        return str(push["view"]["blocks"])

    assert "Mention" in await home_of(MAYA)
    guest = await home_of(THEO)
    assert "Guests can neither" in guest
    assert "Mention" not in guest


async def test_a_direct_message_is_a_task_and_says_where_the_question_will_stand(world: World) -> None:
    channel = (await world.slack.call("open_im", {"as": MAYA}))["channel"]
    await world.slack.post(MAYA, channel, "Count the files")
    message = await world.slack.wait_for_message(channel, lambda m: "An AI works here" in str(m.get("blocks")))
    assert f"<#{ACTIONS}>" in str(message["blocks"])


async def test_a_message_in_a_channel_that_does_not_mention_the_bot_is_not_read(world: World) -> None:
    await world.slack.post(MAYA, DATA, "somebody should count the files")
    await world.ask_task("Count the files")
    assert len(world.queries.runs()) == 1


async def test_a_mention_in_the_thread_of_an_unfinished_run_is_a_follow_up(world: World) -> None:
    ts, run = await world.ask_task()
    await world.slack.post(OMAR, DATA, f"<@{BOT}> and only for Leeds", thread_ts=ts)
    await world.slack.wait_for_message(DATA, lambda m: bool(m.get("reactions")) and "Leeds" in m["text"])
    assert world.queries.co_requesters(run) == (f"slack:{TEAM}:{MAYA}", DECIDERS[0])
    assert len(world.queries.runs()) == 1


async def test_a_mention_in_the_thread_of_a_finished_run_starts_a_new_run_of_it(world: World) -> None:
    ts, run = await world.ask_task()
    await world.append(run, ev.RunStarted(policy_version="p1"), ev.RunFinished(status=RunStatus.COMPLETED, summary="4"))
    answer = await world.slack.wait_for_message(DATA, lambda m: "Done" in str(m.get("blocks")), thread_ts=ts)
    assert f"<@{MAYA}>" in str(answer["blocks"])
    await world.slack.post(MAYA, DATA, f"<@{BOT}> and for Leeds?", thread_ts=ts)
    await world.slack.wait_for_message(DATA, lambda m: bool(m.get("reactions")) and "Leeds" in m["text"])
    assert [line.parent_run for line in world.queries.runs() if line.id != run] == [run]


async def test_an_event_that_cannot_be_saved_in_time_is_not_acked_so_that_slack_sends_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    accept = world.services.inbox.accept

    async def slow(key: str, task: Task, **more: Any) -> Accepted | Duplicate:  # whatever else is accepted
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StorageUnavailable
        return await accept(key, task, **more)

    monkeypatch.setattr(world.services.inbox, "accept", slow)
    await world.ask_task()
    assert tries == 2
    assert len(world.queries.runs()) == 1


async def test_status_is_shown_to_members_of_the_channel_and_to_nobody_else(world: World) -> None:
    _, run = await world.ask_task("Set the oat price to 4")
    await world.slack.command(MAYA, DATA, "/agent", f"status {run[:5]}")
    await world.told(MAYA, "Set the oat price to 4")
    await world.slack.call("channel", {"name": "data-team", "members": [MAYA, BOT]})
    await world.slack.call("person", {"id": "U0NEW", "role": "member", "name": "new"})
    await world.slack.command(OMAR, "C0GENERAL", "/agent", "status nosuchrun")
    await world.told(OMAR, "There is no such run")


async def test_an_unknown_word_after_the_command_names_the_nearest_right_one(world: World) -> None:
    await world.slack.command(MAYA, DATA, "/agent", "statsu")
    await world.told(MAYA, "Did you mean `/agent status`")


async def test_the_requester_stops_their_run_and_the_journal_says_who(world: World) -> None:
    _, run = await world.ask_task()
    await world.slack.command(MAYA, DATA, "/agent", f"stop {run}")
    await world.told(MAYA, "is stopping")
    view = world.queries.run_view(run)
    assert view is not None
    assert view.stop is not None
    assert view.stop.by == f"slack:{TEAM}:{MAYA}"


async def test_runs_waiting_lists_what_waits_for_people(world: World) -> None:
    _, run = await world.ask_task()
    await world.card(run)
    await world.slack.command(OMAR, DATA, "/agent", "runs waiting")
    await world.told(OMAR, "Runs (waiting)")
    await world.slack.command(OMAR, DATA, "/agent", "help")
    await world.told(OMAR, "/agent stop &lt;run&gt;")


async def test_a_button_that_nobody_knows_is_answered(world: World) -> None:
    client = world.services.client
    blocks = [
        {
            "type": "actions",
            "elements": [
                {"type": "button", "action_id": "old", "value": "1", "text": {"type": "plain_text", "text": "Old"}}
            ],
        }
    ]
    sent = await client.chat_postMessage(channel=DATA, text="old", blocks=blocks)
    assert (await world.slack.click(MAYA, DATA, sent["ts"], "old"))["ok"]
    await world.told(MAYA, "I do not know this button")


async def test_an_unknown_outcome_is_asked_about_and_said_plainly(world: World) -> None:
    _, run = await world.ask_task()
    card = await world.card(run)
    await world.slack.click(OMAR, ACTIONS, card["ts"], "approve")
    await world.shown(card["ts"], "Approved by")
    row = world.queries.approval_view("p1")
    assert row is not None
    await world.append(
        run,
        ev.ActionStarted(action="act-p1", digest=row.approval.digest, lease_token="l", approval="p1"),
        ev.ActionFinished(action="act-p1", outcome=Outcome.UNKNOWN),
    )
    await world.shown(card["ts"], "It is not run a second time by itself")

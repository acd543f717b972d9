"""Delivery with the real outbox: order, coalescing, rates, lost answers, and channels and messages that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiolimiter import AsyncLimiter
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from agent.clock import SystemClock
from bot.blocks.kit import section
from bot.blocks.message import Message
from bot.delivery import Delivery
from bot.outgoing import Rendered
from bot.posting import FOR_DECISIONS, POST_BURST, UPDATES_A_MINUTE, Kind, Poster, fault_of
from simulator.driver import Driver
from simulator.server import Simulator
from storage.database import Database
from storage.outbox import Outbox, OutboxRow

LANES = {"decision": 0, "card": 1, "takeover": 2, "progress": 3}


@dataclass
class Answer:
    """What slack_sdk hands over with an error."""

    data: dict[str, Any]
    status_code: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Slack:
    """A client that keeps messages, and fails as told."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.faults: list[tuple[str, object]] = []
        self.at_once = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.moved: Callable[[], None] = lambda: None

    def fail(
        self, method: str, error: str | Exception, *, status: int = 200, after: bool = False, **headers: str
    ) -> None:
        """Let the next call of a method fail; `after` it had its effect."""
        fault = (
            error if isinstance(error, Exception) else SlackApiError("no", Answer({"error": error}, status, headers))
        )
        self.faults.append((f"{method}{'+' if after else ''}", fault))

    def _fault(self, method: str) -> None:
        for item in self.faults:
            if item[0] == method:
                self.faults.remove(item)
                assert isinstance(item[1], Exception)
                raise item[1]

    async def _call(self, method: str, channel: str) -> None:
        self.calls.append((method, channel))
        self.moved()
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        self._fault(method)

    async def chat_postMessage(self, **message: Any) -> dict[str, Any]:  # noqa: N802  # Slack's name
        self.said.append(message["text"])
        await self._call("post", message["channel"])
        ts = f"{len(self.said)}.{len(self.messages)}"
        self.messages[message["channel"], ts] = message | {"ts": ts}
        self.moved()
        self._fault("post+")
        return {"ok": True, "channel": message["channel"], "ts": ts}

    async def chat_update(self, **message: Any) -> dict[str, Any]:
        await self._call("update", message["channel"])
        if (message["channel"], message["ts"]) not in self.messages:
            raise SlackApiError("no", Answer({"error": "message_not_found"}))
        self.messages[message["channel"], message["ts"]] |= message
        return {"ok": True}

    async def conversations_open(self, *, users: str) -> dict[str, Any]:
        await self._call("open", users)
        return {"ok": True, "channel": {"id": f"D{users}"}}

    async def conversations_history(self, *, channel: str, **_: object) -> dict[str, Any]:
        await self._call("history", channel)
        return {"ok": True, "messages": [m for (place, _), m in self.messages.items() if place == channel]}

    async def conversations_replies(self, *, channel: str, ts: str, **_: object) -> dict[str, Any]:
        await self._call("replies", channel)
        found = [m for (place, _), m in self.messages.items() if place == channel and m.get("thread_ts") == ts]
        return {"ok": True, "messages": found}

    def did(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)


class Screen:
    """Renders what a test says; counts how often it was asked."""

    channels = {"approval": "CACT", "takeover": "CACT"}

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.firsts: list[bool] = []
        self.decided: set[str] = set()

    def __call__(self, row: OutboxRow, is_first: bool, /) -> Rendered | None:
        self.firsts.append(is_first)
        text = self.texts.get(row.key, row.key)
        message = Message(text, [section(text)], [section("short")])
        return Rendered(message, ("UA", "UB"), tells=row.key in self.decided)


@dataclass
class World:
    db: Database
    outbox: Outbox
    slack: Any
    screen: Screen
    delivery: Delivery
    delivered: list[str]
    counted: list[tuple[str, str]]
    changed: asyncio.Condition

    async def want(
        self, key: str, lane: str = "card", channel: str = "", thread_ts: str = "", created: float = 0.0
    ) -> None:
        """Want one more revision of a message, as projections do."""
        sql = """INSERT INTO outbox VALUES (?, 'r1', ?, 1, 0, 'T1', ?, '', ?, 0, 0, '', ?, ?)
          ON CONFLICT(message_key) DO UPDATE SET wanted = wanted + 1, lane = excluded.lane"""

        def write(tx: Any) -> None:
            at = created or tx.transport
            tx.conn.execute(sql, (key, LANES[lane], channel, thread_ts, at, tx.transport))
            tx.signal("outbox")

        await self.db.write(write)

    async def drained(self) -> None:
        self.delivery.wake()
        await asyncio.wait_for(self.delivery.drained(), 30)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; looked at whenever Slack was called, or something was delivered or counted."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(holds)


@asynccontextmanager
async def make_world(path: Path, client: object) -> AsyncIterator[World]:
    clock = SystemClock()
    db = await Database.open(path / "db.sqlite", clock=clock)
    outbox, screen = Outbox(db), Screen()
    delivered, counted = list[str](), list[tuple[str, str]]()
    changed = asyncio.Condition()
    tellers = set[asyncio.Task[None]]()

    async def tell() -> None:
        async with changed:
            changed.notify_all()

    def moved() -> None:
        task = asyncio.get_running_loop().create_task(tell())
        tellers.add(task)
        task.add_done_callback(tellers.discard)

    async def note(approval: str, _at: float) -> None:
        delivered.append(approval)
        moved()

    def count(name: str, label: str) -> None:
        counted.append((name, label))
        moved()

    if isinstance(client, Slack):
        client.moved = moved

    delivery = Delivery(
        outbox=outbox, poster=Poster(client, clock), render=screen, delivered=note, clock=clock,
        count=count,
    )  # fmt: skip
    db.subscribe("outbox", delivery.wake)
    task = asyncio.create_task(delivery.run())
    try:
        yield World(db, outbox, client, screen, delivery, delivered, counted, changed)
    finally:
        delivery.stop()
        await task
        await db.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path, Slack()) as made:
        yield made


async def test_a_card_is_posted_once_and_then_updated_in_place(world: World) -> None:
    await world.want("card:p1")
    await world.drained()
    world.screen.texts["card:p1"] = "decided"
    await world.want("card:p1", "decision")
    await world.drained()
    (message,) = world.slack.messages.values()
    assert (message["text"], message["channel"]) == ("decided", "CACT")
    assert world.slack.did("post") == 1
    assert world.screen.firsts == [True, False]
    assert world.delivered == ["p1"]
    assert message["metadata"]["event_payload"] == {"key": "card:p1", "revision": 2}
    assert message["link_names"] is False


async def test_revisions_that_come_while_a_post_is_on_its_way_become_one_update(world: World) -> None:
    world.slack.gate.clear()
    await world.want("card:p1")
    await world.until(lambda: world.slack.did("post") == 1)
    for number in range(5):
        world.screen.texts["card:p1"] = f"state {number}"
        await world.want("card:p1", "decision")
    world.slack.gate.set()
    await world.drained()
    assert (world.slack.did("post"), world.slack.did("update")) == (1, 1)
    assert next(iter(world.slack.messages.values()))["text"] == "state 4"


async def test_decisions_go_before_cards_takeovers_and_progress_and_at_most_four_at_once(world: World) -> None:
    world.slack.gate.clear()
    for number in range(4):
        await world.want(f"answer:hold{number}", "decision", channel=f"H{number}")
    await world.until(lambda: world.slack.did("post") == 4)
    await world.want("progress:r1", "progress", channel="C1", thread_ts="1.1")
    await world.want("takeover:t1", "takeover")
    await world.want("card:p1", "card")
    await world.want("answer:r2", "decision", channel="C2", thread_ts="2.1")
    world.slack.gate.set()
    await world.drained()
    assert world.slack.said[4:] == [
        "answer:r2",
        "card:p1",
        "takeover:t1",
        "progress:r1",
    ]
    assert world.slack.most_at_once == 4


async def test_when_few_updates_are_left_decisions_go_before_what_came_of_earlier_ones(world: World) -> None:
    for key in ("card:old", "card:new"):
        await world.want(key)
        await world.drained()
    world.screen.decided = {"card:old", "card:new"}
    await world.want("card:old", "decision")
    await world.drained()
    poster = world.delivery._poster
    assert isinstance(poster, Poster)
    await poster._updates.acquire(UPDATES_A_MINUTE - FOR_DECISIONS + 10)
    world.screen.texts |= {"card:old": "succeeded", "card:new": "approved"}
    await world.want("card:old", "decision")
    await world.want("card:new", "decision")

    def shown() -> set[str]:
        return {message["text"] for message in world.slack.messages.values()}

    await world.until(lambda: "approved" in shown())
    assert shown() == {"card:old", "approved"}
    poster._updates = AsyncLimiter(UPDATES_A_MINUTE, 60)
    await world.drained()
    assert shown() == {"succeeded", "approved"}


async def test_a_channel_that_must_wait_its_turn_keeps_no_other_place_waiting(world: World) -> None:
    world.slack.gate.clear()
    sql = "INSERT INTO outbox VALUES (?, 'r1', 0, 1, 0, 'T1', 'CFULL', '', '1.1', 0, 0, '', ?, ?)"

    def write(tx: Any) -> None:
        at = tx.transport
        tx.conn.executemany(sql, [(f"answer:r{number}", at, at) for number in range(6)])
        tx.signal("outbox")

    await world.db.write(write)
    await world.until(lambda: world.slack.did("post") == POST_BURST)
    await world.want("card:p1")
    await world.until(lambda: ("post", "CACT") in world.slack.calls)
    world.slack.gate.set()


async def test_a_reply_does_not_wait_behind_the_many_updates_for_which_slack_has_no_room(world: World) -> None:
    poster = world.delivery._poster
    assert isinstance(poster, Poster)
    await poster._updates.acquire(UPDATES_A_MINUTE)
    sql = "INSERT INTO outbox VALUES (?, 'r1', 3, 2, 1, 'T1', 'C1', ?, '', 0, 0, '', ?, 1.0)"

    def write(tx: Any) -> None:
        tx.conn.executemany(sql, [(f"progress:r{number}", f"{number}.1", tx.transport) for number in range(100)])
        tx.signal("outbox")

    await world.db.write(write)
    await world.want("result:p1", "progress", channel="C2", thread_ts="1.1")
    await world.until(lambda: ("post", "C2") in world.slack.calls)


async def test_when_slack_says_slower_it_is_left_alone_for_as_long_as_it_said(world: World) -> None:
    world.slack.fail("post", "ratelimited", status=429, **{"Retry-After": "0.3"})
    started = asyncio.get_running_loop().time()
    await world.want("card:p1")
    await world.until(lambda: bool(world.slack.messages))
    assert asyncio.get_running_loop().time() - started >= 0.3
    assert world.slack.did("post") == 2
    assert ("secondkey_delivery_failed", "limited") in world.counted


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), "internal_error"])
async def test_a_post_whose_answer_was_lost_is_found_and_not_posted_twice(world: World, error: str | Exception) -> None:
    world.slack.fail("post", error, after=True)
    await world.want("card:p1")
    await world.until(lambda: world.delivered == ["p1"])
    await world.drained()
    assert len(world.slack.messages) == 1
    assert world.slack.did("post") == 1
    assert ("secondkey_delivery_reconciled", "approval") in world.counted


async def test_a_post_that_surely_did_not_happen_is_posted_again(world: World) -> None:
    world.slack.fail("post", TimeoutError())
    await world.want("progress:r1", "progress", channel="C1", thread_ts="1.1")
    await world.until(lambda: bool(world.slack.messages))
    await world.drained()
    assert [name for name, _ in world.slack.calls] == ["post", "replies", "post"]


async def test_a_message_that_a_killed_process_posted_is_found_by_the_next_one(tmp_path: Path) -> None:
    slack = Slack()
    await slack.chat_postMessage(
        channel="CACT",
        text="old",
        metadata={"event_type": "secondkey", "event_payload": {"key": "card:p1", "revision": 1}},
    )
    async with make_world(tmp_path, slack) as world:
        await world.want("card:p1", created=1.0)
        await world.drained()
        assert slack.did("post") == 1
        row = world.outbox.get("card:p1")
        assert row is not None
        assert (row.channel, row.ts) == ("CACT", "1.0")


async def test_a_place_that_the_database_did_not_keep_is_saved_without_posting_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.errors import StorageUnavailable  # noqa: PLC0415  # only here

    sent, fails = world.outbox.sent, [True]

    async def once(key: str, revision: int, channel: str, ts: str, then: str = "") -> None:
        if fails.pop() if fails else False:
            raise StorageUnavailable
        await sent(key, revision, channel, ts, then)

    monkeypatch.setattr(world.outbox, "sent", once)
    await world.want("card:p1")
    await world.drained()
    row = world.outbox.get("card:p1")
    assert row is not None
    assert (row.channel, row.sent) == ("CACT", 1)
    assert world.slack.did("post") == 1


@pytest.mark.parametrize("error", ["is_archived", "channel_not_found", "not_in_channel"])
async def test_when_the_channel_is_gone_each_approver_gets_the_card_directly_and_health_says_so(
    world: World, error: str
) -> None:
    world.slack.fail("post", error)
    await world.want("card:p1")
    await world.drained()
    assert {place for place, _ in world.slack.messages} == {"DUA", "DUB"}
    assert error in world.delivery.problem
    world.screen.texts["card:p1"] = "decided"
    await world.want("card:p1", "decision")
    await world.drained()
    assert [m["text"] for m in world.slack.messages.values()] == ["decided", "decided"]
    await world.want("card:p2")
    await world.drained()
    assert world.delivery.problem == ""


@pytest.mark.parametrize("error", ["is_archived", "channel_not_found", "not_in_channel"])
async def test_a_decision_whose_card_nobody_can_write_to_any_more_reaches_each_approver(
    world: World, error: str
) -> None:
    await world.want("card:p1")
    await world.drained()
    world.slack.fail("update", error)
    world.slack.fail("post", error)
    world.screen.texts["card:p1"] = "decided"
    await world.want("card:p1", "decision")
    await world.drained()
    said = {place: message["text"] for (place, _), message in world.slack.messages.items()}
    assert (said["DUA"], said["DUB"]) == ("decided", "decided")


@pytest.mark.parametrize("method", ["post", "update"])
async def test_a_scope_that_is_missing_is_told_until_slack_takes_something_again(world: World, method: str) -> None:
    if method == "update":
        await world.want("card:p1")
        await world.drained()
    world.slack.fail(method, "missing_scope")
    await world.want("card:p1")
    await world.until(lambda: "missing_scope" in world.delivery.problem)
    assert "`secondkey doctor`" in world.delivery.problem
    await world.until(lambda: not world.delivery.problem)


async def test_a_message_that_was_deleted_is_posted_anew_without_mentioning_people_again(world: World) -> None:
    await world.want("card:p1")
    await world.drained()
    world.slack.messages.clear()
    await world.want("card:p1", "decision")
    await world.drained()
    assert world.slack.did("post") == 2
    assert world.screen.firsts == [True, False, False]
    await world.want("answer:r1", "decision", channel="C7", thread_ts="1.1")
    await world.drained()
    world.slack.messages.clear()
    await world.want("answer:r1", "decision", channel="C7", thread_ts="1.1")
    await world.drained()
    assert [place for place, _ in world.slack.messages] == ["C7"]


async def test_refused_blocks_are_followed_by_shorter_ones_and_then_by_bare_text(world: World) -> None:
    world.slack.fail("post", "invalid_blocks")
    await world.want("card:p1")
    await world.drained()
    assert next(iter(world.slack.messages.values()))["blocks"] == [section("short")]
    world.slack.messages.clear()
    world.slack.fail("post", "invalid_blocks")
    world.slack.fail("post", "msg_blocks_too_long")
    await world.want("card:p2")
    await world.drained()
    assert "blocks" not in next(iter(world.slack.messages.values()))


async def test_a_failing_message_does_not_hold_up_the_others(world: World) -> None:
    for _ in range(3):
        world.slack.fail("post", "some_new_error")
    await world.want("card:p1")
    await world.until(lambda: world.slack.did("post") == 1)
    await world.want("card:p2")
    await world.want("card:p3")
    await world.until(lambda: len(world.slack.messages) == 3)


async def test_a_bug_in_rendering_puts_one_message_off_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Screen):
        def __call__(self, row: OutboxRow, is_first: bool, /) -> Rendered | None:
            return 1 / 0 if row.key == "card:p1" else super().__call__(row, is_first)

    monkeypatch.setattr(world.delivery, "_render", Broken())
    await world.want("card:p1")
    await world.want("card:p2")
    await world.until(lambda: len(world.slack.messages) == 1)
    row = world.outbox.get("card:p1")
    assert row is None or row.ts == ""


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"error": "ratelimited"}, 429, {"retry-after": "x"}), Kind.LIMITED),
        (Answer({}, 503), Kind.UNCLEAR),
        (Answer({"error": "fatal_error"}), Kind.UNCLEAR),
        (Answer({"error": "is_archived"}), Kind.UNREACHABLE),
        (Answer({"error": "message_not_found"}), Kind.MISSING),
        (Answer({"error": "invalid_blocks"}), Kind.SHAPE),
        (Answer({"error": "invalid_auth"}), Kind.REFUSED),
    ],
)
def test_a_failure_is_told_apart_by_what_it_means_for_the_next_try(answer: Answer, kind: Kind) -> None:
    assert fault_of(SlackApiError("no", answer)).kind is kind


async def test_in_the_simulated_workspace_a_lost_answer_does_not_post_twice(tmp_path: Path) -> None:
    simulator = await Simulator.start()
    client = AsyncWebClient(token="xoxb-simulator", base_url=simulator.api_url)
    try:
        async with make_world(tmp_path, client) as world, Driver(simulator.url) as driver:
            world.screen.channels = {"approval": "C0ACTIONS"}
            await driver.fault("chat.postMessage", "drop_response", times=1)
            await world.want("card:p1")
            await driver.wait_for_message("C0ACTIONS", lambda m: m["text"] == "card:p1")
            await world.until(lambda: world.delivered == ["p1"])
            assert len(await driver.history("C0ACTIONS")) == 1
            await driver.fault("chat.update", "rate_limit", times=1, retry_after=1)
            world.screen.texts["card:p1"] = "decided"
            await world.want("card:p1", "decision")
            await driver.wait_for_message("C0ACTIONS", lambda m: m["text"] == "decided")
            for number in range(6):
                await world.want(f"card:q{number}")
            await driver.wait_for_message("C0ACTIONS", lambda m: m["text"] == "card:q5")
            log = await driver.log()
            refused = [e for e in log if e.get("method") == "chat.postMessage" and e.get("status") == 429]
            assert refused == []
    finally:
        await simulator.close()

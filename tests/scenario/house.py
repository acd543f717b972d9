"""The whole house for one test: a simulated workspace, the real app, a shop, a project, and a clock that is moved."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent import events as ev
from agent.domain import RunStatus
from agent.policy import Policy, load_policy
from agent.ports import Sandbox
from agent.tools.base import Tool
from agent.tools.registry import default_tools
from bot.app import App
from bot.composition import deciding, driving, materials
from bot.config import Settings
from simulator import payloads
from simulator.driver import Driver
from simulator.http_events import signed_headers
from simulator.log import Log
from simulator.server import Simulator
from storage.audit import Refusal, refusals
from storage.control import Control
from storage.journal import read_events
from storage.queries import Queries, RunLine
from storage.rows import ApprovalRow, TakeoverRow
from tests.scenario.world import (
    ACTIONS,
    BOT,
    DATA,
    MAYA,
    OMAR,
    SECRET,
    TEAM,
    Json,
    MovableClock,
    Plan,
    buttons,
    make_shop,
    rules_of,
    words,
)

HERE = Path(__file__).parent


class House:
    """Ask, click, wait and look."""

    def __init__(self, folder: Path, plan: Plan, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.plan, self.patch = folder, plan, patch
        self.clock = MovableClock()
        self.project, self.shop = folder / "project", folder / "shop.db"
        self.sim: Simulator
        self.slack: Driver
        self.app: App

    # -- coming and going ----------------------------------------------------------------------------------------

    async def open(self, template: Path, sandbox: Sandbox) -> None:
        """Build project and shop, start the workspace and the app."""
        shutil.copytree(template, self.project)
        make_shop(self.shop)
        (self.folder / "policy.toml").write_text(
            f'version = 1\n[people]\napprovers = {list(self.plan.approvers)}\nadmins = ["{OMAR}"]\n{self.plan.policy}'
        )
        self._patch(sandbox)
        self.sim = await Simulator.start(rates=False, timing=self.plan.timing)
        self.slack = Driver(self.sim.url)
        await self.slack.__aenter__()
        await self.start()

    def settings(self, **other: Any) -> Settings:
        """The configuration, pointed at the simulator."""
        given: Json = {
            "data": self.folder / "data",
            "project": self.project,
            "databases": {"shop": self.shop},
            "policy": self.folder / "policy.toml",
            "runbooks": (HERE / "runbooks.toml",),
            "port": 0,
            "slack_api_url": self.sim.api_url,
            "slack_bot_token": "xoxb-simulator",
            "slack_app_token": "xapp-simulator",
            "slack_signing_secret": SECRET,
        }
        return Settings(**(given | self.plan.settings | other))

    async def start(self) -> None:
        """Start the app."""
        app = await App.start(
            self.settings(),
            environment=self.plan.environment,
            over_http=self.plan.over_http,
            clock=self.clock,
            model=self.plan.model,
        )
        assert app is not None
        self.app = app
        self.sim.set_request_url(f"{app.url}/slack/events" if self.plan.over_http else None)

    async def restart(self) -> None:
        """Stop the app and start another on the same folder."""
        await self.app.stop()
        await self.start()

    async def close(self) -> None:
        """Stop everything."""
        for tool in self.plan.tools:
            tool.release()
        await self.app.stop()
        await self.slack.__aexit__()
        await self.sim.close()

    def _patch(self, sandbox: Sandbox) -> None:
        """The test's own tools beside the real ones, rated by their names; the sandbox is tried once, not each time."""

        async def chosen() -> Sandbox:
            return sandbox

        replaced = {tool.name: tool for tool in self.plan.replaced}

        def tools(*given: Any) -> tuple[Tool[Any], ...]:
            return (*(replaced.get(tool.name, tool) for tool in default_tools(*given)), *self.plan.tools)

        def policy(source: str | Path | None = None) -> Policy:
            found, touch = load_policy(source), load_policy(rules_of(self.plan.tools))
            return Policy(
                found.version, found.mode, found.people, found.limits, (*found.shipped, *touch.own), found.own
            )

        self.patch.setattr(driving, "choose", chosen)
        self.patch.setattr(materials, "default_tools", tools)
        self.patch.setattr(deciding, "load_policy", policy)

    # -- what people do ------------------------------------------------------------------------------------------

    async def ask(self, text: str, *, user: str = MAYA, channel: str = DATA, thread_ts: str | None = None) -> str:
        """Mention the bot; returns the message's ts."""
        return await self.slack.post(user, channel, f"<@{BOT}> {text}", thread_ts=thread_ts)

    async def dm(self, user: str) -> str:
        """The channel of a person's direct message with the bot."""
        return str((await self.slack.call("open_im", {"as": user}))["channel"])

    async def click(self, user: str, card: Json, action: str) -> Json:
        """Press a button of a card."""
        return await self.slack.click(user, card["channel"], card["ts"], action)

    async def forge(self, user: str, card: Json, action: str, **element: Any) -> None:  # JSON
        """Press a button that is not there for them (any more), or not with this value."""
        services = self.sim.services
        rows = [block for block in card["blocks"] if block["type"] == "actions"]
        row, shown = next((row, item) for row in rows for item in row["elements"] if item["action_id"] == action)
        one = payloads.action(row, shown, {}, services.workspace.next_ts()) | element
        channel, who = services.workspace.channel(card["channel"]), services.workspace.person(user)
        made = payloads.message_action(services, who, channel, card, one_action=one, state={})
        await services.delivery.request("interactive", made)

    async def command(self, text: str, *, user: str = MAYA, channel: str = DATA) -> str:
        """Type the slash command and read what only this person is shown."""
        before = set(self.slack.ephemerals)
        answer = await self.slack.command(user, channel, "/agent", text)
        assert answer["ok"], answer
        await self.slack.wait_for_ephemeral(user, lambda m: (m["channel"], m["ts"]) not in before)
        return words(next(m for key, (to, m) in self.slack.ephemerals.items() if key not in before and to == user))

    async def signed(
        self, body: str, *, content_type: str = "application/json", timestamp: str = "", secret: str = SECRET
    ) -> tuple[int, str]:
        """Send a signed request as Slack would."""
        stamp = timestamp or str(int(self.clock.transport()))
        headers = signed_headers(secret, stamp, body, content_type=content_type)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.app.url}/slack/events", data=body.encode(), headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def interaction(self, payload: Json) -> tuple[int, str]:
        """Send an interaction over signed HTTP."""
        body = str(aiohttp.FormData({"payload": json.dumps(payload)})()._value, "utf-8")
        return await self.signed(body, content_type="application/x-www-form-urlencoded")

    def forget(self, user: str) -> None:
        """Have Slack asked anew who somebody is."""
        assert self.app.services is not None
        self.app.services.identity.forget(user)

    async def advance(self, seconds: float) -> None:
        """Let business time pass and have the sweep look at it."""
        self.clock.ahead += seconds
        assert self.app.deadlines is not None
        await self.app.deadlines.sweep()

    # -- waiting -------------------------------------------------------------------------------------------------

    async def card(self, *contains: str, without: Iterable[Json] = (), channel: str = ACTIONS) -> Json:
        """The first card with buttons that holds these words."""
        old = {item["ts"] for item in without}
        return await self.slack.wait_for_message(
            channel, lambda m: m["ts"] not in old and bool(buttons(m)) and all(part in words(m) for part in contains)
        )

    async def shows(self, card: Json, *contains: str) -> Json:
        """The same message once it holds these words."""
        return await self.slack.wait_for_message(
            card["channel"], lambda m: m["ts"] == card["ts"] and all(part in words(m) for part in contains)
        )

    async def answer(self, ts: str, channel: str = DATA) -> str:
        """The words of the final answer in a thread."""
        found = await self.slack.wait_for_message(channel, lambda m: "Written " in words(m), thread_ts=ts)
        return words(found)

    async def told(self, user: str, contains: str) -> str:
        """What only this person was shown, where they acted or in their direct message."""
        direct = await self.dm(user)

        def seen() -> list[str]:
            here = [m for to, m in self.slack.ephemerals.values() if to == user]
            there = [m for (channel, _), m in self.slack.messages.items() if channel == direct and m["user"] == BOT]
            return [words(m) for m in (*here, *there) if contains in words(m)]

        async with asyncio.timeout(30), self.slack._changed:
            await self.slack._changed.wait_for(seen)
        return seen()[0]

    async def logged(self, wanted: Callable[[Json], object], after: int = 0) -> Json:
        """The first exchange with the app, numbered above `after`, that is wanted."""
        log, changed = self.sim.services.log, asyncio.Event()

        def add(*args: Any, **more: Any) -> None:  # as Log.add
            Log.add(log, *args, **more)
            changed.set()

        with self.patch.context() as patch:
            patch.setattr(log, "add", add)
            async with asyncio.timeout(30):
                while True:
                    found = next((entry for entry in log.after(after)["entries"] if wanted(entry)), None)
                    if found is not None:
                        return dict(found)
                    changed.clear()
                    await changed.wait()

    async def until(self, condition: Callable[[], object], seconds: float = 45.0) -> None:
        """Wait until a condition over the database holds; looked at after every commit."""
        changed = asyncio.Event()
        topics = ("run", "outbox", "deadline", "control", "home")
        ends = [self.app.db.subscribe(topic, lambda _: changed.set()) for topic in topics]
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    changed.clear()
                    await changed.wait()
        finally:
            for end in ends:
                end()

    async def run_at(self, ts: str, *statuses: RunStatus, channel: str = DATA) -> RunLine:
        """The run of a thread, once it stands as one of these statuses."""
        await self.until(lambda: (run := self.run(ts, channel)) and (not statuses or run.status in statuses))
        run = self.run(ts, channel)
        assert run is not None
        return run

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def journal(self) -> Any:  # the journal that the runtime writes to
        assert self.app.runtime is not None
        return self.app.runtime._kit.journal

    @property
    def control(self) -> Control:
        assert self.app.services is not None
        return self.app.services.control

    @property
    def queries(self) -> Queries:
        return Queries(self.app.db)

    def run(self, ts: str, channel: str = DATA) -> RunLine | None:
        return self.queries.find_run_by_thread(TEAM, channel, ts)

    def approvals(self) -> list[ApprovalRow]:
        """All approvals, oldest first."""
        rows = self.app.db.read(lambda conn: conn.execute("SELECT id FROM approvals ORDER BY created_at").fetchall())
        return [view.approval for (key,) in rows if (view := self.queries.approval_view(key))]

    def takeover(self) -> TakeoverRow:
        """The one takeover that there is."""
        ((key,),) = self.app.db.read(lambda conn: conn.execute("SELECT id FROM takeovers").fetchall())
        view = self.queries.takeover_view(key)
        assert view is not None
        return view.takeover

    def events(self, run: str) -> list[ev.Event]:
        return [item.event for item in self.app.db.read(lambda conn: read_events(conn, run))]

    def started(self) -> int:
        """How many starts stand in all journals."""
        query = "SELECT count(*) FROM events WHERE type = 'action_started'"
        return int(self.app.db.read(lambda conn: conn.execute(query).fetchone())[0])

    def audit(self) -> list[Refusal]:
        return list(refusals(self.app.db))

    def prices(self) -> dict[str, int]:
        """What stands in the shop."""
        with sqlite3.connect(f"file:{self.shop}?mode=ro", uri=True) as conn:
            found = dict(conn.execute("SELECT name, price FROM drinks").fetchall())
        conn.close()
        return found
